"""A small diffusion model of the digits: it learns classes in turn, and dreams the former ones to rehearse them."""

from collections.abc import Callable
from itertools import pairwise
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from despur.worlds.digits.rows import DigitRows

Images = Float[Tensor, "_ 1 8 8"]


class Denoiser(nn.Module):
    """Four convolutions that name the noise in an image.

    What goes in is the noisy image and, as two more channels, cosine and sine of its phase: how much is image, how much noise.

    Args:
        width: Channels of each hidden layer.
        seed: Of the weights; torch's own generator stays where it was.

    Example:
        >>> Denoiser()(noisy(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8), torch.ones(2))).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, width: int = 8, *, seed: int = 0) -> None:
        super().__init__()
        sizes = ((3, width), (width, width), (width, width), (width, 1))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in sizes)

    def forward(self, x: Float[Tensor, "_ 3 8 8"]) -> Images:
        """Images with their phases to the noise in them."""
        first, second, third, last = self.layers
        x = silu(first(x))
        x = x + silu(second(x))
        x = x + silu(third(x))
        return last(x)


def noisy(image: Images, noise: Images, phase: Float[Tensor, " n"]) -> Float[Tensor, "_ 3 8 8"]:
    """Mix images with noise, cos(phase) of the one and sin(phase) of the other, and add both as channels."""
    c, s = (f(phase).view(-1, 1, 1, 1) for f in (torch.cos, torch.sin))
    return torch.cat([c * image + s * noise, c.expand(image.shape), s.expand(image.shape)], 1)


def noisy_draw(
    images: Images, n: int, draw: torch.Generator, *, between: tuple[float, float] = (0.0, 1.0)
) -> tuple[Float[Tensor, "_ 3 8 8"], Images]:
    """Draw noisy images and their noise.

    Args:
        images: In [-1, 1].
        n: How many.
        draw: Generator.
        between: Range of phases in quarter turns: near 0 all is image, near 1 all is noise.
    """
    low, high = between
    chosen = images[torch.randint(len(images), (n,), generator=draw)]
    phase = (low + (high - low) * torch.rand(n, generator=draw)) * pi / 2
    noise = torch.randn(chosen.shape, generator=draw)
    return noisy(chosen, noise, phase), noise


def images_of(rows: DigitRows) -> Images:
    """Images in [-1, 1]."""
    return 2 * rows.x - 1


def denoising_loss(net: nn.Module, images: Images, *, seed: int = 0, repeats: int = 6) -> float:
    """Mean squared error of the noise a pixel, on the same draws for every net."""
    x, noise = noisy_draw(images, repeats * len(images), torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return float((net(x) - noise).square().mean())


def learn_images(
    net: nn.Module, images: Images, draw: torch.Generator, *, steps: int, rehearsed: Images | None = None, batch: int = 16,
    lr: float = 5e-3, falls: bool = True, penalty: Callable[[nn.Module], Tensor] | None = None,
) -> nn.Module:  # fmt: skip
    """Train in place on images, half of each batch rehearsed ones where there are any.

    Args:
        net: Denoiser.
        images: New ones.
        draw: Generator.
        steps: Of Adam.
        rehearsed: Old ones, or what the net dreamt of them.
        batch: New images a step, and as many old ones.
        lr: Adam's rate at the start.
        falls: Whether it falls to zero; at a constant rate the net stays a little off at every noise level.
        penalty: Added to the loss of each step.
    """
    adam = torch.optim.Adam(net.parameters(), lr)
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * (1 - step / steps) if falls else lr
        parts = [noisy_draw(part, batch, draw) for part in (images, rehearsed) if part is not None]
        x, noise = (torch.cat(p) for p in zip(*parts, strict=True))
        loss = (net(x) - noise).square().mean()
        adam.zero_grad()
        (loss if penalty is None else loss + penalty(net)).backward()
        adam.step()
    return net


@torch.no_grad()
def dreamt(net: nn.Module, n: int, draw: torch.Generator, *, steps: int = 12) -> Images:
    """Draw images from the net itself, by deterministic steps from pure noise."""
    phases = torch.linspace(0.98 * pi / 2, 0.02, steps + 1)
    x = image = torch.randn(n, 1, 8, 8, generator=draw)
    for now, after in pairwise(phases):
        noise = net(torch.cat([x, now.cos().expand(x.shape), now.sin().expand(x.shape)], 1))
        image = ((x - now.sin() * noise) / now.cos()).clamp(-1, 1)
        x = after.cos() * image + after.sin() * (x - now.cos() * image) / now.sin()
    return image
