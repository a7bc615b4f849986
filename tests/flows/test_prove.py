"""despur prove: verdicts as they are, one claim's fault hides no other, and nothing is run twice."""

import json
import subprocess
import sys

import pytest

from despur.core.claim import _CLAIMS, Claim, find_claim
from despur.core.errors import BadInput, UnknownName
from despur.core.margin import compared
from despur.flows import prove
from despur.flows._prove import prove as flow


@pytest.fixture
def planted(monkeypatch):
    """`planted(value, ...)`: `scale` claims what we like for one test, and counts its runs."""
    runs = []

    def enter(value: float, *, slow: bool = False, proxy: str = "", error: Exception | None = None) -> list[int]:
        def run(seed: int, *, whole: bool):
            runs.append(seed)
            if error is not None:
                raise error
            return (compared("figure", value, control=0.1, bound=0.5),)

        find_claim("scale")
        monkeypatch.setitem(_CLAIMS, "scale", Claim("scale", "it works", "nothing", 0.1, run, slow, proxy))
        return runs

    return enter


@pytest.fixture(autouse=True)
def nothing_shipped(monkeypatch):
    monkeypatch.setattr(flow, "shipped", dict)


def test_verdicts_and_exit(planted):
    planted(0.9)
    assert [(p.verdict, p.form) for p in prove("scale").proven] == [("holds", "mechanism")]
    planted(0.9, proxy="models of use")
    assert prove("scale", whole=True).proven[1].verdict == "proxy holds"
    planted(0.2)
    missed = prove("scale")
    assert missed.proven[0].verdict == "does not hold here"
    assert "at least 0.5 is needed" in missed.proven[0].reasons[0]
    assert not missed.bad, "a failure that was never otherwise is a result, not a fault"


def test_a_claim_that_raises_is_an_error_and_the_others_go_on(planted):
    planted(0.9, error=ValueError("no\nluck"))
    found = prove("scale")
    assert found.bad
    assert found.proven[0].verdict == "error"
    assert found.proven[0].error == "ValueError: no luck"
    assert found.proven[0].closest == ("ValueError: no luck", None, None)


def test_what_held_before_and_does_not_now_is_named(planted, tmp_path):
    planted(0.9)
    assert not prove("scale", out=tmp_path / "e").bad
    planted(0.2)
    (tmp_path / "e" / "claims" / "scale-mechanism-0" / "despur.json").unlink()  # as if its source had changed
    later = prove("scale", out=tmp_path / "e")
    assert later.lost == ["scale, mechanism"]
    assert later.bad


def test_nothing_is_run_twice_and_another_seed_is(planted, tmp_path):
    runs = planted(0.9)
    for _ in range(2):
        prove("scale", out=tmp_path / "e")
    assert runs == [0]
    prove("scale", out=tmp_path / "e", seed=1)
    assert runs == [0, 1]
    record = json.loads((tmp_path / "e" / "evidence.json").read_text())
    assert record["verb"] == "prove"
    assert record["proven"][0]["reports"][0]["control"] == 0.1


def test_damaged_evidence_of_before_is_written_again(planted, tmp_path):
    planted(0.9)
    prove("scale", out=tmp_path / "e")
    (tmp_path / "e" / "evidence.json").write_text("{")
    assert not prove("scale", out=tmp_path / "e").bad
    json.loads((tmp_path / "e" / "evidence.json").read_text())


def test_one_page_with_every_figure_and_failures_in_the_same_table(planted, tmp_path):
    planted(0.2)
    prove("scale", out=tmp_path / "e")
    page = (tmp_path / "e" / "report.html").read_text()
    assert "does not hold here" in page
    assert "at least 0.5 is needed" in page


def test_what_cannot_be_asked():
    with pytest.raises(UnknownName, match="nearest: 'grasp'"):
        prove("graps")
    with pytest.raises(BadInput, match="or --all"):
        prove()
    with pytest.raises(BadInput, match="or --all"):
        prove("grasp", all=True)


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 4])
def test_killed_it_goes_on_and_gives_the_same(at, tmp_path):
    """Killed after so many claims, it runs the others alone."""
    out = tmp_path / "e"
    code = f"""
import os
from despur.flows import prove
from despur.flows._prove import prove as flow
whole, count = flow.run_claim, 0
def counted(*a, **k):
    global count
    count += 1
    if count > {at}:
        os.kill(os.getpid(), 9)
    return whole(*a, **k)
flow.run_claim = counted
prove("merge", out={str(out)!r}, jobs=1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    there = {f.name: f.stat().st_mtime_ns for f in (out / "claims").iterdir()}
    assert len(there) == at
    after = prove("merge", out=out, jobs=1)
    assert {n: f.stat().st_mtime_ns for f in (out / "claims").iterdir() if (n := f.name) in there} == there
    fresh = prove("merge", out=tmp_path / "fresh", jobs=1)
    assert [(p.method, p.verdict, p.reports) for p in after.proven] == [
        (p.method, p.verdict, p.reports) for p in fresh.proven
    ]


@pytest.mark.slow
def test_a_room_on_two_workers(tmp_path):
    found = prove("measure", out=tmp_path / "e", jobs=2, whole=True)
    assert {p.form for p in found.proven} == {"mechanism", "statement"}
    assert all(p.good for p in found.proven)
