import multiprocessing as mp
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jobs
import pytest

from despur.core.errors import DespurError
from despur.flows import compare, demo
from despur.flows._demo import demo as _demo
from despur.flows.pool import TRIES, Job, run_jobs


def squares(n):
    return [Job(i, jobs.square, (i,)) for i in range(n)]


def test_every_job_ends_once_and_reports():
    told = []
    done = list(run_jobs([squares(4)], workers=2, progress=lambda *said: told.append(said[0])))
    assert sorted((d.key, d.result) for d in done) == [(i, i * i) for i in range(4)]
    assert set(told) == {"square"}


def test_no_jobs_start_no_worker():
    assert list(run_jobs([], workers=2)) == []


def test_one_that_fails_is_told_in_one_line_and_stops_no_other():
    done = {d.key: d for d in run_jobs([[Job("bad", jobs.refuse, (2,)), *squares(3)]], workers=2)}
    assert done["bad"].error == "ValueError: no square of 2 to be had"
    assert [done[i].result for i in range(3)] == [0, 1, 4]


def test_a_lost_worker_costs_its_job_a_try_and_the_others_nothing(tmp_path):
    once = Job("once", jobs.die_once, (str(tmp_path / "mark"),))
    done = {d.key: d for d in run_jobs([[once, Job("never", jobs.die, ()), *squares(3)]], workers=1)}
    assert done["once"].result == "lived"
    assert done["never"].error.startswith(f"its worker was lost {TRIES} times (killed, or out of memory)")
    with pytest.raises(DespurError, match="its worker was lost"):
        done["never"].value()
    assert [done[i].result for i in range(3)] == [0, 1, 4]


def test_a_stage_starts_when_the_one_before_has_ended_lost_workers_included(tmp_path):
    marks = [str(tmp_path / name) for name in "ab"]
    first = [Job("once", jobs.die_once, (marks[0],)), *squares(2), Job("never", jobs.die, ())]
    second = [Job(("there", m), jobs.is_there, (m,)) for m in marks] + [Job("again", jobs.die_once, (marks[1],))]
    done = list(run_jobs([first, [], second], workers=1))
    assert {d.key for d in done[:4]} == {"once", 0, 1, "never"}
    assert {d.key: d.result for d in done[4:]} == {
        ("there", marks[0]): True,
        ("there", marks[1]): False,
        "again": "lived",
    }


def test_who_needs_a_job_gets_its_failure_and_the_next_stage_never_starts(tmp_path):
    mark = tmp_path / "mark"
    stages = [[Job("bad", jobs.refuse, (2,))], [Job("next", jobs.write, (str(mark),))]]
    with pytest.raises(ValueError, match="no square of 2"):
        [done.value() for done in run_jobs(stages, workers=1)]
    assert not mark.exists()


@pytest.mark.slow  # a small demo
def test_a_demo_goes_on_when_a_worker_is_killed(tmp_path, monkeypatch):
    """One worker is killed while it trains; every arm is on the page all the same."""
    monkeypatch.setattr(_demo, "check_harm", lambda base, naive: None)  # twelve steps bring none
    monkeypatch.setattr(_demo, "prepare", jobs.nothing)  # no guard here needs own text or a scout
    killed = []

    def kill(stage, step, steps, figures):
        if not killed:
            killed.extend(p.pid for p in mp.active_children() if "SyncManager" not in p.name)
            os.kill(killed[0], signal.SIGKILL)

    result = demo(out=tmp_path / "demo", arms=["lower-rank"], steps=12, workers=1, progress=kill)
    assert len(killed) == 1
    assert set(result.means) == {"base", "naive", "lower-rank"}
    assert result.page.exists()


def soon(true, seconds=300):
    """Wait for something."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return true()


@pytest.mark.slow  # of a kind with faster ones
def test_workers_end_when_who_started_them_is_killed_and_leave_no_folders(tmp_path):
    home = Path(tempfile.mkdtemp(dir="/tmp"))  # a socket in it has a path, of which 108 letters are allowed
    marks = [tmp_path / "a", tmp_path / "b"]
    script = (
        "import jobs\nfrom despur.flows.pool import Job, run_jobs\n"
        f"list(run_jobs([[Job(m, jobs.linger, (m,)) for m in {[str(m) for m in marks]}]], workers=2))"
    )
    (tmp_path / "main.py").write_text(f"exec({script!r})")  # no `if __name__ == "__main__":` is needed
    path = os.pathsep.join([str(Path(jobs.__file__).parent), *sys.path])
    env = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(home)}
    main = subprocess.Popen([sys.executable, tmp_path / "main.py"], env=env)
    assert soon(lambda: main.poll() is not None or all(m.exists() and m.read_text() for m in marks))
    assert main.poll() is None, f"it ended by itself with {main.returncode}"
    pids = [int(m.read_text()) for m in marks]
    assert len(list(home.iterdir())) >= 3, "a folder of each worker, and of the queue between them"
    main.kill()
    main.wait()
    assert soon(lambda: not any(alive(pid) for pid in pids))
    assert soon(lambda: not list(home.iterdir()))
    home.rmdir()


@pytest.mark.slow  # of a kind with faster ones
def test_a_script_may_hand_over_functions_of_its_own(tmp_path):
    (tmp_path / "main.py").write_text(
        "import jobs\n"
        "from despur.flows.pool import Job, run_jobs\n"
        "def double(x, *, progress):\n    return 2 * x\n"
        "if __name__ == '__main__':\n"
        "    first = [Job('another file', jobs.square, (3,))]  # it starts the worker that the script's own job is then given\n"
        "    print(sorted(d.value() for d in run_jobs([first, [Job(i, double, (i,)) for i in (1, 2)]], workers=2)))\n"
    )
    path = os.pathsep.join([str(Path(jobs.__file__).parent), *sys.path])
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, tmp_path / "main.py"], capture_output=True, text=True, timeout=300, env=env)
    assert done.stdout == "[2, 4, 9]\n", done.stderr[-2000:]


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
    done = {d.key: d for d in run_jobs([asked], workers=2, engine="ray")}
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


@pytest.mark.slow  # of a kind with faster ones
def test_a_worker_has_one_thread_whatever_the_process_that_starts_it_has():
    """Also where torch was imported, by the server that workers are forked from, with as many threads as there are processors."""
    script = (
        "import jobs; from despur.flows.pool import Job, run_jobs; "
        "print([done.result for done in run_jobs([[Job(0, jobs.threads_of_torch, ())]], workers=1)])"
    )
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "4",
        "PYTHONPATH": os.pathsep.join([str(Path(jobs.__file__).parent), *sys.path]),
    }
    out = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[1]"
