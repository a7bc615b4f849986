"""What a model says when the stream at one site is another run's: rows of many exchanges in one forward pass."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from despur.core import Anatomy, Context, Edit, Site, Subspace, attach
from despur.core.model.capture import ROOM
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.front import cache_behind
from despur.core.model.key_values import KeyValues, key_values
from despur.core.model.states import evaluating
from despur.measure.both import Both, Part

_TOKENS = (
    4096  # in one forward pass of several exchanges: enough to hide its fixed cost, and still in a processor's cache
)
_FRONT_TOKENS = 1024  # of exchanges whose keys and values are in memory at once


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
    passes: Both | None = None,
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
        passes: Base and adapter on these rows at this site, where they were run before; then rows, batch and starts are theirs.
    """
    both = subspaces if back is None else [subspaces[i] for i in back]
    left = (np.zeros((len(some), len(rows))) for some in (subspaces, both))
    out = PerRow(np.zeros(len(rows)), np.zeros(len(rows)), *left)
    passes = passes or Both(model, rows, site, starts=starts, batch=batch)
    with evaluating(model):
        layers = _layers_up_to(model, site)
        to_base, to_adapter = (
            _Exchange(passes, layers, some, adapter=i == 1) for i, some in enumerate((subspaces, both))
        )
        for part in passes.parts():
            owner, chosen = part.where.nonzero()[:, 0], part.chosen
            base, tuned = part.logp
            with model.disable_adapter():  # switched once, since a switch costs as much as a small model's forward pass
                for which, exchanged in to_base(part):
                    out.left_base[which, chosen] = _kl(tuned, exchanged, owner, len(part.ids))
            for which, exchanged in to_adapter(part):
                out.left_adapter[which, chosen] = _kl(exchanged, base, owner, len(part.ids))
            out.change[chosen] = _kl(tuned, base, owner, len(part.ids))
            out.tokens[chosen] = part.where.sum(1).cpu().numpy()
    return out


class _Exchange:
    """The base, or the adapter, with some subspaces' coordinates from the other one."""

    def __init__(self, passes: Both, layers: Sequence[Any], subspaces: Sequence[Subspace], *, adapter: bool) -> None:
        self.passes, self.layers, self.subspaces, self.adapter = passes, layers, subspaces, adapter
        front, n = passes.front, len(subspaces)
        size = max(1, n if front is None else _FRONT_TOKENS // front.ids.shape[1])
        self.blocks = [range(at, min(at + size, n)) for at in range(0, n, size)]
        self.latest: tuple[range, KeyValues] | None = None

    def __call__(self, part: Part) -> Iterator[tuple[list[list[int]], Tensor]]:
        """Log-probabilities (s, n, v) of some subspaces at a time, and which they are, as a column (s, 1)."""
        model, site = self.passes.model, self.passes.site
        assert site is not None
        own, other = part.streams[self.adapter], part.streams[not self.adapter]
        counted = max(1, int(part.where.sum())) * Anatomy.of(model).vocabulary
        several = max(1, min(_TOKENS // part.ids.numel(), ROOM // 4 // counted))  # an exchange has four copies of them
        for block in self.blocks:
            fronts = None if self.passes.front is None else self._front(block)
            for first in range(block.start, block.stop, several):
                some = slice(first, min(first + several, block.stop))
                past = {}
                if fronts is not None:
                    at = slice(some.start - block.start, some.stop - block.start)
                    past = cache_behind({i: (k[at], v[at]) for i, (k, v) in fronts.items()}, len(part.ids))
                chosen = self.subspaces[some]
                with _giving(model, site, _mixed(chosen, own, other), self.layers):
                    every = (x.repeat(len(chosen), 1) for x in (part.ids, part.mask, part.where))
                    exchanged = log_probs_at(model, *every, **past)
                yield [[first + i] for i in range(len(chosen))], exchanged.unflatten(0, (len(chosen), -1))

    def _front(self, block: range) -> KeyValues:
        """What a block of exchanges leaves at the tokens that all rows begin with; read once for all rows where there is one block."""
        if self.latest is None or self.latest[0] != block:
            self.latest = block, self._read_front(self.subspaces[block.start : block.stop])
        return self.latest[1]

    def _read_front(self, subspaces: Sequence[Subspace]) -> KeyValues:
        """Their keys and values: those behind the site are new."""
        model, front, times = self.passes.model, self.passes.front, len(subspaces)
        assert front is not None
        assert self.passes.site is not None
        pairs = {
            i: (k.expand(times, *k.shape[1:]), v.expand(times, *v.shape[1:]))
            for i, (k, v) in front.pairs[self.adapter].items()
        }
        if len(self.layers) == len(pairs):  # nothing attends behind the site
            return pairs
        own, other = front.streams[self.adapter], front.streams[not self.adapter]
        with _giving(model, self.passes.site, _mixed(subspaces, own, other), self.layers):
            return {**pairs, **key_values(model, front.ids.repeat(times, 1))}


def _mixed(subspaces: Sequence[Subspace], own: Tensor, other: Tensor) -> Tensor:
    """Own streams with each subspace's coordinates from the other ones: (b, t, d) to (s b, t, d)."""
    return torch.cat([own + f.decode(f.encode(other) - f.encode(own)) for f in subspaces])


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
