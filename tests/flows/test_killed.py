"""kill -9 at any moment of `calibrate`, `compare` and `library`, and the same arguments again: the result is the uninterrupted one's."""

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from despur.core import Site, Subspace, read_json, save_factors
from despur.flows import add_to_library, calibrate, list_library, remove_from_library

ROWS = {"rows": 8, "tokens": 4}


@pytest.mark.slow  # test_calibrate.py stops one by an interrupt
@pytest.mark.parametrize("moments", [[4, 11], random.Random(0).sample(range(1, 19), 12)], ids=["two", "twelve"])
def test_a_calibration_that_was_killed_is_the_uninterrupted_one(moments, base, neutral, tmp_path):
    fork = multiprocessing.get_context("fork")

    def start(out):
        at = fork.Value("i", -1)
        run = fork.Process(target=calibrate, args=(base, neutral), kwargs={
            "out": out, "progress": lambda stage, step, steps, figures: setattr(at, "value", step), **ROWS})  # fmt: skip
        run.start()
        return run, at

    draw, measured = random.Random(1), []
    for moment in sorted(moments):
        run, at = start(tmp_path / "killed.json")
        while at.value < moment:
            assert run.is_alive(), f"it ended before adapter {moment}"
            time.sleep(0.0005)
        time.sleep(draw.uniform(0, 0.05))
        os.kill(run.pid, signal.SIGKILL)
        run.join()
        part = tmp_path / "killed.json.part"
        measured.append(len(part.read_text().splitlines()))
        with part.open("ab") as file:
            file.write(b'{"spec": "ha')  # as a kill within a write leaves it
    assert measured == sorted(measured)
    assert measured[0] > 0, "it got on in between"
    for name in ("whole.json", "killed.json"):
        run, _ = start(tmp_path / name)
        run.join()
        assert run.exitcode == 0
    assert (tmp_path / "killed.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    left = sorted(p.name for p in tmp_path.iterdir() if "killed" in p.name and not p.name.endswith(".lock"))
    assert left == ["killed.json", "killed.run.json"]


def factors(folder, seed):
    folder.mkdir()
    rows = torch.randn(2, 64, generator=torch.Generator().manual_seed(seed))
    save_factors((Subspace.orthonormal(rows, site=Site("model.layers.1")),), folder)
    (folder / "run.json").write_text(json.dumps({"base_fingerprint": "1" * 16}))
    return folder


@pytest.mark.parametrize("times", [8, pytest.param(400, marks=pytest.mark.slow)])
def test_a_library_that_was_killed_has_old_new_or_no_entries_and_no_halves(times, tmp_path):
    one, other, place = factors(tmp_path / "one", 1), factors(tmp_path / "other", 2), tmp_path / "library"
    want = {(f / "factors.safetensors").read_bytes() for f in (one, other)}
    draw, seen, at = random.Random(0), set(), multiprocessing.get_context("fork").Value("i", 0)
    for number in range(times):
        at.value = 0
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            try:
                while True:
                    add_to_library("x", (one, other)[number % 2], library=place, force=True)
                    at.value += 1
                    remove_from_library("x", library=place)
                    at.value += 1
            finally:
                os._exit(1)
        moment = draw.randint(0, 3)
        while at.value < moment and not os.waitpid(child, os.WNOHANG)[0]:
            time.sleep(0.0002)
        time.sleep(draw.uniform(0, 0.006))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, "it does not end by itself"
        entries, broken = list_library(library=place)
        assert not broken
        seen.add(len(entries))
        for _ in entries:
            assert (place / "x/factors.safetensors").read_bytes() in want
    add_to_library("x", one, library=place, force=True)
    assert (place / "x/factors.safetensors").read_bytes() == (one / "factors.safetensors").read_bytes()
    remove_from_library("x", library=place)
    assert [p.name for p in place.iterdir()] == []
    assert times < 100 or seen == {0, 1}, "kills fell before and after it was there"


COMPARE = ("compare", "persona", "--guards", "rehearse,avert", "--quick", "--steps", "20", "--workers", "2")


def done_in(out):
    return list(out.glob("shared/*/*/despur.json")) + list(out.glob("cells/*/*/*/*/despur.json"))


@pytest.mark.slow
def test_a_comparison_that_was_killed_is_the_uninterrupted_one(tmp_path):
    def start(out):
        command = [sys.executable, "-c", "from despur.cli import main; main()", *COMPARE, "-o", str(out)]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    draw, done = random.Random(0), []
    for _ in range(8):
        run = start(tmp_path / "killed")
        more = len(done_in(tmp_path / "killed")) + draw.randint(0, 2)
        while len(done_in(tmp_path / "killed")) < more and run.poll() is None:
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 1.5))
        assert run.poll() is None, "it ended before"
        run.kill()
        run.communicate()
        done.append(len(done_in(tmp_path / "killed")))
    assert len(set(done)) > 1, f"it got on in between: {done}"
    for name in ("killed", "whole"):
        run = start(tmp_path / name)
        printed = run.communicate()[1].splitlines()
        assert run.returncode == 0
        # lines of progress, where it takes a minute, and nothing else
        assert [x for x in printed if not re.match(r"\d\d:\d\d:\d\d despur: (report|persona)", x)] == []
    one, other = (read_json(tmp_path / name / "results.json") for name in ("killed", "whole"))
    for record in (one, other):
        for line in record["lines"]:
            line.pop("cost")
        for key in ("seconds", "arguments"):
            record.pop(key)
    assert one == other
    cells = {name: {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).glob("cells/**/*.safetensors")}
             for name in ("killed", "whole")}  # fmt: skip
    assert cells["killed"] == cells["whole"]
    assert not list((tmp_path / "killed").rglob(".*.draft"))
