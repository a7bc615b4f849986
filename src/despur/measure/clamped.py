"""Is a behaviour gone when an SAE's features are clamped, or can a small push bring it back that leaves them clamped?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from despur.core.errors import BadInput
from despur.core.model.dictionary import Dictionary
from despur.measure._ascent import ascend, shortened

Behaviour = Callable[
    [Float[Tensor, "n t d"]], Float[Tensor, " n"]
]  # the stream at the site -> a margin, above 0 where it is shown
Constraint = Literal["linear", "epsilon", "decoder", "none"]
Stream = Float[Tensor, "n t d"]


def clamp(
    x: Float[Tensor, "*b d"], sae: Dictionary, features: Sequence[int], *, at: float = 0.0
) -> Float[Tensor, "*b d"]:
    """The stream with some features set to a value, what the SAE does not explain added back.

        x' = D(clamp(E(x))) + x - D(E(x))

    Args:
        x: The stream.
        sae: Of the stream's site.
        features: Which.
        at: The value.

    Raises:
        BadInput: no feature, or one that the SAE lacks.
    """
    _check(sae, features)
    now = sae.encode(x)[..., list(features)]
    return x + (at - now) @ sae.decoder[list(features)]


@dataclass(frozen=True)
class Recovered:
    """What a search for a push behind a clamp gave, for each of n prompts.

    Args:
        push: (n, t, d) that was found.
        without_clamp: Whether the behaviour is there without a clamp.
        with_clamp: Whether it is there with the clamp.
        back: Whether it is shown with clamp and push.
        length: Of the push, as a share of the stream's.
        drift: |features with the push - without| / |without|, over all features.
        reactivated: Largest change of what a clamped feature reads.
        by_rest: Whether what the SAE does not explain of the push shows the behaviour alone.
        by_clamped: Whether what the clamped features write of it does.
    """

    push: Stream
    without_clamp: Bool[Tensor, " n"]
    with_clamp: Bool[Tensor, " n"]
    back: Bool[Tensor, " n"]
    length: Float[Tensor, " n"]
    drift: Float[Tensor, " n"]
    reactivated: Float[Tensor, " n"]
    by_rest: Bool[Tensor, " n"]
    by_clamped: Bool[Tensor, " n"]

    @property
    def valid(self) -> Bool[Tensor, " n"]:
        """Prompts that can be counted: the behaviour is shown, and the clamp stops it."""
        return self.without_clamp & ~self.with_clamp


def recovery_behind_clamp(
    behaviour: Behaviour, stream: Stream, sae: Dictionary, features: Sequence[int], *, budget: float = 0.25, at: float = 0.0,
    constraint: Constraint = "linear", epsilon: float = 0.1, steps: int = 60,
) -> Recovered:  # fmt: skip
    """Search a push that brings a behaviour back and does not wake the clamped features; projected gradient from zero.

        max behaviour(x' + push),   |A push| <= bound at each token,   |push| <= budget |x|,   A = encoder rows of the clamped features

    Args:
        behaviour: Of the stream at the SAE's site, differentiable.
        stream: There, of prompts that show it.
        sae: Of that site; of an ablated subspace `Dictionary.of_subspace`, all of whose features are clamped to 0.
        features: That are clamped.
        budget: Largest push, as a share of the stream's length.
        at: What they are clamped to.
        constraint: The bound: 0 (`linear`), `epsilon`, epsilon over the length of a feature's decoder row (`decoder`), or `none`.
        epsilon: In units of a feature.
        steps: Of the search; each goes a tenth of the budget.

    Raises:
        BadInput: another constraint, no feature, a budget that is not positive, or a gradient with NaN.
        ShapeMismatch: an SAE of another width.
    """
    bounds = {
        "linear": 0.0,
        "epsilon": epsilon,
        "decoder": epsilon / sae.decoder[list(features)].norm(dim=1).clamp(min=1e-8),
        "none": torch.inf,
    }
    if constraint not in bounds or not budget > 0:
        raise BadInput(
            f"constraint={constraint!r}, budget={budget}; one of {', '.join(bounds)} is needed, and a budget above 0"
        )
    _check(sae, features)
    rows, bound = sae.encoder[list(features)], torch.as_tensor(bounds[constraint])
    back_to = torch.linalg.pinv(rows)
    stream = stream.detach()
    held = clamp(stream, sae, features, at=at).detach()
    most = budget * stream.flatten(1).norm(dim=1)

    def allowed(push: Stream) -> Stream:
        if constraint != "none":
            reads = push @ rows.T
            push = push + (reads.clamp(-bound, bound) - reads) @ back_to.T
        return shortened(push, most)

    found = ascend(
        lambda push: behaviour(held + push), torch.zeros_like(held), size=most / 10, steps=steps, allowed=allowed
    )
    return _judged(behaviour, stream, held, found, sae, list(features))


@torch.no_grad()
def _judged(
    behaviour: Behaviour, stream: Stream, held: Stream, push: Stream, sae: Dictionary, features: list[int]
) -> Recovered:
    before, after = sae.encode(held), sae.encode(held + push)
    rest = push - (sae.decode(after) - sae.decode(before))
    wake = (after - before)[..., features] @ sae.decoder[features]
    change = sae.read(held + push)[..., features] - sae.read(held)[..., features]
    return Recovered(
        push, behaviour(stream) > 0, behaviour(held) > 0, behaviour(held + push) > 0,
        push.flatten(1).norm(dim=1) / stream.flatten(1).norm(dim=1),
        (after - before).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1).clamp(min=1e-12),
        change.abs().flatten(1).amax(1), behaviour(held + rest) > 0, behaviour(held + wake) > 0,
    )  # fmt: skip


def _check(sae: Dictionary, features: Sequence[int]) -> None:
    m = len(sae.encoder)
    if not features or not 0 <= min(features) <= max(features) < m:
        raise BadInput(
            f"clamped features {list(features)[:8]} of an SAE of {m}; give at least one, each from 0 to {m - 1}"
        )
