"""Calibrate: a null of one's own base, made once, resumed where it stopped, and then judged by."""

import json

import pytest

from despur.core.errors import BadInput
from despur.flows import audit, calibrate
from despur.judge import NeutralNull


def test_a_null_is_made_resumed_and_judged_by(base, adapter, neutral, tmp_path):
    out = tmp_path / "null.json"
    seen = []

    def stop(stage, done, total, figures):
        seen.append(done)
        if len(seen) == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(base, neutral, out=out, rows=12, progress=stop)
    assert not out.exists()
    kept = out.with_name("null.json.part")
    before = kept.read_text().splitlines()
    assert len(before) == 7
    kept.write_text("\n".join(before) + '\n{"spec": "half a li')  # as a kill leaves it
    null = calibrate(base, neutral, out=out, rows=12)
    assert not kept.exists()
    assert null.changes[0] == json.loads(before[0])["change"], "what was measured is not measured again"
    assert NeutralNull.read(out).p_value(0.1, {"mean": 0.9}) == null.p_value(0.1, {"mean": 0.9})
    record = json.loads(out.with_name("null.run.json").read_text())
    assert (record["verb"], record["arguments"]["rows"], record["arguments"]["adapters"]) == ("calibrate", 12, neutral)
    result = audit(base, adapter, null=out, rows=12, n_random=2)
    assert result.verdict == "diffuse change", "beside its own like the persona does not stand out"
    assert not [n for n in result.notes if "false-positive" in n], "the null is of this base and of these settings"


def test_what_cannot_be_calibrated(base, neutral, tmp_path):
    with pytest.raises(BadInput, match="18 different neutral adapters; at least 19"):
        calibrate(base, neutral[:18], out=tmp_path / "null.json")
    with pytest.raises(BadInput, match="at least 19"):
        calibrate(base, [*neutral[:18], neutral[0]], out=tmp_path / "null.json")
