"""rank-one-ewc: its direction and spring against autograd, its replay against the rows' own loss, and its warning."""

import warnings

import pytest
import torch
from guarding import filled

from despur.core import Adapter, Context
from despur.core.errors import BadInput, CannotAttach
from despur.core.fisher.forms import RankOne
from despur.core.model.states import as_base
from despur.guard import OwnText, rank_one_ewc
from despur.guard.rank_one_ewc import COLLINEAR, WEIGHT, check_direction

MODULE = "model.layers.1.mlp.up_proj"
ALIKE = OwnText(((1, 9, 30, 12),) * 6)


@pytest.fixture
def moved(tiny, lora):
    return filled(lora(tiny(initializer_range=0.4), lora_alpha=6).eval())


def bound(model, text, **options):
    edit = rank_one_ewc(text, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edit.bind(model)
    return edit


def added(edit, model) -> float:
    return edit({"loss": torch.zeros(())}, Context(model))["loss"].item()


def test_the_mean_gradient_is_autograds(moved, own_text):
    edit = bound(moved, own_text)
    weight = moved.get_parameter(f"base_model.model.{MODULE}.base_layer.weight").requires_grad_(True)
    with as_base(moved):
        said = sum(
            torch.log_softmax(moved(input_ids=torch.tensor([r])).logits[0, :-1], -1)
            .gather(1, torch.tensor(r[1:])[:, None])
            .sum()
            for r in own_text.rows
        )
    (want,) = torch.autograd.grad(said / sum(len(r) - 1 for r in own_text.rows), weight)
    assert torch.allclose(edit.fisher.mean[MODULE], want, atol=1e-5)


def test_the_spring_is_that_of_the_update_multiplied_out(moved, own_text):
    edit = bound(moved, own_text, strength=2 / WEIGHT, replay=0.0)
    change = {n: u.scale * u.up @ u.down for n, u in Adapter.of(moved).updates.items()}
    along = sum((edit.fisher.mean[n] * d).sum() for n, d in change.items())
    assert added(edit, moved) == pytest.approx(along.item() ** 2, rel=1e-3)
    assert along.abs() > 1e-3


def test_the_replay_is_the_loss_of_a_row(moved):
    whole, spring = (bound(moved, ALIKE, replay=r) for r in (0.5, 0.0))
    ids = torch.tensor([ALIKE.rows[0]])
    with torch.no_grad():
        want = 0.5 * moved(input_ids=ids, labels=ids).loss.item() * 3 / 4  # of four counted positions three predict
    assert added(whole, moved) - added(spring, moved) == pytest.approx(want, rel=1e-4)


def test_collinear_rows_are_silent_and_others_are_told_of(moved, own_text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rank_one_ewc(ALIKE).bind(moved)
    with pytest.warns(UserWarning, match=r"not collinear: their mean has 0\.\d\d of their squared length.*rehearse"):
        rank_one_ewc(own_text).bind(moved)
    assert bound(moved, own_text).fisher.collinearity < COLLINEAR < bound(moved, ALIKE).fisher.collinearity


@pytest.mark.parametrize(
    ("value", "said"), [(0.0, "is zero, so it names no direction"), (float("nan"), "NaN in the base")]
)
def test_a_gradient_that_is_no_direction_is_refused(value, said):
    with pytest.raises(BadInput, match=said):
        check_direction(RankOne({"a": torch.full((2, 2), value)}, 0.9, 4), "own text")


def test_faults_are_refused(tiny, lora, own_text):
    with pytest.raises(CannotAttach, match="embed_tokens"):
        rank_one_ewc(own_text).bind(lora(tiny(), target_modules=["embed_tokens", "q_proj"]))
    with pytest.raises(BadInput, match="n_rows=0"):
        rank_one_ewc(own_text, n_rows=0)
    broken = lora(tiny())
    with torch.no_grad():
        broken.get_parameter(f"base_model.model.{MODULE}.base_layer.weight")[0, 0] = torch.nan
    with pytest.raises(BadInput, match="not finite"):
        rank_one_ewc(own_text).bind(broken)
