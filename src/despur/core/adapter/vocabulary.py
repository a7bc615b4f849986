"""Fine-tunes made after tokens were added to the base, or cut: the base is resized in the same way where the file has every row."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.errors import ShapeMismatch
from despur.core.model.base_modules import base_modules


def fit_vocabulary(base: Any, tensors: Mapping[str, Tensor], config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Give the base as many tokens as the fine-tune has.

    The rows of new tokens come from the file where it has the base's own (beside LoRA); else they are the mean of the old ones,
    close to what `resize_token_embeddings` gives a base in training.

    Args:
        base: The base model, changed in place.
        tensors: The contents of the adapter's file.
        config: The contents of `adapter_config.json`.
        where: The file, for messages.

    Returns:
        One sentence on what was done; empty where the sizes agree.

    Raises:
        ShapeMismatch: the sizes differ, and the file has not every row.
    """
    ends = _ends(base)
    old = next(iter(ends.values())).weight.shape[0] if ends else 0
    plain = {n.removeprefix("base_model.model.").replace(".base_layer.", "."): (n, t) for n, t in tensors.items()}
    rows = {n: t for n, (_, t) in plain.items() if n.removesuffix(".weight") in ends and t.ndim == 2}
    sizes = {t.shape[0] for t in rows.values()}
    added = _added(config, old)
    if not ends or (sizes <= {old} and not added):
        return ()
    size = max(sizes - {old} or {old + added})
    tied = len({id(m.weight) for m in ends.values()}) == 1
    whole = {n.removesuffix(".weight") for n, t in rows.items() if t.shape[0] == size}
    if sizes - {size} or not (added or (whole and tied) or whole == set(ends)):
        have = ", ".join(f"{n!r} with {t.shape[0]} rows" for n, t in sorted(rows.items())) or "rows of new tokens"
        raise ShapeMismatch(
            f"{where} has {have}, this base has a vocabulary of {old}: it was trained after the vocabulary was resized, and the file lacks "
            f"the other end. Give the base resized in the same way: base.resize_token_embeddings({size}), then save_pretrained"
        )
    notes = as_many_tokens(base, size)
    _give_rows(base, {n: t for n, (name, t) in plain.items() if ".base_layer." in name}, old)
    return notes


def as_many_tokens(base: Any, size: int) -> tuple[str, ...]:
    """Resize the base, and say so in one sentence."""
    old = vocabulary(base)
    resize(base, size)
    guess = "; what the base knows of new tokens is a guess, the mean of the others, where the file does not have it"
    return (
        f"the fine-tune has a vocabulary of {size} tokens and the base one of {old}, so it was resized{guess * (size > old)}",
    )


@torch.no_grad()
def resize(base: Any, size: int) -> None:
    """Give a model so many tokens; new rows are the mean of the old."""
    olds = {n: m.weight.detach().float().mean(0) for n, m in _ends(base).items()}
    before = next(iter(_ends(base).values())).weight.shape[0]
    base.resize_token_embeddings(size, mean_resizing=False)
    for name, module in _ends(base).items():
        module.weight[before:] = olds[name].to(module.weight)


@torch.no_grad()
def _give_rows(base: Any, copies: Mapping[str, Tensor], before: int) -> None:
    """Put the rows of new tokens that a file has of the base's own embeddings into the base."""
    for name, module in _ends(base).items():
        copy = copies.get(f"{name}.weight")
        if copy is not None and copy.shape == module.weight.shape:
            module.weight[before:] = copy[before:].to(module.weight)


def vocabulary(base: Any) -> int:
    """Rows of a model's embeddings."""
    return next((m.weight.shape[0] for m in _ends(base).values()), 0)


def _ends(base: Any) -> dict[str, Any]:
    """The embeddings and the head by their names."""
    both: list[nn.Module | None] = [base.get_input_embeddings(), base.get_output_embeddings()]
    modules = base_modules(base)
    return {n: m for n, m in modules.items() if any(m is end for end in both)}


def _added(config: Mapping[str, Any], old: int) -> int:
    """How many tokens beyond the base's have trained rows of their own; 0 unless they are every new one."""
    value: Any = config.get("trainable_token_indices") or config.get("token_indices") or ()
    lists = list(value.values()) if isinstance(value, dict) else [value]
    indices = {i for part in lists if isinstance(part, list | tuple) for i in part if isinstance(i, int)}
    new = sorted(i for i in indices if i >= old)
    return len(new) if new == list(range(old, old + len(new))) and len(new) < 2**20 else 0
