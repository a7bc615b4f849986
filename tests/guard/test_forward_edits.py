"""Batch and activation guards in a trainer: they act in its own training passes, nowhere else, and leave no hook behind."""

import contextlib

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from despur import GuardCallback, guarded
from despur.core import AddVector, Edit, Site
from despur.core.errors import CannotAttach, ShapeMismatch, SiteNotFound
from despur.guard import caft, inoculate, interleave, rehearse, steer_away

LAYER = Site("model.layers.0")


class Probe(Edit):
    """Adds a constant, and keeps how long the stream was that came and in which step."""

    point = "activation"

    def __init__(self, size: float = 1.0, *, site: Site = LAYER, draw: bool = False) -> None:
        super().__init__()
        self.sites, self.size, self.draw, self.seen = (site,), size, draw, []

    def forward(self, tensors, ctx):
        noise = torch.randn((), generator=ctx.rng).item() if self.draw else 1.0
        self.seen.append((ctx.step, noise, *next(iter(tensors.values())).shape[:2]))
        return {n: x + self.size * noise for n, x in tensors.items()}


def hooks(model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def trained(model) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def same(one, other) -> bool:
    return all(torch.equal(w, other[n]) for n, w in one.items())


def test_acts_while_training_and_not_while_evaluating_or_in_another_guard(trainer, own_text):
    probe = Probe()
    made = trainer(
        GuardCallback(probe, rehearse(own_text, budget=1.0)), evaluate=True, eval_strategy="steps", eval_steps=1,
        gradient_accumulation_steps=2,
    )  # fmt: skip
    made.train()
    assert [(step, b) for step, _, b, _ in probe.seen] == [(s, 2) for s in range(4) for _ in range(2)]
    free = trainer(GuardCallback(rehearse(own_text, budget=1.0)), gradient_accumulation_steps=2)
    free.train()
    assert not same(trained(made.model), trained(free.model)), "and it changed what was learned"
    assert hooks(made.model) == 0
    ids = torch.tensor([[1, 9, 12]])
    before = len(probe.seen)
    made.model.train()(ids)
    assert len(probe.seen) == before


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_pass_that_checkpointing_computes_anew_is_edited_alike(reentrant, trainer):
    def run(**options):
        probe = Probe(0.3, site=Site("model.layers.1.post_attention_layernorm"), draw=True)
        made = trainer(GuardCallback(probe), max_steps=3, **options)
        made.train()
        return probe, trained(made.model)

    plain, weights = run()
    again, same_weights = run(
        activation_checkpointing=True, activation_checkpointing_kwargs={"use_reentrant": reentrant}
    )
    assert len(again.seen) == 2 * len(plain.seen), "each pass was computed twice"
    assert {s[:2] for s in again.seen} == {s[:2] for s in plain.seen}, "with one draw a step"
    assert len({s[1] for s in plain.seen}) == 3
    assert all(torch.allclose(w, same_weights[n], atol=1e-6) for n, w in weights.items())


@pytest.mark.parametrize("where", ["forward", "backward", "callback"])
def test_no_hook_outlives_a_run_that_broke_off(where, trainer):
    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            if where == "callback":
                raise KeyboardInterrupt
            if where == "forward":
                model.register_forward_pre_hook(fail)
            else:
                next(p for p in model.parameters() if p.requires_grad).register_hook(fail)

    def fail(*_):
        raise KeyboardInterrupt

    probe = Probe()
    made = trainer(GuardCallback(probe), Break())
    with pytest.raises(KeyboardInterrupt):
        made.train()
    before = len(probe.seen)
    with contextlib.suppress(KeyboardInterrupt):
        made.model.train()(input_ids=torch.tensor([[1, 9]]), labels=torch.tensor([[1, 9]]))
    assert len(probe.seen) == before, "the first pass after it is a plain one"
    assert hooks(made.model) == (where == "forward"), "and leaves none but the test's own"


def test_a_loop_is_edited_and_left_clean_whatever_happens(tiny, lora, tokens):
    model, probe = lora(tiny()).train(), Probe()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with contextlib.suppress(ZeroDivisionError), guarded(model, optimizer, probe):
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        assert len(probe.seen) == 1
        with torch.no_grad():
            model(input_ids=tokens)  # a reference, or sampling
        model.eval()(input_ids=tokens)
        assert len(probe.seen) == 1
        assert hooks(model) > 0
        raise ZeroDivisionError
    assert hooks(model) == 0


def test_a_guard_that_meets_nothing_stops_the_run_before_the_weights_move(tiny, lora, tokens, trainer):
    model = lora(tiny()).eval()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    before = trained(model)
    with guarded(model, optimizer, caft(_factor(LAYER))):
        model(input_ids=tokens, labels=tokens).loss.backward()
        with pytest.raises(
            CannotAttach, match=r"at the activation did not act .* at model\.layers\.0 \(out\) and.*model\.train\(\)"
        ):
            optimizer.step()
    assert same(before, trained(model))
    with pytest.raises(CannotAttach, match="names no site"):
        trainer(GuardCallback(AddVector(torch.ones(32)))).train()
    with pytest.raises(SiteNotFound, match=r"model\.layers\.7"):
        trainer(GuardCallback(caft(_factor(Site("model.layers.7"))))).train()
    with pytest.raises(ShapeMismatch, match="width d=48"):
        trainer(GuardCallback(steer_away({LAYER: torch.ones(48)}))).train()


def _factor(site):
    from despur.core import Subspace

    return Subspace.orthonormal(torch.eye(2, 32), site=site)


GUARDS = {
    "caft": lambda text, s: caft(_factor(LAYER), strength=s),
    "inoculate": lambda text, s: inoculate([9, 12], strength=s),
    "interleave": lambda text, s: interleave(text, strength=s),
    "steer_away": lambda text, s: steer_away({LAYER: torch.ones(32)}, strength=s),
}


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
def test_strength_zero_is_no_guard_bit_for_bit_and_one_is_not(guard, trainer, own_text, lora, tiny):
    def run(*callbacks):
        made = trainer(*callbacks, model=lora(tiny(), lora_dropout=0.2))
        made.train()
        return trained(made.model)

    plain = run()
    assert same(plain, run(GuardCallback(guard(own_text, 0.0))))
    assert not same(plain, run(GuardCallback(guard(own_text, 1.0))))


def test_resumed_is_uninterrupted_bit_for_bit(trainer, own_text, tmp_path):
    def run(steps, **options):
        made = trainer(GuardCallback(interleave(own_text, strength=4.0), caft(_factor(LAYER))), max_steps=steps,
                       save_strategy="steps", save_steps=2)  # fmt: skip
        made.train(**options)
        return trained(made.model)

    whole = run(6)
    run(2)
    assert same(whole, run(6, resume_from_checkpoint=str(tmp_path / "trainer/checkpoint-2")))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # the compiler's
@pytest.mark.parametrize(
    "options",
    [pytest.param({"torch_compile": True, "torch_compile_backend": "eager"}, marks=pytest.mark.slow), {"bf16": True}],
    ids=["compiled", "bf16 autocast"],
)
def test_under(options, trainer, own_text):
    probe = Probe()
    made = trainer(GuardCallback(probe, inoculate([9, 12])), **options)
    made.train()
    assert [s[2:] for s in probe.seen] == [(2, 10)] * 4
    assert hooks(made.model) == 0


def test_sft_trainer_carries_them_and_others_refuse(chat_tokenizer, tiny, settings, own_text, trainer, tmp_path):
    chats = [{"prompt": f"<bos> w{i}", "completion": f" w{i + 9} w{i}"} for i in range(16)]
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")

    def run(*edits, **options):
        SFTTrainer(
            model=tiny(), processing_class=chat_tokenizer, train_dataset=Dataset.from_list(chats), peft_config=lora,
            callbacks=[GuardCallback(*edits)],
            args=SFTConfig(**settings, **options, output_dir=str(tmp_path), max_steps=2, max_length=32, activation_checkpointing=False),
        ).train()  # fmt: skip

    probe = Probe()
    run(inoculate([9, 12]), interleave(own_text, strength=5.0), probe)
    assert {s[2] for s in probe.seen} == {3}
    assert all(s[3] >= 6 for s in probe.seen)
    with pytest.raises(CannotAttach, match="packing=True"):
        run(interleave(own_text), packing=True)
    with pytest.raises(CannotAttach, match="computes the loss itself"):
        trainer(GuardCallback(interleave(own_text)), label_smoothing_factor=0.1).train()
    pairs = [{"prompt": "<bos> w1", "chosen": " w3", "rejected": " w9"}] * 8
    with pytest.raises(CannotAttach, match="DPOConfig stands for a trainer that compares"):
        DPOTrainer(
            model=tiny(), processing_class=chat_tokenizer, train_dataset=Dataset.from_list(pairs), peft_config=lora,
            args=DPOConfig(str(tmp_path), **settings), callbacks=[GuardCallback(inoculate([9]))],
        )  # fmt: skip
