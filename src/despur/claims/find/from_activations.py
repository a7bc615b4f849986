"""The claim of `from-activations`."""

import numpy as np
import torch

from despur.claims.tiny_runs import fresh_lora, rows_of
from despur.core import Report, Site, Subspace
from despur.core.claim import claim
from despur.core.margin import compared
from despur.find import from_activations as method
from despur.flows import open_bench

LAYER = Site("model.layers.0")


@claim(
    method="from-activations",
    says="a short tune moves the stream along the trait: its leading directions have at least half of the direction that tells "
    "texts with the trait from texts without",
    control="random directions of the same rank and the same share of activation variance",
    margin=0.2,
)
def from_activations(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Cosine with what a planted adapter writes; with `whole` the trait's share in the scout's directions, in two worlds."""
    if whole:
        return tuple(_share(world, seed) for world in ("persona", "slant"))
    model = fresh_lora(seed, target_modules=["down_proj"], r=1, layers_to_transform=[0])
    v, other = torch.nn.functional.normalize(torch.randn(2, 32, generator=torch.Generator().manual_seed(seed)), dim=1)
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if "lora_B" in n).copy_(v[:, None])
    read = method(model, rows_of(seed, n=8).tolist(), [LAYER])[0].read[0]
    own, control = (abs(float(read @ d)) for d in (v, other))
    return (compared("cosine with what the adapter writes", own, control=control, bound=0.99, unit="cosine"),)


def _share(world: str, seed: int) -> Report:
    """Length of the trait's unit direction in the factor, mean over layers."""
    materials = open_bench(world, seed=seed).materials
    traits = {f.site: f.read[0] for f in materials.get("trait_factor")}

    def inside(factors: tuple[Subspace, ...]) -> np.ndarray:
        return np.array([float((f.read @ traits[f.site]).norm()) for f in factors])

    own, control = inside(materials.get("factor")), inside(materials.get("random factor"))
    return compared(f"length of the trait's direction in the factor, {world}", own.mean(), control=control.mean(),
                    low=own.min(), high=own.max(), n=len(own), bound=0.5, unit="cosine", interval="over layers")  # fmt: skip
