"""The claim of `orthogonal-gradients`."""

import torch

from despur.claims.tiny_runs import learn, rows_of
from despur.core import Report, Site
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.capture import capture
from despur.core.model.own_text import OwnText
from despur.guard import orthogonal_gradients as guard
from despur.testing import tiny_base

ENERGY = 0.7
MAP = "model.layers.1.mlp.down_proj"


@claim(
    method="orthogonal-gradients",
    says="under plain SGD on whole weights no update reads what the text feeds its map",
    control="the same under AdamW, where it leaks",
    margin=0.01,
    proxy="that it keeps anything out of a model: it is the control of `orthogonal-updates`",
)
def orthogonal_gradients(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Share of a whole matrix's change along its leading input; over eight seeds with `whole`."""
    reports: list[Report] = []
    for draw in range(seed, seed + (8 if whole else 1)):
        text, tokens = OwnText(tuple(map(tuple, rows_of(draw, n=6).tolist()))), rows_of(draw + 1)
        ours, control = (_leak(text, tokens, optimizer) for optimizer in ("SGD", "AdamW"))
        reports.append(
            compared(f"share of the change along the leading input, draw {draw}", ours, control=control, n=len(text.rows),
                     bound=1e-4, higher_is_better=False)
        )  # fmt: skip
    return tuple(reports)


def _leak(text: OwnText, tokens: torch.Tensor, optimizer: str) -> float:
    model = tiny_base().requires_grad_(False)
    site = Site(MAP, "in")
    leading = capture(model, text.rows, [site])[0][site].svd()[2][:, 0]
    weight = model.get_submodule(MAP).weight
    assert isinstance(weight, torch.Tensor)
    weight.requires_grad_(True)
    start = weight.detach().clone()
    learn(model, tokens, guard(text, energy=ENERGY), optimizer=optimizer)
    change = weight.detach() - start
    return float((change @ leading).norm() / change.norm())
