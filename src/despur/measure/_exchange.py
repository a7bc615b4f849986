"""What a model says when the stream at one site is another run's: rows of many exchanges in one forward pass."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from despur.core import Anatomy, Context, Edit, Site, Subspace, attach, record
from despur.core.model.capture import ROOM, from_starts
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.states import evaluating
from despur.core.text.rows import batches

_TOKENS = (
    4096  # in one forward pass of several exchanges: enough to hide its fixed cost, and still in a processor's cache
)


class PerRow(NamedTuple):
    """KL sums of each row (n,), its tokens (n,), and what is left of the sums for each subspace exchanged that way (s, n)."""

    change: np.ndarray
    tokens: np.ndarray
    left_base: np.ndarray
    left_adapter: np.ndarray


@torch.no_grad()
def exchange(
    model: Any,
    rows: Sequence[Sequence[int]],
    site: Site,
    subspaces: Sequence[Subspace],
    batch: int,
    starts: Sequence[int] | None,
    back: Sequence[int] | None = None,
) -> PerRow:
    """Exchange each subspace's coordinates at the site between adapter and base.

        left_base    = KL(adapter || base with V from the adapter)
        left_adapter = KL(adapter with V from the base || base)

    Args:
        model: PEFT model, or anything else whose adapter `disable_adapter()` switches off.
        rows: Token rows.
        site: Where.
        subspaces: What is exchanged, one after the other.
        batch: Rows of text in one forward pass.
        starts: First position of each row that counts.
        back: Which subspaces are exchanged the other way, too, all if left out; `left_adapter` has a line for each of these.
    """
    both = subspaces if back is None else [subspaces[i] for i in back]
    left = (np.zeros((len(some), len(rows))) for some in (subspaces, both))
    out = PerRow(np.zeros(len(rows)), np.zeros(len(rows)), *left)
    device = next(model.parameters()).device
    with evaluating(model):
        layers = _layers_up_to(model, site)
        for ids, mask, chosen in batches(rows, size=batch, pad=0):
            ids, mask = ids.to(device), mask.to(device)
            where = mask.bool() & from_starts(mask, chosen, starts)
            owner = where.nonzero()[:, 0]
            with record(model, [site]) as seen:
                tuned = log_probs_at(model, ids, mask, where)
            h_tuned = seen[site]
            with model.disable_adapter():  # switched once, since a switch costs as much as a small model's forward pass
                with record(model, [site]) as seen:
                    base = log_probs_at(model, ids, mask, where)
                h_base = seen[site]
                for part, exchanged in _exchanged(
                    model, (ids, mask, where), site, layers, (h_base, h_tuned), subspaces
                ):
                    out.left_base[part, chosen] = _kl(tuned, exchanged, owner, len(ids))
            for part, exchanged in _exchanged(model, (ids, mask, where), site, layers, (h_tuned, h_base), both):
                out.left_adapter[part, chosen] = _kl(exchanged, base, owner, len(ids))
            out.change[chosen] = _kl(tuned, base, owner, len(ids))
            out.tokens[chosen] = where.sum(1).cpu().numpy()
    return out


def _exchanged(
    model: Any, batch: tuple[Tensor, Tensor, Tensor], site: Site, layers: Sequence[Any], streams: tuple[Tensor, Tensor],
    subspaces: Sequence[Subspace],
) -> Iterator[tuple[list[list[int]], Tensor]]:  # fmt: skip
    """Log-probabilities (s, n, v) of some subspaces at a time, and which they are, as a column (s, 1)."""
    own, other = streams
    counted = max(1, int(batch[2].sum())) * Anatomy.of(model).vocabulary
    several = max(1, min(_TOKENS // batch[0].numel(), ROOM // counted))
    for first in range(0, len(subspaces), several):
        chosen = subspaces[first : first + several]
        given = torch.cat([own + f.decode(f.encode(other) - f.encode(own)) for f in chosen])
        with _giving(model, site, given, layers):
            exchanged = log_probs_at(model, *(x.repeat(len(chosen), 1) for x in batch))
        yield [[first + i] for i in range(len(chosen))], exchanged.unflatten(0, (len(chosen), -1))


@contextlib.contextmanager
def _giving(model: Any, site: Site, stream: Tensor, layers: Sequence[Any]) -> Iterator[None]:
    """Let a site give this stream, whatever comes in; these layers, the site's the last of them, are then not run."""
    if not layers:
        with attach(model, {site: _Given(stream)}):
            yield
        return
    try:
        for layer in layers:
            layer.forward = lambda hidden_states, *_, **__: stream
        yield
    finally:
        for layer in layers:
            del layer.forward


def _layers_up_to(model: Any, site: Site) -> list[Any]:
    """The layers from the first to the site's; none where the site is no layer, or what layers hand on beside the stream is not known."""
    anatomy = Anatomy.of(model)
    if not anatomy.is_tabled or site not in anatomy.sites:
        return []
    layers = [anatomy.modules[name] for name in anatomy.layers[: anatomy.sites.index(site) + 1]]
    outputs: list[Any] = []
    handle = layers[-1].register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=next(model.parameters()).device))
    finally:
        handle.remove()
    return layers if isinstance(outputs[0], Tensor) else []  # a tuple's other parts would have to be made up


class _Given(Edit):
    point = "activation"

    def __init__(self, stream: Tensor) -> None:
        super().__init__()
        self.stream = stream

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        return dict.fromkeys(tensors, self.stream)


def _kl(p: Tensor, q: Tensor, owner: Tensor, rows: int) -> np.ndarray:
    """KL(p || q) summed over each row's positions: (..., n, v) to (..., rows)."""
    each = (p.exp() * (p - q)).sum(-1)
    return each.new_zeros(*each.shape[:-1], rows).index_add_(-1, owner, each).cpu().numpy()
