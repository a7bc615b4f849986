"""What a norm does to a direction of the stream, measured on the module itself."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core.errors import ShapeMismatch, SiteNotFound
from despur.core.model.shards import gathered


@dataclass(frozen=True)
class NormGain:
    """How a norm shows a stream direction to the map behind it: v -> gain * (v - mean(v)).

    Only LayerNorm subtracts the mean. The norm's division by a length is common to all
    directions and drops out of subspaces.

    Args:
        gain: (d,) elementwise gain.
        centred: Whether the norm subtracts the mean.
    """

    gain: Float[Tensor, " d"]
    centred: bool

    @classmethod
    @torch.no_grad()
    def of(cls, norm: nn.Module | None, width: int) -> "NormGain":
        """Measure a norm module by what it does to two inputs; None is the identity.

        So it does not matter whether a class multiplies by `weight` (Llama) or by `1 + weight` (Gemma,
        Qwen3-Next), or whether it subtracts the mean.

        Raises:
            ShapeMismatch: the norm has another width.
            SiteNotFound: the module is not a norm.
        """
        if norm is None:
            return cls(torch.ones(width), False)
        norm_copy = gathered(norm).float()  # where it lies: a fused kernel may run on its own device only
        device = next((weight.device for weight in norm.parameters()), torch.device("cpu"))

        def odd(x: Tensor) -> Tensor:  # what is left without the bias
            return (norm_copy.forward(x[None]) - norm_copy.forward(-x[None]))[0] / 2

        half = width // 2
        x = 1024 * torch.ones(width, device=device)  # long, so that eps does not count, and without a mean
        x[:half] *= -(width - half) / max(half, 1)
        y = x + 1024 * torch.linspace(0, 1, width, device=device) ** 2
        try:
            gain, given = odd(x) / x * x.square().mean().sqrt(), odd(y)
        except RuntimeError as error:
            raise ShapeMismatch(
                f"{type(norm).__name__} takes no stream of width {width}. Was the factor found on another model?"
            ) from error
        except TypeError:  # attention and the like take more than one tensor
            gain, given = torch.zeros_like(x), torch.full_like(x, torch.inf)
        for centred, seen in ((False, y), (True, y - y.mean())):
            if (gain * seen / seen.square().mean().sqrt() - given).norm() <= 1e-4 * gain.norm():
                return cls(gain.cpu(), centred)
        raise SiteNotFound(
            f"{type(norm).__name__} is no norm: it does not give gain * (x - mean) / length. State another"
        )

    def show(self, directions: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
        """Stream directions as the map behind the norm sees them."""
        rows = directions - directions.mean(1, keepdim=True) if self.centred else directions
        return rows * self.gain.to(rows)

    def pull_back(self, covectors: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
        """What a map's read rows react to on the stream before the norm: the transpose of `show`."""
        rows = covectors * self.gain.to(covectors)
        return rows - rows.mean(1, keepdim=True) if self.centred else rows
