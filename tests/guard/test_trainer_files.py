"""What a guarded Trainer leaves on disk, and so would push to a hub: the files of an unguarded one, no more and no other."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from despur import GuardCallback
from despur.core import Adapter
from despur.guard import grasp, rehearse
from despur.measure import leakage

SAVES = {"save_strategy": "steps", "save_steps": 2}
BEST = {
    **SAVES, "save_total_limit": 1, "eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True,
    "metric_for_best_model": "loss", "greater_is_better": False, "evaluate": True,
}  # fmt: skip


def files(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def random_state(checkpoint):
    return torch.load(checkpoint / "rng_state.pth", weights_only=False)


def run(trainer, folder, *callbacks, **options):
    made = trainer(*callbacks, output_dir=str(folder), seed=5, **options)
    made.train()
    made.save_model(str(folder))  # what push_to_hub saves and uploads, checkpoints left out
    return made


@pytest.mark.parametrize("options", [SAVES, BEST], ids=["checkpoints", "best at the end, one kept"])
def test_the_files_are_those_of_an_unguarded_run(options, trainer, own_text, factor, tmp_path):
    guard = GuardCallback(rehearse(own_text, budget=1.0), grasp(factor))
    run(trainer, tmp_path / "guarded", guard, **options)
    run(trainer, tmp_path / "plain", **options)
    assert files(tmp_path / "guarded") == files(tmp_path / "plain")
    assert {"adapter_model.safetensors", "adapter_config.json"} <= files(tmp_path / "guarded")


def test_their_content_is_too_but_for_weights_and_the_checkpoints_own_state(trainer, own_text, factor, tmp_path):
    run(trainer, tmp_path / "guarded", GuardCallback(rehearse(own_text, budget=1.0), grasp(factor)), **SAVES)
    run(trainer, tmp_path / "plain", **SAVES)
    differing = {
        name
        for name in files(tmp_path / "plain")
        if (tmp_path / "plain" / name).read_bytes() != (tmp_path / "guarded" / name).read_bytes()
    }
    loose = {
        "adapter_model.safetensors",
        "optimizer.pt",
        "trainer_state.json",
        "training_args.bin",
    }  # the last: output_dir
    checked = {"rng_state.pth"}  # Python's own state in it is drawn from by the type checker of these tests
    assert {name.split("/")[-1] for name in differing} - checked == loose
    one, other = (random_state(tmp_path / k / "checkpoint-4") for k in ("guarded", "plain"))
    assert torch.equal(one["cpu"], other["cpu"]), "the guards' draws are their own"
    assert all(np.array_equal(x, y) for x, y in zip(one["numpy"], other["numpy"], strict=True))
    assert not any("despur" in (tmp_path / "guarded" / n).read_text() for n in ("README.md", "adapter_config.json"))
    one, other = (
        json.loads((tmp_path / k / "checkpoint-4/trainer_state.json").read_text()) for k in ("guarded", "plain")
    )
    assert one.keys() == other.keys()
    more = {k for k in one["stateful_callbacks"] if k not in other["stateful_callbacks"]}
    assert len(more) == 1, "where the guard's draws stand"
    assert next(iter(more)).startswith("despur ")


def test_report_to_and_the_users_callbacks_are_left_alone(trainer, factor):
    guarded, plain = trainer(GuardCallback(grasp(factor))), trainer()
    assert guarded.args.report_to == plain.args.report_to == []
    guarded.train()
    assert guarded.args.report_to == []
    names = [type(c).__name__ for c in guarded.callback_handler.callbacks]
    assert [n for n in names if n != "GuardCallback"] == [type(c).__name__ for c in plain.callback_handler.callbacks]
    logged = {key for entry in guarded.state.log_history for key in entry}
    plain.train()
    assert logged == {key for entry in plain.state.log_history for key in entry}, "nothing of ours is reported either"


def test_under_an_8_bit_optimiser_it_is_exact_too(trainer, factor, tiny):
    if importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("optim='adamw_8bit' needs bitsandbytes, which is not installed")
    made = trainer(GuardCallback(grasp(factor)), optim="adamw_8bit")
    made.train()
    assert max(r.value for r in leakage(Adapter.of(made.model), tiny(), factor).values()) <= 1e-6
