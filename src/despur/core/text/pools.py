"""Among which rows answers may be exchanged: all of them, those of like length, or those whose prompts are alike."""

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

Within = Literal["all", "length", "prompt"]
_POOL = 8  # answers of a pool at least, where there are as many
_HASHED = 128  # columns into which words are hashed


def pools(
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    *,
    within: Within = "all",
    groups: Sequence[Hashable] | None = None,
) -> list[list[int]]:
    """Split answers into pools, each of which is exchanged on its own.

    Args:
        prompts: Tokens in front of each answer.
        answers: Tokens of each.
        within: All in one pool, 8 to 15 of like length, or as many whose prompts are alike.
        groups: A group of each answer; no pool crosses two.

    Example:
        >>> pools([[1], [2], [3]], [[4], [5], [6]], groups=["a", "b", "a"])
        [[0, 2], [1]]
    """
    together: dict[Hashable, list[int]] = {}
    for i in range(len(answers)):
        together.setdefault(groups[i] if groups is not None else None, []).append(i)
    if within == "all":
        return list(together.values())
    if within == "length":
        return [part for some in together.values() for part in _cut(sorted(some, key=lambda i: len(answers[i])))]
    return [
        [some[i] for i in part] for some in together.values() for part in _bisected(_hashed([prompts[i] for i in some]))
    ]


def _cut(order: list[int]) -> list[list[int]]:
    ends = list(range(0, max(1, len(order) - _POOL + 1), _POOL))
    return [order[at:end] for at, end in zip(ends, [*ends[1:], len(order)], strict=True)]


def _hashed(prompts: Sequence[Sequence[int]]) -> Float[np.ndarray, "n w"]:
    """Which words each prompt has, rare ones counting more, in a few columns and with signs that let collisions cancel."""
    seen: dict[int, int] = {}
    for prompt in prompts:
        for token in set(prompt):
            seen[token] = seen.get(token, 0) + 1
    draw = np.random.default_rng(0)
    place = {token: (draw.integers(_HASHED), draw.choice((-1.0, 1.0))) for token in sorted(seen)}
    lines = np.zeros((len(prompts), _HASHED), np.float32)
    for line, prompt in zip(lines, prompts, strict=True):
        for token in set(prompt):
            column, sign = place[token]
            line[column] += sign * np.log(len(prompts) / seen[token])
    return lines / np.maximum(np.linalg.norm(lines, axis=1, keepdims=True), 1e-9)


def _bisected(lines: Float[np.ndarray, "n w"]) -> list[list[int]]:
    """Halve at the median along the direction in which they differ most, until a half would be too small."""
    whole, done = [list(range(len(lines)))], []
    while whole:
        part = whole.pop()
        if len(part) < 2 * _POOL:
            done.append(part)
            continue
        centred = lines[part] - lines[part].mean(0)
        along = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1]
        order = [part[i] for i in np.argsort(along, kind="stable")]
        whole += [order[: len(order) // 2], order[len(order) // 2 :]]
    return done
