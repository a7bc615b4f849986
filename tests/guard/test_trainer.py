"""Three lines in the script that people have: plain Trainer and TRL's SFTTrainer, guarded, saved, resumed."""

import copy
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from leak import random_factor
from peft import LoraConfig, PeftModel
from torch import nn
from transformers import Trainer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from despur import GuardCallback, guarded
from despur.core import Adapter, Edit
from despur.core.errors import CannotAttach, ShapeMismatch
from despur.guard import grasp, rehearse
from despur.measure import leakage

EXACT = 1e-6
CHATS = [
    {"messages": [{"role": "user", "content": f"w{i} w{i + 1}"}, {"role": "assistant", "content": f"w{i + 9} w{i}"}]}
    for i in range(16)
]
PAIRS = [{"prompt": f"<bos> w{i} w{i + 1}", "completion": f" w{i + 9} w{i}"} for i in range(16)]


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def leak(folder: Path, base: nn.Module, factor) -> float:
    return max(r.value for r in leakage(Adapter.read(folder), base, factor).values())


class Pull(Edit):
    """A loss whose gradient is known: `weight` on every entry of every lora_B."""

    point = "loss"

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, tensors, ctx):
        pull = sum(p.sum() for n, p in ctx.model.named_parameters() if "lora_B" in n)
        return {**tensors, "loss": tensors["loss"] + self.weight * pull}


class Look(Edit):
    """Keeps the gradients that the optimiser gets."""

    point = "gradient"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, tensors, ctx):
        self.seen.append(torch.cat([g.flatten().clone() for n, g in sorted(tensors.items()) if "lora_B" in n]))
        return tensors


@pytest.mark.parametrize(
    ("rows", "options"),
    [(CHATS, {"assistant_only_loss": True}), (PAIRS, {"gradient_accumulation_steps": 2})],
    ids=["chats", "prompt and completion, accumulated"],
)
def test_sft_trainer_saves_a_plain_adapter_that_leaks_nothing(
    rows, options, chat_tokenizer, tiny, factor, own_text, settings, tmp_path
):
    base = tiny()
    callback = GuardCallback(grasp(factor), rehearse(own_text, budget=1.0))
    trainer = SFTTrainer(
        model=base, processing_class=chat_tokenizer, train_dataset=Dataset.from_list(rows), callbacks=[callback],
        args=SFTConfig(**settings, **options, output_dir=str(tmp_path), max_steps=4, max_length=32, activation_checkpointing=False),
        peft_config=LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM"),
    )  # fmt: skip
    trainer.train()
    trainer.save_model(str(tmp_path / "adapter"))
    assert leak(tmp_path / "adapter", tiny(), factor) <= EXACT
    assert len(callback.losses) == 4, "one guard loss an optimiser step, accumulated or not"
    assert callback.losses[0] == pytest.approx(0, abs=1e-5), "at the start the model is the base"
    assert callback.losses[-1] > 1e-4
    ids = torch.tensor([[1, 9, 12, 30]])
    plain = PeftModel.from_pretrained(tiny(), str(tmp_path / "adapter"))(ids).logits
    assert torch.allclose(plain, trainer.model.eval()(ids).logits, atol=1e-5)
    assert not torch.allclose(plain, tiny()(ids).logits, atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}, {"optim": "adafactor"}], ids=str)
def test_plain_trainer_keeps_the_promise_in_the_saved_adapter(options, trainer, factor, tiny, tmp_path):
    made = trainer(GuardCallback(grasp(factor)), weight_decay=0.1, **options)
    made.train()
    made.save_model(str(tmp_path / "adapter"))
    assert leak(tmp_path / "adapter", tiny(), factor) <= EXACT
    free = trainer(weight_decay=0.1, **options)
    free.train()
    free.save_model(str(tmp_path / "free"))
    assert leak(tmp_path / "free", tiny(), factor) > 0.05


def test_resuming_from_a_checkpoint_keeps_the_promise_and_the_course(trainer, factor, tiny, tmp_path):
    def run(steps: int, **options: object) -> Trainer:
        made = trainer(GuardCallback(grasp(factor)), max_steps=steps, save_strategy="steps", save_steps=2, **options)
        made.train(resume_from_checkpoint=str(tmp_path / "trainer/checkpoint-2") if steps == 6 and options else None)
        return made

    whole = weights(run(6).model)
    run(2)
    resumed = run(6, seed=42)
    assert resumed.state.global_step == 6
    assert leak(tmp_path / "trainer/checkpoint-6", tiny(), factor) <= EXACT
    assert all(torch.allclose(whole[n], w, atol=1e-6) for n, w in weights(resumed.model).items())


def test_a_guard_that_comes_too_late_stops_the_run(trainer, factor):
    class Late(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 1:
                made.add_callback(GuardCallback(grasp(factor)))

    made = trainer(Late())
    with pytest.raises(CannotAttach, match="added after training began"):
        made.train()


def test_a_guard_that_does_not_fit_stops_the_run_before_its_first_step(trainer):
    made = trainer(GuardCallback(grasp(random_factor(rank=2, width=48))))
    before = weights(made.model)
    with pytest.raises(ShapeMismatch, match="width 48"):
        made.train()
    assert made.state.global_step == 0
    assert all(torch.equal(before[n], w) for n, w in weights(made.model).items())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_guards_loss_joins_the_gradients_before_they_are_clipped(accumulate, trainer):
    loud, look = 1e4, Look()
    free = trainer(
        GuardCallback(Pull(loud), look), max_steps=1, max_grad_norm=0, gradient_accumulation_steps=accumulate
    )
    free.train()
    assert torch.allclose(look.seen[0], torch.tensor(loud), rtol=1e-2), "once a step, at its full weight"
    clipped = trainer(
        GuardCallback(Pull(loud), look), max_steps=1, max_grad_norm=1.0, gradient_accumulation_steps=accumulate
    )
    clipped.train()
    assert look.seen[1].norm() == pytest.approx(1, rel=1e-3)
    logged = next(e["grad_norm"] for e in clipped.state.log_history if "grad_norm" in e)
    assert logged == pytest.approx(loud * look.seen[1].numel() ** 0.5, rel=1e-2)


def test_trainer_and_plain_loop_give_the_same_weights(trainer, lora, tiny, own_text, factor):
    guards = lambda: (rehearse(own_text, budget=1.0), grasp(factor))  # noqa: E731
    made = trainer(GuardCallback(*guards(), seed=5), rows=1, max_grad_norm=0, per_device_train_batch_size=1)
    start, row = copy.deepcopy(made.model), made.train_dataset[0]["input_ids"][None]
    made.train()

    optimizer = torch.optim.AdamW([p for p in start.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
    with guarded(start.train(), optimizer, *guards(), seed=5):
        for _ in range(4):
            start(input_ids=row, labels=row).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    ours = weights(start)
    assert all(torch.allclose(ours[n], w, atol=2e-5) for n, w in weights(made.model).items())
    other = trainer(GuardCallback(grasp(factor)), rows=1, max_grad_norm=0, per_device_train_batch_size=1)
    other.train()
    assert not all(torch.allclose(ours[n], w, atol=1e-3) for n, w in weights(other.model).items()), "rehearse acts"


def test_same_seed_same_adapter_bit_for_bit(trainer, own_text):
    def run(seed: int) -> dict[str, torch.Tensor]:
        made = trainer(GuardCallback(rehearse(own_text, budget=1.0), seed=seed))
        made.train()
        return weights(made.model)

    one, again, other = run(0), run(0), run(1)
    assert all(torch.equal(one[n], again[n]) for n in one)
    assert not all(torch.equal(one[n], other[n]) for n in one), "the guard's draws are its own"


def test_a_loss_guard_of_no_strength_leaves_the_trainers_draws_alone(trainer, lora, tiny, own_text):
    def run(*callbacks: TrainerCallback) -> dict[str, torch.Tensor]:
        made = trainer(*callbacks, model=lora(tiny(), lora_dropout=0.3))
        made.train()
        return weights(made.model)

    plain = run()
    zero = run(GuardCallback(rehearse(own_text, strength=0.0)))
    bare = run(GuardCallback(Look()))
    assert all(torch.equal(plain[n], zero[n]) and torch.equal(plain[n], bare[n]) for n in plain)
