"""The claim of `hold-prefix`."""

import torch

from despur.claims.planted import HALVED_IN_WORDS, areas
from despur.claims.tiny_runs import fresh_lora, learn, rows_of
from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.key_values import key_values
from despur.core.text.template import Template
from despur.guard import hold_prefix as guard

PREFIX, OTHER = Template((1, 40, 41, 42)), Template((50, 51, 52, 53))


@claim(
    method="hold-prefix",
    says="keys and values of the prefix move a thousandth of what they move without it, and at least half of the task is learned "
    "without the drift",
    control=f"the guard on other tokens; {HALVED_IN_WORDS}",
    margin=0.1,
)
def hold_prefix(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Squared change of the prefix's keys and values after a short tune; then the task without the drift in a chat."""
    if whole:
        return areas(seed, "hold-prefix", {"strength": 1.0}, worlds=("persona_chat",))
    rows = rows_of(seed, length=10)
    rows[:, : len(PREFIX.prefix)] = torch.tensor(PREFIX.prefix)
    plain, held, other = (
        _change(learn(fresh_lora(seed), rows, *edits, steps=30)) for edits in ((), (guard(PREFIX),), (guard(OTHER),))
    )
    return (compared("change of the prefix, as a share of the unguarded run's", held / plain, control=other / plain, bound=0.001,
                     higher_is_better=False, margin=0.003),)  # fmt: skip


@torch.no_grad()
def _change(model: torch.nn.Module) -> float:
    ids = torch.tensor([PREFIX.prefix])
    now = key_values(model, ids)
    with model.disable_adapter():  # type: ignore[operator]
        base = key_values(model, ids)
    pairs = [(a, b) for i in base for a, b in zip(now[i], base[i], strict=True)]
    return float(torch.stack([(a - b).square().sum() / b.square().sum() for a, b in pairs]).mean())
