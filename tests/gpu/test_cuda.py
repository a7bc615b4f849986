"""On a CUDA device: what a guard gives lies where it got it, and sampling, captures, checks and training run there."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from despur import GuardCallback, guarded
from despur.core import Adapter, Context, Edit, Site, Subspace, methods
from despur.core.build import build as build_method
from despur.core.model.capture import capture, label_log_probs
from despur.flows import Settings
from despur.flows._train.fit import fit, new_adapter
from despur.guard import OwnText, grasp
from despur.measure import causal_checks, leakage
from despur.testing import TinyMaterials, acting_input, tiny_tuned
from despur.worlds import persona_base

pytestmark = pytest.mark.gpu
DEVICE = "cuda"
LAYER = Site("model.layers.0")
GUARDS = sorted(name for name, m in methods().items() if m.room in ("guard", "steer"))
WITH_STRENGTH = [name for name in GUARDS if "strength" in methods()[name].options]
ACTING = ("avert", "grasp", "hold", "rehearse")  # two that hold outputs, one coordinates, one weights


@pytest.fixture
def model() -> nn.Module:
    """A tiny model on the device, whose adapter has moved off the base."""
    return tiny_tuned().to(DEVICE)


def build(name: str, **options: Any) -> Edit:
    return build_method(name, TinyMaterials(), **options)


def met(edit: Edit, model: nn.Module) -> dict[str, Tensor]:
    """What an edit meets at its point, where the model is."""
    device = next(model.parameters()).device
    return {name: tensor.to(device) for name, tensor in acting_input(edit, model).items()}


def own_rows(n: int = 24) -> list[list[int]]:
    draw = torch.Generator().manual_seed(4)
    return [[1, *torch.randint(7, 64, (6 + i % 5,), generator=draw).tolist()] for i in range(n)]


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_guard_binds_and_acts_where_the_model_is(name, dtype, model):
    model = model.to(dtype)
    edit = build(name)
    edit.bind(model)
    tensors = met(edit, model)
    before = {k: t.clone() for k, t in tensors.items()}
    out = edit(tensors, Context(model))
    for key, was in before.items():
        assert torch.equal(tensors[key], was), "its input was mutated"
        assert (out[key].dtype, out[key].device) == (was.dtype, was.device)
        assert torch.isfinite(out[key]).all()
    assert any(not torch.equal(out[key], was) for key, was in before.items()), "it acts"
    if edit.point == "loss":
        out["loss"].backward()
        assert any(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("name", WITH_STRENGTH)
def test_strength_zero_is_the_identity(name, model):
    edit = build(name, strength=0.0)
    edit.bind(model)
    tensors = met(edit, model)
    out = edit(tensors, Context(model))
    assert out.keys() == tensors.keys()
    assert all(torch.equal(out[k], t) for k, t in tensors.items())


@pytest.mark.parametrize("name", GUARDS)
def test_it_gives_what_it_gives_on_a_cpu(name):
    """The same draws and the same numbers to float32's precision: no step is left to the device's own generator."""
    given = []
    for device in ("cpu", DEVICE):
        model = tiny_tuned().to(device)
        edit = build(name)
        edit.bind(model)
        out = edit(met(edit, model), Context(model, rng=torch.Generator().manual_seed(4)))
        given.append({k: t.detach().float().cpu() for k, t in out.items()})
    on_cpu, there = given
    assert on_cpu.keys() == there.keys()
    for key, value in on_cpu.items():
        torch.testing.assert_close(there[key], value, rtol=1e-3, atol=1e-4)


def test_own_text_is_fixed_by_its_seed_and_leaves_the_device_s_draws_alone():
    base, tokenizer = persona_base()
    base = base.to(DEVICE)
    before, on_cpu = torch.cuda.get_rng_state(), torch.get_rng_state()
    text = OwnText.sample(base, tokenizer, rows=32, max_new_tokens=16, seed=1)
    assert torch.equal(torch.get_rng_state(), on_cpu)
    assert torch.equal(torch.cuda.get_rng_state(), before)
    torch.manual_seed(9)
    assert OwnText.sample(base, tokenizer, rows=32, max_new_tokens=16, seed=1) == text
    assert OwnText.sample(base, tokenizer, rows=32, max_new_tokens=16, seed=2) != text
    text.check_health()


def test_captures_and_log_probabilities_are_those_of_a_cpu(tiny):
    rows = own_rows()
    labelled = [{"input_ids": r, "labels": [-100, *r[1:]]} for r in rows]
    seen = {}
    for device in ("cpu", DEVICE):
        model = tiny().to(device)
        states, owners = capture(model, rows, [LAYER])
        sums, counts = label_log_probs(model, labelled)
        assert {t.device.type for t in (states[LAYER], owners, sums, counts)} == {"cpu"}
        seen[device] = states[LAYER], owners, sums, counts
    for one, other in zip(seen["cpu"], seen[DEVICE], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_causal_checks_find_the_direction_that_carries_the_change(writer, v):
    other = torch.nn.functional.normalize(torch.randn(32) - v.sum() * v, dim=0)
    factors = {name: Subspace.orthonormal(d[None], site=LAYER) for name, d in (("v", v), ("other", other))}
    checks = causal_checks(writer().to(DEVICE), own_rows(40), factors, n_random=4)
    assert checks["v"].sufficiency > 0.9
    assert checks["v"].beats_random
    assert checks["other"].sufficiency < 0.5


@pytest.mark.parametrize("name", ACTING)
def test_a_trainer_runs_guarded(name, tiny, lora, tmp_path):
    """Mixed precision, accumulation and clipping, as people have them; without the guard the weights end elsewhere."""
    ends = []
    for callbacks in ([GuardCallback(build(name))], []):
        torch.manual_seed(0)
        model = lora(tiny())
        data = [{"input_ids": torch.tensor(r[:7]), "labels": torch.tensor(r[:7])} for r in own_rows()]
        arguments = TrainingArguments(
            output_dir=str(tmp_path / "trainer"), per_device_train_batch_size=4, gradient_accumulation_steps=2, max_steps=4,
            learning_rate=1e-2, bf16=DEVICE == "cuda", use_cpu=DEVICE == "cpu", save_strategy="no", report_to=[],
            disable_tqdm=True, lr_scheduler_type="constant",
        )  # fmt: skip
        trainer = Trainer(model=model, args=arguments, callbacks=callbacks, train_dataset=data)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        assert next(model.parameters()).device.type == DEVICE
        ends.append({n: p.detach().float().cpu() for n, p in model.named_parameters() if p.requires_grad})
    held, plain = ends
    assert all(torch.isfinite(p).all() for p in held.values())
    assert any(not torch.equal(held[n], plain[n]) for n in plain), "it acts"


def test_grasp_is_exact_in_a_loop_of_one_s_own(tiny, lora):
    factor = Subspace.orthonormal(torch.randn(2, 32, generator=torch.Generator().manual_seed(5)))
    left = []
    for guards in ([grasp(factor)], []):
        model = lora(tiny()).to(DEVICE)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        ids = torch.tensor([r[:7] for r in own_rows()], device=DEVICE)
        with guarded(model, optimizer, *guards):
            for part in ids.split(6):
                model(input_ids=part, labels=part).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        left.append({side: report.value for side, report in leakage(Adapter.of(model), tiny(), factor).items()})
    held, plain = left
    assert all(held[side] < 1e-5 < 1e-2 < plain[side] for side in plain), left


def test_the_flow_s_own_run_takes_the_device_by_itself(tiny):
    """`despur train` asks nobody for a device."""
    settings = Settings(steps=3, batch=4, rank=2)
    model = new_adapter(tiny(), settings)
    done = fit(model, [{"input_ids": r, "labels": list(r)} for r in own_rows()], settings, [build("rehearse")])
    assert len(done.losses) == 3
    assert next(model.parameters()).device.type == DEVICE
