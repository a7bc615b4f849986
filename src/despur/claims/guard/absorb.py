"""The claim of `absorb`."""

import tempfile
from pathlib import Path

import torch

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, logits_under, move, rows_of
from despur.core import Adapter, Report
from despur.core.adapter.continued import fold_in
from despur.core.adapter.scout import Scout
from despur.core.claim import claim
from despur.core.margin import compared
from despur.guard import absorb as guard
from despur.testing import tiny_base


@claim(
    method="absorb",
    says="it trains the adapter on the base with the scout folded into its weights, and where the factor is no part of the task more of "
    "the task is learned without the drift than beside as large a change elsewhere; less than half of it may be",
    control="the scout's change on other outputs of each map",
    margin=0.1,
)
def absorb(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance of the training pass's logits from those of a base with the scout in its weights; then the task without the drift."""
    if whole:
        return areas(
            seed, "absorb", {"strength": 1.0}, against="absorb-permuted", worlds=("slant", "advice"), bound=None
        )
    ids, model = rows_of(seed), move(fresh_lora(seed), seed)
    with tempfile.TemporaryDirectory() as folder:
        move(fresh_lora(seed), seed + 1).save_pretrained(folder, save_embedding_layers=False)
        wanted = _folded(model, folder, seed, ids)
        off = [_off(model, Scout(Path(folder), permuted=s), ids, wanted) for s in (None, 0)]
    return (compared("distance from the folded base, as a share of the scout's change", off[0], control=off[1], n=len(ids), bound=0.001,
                     margin=0.5, higher_is_better=False),)  # fmt: skip


def _folded(model: torch.nn.Module, folder: str, seed: int, ids: torch.Tensor) -> torch.Tensor:
    """Logits of the same adapter on a base whose weights have the scout in them."""
    other = fresh_lora(seed)
    other.load_state_dict(model.state_dict())
    fold_in(other, Adapter.read(folder, tiny_base(seed)))
    with torch.no_grad():
        return other.eval()(input_ids=ids).logits


def _off(model: torch.nn.Module, scout: Scout, ids: torch.Tensor, wanted: torch.Tensor) -> float:
    """Distance of an edited training pass from the wanted logits, in sizes of the change."""
    plain, got = logits_under(guard(scout), model, ids)
    return float((got - wanted).norm() / (wanted - plain).norm())
