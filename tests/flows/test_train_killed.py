"""kill -9 at any moment of `train`, and the same arguments again: the adapter's file is the uninterrupted one's, byte for byte."""

import multiprocessing
import os
import random
import re
import signal
import time

import pytest

from despur.core import read_json
from despur.flows import Settings, train

SCOUT, STEPS, EVERY = 9, 24, 4
GIVEN = {
    "settings": Settings(steps=STEPS, lr=2e-3, batch=16, rank=4), "scout_steps": SCOUT, "own_rows": 16, "own_tokens": 8,
    "save_every": EVERY, "eval_every": 5,
}  # fmt: skip
FEW = [6, SCOUT + 11, SCOUT + STEPS - 1]  # steps of scout and guarded run, counted on
TEN = sorted(random.Random(0).sample(range(1, SCOUT + STEPS), 10))


@pytest.fixture
def start(base, data):
    """`start(out, **given)`: the run in a process of its own, and a counter of its steps."""
    fork = multiprocessing.get_context("fork")

    def begin(out, **given):
        at = fork.Value("i", 0)

        def count(stage, step, steps, figures):
            if stage in ("scout", "adapter"):
                at.value = step + SCOUT * (stage == "adapter")

        def work():
            train(base, data, out=out, progress=count, **{**GIVEN, **given})

        run = fork.Process(target=work)
        run.start()
        return run, at

    return begin


def finish(begun):
    begun[0].join()
    assert begun[0].exitcode == 0


def kill_at(begun, moment, wait=0.0):
    run, at = begun
    while at.value < moment:
        assert run.is_alive(), f"it ended before step {moment}"
        time.sleep(0.0005)
    time.sleep(wait)
    os.kill(run.pid, signal.SIGKILL)
    run.join()


def weights(out):
    return (out / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("moments", "given"),
    [
        (FEW, {}),
        pytest.param(FEW[1:], {"guard": "grasp", "patience": 1}, marks=pytest.mark.slow),
        pytest.param(TEN, {}, marks=pytest.mark.slow),
        pytest.param(TEN, {"patience": 2}, marks=pytest.mark.slow),
    ],
    ids=["three moments", "patience", "ten moments", "ten moments, patience"],
)
def test_killed_and_resumed_is_uninterrupted(moments, given, start, tmp_path):
    draw, log = random.Random(1), []
    for moment in moments:
        # in a step, or in a checkpoint's writing
        kill_at(start(tmp_path / "killed", **given), moment, draw.uniform(0, 0.02))
        log.append((moment, sorted(p.name for p in (tmp_path / "killed").glob(".checkpoints/*/*"))))
    for name in ("whole", "killed"):
        finish(start(tmp_path / name, **given))
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert read_json(tmp_path / "killed/history.json") == read_json(tmp_path / "whole/history.json")
    notes = read_json(tmp_path / "killed/run.json")["notes"]
    assert re.search(r"adapter was interrupted, and went on from step (8|12|16|20)", " ".join(notes)), (notes, log)
    assert len({str(left) for _, left in log}) > 1, f"it got on in between: {log}"
    assert not (tmp_path / "killed/.checkpoints").exists()
