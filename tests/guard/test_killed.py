"""kill -9 at ten random moments, checkpoints half written included: resumed, the adapter is the uninterrupted one."""

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from despur import GuardCallback
from despur.core import Adapter
from despur.guard import avert, grasp
from despur.measure import leakage

STEPS, EVERY, KILLS = 60, 4, 10


def last_whole(folder: Path) -> str | None:
    """The latest checkpoint whose state, which Trainer writes last, can be read."""
    found = {}
    for path in folder.glob("checkpoint-*/trainer_state.json"):
        try:
            found[json.loads(path.read_text())["global_step"]] = str(path.parent)
        except (ValueError, OSError):
            continue
    return found[max(found)] if found else None


@pytest.mark.slow
def test_killed_and_resumed_is_uninterrupted(trainer, tiny, lora, own_text, factor, tmp_path):
    scout = lora(tiny())
    with torch.no_grad():
        for name, weight in scout.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    scout.save_pretrained(tmp_path / "scout")

    fork = multiprocessing.get_context("fork")
    at = fork.Value("i", 0)

    class Count(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            at.value = state.global_step

    def work(out: Path) -> None:
        """What a user's script does, killed or not: go on after the last checkpoint that is there."""
        made = trainer(
            GuardCallback(avert(own_text, tmp_path / "scout", budget=1.0), grasp(factor)), Count(),
            model=lora(tiny(), lora_dropout=0.2), output_dir=str(out), max_steps=STEPS, save_strategy="steps",
            save_steps=EVERY, gradient_accumulation_steps=2, save_total_limit=3,
        )  # fmt: skip
        made.train(resume_from_checkpoint=last_whole(out))
        made.save_model(str(out / "final"))

    def start(name: str) -> multiprocessing.Process:
        at.value = 0
        run = fork.Process(target=work, args=(tmp_path / name,))
        run.start()
        return run

    draw, log = random.Random(0), []
    for moment in sorted(draw.sample(range(1, STEPS - 1), KILLS)):
        run = start("killed")
        while at.value < moment:
            assert run.is_alive()
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.05))  # anywhere in a step or in the writing of a checkpoint
        os.kill(run.pid, signal.SIGKILL)
        run.join()
        log.append((moment, last_whole(tmp_path / "killed")))
    for name in ("whole", "killed"):
        run = start(name)
        run.join()
        assert run.exitcode == 0
    assert len({path for _, path in log}) > 4, f"it got on in between: {log}"
    one, other = (load_file(tmp_path / name / "final/adapter_model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(other[n], w) for n, w in one.items())
    assert max(r.value for r in leakage(Adapter.read(tmp_path / "killed/final"), tiny(), factor).values()) <= 1e-6
