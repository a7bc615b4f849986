"""What a training script may ask of its Trainer beside the guard: the promise and the course stay what they were."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig

from despur import GuardCallback, guarded
from despur.core import Adapter
from despur.core.errors import CannotAttach
from despur.guard import avert, grasp, rehearse
from despur.measure import leakage

EXACT = 1e-6
OPTIONS = {
    "clipping": {"max_grad_norm": 0.1},
    "no clipping": {"max_grad_norm": 0.0},
    "accumulation": {"gradient_accumulation_steps": 3},
    "checkpointing": {"gradient_checkpointing": True},
    "bf16 autocast": {"bf16": True},
    "compiled": {"torch_compile": True, "torch_compile_backend": "eager"},
    "decay": {"weight_decay": 0.3, "optim": "adamw_torch_fused"},
}


def leak(adapter: Adapter, base, factor) -> float:
    return max(r.value for r in leakage(adapter, base, factor).values())


def trained(model) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def whole(model):
    """Train every matrix of a plain model."""
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.ndim == 2)
    return model


@pytest.fixture
def scout(tiny, lora, tmp_path):
    model = lora(tiny())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    model.save_pretrained(tmp_path / "scout")
    return tmp_path / "scout"


@pytest.mark.parametrize(
    "options", [pytest.param(o, id=n, marks=[pytest.mark.slow] if n == "compiled" else []) for n, o in OPTIONS.items()]
)
def test_exact_and_acting_under(options, trainer, own_text, factor, tiny):
    callback = GuardCallback(rehearse(own_text, budget=1.0), grasp(factor))
    made, free = trainer(callback, **options), trainer(**options)
    made.train()
    free.train()
    assert leak(Adapter.of(made.model), tiny(), factor) <= EXACT
    assert leak(Adapter.of(free.model), tiny(), factor) > 0.05, "the control"
    assert len(callback.losses) == 4
    assert callback.losses[-1] > 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, inside the compiler
def test_exact_when_compiled_by_inductor(trainer, factor, tiny):
    if not shutil.which("g++"):
        pytest.skip("inductor needs a C++ compiler, and there is none")
    made = trainer(GuardCallback(grasp(factor)), torch_compile=True)
    made.train()
    assert leak(Adapter.of(made.model), tiny(), factor) <= EXACT


def test_bfloat16_weights_are_held_as_well_as_they_can_be_written(trainer, tiny, lora, factor):
    """The projection is in float32; what is left is the rounding of the weights, and to project again changes little."""
    guard = grasp(factor)
    made = trainer(GuardCallback(guard), model=lora(tiny()).to(torch.bfloat16))
    made.train()
    assert all(p.dtype == torch.bfloat16 for p in made.model.parameters())
    free = trainer(model=lora(tiny()).to(torch.bfloat16))
    free.train()
    left, control = (leak(Adapter.of(m.model), tiny(), factor) for m in (made, free))
    assert left < 3e-3 < 0.05 < control
    held = {n: p.detach() for n, p in made.model.named_parameters() if n in guard.projections}
    again = {n: guard.projections[n].project(p) for n, p in held.items()}
    moved = sum(float((again[n].float() - p.float()).square().sum()) for n, p in held.items()) ** 0.5
    size = sum(float(p.float().square().sum()) for p in held.values()) ** 0.5
    assert moved < 2e-3 * size, "idempotent up to rounding: bfloat16 has 8 bits"


def run_in_parts(trainer, build, edits, folder, *, forget: bool = False) -> tuple[dict, dict]:
    """Weights after eight steps at a stretch, and after a stop in the fourth with the third as last checkpoint."""

    def run(steps: int, at: int = 0):
        made = trainer(
            GuardCallback(*edits()), model=build(), max_steps=steps, save_strategy="steps",
            save_steps=3, gradient_accumulation_steps=2,
        )  # fmt: skip
        made.train(resume_from_checkpoint=str(folder / f"checkpoint-{at}") if at else None)
        return trained(made.model)

    uninterrupted = run(8)
    shutil.rmtree(folder)
    run(4)
    if forget:
        path = folder / "checkpoint-3/trainer_state.json"
        state = json.loads(path.read_text())
        state["stateful_callbacks"] = {k: v for k, v in state["stateful_callbacks"].items() if "despur" not in k}
        path.write_text(json.dumps(state))
    return uninterrupted, run(8, at=3)


RESUMED = {
    "grasp": ("lora", lambda text, scout, factor: [grasp(factor)]),
    "half of grasp": ("lora", lambda text, scout, factor: [grasp(factor, strength=0.5)]),
    "avert and grasp": ("lora", lambda text, scout, factor: [avert(text, scout, budget=1.0), grasp(factor)]),
    "full": ("whole", lambda text, scout, factor: [rehearse(text, budget=1.0), grasp(factor)]),
}


@pytest.mark.parametrize(("kind", "guards"), RESUMED.values(), ids=RESUMED)
def test_resumed_is_uninterrupted_bit_for_bit(kind, guards, trainer, own_text, scout, factor, tiny, lora, tmp_path):
    build = {
        "lora": lambda: lora(tiny(), lora_dropout=0.2),
        "whole": lambda: whole(tiny(tie_word_embeddings=False)),
    }[kind]
    uninterrupted, resumed = run_in_parts(trainer, build, lambda: guards(own_text, scout, factor), tmp_path / "trainer")
    assert all(torch.equal(resumed[n], w) for n, w in uninterrupted.items())


def test_what_the_checkpoint_keeps_of_the_guard_is_what_makes_it_so(trainer, own_text, tiny, lora, tmp_path):
    build, edits = lambda: lora(tiny()), lambda: [rehearse(own_text, budget=1.0)]
    uninterrupted, resumed = run_in_parts(trainer, build, edits, tmp_path / "trainer", forget=True)
    assert not all(torch.equal(resumed[n], w) for n, w in uninterrupted.items()), "the control"


def test_the_best_checkpoint_is_a_held_one_and_few_are_kept(trainer, factor, tiny, tmp_path):
    made = trainer(
        GuardCallback(grasp(factor)), eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=1,
        save_total_limit=2, load_best_model_at_end=True, metric_for_best_model="loss", greater_is_better=True, evaluate=True,
    )  # fmt: skip
    made.train()
    kept = sorted((tmp_path / "trainer").glob("checkpoint-*"))
    assert len(kept) == 2
    assert made.state.best_global_step == 1, "the loss falls, and the greatest was asked for"
    assert max(leak(Adapter.read(folder), tiny(), factor) for folder in kept) <= EXACT
    best = {n.replace(".weight", ".default.weight"): w for n, w in torch_weights(kept[0]).items()}
    assert all(torch.equal(best[n], w) for n, w in trained(made.model).items())


def torch_weights(folder) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def test_a_full_fine_tune_keeps_what_the_base_does_with_the_factor_and_no_copy_of_it(trainer, tiny, factor):
    guard = grasp(factor)
    made = trainer(GuardCallback(guard), model=whole(tiny(tie_word_embeddings=False)))
    base = {n: p.detach().clone() for n, p in made.model.named_parameters()}
    made.train()
    for name, held in guard.projections.items():
        weight = made.model.get_parameter(name)
        assert held.basis.numel() + held.anchor.numel() == factor.rank * sum(weight.shape), "k (d_in + d_out)"
        change = weight.detach() - base[name]
        along = held.basis @ change if held.rows else change @ held.basis.T
        assert along.norm() <= EXACT * weight.norm()
        assert change.norm() > 0.01


def test_of_several_adapters_the_trained_ones_are_held_and_the_others_left_alone(
    trainer, tiny, lora, factor, own_text, scout, tmp_path
):
    def with_two():
        model = lora(tiny())
        model.add_adapter("other", LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
        return model

    model = with_two()
    other = {n: p.detach().clone() for n, p in model.named_parameters() if ".other." in n}
    trainer(GuardCallback(avert(own_text, scout, budget=1.0), grasp(factor)), model=model).train()
    assert leak(Adapter.of(model), tiny(), factor) <= EXACT
    assert leak(Adapter.of(model, "other"), tiny(), factor) > 0.05
    assert all(torch.equal(p, other[n]) for n, p in model.named_parameters() if n in other)
    assert list(model.peft_config) == ["default", "other"]

    both = with_two()
    both.base_model.set_adapter(["default", "other"])
    trainer(GuardCallback(avert(own_text, scout, budget=1.0), grasp(factor)), model=both).train()
    assert both.active_adapters == ["default", "other"]
    assert max(leak(Adapter.of(both, name), tiny(), factor) for name in both.peft_config) <= EXACT


@pytest.mark.slow
def test_compiled_model_in_a_loop(tiny, lora, tokens, factor):
    model = lora(tiny())
    compiled = torch.compile(model, backend="eager")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    with guarded(compiled, optimizer, grasp(factor)):
        for _ in range(2):
            compiled(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    assert leak(Adapter.of(model), tiny(), factor) <= EXACT


def test_a_resumed_full_fine_tune_needs_its_base(trainer, tiny, factor, tmp_path):
    trainer(model=whole(tiny()), save_strategy="steps", save_steps=2).train()
    made = trainer(model=whole(tiny()), max_steps=6)
    made.add_callback(GuardCallback(grasp(factor)))
    with pytest.raises(CannotAttach, match="has not seen its base"):
        made.train(resume_from_checkpoint=str(tmp_path / "trainer/checkpoint-4"))


def test_an_adapter_added_to_the_model_itself_is_held_but_cannot_be_switched_off(trainer, tiny, factor, own_text):
    def added():
        model = tiny()
        model.add_adapter(LoraConfig(r=4, target_modules="all-linear"))
        return model

    made = trainer(GuardCallback(grasp(factor)), model=added())
    made.train()
    assert leak(Adapter.of(made.model), tiny(), factor) <= EXACT
    with pytest.raises(CannotAttach, match="get_peft_model instead of add_adapter"):
        trainer(GuardCallback(rehearse(own_text)), model=added()).train()


def test_weights_that_are_unfrozen_behind_the_guards_back(trainer, tiny, factor):
    model = whole(tiny(tie_word_embeddings=False))
    model.model.layers[0].requires_grad_(False)
    made = trainer(GuardCallback(grasp(factor)), model=model)
    model.model.layers[0].mlp.requires_grad_(True)
    with pytest.raises(CannotAttach, match="3 weights were frozen or unfrozen"):
        made.train()
