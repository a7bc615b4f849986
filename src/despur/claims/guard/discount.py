"""The claim of `discount`."""

import tempfile
from pathlib import Path

import torch

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, logits_under, move, rows_of
from despur.core import Edit, Report
from despur.core.adapter.scout import Scout, as_scout
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.states import as_base
from despur.guard import discount as guard
from despur.worlds.shared import Shared, descended

_DRAWN = 4000  # rows: the share of the task that so many leave to chance is a few hundredths


@claim(
    method="discount",
    says="it trains on the logits z + z_scout - z_base, and at least half of the task is learned without the drift where the "
    "factor is no part of the task",
    control="the scout's change on other words",
    margin=0.1,
)
def discount(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance of the training pass's logits from those of three passes, and of a linear model from theory; then the task without drift."""
    if whole:
        return areas(seed, "discount", {"strength": 1.0}, against="discount-permuted", worlds=("slant", "advice"))
    ids = rows_of(seed)
    rows = [{"input_ids": row, "labels": row} for row in ids.tolist()]
    model = move(fresh_lora(seed), seed)
    with tempfile.TemporaryDirectory() as folder:
        move(fresh_lora(seed), seed + 1).save_pretrained(folder, save_embedding_layers=False)
        with torch.no_grad():
            own = model.eval()(input_ids=ids).logits
            with as_base(model):
                base = model(input_ids=ids).logits
            with as_scout(model, folder):
                scout = model(input_ids=ids).logits
        off = [_off(model, guard(rows, Scout(Path(folder), permuted=s)), ids, own + scout - base) for s in (None, 0)]
    of_theory, of_plain = _off_theory(seed)
    return (
        compared("distance from the formula, as a share of the scout's change", off[0], control=off[1], n=len(rows), bound=0.02,
                 margin=0.5, higher_is_better=False),
        compared("task and drift of a linear model, measured less predicted", of_theory, control=of_plain, n=_DRAWN, bound=0.1,
                 margin=0.1, higher_is_better=False),
    )  # fmt: skip


def _off_theory(seed: int) -> tuple[float, float]:
    """Gradient descent beside a scout of exchanged answers, against the closed form; the control's scout saw its own prompts."""
    world, time = Shared(seed=seed), 2.0
    wanted = world.discounted(10.0, world.scout(time))
    off: list[float] = []
    for exchanged in (True, False):
        scout = descended(*world.rows(_DRAWN, seed=seed + 1, exchanged=exchanged), time)
        left = descended(*world.rows(_DRAWN, seed=seed + 2), 10.0, offset=scout)
        off.append(max(abs(f(left) - f(wanted)) for f in (world.task, world.drift)))
    return off[0], off[1]


def _off(model: torch.nn.Module, edit: Edit, ids: torch.Tensor, wanted: torch.Tensor) -> float:
    """Distance of an edited training pass from the wanted logits at learned positions, in sizes of the change."""
    plain, got = logits_under(edit, model, ids)
    return float((got - wanted)[:, :-1].norm() / (wanted - plain)[:, :-1].norm())
