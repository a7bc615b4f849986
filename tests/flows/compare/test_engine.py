import os
import subprocess
import sys
import time
from pathlib import Path

import jobs
import pytest

from despur.flows import compare
from despur.flows._compare.engine import TRIES, Job, run_all


def squares(n):
    return [Job(i, jobs.square, (i,)) for i in range(n)]


def test_every_job_ends_once_and_reports():
    told = []
    done = list(run_all(squares(4), workers=2, progress=lambda *said: told.append(said[0])))
    assert sorted((d.key, d.result) for d in done) == [(i, i * i) for i in range(4)]
    assert set(told) == {"square"}


def test_no_jobs_start_no_worker():
    assert list(run_all([], workers=2)) == []


def test_one_that_fails_is_told_in_one_line_and_stops_no_other():
    done = {d.key: d for d in run_all([Job("bad", jobs.refuse, (2,)), *squares(3)], workers=2)}
    assert done["bad"].error == "ValueError: no square of 2 to be had"
    assert [done[i].result for i in range(3)] == [0, 1, 4]


def test_a_lost_worker_costs_its_job_a_try_and_the_others_nothing(tmp_path):
    once = Job("once", jobs.die_once, (str(tmp_path / "mark"),))
    done = {d.key: d for d in run_all([once, Job("never", jobs.die, ()), *squares(3)], workers=1)}
    assert done["once"].result == "lived"
    assert done["never"].error == f"its worker was lost {TRIES} times (killed, or out of memory)"
    assert [done[i].result for i in range(3)] == [0, 1, 4]


def soon(true, seconds=60):
    """Wait for something."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return true()


def test_workers_end_when_who_started_them_is_killed(tmp_path):
    marks = [tmp_path / "a", tmp_path / "b"]
    script = (
        "import jobs\nfrom despur.flows._compare.engine import Job, run_all\n"
        f"list(run_all([Job(m, jobs.linger, (m,)) for m in {[str(m) for m in marks]}], workers=2))"
    )
    (tmp_path / "main.py").write_text(f"if __name__ == '__main__':\n    exec({script!r})")
    path = os.pathsep.join([str(Path(jobs.__file__).parent), *sys.path])
    main = subprocess.Popen([sys.executable, tmp_path / "main.py"], env={**os.environ, "PYTHONPATH": path})
    assert soon(lambda: all(m.exists() and m.read_text() for m in marks))
    pids = [int(m.read_text()) for m in marks]
    main.kill()
    main.wait()
    assert soon(lambda: not any(alive(pid) for pid in pids))


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


@pytest.mark.slow  # half a minute to start a cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_ray_does_the_same_a_lost_worker_and_a_failure_included(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="the ray extra is not installed")
    monkeypatch.setenv("PYTHONPATH", str(Path(jobs.__file__).parent))  # where a worker finds the jobs
    once = Job("once", jobs.die_once, (str(tmp_path / "mark"),))
    asked = [once, Job("bad", jobs.refuse, (2,)), Job("threads", jobs.threads, ()), *squares(3)]
    done = {d.key: d for d in run_all(asked, workers=2, engine="ray")}
    assert done["once"].result == "lived"
    assert done["bad"].error == "ValueError: no square of 2 to be had"
    assert done["threads"].result == "1"
    assert [done[i].result for i in range(3)] == [0, 1, 4]


@pytest.mark.slow  # two small studies, one on a cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_study_on_ray_is_the_same_to_the_last_bit(tmp_path):
    pytest.importorskip("ray", reason="the ray extra is not installed")
    asked = {"guards": ["lower-rank"], "quick": True, "steps": 40, "workers": 2}
    for engine in ("local", "ray"):
        compare(["persona"], out=tmp_path / engine, engine=engine, **asked)
    cells = sorted((tmp_path / "local" / "cells").rglob("scores.safetensors"))
    assert len(cells) == 2 * 4  # base, naive and two ranks, on two seeds
    for cell in cells:
        assert cell.read_bytes() == (tmp_path / "ray" / cell.relative_to(tmp_path / "local")).read_bytes()
