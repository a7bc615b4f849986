"""The claim of `orthogonal-updates`."""

from torch import Tensor

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, learn, rows_of
from despur.core import Adapter, Edit, Report, Site
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.capture import capture
from despur.core.model.own_text import OwnText
from despur.guard import orthogonal_gradients
from despur.guard import orthogonal_updates as guard
from despur.testing import tiny_base

ENERGY = 0.7
MAP = "model.layers.1.mlp.down_proj"


@claim(
    method="orthogonal-updates",
    says="no update reads what the text feeds its map, whatever the optimiser, and at least half of the task is learned without the "
    "drift",
    control="the gradient projected in place of the update",
    margin=0.1,
)
def orthogonal_updates(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Share of an update along its map's leading inputs; then the task without the drift."""
    if whole:
        return areas(seed, "orthogonal-updates", {"energy": 0.8}, against="orthogonal-gradients")
    text, tokens = OwnText(tuple(map(tuple, rows_of(seed, n=6).tolist()))), rows_of(seed + 1)
    ours, control = (along(kind(text, energy=ENERGY), text, tokens) for kind in (guard, orthogonal_gradients))
    return (compared("share of the update along the map's leading input", ours, control=control, n=len(text.rows), bound=1e-4,
                     margin=0.01, higher_is_better=False),)  # fmt: skip


def along(edit: Edit, text: OwnText, tokens: Tensor, optimizer: str = "AdamW") -> float:
    """Share of one map's update, after a tune, along the input of most energy on the text."""
    site = Site(MAP, "in")
    inputs = capture(tiny_base(), text.rows, [site])[0][site]
    leading = inputs.svd()[2][:, :1].T
    update = Adapter.of(learn(fresh_lora(), tokens, edit, optimizer=optimizer)).updates[MAP]
    return update.read_norm(leading) / update.norm()
