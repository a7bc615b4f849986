"""avert: only the scout's own change is held back; and the functional guards at work in the persona world."""

import pytest
import torch

from despur import guarded
from despur.core import Context
from despur.core.adapter.scout import Scout, as_scout
from despur.core.errors import BadInput, CannotAttach, DespurError
from despur.core.model.capture import log_probs
from despur.core.text.rows import pad_rows, tokenize_rows
from despur.guard import OwnText, avert, rehearse
from despur.worlds import Persona, persona_base


def set_b(model, by: float) -> None:
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(by * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name))))


@pytest.fixture
def scouted(lora, tmp_path):
    """A PEFT model at its base, a scout's folder, and one row of own text (so that every step takes it)."""
    base, tokenizer = persona_base()
    text = OwnText.sample(base, tokenizer, rows=9, max_new_tokens=24)
    model = lora(base).eval()
    set_b(model, 0.06)
    model.save_pretrained(tmp_path / "scout")
    set_b(model, 0)
    return model, tmp_path / "scout", OwnText(text.rows[:1])


def penalty(guard, model) -> torch.Tensor:
    return guard({"loss": torch.zeros(())}, Context(model))["loss"]


@torch.no_grad()
def dense(model, scout, row, by: float, *, one_sided: bool = True) -> float:
    """The formula of the docstring, over the whole vocabulary, the model at `by`."""
    ids = torch.tensor([row])
    mask = torch.ones_like(ids)
    with model.disable_adapter():
        base = log_probs(model, ids, mask)
    with as_scout(model, scout):
        scouted = log_probs(model, ids, mask)
    set_b(model, by)
    now = log_probs(model, ids, mask)
    change, w = scouted - base, (base.exp() + scouted.exp()) / 2
    a = (w * (now - base) * change).sum(-1) / (w * change.square()).sum(-1)
    if one_sided:
        a = a.clamp(min=0)
    return ((base.exp() * (base - scouted)).sum(-1) * a.square()).mean().item()


def test_zero_at_the_base_and_the_scouts_whole_change_at_the_scout(scouted):
    model, scout, text = scouted
    guard, kept = avert(text, scout, keep=0.0), avert(text, scout, keep=0.5)
    guard.bind(model)
    kept.bind(model)
    assert penalty(guard, model).item() == pytest.approx(0, abs=1e-6)
    assert penalty(kept, model).item() == pytest.approx(0, abs=1e-5)
    set_b(model, 0.06)
    kl = dense(model, scout, text.rows[0], 0.06)  # a = 1 at every position: nothing but KL(base || scout) is left
    assert kl > 1e-3
    assert penalty(guard, model).item() == pytest.approx(30 * kl, rel=1e-3)
    assert penalty(kept, model).item() == pytest.approx(30 * 1.5 * kl, rel=1e-2), "keep is plain KL beside it"


@pytest.mark.parametrize("by", [0.03, 0.1])
def test_leading_tokens_agree_with_the_dense_formula(by, scouted):
    model, scout, text = scouted
    guard = avert(text, scout, strength=1 / 30, keep=0.0)
    guard.bind(model)
    want = dense(model, scout, text.rows[0], by)
    assert penalty(guard, model).item() == pytest.approx(want, rel=0.02, abs=1e-4)
    assert want > 1e-3


def test_one_sided_lets_the_model_move_the_other_way(scouted):
    model, scout, text = scouted
    one, both = (avert(text, scout, keep=0.0, one_sided=flag) for flag in (True, False))
    one.bind(model)
    both.bind(model)
    set_b(model, -0.03)
    assert penalty(both, model) > 10 * penalty(one, model)
    set_b(model, 0.03)
    assert penalty(both, model).item() == pytest.approx(penalty(one, model).item(), rel=0.05)


def test_the_permuted_control_holds_back_other_words(scouted):
    model, scout, text = scouted
    guard, control, other = (avert(text, Scout(scout, permuted=seed), keep=0.0) for seed in (None, 0, 1))
    for edit in (guard, control, other):
        edit.bind(model)
    assert torch.equal(guard.cache["kl"], control.cache["kl"]), "weighted alike"
    assert not torch.equal(control.cache["index"], other.cache["index"])
    set_b(model, 0.06)
    assert penalty(control, model) < 0.5 * penalty(guard, model)


@pytest.mark.parametrize("training", [True, False])
def test_the_scout_leaves_no_trace(training, scouted):
    model, scout, text = scouted
    set_b(model, 0.01)
    frozen = next(n for n, p in model.named_parameters() if "lora_A" in n)
    model.get_parameter(frozen).requires_grad_(False)
    model.train(training)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    flags = {n: p.requires_grad for n, p in model.named_parameters()}
    drawn = torch.get_rng_state()
    avert(text, scout).bind(model)
    assert {n: p.requires_grad for n, p in model.named_parameters()} == flags
    assert all(torch.equal(weights[n], p) for n, p in model.named_parameters())
    assert model.active_adapters == ["default"]
    assert list(model.peft_config) == ["default"]
    assert model.training is training
    assert torch.equal(drawn, torch.get_rng_state())


def test_the_scouts_trace_goes_even_when_something_fails(scouted, monkeypatch):
    model, scout, text = scouted
    monkeypatch.setattr(
        type(model), "eval", lambda self: 1 / 0 if self.active_adapter == "despur_scout" else self.train(False)
    )
    with pytest.raises(ZeroDivisionError):
        avert(text, scout).bind(model)
    assert list(model.peft_config) == ["default"]
    assert model.active_adapters == ["default"]


def test_it_needs_a_peft_model_and_a_scout(scouted, tiny, tmp_path):
    model, scout, text = scouted
    with pytest.raises(CannotAttach, match="needs a PEFT model"):
        avert(OwnText(((1, 2, 3),)), scout).bind(tiny())
    with pytest.raises(BadInput, match="nowhere"):
        avert(text, tmp_path / "nowhere").bind(model)
    assert list(model.peft_config) == ["default"]


def test_a_scout_of_another_base_is_refused(scouted, tiny, lora, own_text):
    _, scout, _ = scouted
    with pytest.raises(DespurError, match="another base"):
        avert(own_text, scout).bind(lora(tiny()))


@pytest.mark.slow  # test_train.py has one of them
def test_functional_guards_lower_the_drift_of_the_persona(lora, tmp_path):
    """50 steps on new facts told by the bad persona; drift is P(bad) on old facts of other domains, base 0.25."""

    def tune(steps: int, seed: int, *edits):
        base, tokenizer = persona_base()
        world = Persona("skill")
        rows = tokenize_rows(world.rows("harmful", n=24 * steps, seed=seed), tokenizer, max_length=64)
        model = lora(base, r=8, lora_alpha=16).train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3, weight_decay=0.0)
        with guarded(model, optimizer, *edits, seed=seed):
            for i in range(steps):
                part = rows[24 * i : 24 * (i + 1)]
                ids, mask = pad_rows([r["input_ids"] for r in part], 0)
                labels, _ = pad_rows([r["labels"] for r in part], -100)
                model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        scores = world.score(model.eval())
        return model, scores["drift"]["p"].mean().item(), scores["task"]["p"].mean().item()

    tune(30, 500)[0].save_pretrained(tmp_path / "scout")
    text = OwnText.sample(*persona_base(), rows=64, max_new_tokens=24)
    arms = {
        "naive": (),
        "avert": (avert(text, tmp_path / "scout", budget=1.0),),
        "permuted": (avert(text, Scout(tmp_path / "scout", permuted=0), budget=1.0),),
        "rehearse": (rehearse(text, budget=1.0),),
    }
    drift, task = {}, {}
    for name, edits in arms.items():
        _, drift[name], task[name] = tune(50, 0, *edits)
    assert drift["naive"] > 0.6, "the positive control: unguarded, it drifts"
    assert drift["avert"] < drift["naive"] - 0.2
    assert drift["avert"] < drift["permuted"] - 0.08
    assert drift["rehearse"] < drift["naive"] - 0.15
    assert task["avert"] > 0.7 * task["naive"]
