"""Arms that claims look at: made once, and again when the method's own source is another."""

import pytest

from despur.flows import try_arm
from despur.flows._compare import trial


@pytest.fixture
def runs(monkeypatch):
    """Counts what is built and what is run, in place of training."""
    counted = {"built": 0, "run": 0}

    def build(*args):
        counted["built"] += 1

    def run(bench, *args):
        counted["run"] += 1
        return bench.fresh()

    monkeypatch.setattr(trial.Bench, "naive", None)
    monkeypatch.setattr(trial, "made_for", build)
    monkeypatch.setattr(trial, "run_arm", run)
    return counted


def test_once_for_one_source_and_again_for_another(runs, tmp_path, monkeypatch):
    asked = {"seed": 0, "root": tmp_path, "steps": 2}
    first = try_arm("persona", "shrink", {"by": 0.5}, **asked)
    again = try_arm("persona", "shrink", {"by": 0.5}, **asked)
    assert runs == {"built": 1, "run": 1}, "what is there is neither run nor built again"
    assert first["drift"].keys() == again["drift"].keys()
    try_arm("persona", "shrink", {"by": 0.25}, **asked)
    assert runs["run"] == 2
    monkeypatch.setattr(trial, "method_source", lambda name: "another")
    try_arm("persona", "shrink", {"by": 0.5}, **asked)
    assert runs["run"] == 3, "figures of the former source are not taken for those of this one"
