"""The same beginnings continued by base and adapter, steered or not: one batch and the same random numbers for all of them."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core.model.attach import attach
from despur.core.model.primitives import AddVector
from despur.core.model.sample import continue_rows
from despur.core.model.states import evaluating
from despur.core.types import Site

_ROWS = 64  # of one batch: a pass over 32 rows took 1.4 of one over 10, and their keys and values take memory


@dataclass(frozen=True)
class Way:
    """One way to continue: with the adapter on or off, and a vector that is added to the stream.

    Args:
        adapter: Whether the adapter is on.
        shift: (d,), added at every position; None adds nothing.
    """

    adapter: bool = True
    shift: Float[Tensor, " d"] | None = None


def continue_ways(
    tuned: Any,
    tokenizer: Any,
    heads: Sequence[Sequence[int]],
    new: int,
    ways: Sequence[Way],
    *,
    site: Site | None = None,
    seed: int = 0,
    eta: float = 0.0,
) -> list[list[list[int]]]:
    """Sample what comes after each head in several ways, in as few batches as there is room for.

    Every way draws with the same random numbers, so two of them differ only where the models do. A plain LoRA runs beside its base in
    one batch; any other adapter has a batch of its own.

    Args:
        tuned: A model whose adapter can be switched off.
        tokenizer: Its tokenizer.
        heads: Token ids to go on from.
        new: Tokens at most.
        ways: At least one.
        site: Where shifts are added; not needed without any.
        seed: Of the draws.
        eta: As in `continue_rows`.

    Returns:
        For each way, the new tokens of each head.

    Raises:
        BadInput: see `continue_rows`.
    """
    kinds = ((False, True),) if mixes(tuned) else ((False,), (True,))
    size = max(1, _ROWS // max(1, len(heads)))
    written: dict[int, list[list[int]]] = {}
    for kind in kinds:
        alike = [i for i, way in enumerate(ways) if way.adapter in kind]
        for at in range(0, len(alike), size):
            some = alike[at : at + size]
            bodies = _batch(tuned, tokenizer, heads, new, [ways[i] for i in some], site, seed, eta)
            written |= {i: bodies[n * len(heads) : (n + 1) * len(heads)] for n, i in enumerate(some)}
    return [written[i] for i in range(len(ways))]


def _batch(
    tuned: Any, tokenizer: Any, heads: Sequence[Sequence[int]], new: int, ways: Sequence[Way], site: Site | None, seed: int, eta: float
) -> list[list[int]]:  # fmt: skip
    steered = [way.shift for way in ways if way.shift is not None]
    edits = {}
    if steered and site is not None:
        each = torch.stack([torch.zeros_like(steered[0]) if way.shift is None else way.shift for way in ways])
        edits = {site: AddVector(each.repeat_interleave(len(heads), 0)[:, None])}
    switched = [way.adapter for way in ways for _ in heads]
    with evaluating(tuned), adapter_in(tuned, switched), attach(tuned, edits):
        return continue_rows(tuned, tokenizer, [*heads] * len(ways), new, seed=seed, eta=eta, draws=len(heads))


@contextlib.contextmanager
def adapter_in(tuned: Any, rows: Sequence[bool]) -> Iterator[None]:
    """Let the adapter act in some rows of every batch while the block runs; in all or none of them where `mixes` is False.

    PEFT's own mixed batches gather and scatter the rows of every map. Here the update is computed for all rows and multiplied by 0 in
    those without it.
    """
    if all(rows):
        yield
    elif not any(rows):
        with tuned.disable_adapter():
            yield
    else:
        on = torch.tensor(rows, dtype=torch.float32, device=next(tuned.parameters()).device)[:, None, None]
        ups = [m.lora_B[name] for m in tuned.modules() if is_plain_lora(m) for name in m.active_adapters]
        handles = [up.register_forward_hook(lambda _, __, out: out * on.to(out)) for up in ups]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def is_plain_lora(module: nn.Module) -> bool:
    """Whether it is a map with plain LoRA on it, which is not merged."""
    from peft.tuners.lora import Linear

    return isinstance(module, Linear) and not module.lora_variant and not module.merged


def mixes(tuned: Any) -> bool:
    """Whether rows with the adapter and without it can share a batch: a plain LoRA on maps, one adapter, nothing else trained.

    Example:
        >>> mixes(torch.nn.Linear(1, 1))
        False
    """
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    if not isinstance(tuned, PeftModel) or len(tuned.peft_config) != 1:
        return False
    layers = [m for m in tuned.modules() if isinstance(m, BaseTunerLayer | AuxiliaryTrainingWrapper)]
    return bool(layers) and all(is_plain_lora(m) for m in layers)
