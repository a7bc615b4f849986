"""Whoever is given a model gives it back as it was: the mode of every module, also when something goes wrong in between."""

import pytest
import torch
from leak import random_factor
from peft import LoraConfig, get_peft_model
from torch import nn

from despur.core import Adapter, Site, Subspace, fingerprint
from despur.core.adapter.scout import as_scout
from despur.core.errors import BadInput, CannotAttach
from despur.core.model.capture import capture
from despur.core.model.matched import random_twins
from despur.core.model.sample import continue_rows
from despur.core.model.states import Switchable, as_base, bare, base_now, check_switchable, evaluating, is_adapted
from despur.find import activation_differences, from_activations, from_adapter, mean_shift
from despur.guard import OwnText, telling_rows
from despur.measure import (
    causal_check,
    causal_checks,
    continuations,
    leakage,
    loss_slopes,
    louder,
    module_shares,
    off_task,
    promoted,
    rows_along,
    token_shift,
)
from despur.merge import spectral_surgery

SITE = Site("model.layers.0")
FACTOR = Subspace.orthonormal(random_factor(rank=1, width=32).read, site=SITE)
SHIFT = FACTOR.read[0]


class Given:
    """What the calls below need."""

    def __init__(self, model: nn.Module, rows: list[list[int]], tokenizer: object, scout: object) -> None:
        self.model, self.rows, self.tokenizer, self.scout = model, rows[:10], tokenizer, scout
        self.tokens = [{"input_ids": r, "labels": [-100, *r[1:]]} for r in self.rows]
        self.text, self.adapter = OwnText(tuple(map(tuple, self.rows))), Adapter.of(model)


def under(context) -> None:
    with context as model:
        model(input_ids=torch.ones(1, 3, dtype=torch.long))


CALLS = {
    "OwnText.sample": lambda x: OwnText.sample(x.model, x.tokenizer, rows=8, max_new_tokens=6),
    "activation_differences": lambda x: activation_differences(x.model, x.rows, [SITE]),
    "as_base": lambda x: under(as_base(x.model)),
    "as_scout": lambda x: under(as_scout(x.model, x.scout)),
    "base_now": lambda x: under(base_now(x.model)),
    "capture": lambda x: capture(x.model, x.rows, [SITE]),
    "causal_check": lambda x: causal_check(x.model, x.rows, FACTOR, n_random=1),
    "causal_checks": lambda x: causal_checks(x.model, x.rows, {"one": FACTOR}, n_random=1),
    "continuations": lambda x: continuations(x.model, x.tokenizer, x.rows[:2], FACTOR, SHIFT, new=2, trials=2),
    "continue_rows": lambda x: continue_rows(x.model, x.tokenizer, x.rows[:2], 2),
    "from_activations": lambda x: from_activations(x.model, x.rows, [SITE]),
    "loss_slopes": lambda x: loss_slopes(x.model, x.tokens, {"one": SHIFT}, SITE, torch.eye(32), n_random=1),
    "louder": lambda x: louder(x.model, x.rows, FACTOR, scales=[2.0]),
    "mean_shift": lambda x: mean_shift(x.model, x.rows, FACTOR),
    "off_task": lambda x: off_task(x.model, held_out=x.tokens, own_text=x.rows, factor=FACTOR, shift=SHIFT),
    "random_twins": lambda x: random_twins(x.model, (FACTOR,), x.rows, draws=1, sites=[SITE], seed=0),
    "rows_along": lambda x: rows_along(x.model, x.tokens, FACTOR, SHIFT),
    "spectral_surgery": lambda x: spectral_surgery(x.model, x.text, rows=x.tokens),
    "telling_rows": lambda x: telling_rows(x.model, [x.scout], x.tokens, keep=2),
    "token_shift": lambda x: token_shift(x.model, x.rows),
}
STILL = {  # these read weights alone
    "fingerprint": lambda x: fingerprint(x.model),
    "from_adapter": lambda x: from_adapter(x.adapter, x.model.get_base_model(), level=None),
    "leakage": lambda x: leakage(x.adapter, x.model.get_base_model(), FACTOR),
    "module_shares": lambda x: module_shares(x.adapter, x.model.get_base_model(), FACTOR),
    "promoted": lambda x: promoted(x.model, x.tokenizer, SHIFT),
}


@pytest.fixture
def given(tiny, rows, chat_tokenizer, tmp_path) -> Given:
    """A PEFT model in training, one of its modules in evaluation all the same, and one frozen matrix."""
    chat_tokenizer.chat_template = None
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], lora_dropout=0.1, task_type="CAUSAL_LM")
    model = get_peft_model(tiny(), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.1)
    model.save_pretrained(tmp_path / "scout")
    model.train()
    model.get_submodule("base_model.model.model.layers.1.mlp").training = False
    return Given(model, rows, chat_tokenizer, tmp_path / "scout")


def modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def flags(model: nn.Module) -> dict[str, bool]:
    return {name: weight.requires_grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize("call", [*CALLS.values(), *STILL.values()], ids=[*CALLS, *STILL])
def test_every_module_comes_back_in_its_mode(call, given):
    before, could_learn = modes(given.model), flags(given.model)
    assert set(before.values()) == {True, False}
    call(given)
    assert modes(given.model) == before
    assert flags(given.model) == could_learn


class Broken(Exception):
    """What no code of ours catches."""


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_also_when_a_pass_fails(call, given):
    before, passes = modes(given.model), []

    def fail(*_: object) -> None:
        passes.append(1)
        if len(passes) == 1:
            raise Broken

    given.model.get_submodule("base_model.model.model.layers.0").register_forward_pre_hook(fail)
    with pytest.raises(Broken):
        call(given)
    assert modes(given.model) == before


def test_evaluating_is_evaluation_inside_and_nothing_outside(given):
    before = modes(given.model)
    with evaluating(given.model) as model:
        assert model is given.model
        assert not any(modes(model).values())
        with evaluating(model):
            pass
        assert not any(modes(model).values()), "nested, it leaves evaluation alone"
    assert modes(given.model) == before


def test_what_can_be_switched_is_told_from_what_cannot(given):
    assert isinstance(given.model, Switchable)
    base = given.model.get_base_model()
    assert bare(given.model) is bare(base) is base
    assert not isinstance(nn.Linear(1, 1), Switchable)
    check_switchable(given.model, "a measure")
    with pytest.raises(
        BadInput, match=r"^a measure needs a PEFT model with an adapter to switch off, not a Linear\. Load"
    ):
        check_switchable(nn.Linear(1, 1), "a measure")
    with pytest.raises(CannotAttach, match="^a guard needs a PEFT model"):
        check_switchable(nn.Linear(1, 1), "a guard", error=CannotAttach)
    assert is_adapted(given.model)
    assert not is_adapted(nn.Linear(1, 1))
