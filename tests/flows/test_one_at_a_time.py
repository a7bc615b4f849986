"""Two runs of one output: the second is refused at once, in one sentence, and the first one's result stands."""

import numpy as np
import pytest

from despur.core.errors import BadInput
from despur.flows import apply, audit, calibrate, fit, prove, write_table


@pytest.fixture
def verbs(base, adapter, neutral, tmp_path):
    """Verb -> its call, given where to write and what is called on the way."""
    table, fitted, audited = tmp_path / "table.npy", tmp_path / "fitted", tmp_path / "audited"
    np.save(table, np.random.default_rng(0).normal(size=(12, 4)))
    fit("factor-analysis", table, folds=0, out=fitted)

    def of_table(out, progress):
        if not audited.exists():
            audit(base, adapter, rows=8, n_random=2, out=audited)
        return write_table(audited, out=out.with_suffix(".csv"), progress=progress)

    return {
        "prove": lambda out, progress: prove("merge", out=out, jobs=1, progress=progress),
        "fit": lambda out, progress: fit("factor-analysis", table, folds=3, out=out, progress=progress),
        "apply": lambda out, progress: apply(fitted, table, out=out.with_suffix(".csv"), progress=progress),
        "table": of_table,
        "calibrate": lambda out, progress: calibrate(base, neutral, out=out, rows=8, tokens=4, progress=progress),
    }


@pytest.mark.parametrize("name", ["prove", "fit", "apply", "table", "calibrate"])
def test_a_second_run_is_refused_while_the_first_one_writes(name, verbs, tmp_path):
    refused = []

    def began(stage, done, total, figures):
        assert (name, stage) == ("fit", "read"), "it began"

    def inside(stage, done, total, figures):
        if refused or (name, stage) == ("fit", "read"):  # it reads before it takes its folder
            return
        with pytest.raises(BadInput, match="another run is writing .*out") as caught:
            verbs[name](tmp_path / "out", began)
        refused.append(str(caught.value))
        if name == "calibrate":
            raise KeyboardInterrupt  # what comes after takes long

    if name == "calibrate":
        with pytest.raises(KeyboardInterrupt):
            verbs[name](tmp_path / "out", inside)
    else:
        verbs[name](tmp_path / "out", inside)
        assert list(tmp_path.glob("out*")), "the first one's result"
    assert len(refused) == 1
    assert "\n" not in refused[0]
    assert not list(tmp_path.glob(".*lock"))
