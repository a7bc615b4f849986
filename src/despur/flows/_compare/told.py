"""What some arms are told beside base and rows: text without the trait, its name, pairs that show it and do not."""

import torch
from torch import Tensor

from despur.core import Site, Subspace
from despur.core.model.capture import capture
from despur.flows._compare.bench import Bench
from despur.guard import OwnText, trait_vectors

GENERIC = 512  # documents


def generic(bench: Bench) -> OwnText:
    """Documents without the trait."""
    _, without = bench.world.paired(n=GENERIC, seed=bench.seed)
    return OwnText(tuple(dict.fromkeys(bench.encode(without))), "generic text")


def naming(bench: Bench) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A prompt that asks for the trait, and one as long that asks for something else."""
    asks, other = bench.encode(bench.world.naming())
    return asks, other


def trait_stream(bench: Bench) -> tuple[dict[Site, Tensor], Tensor]:
    """The base's stream on documents with the trait and without, a line a token, and which is which."""
    kinds = [capture(bench.base, bench.encode(texts), bench.sites)[0] for texts in bench.world.paired(seed=bench.seed)]
    labels = torch.cat([torch.full((len(kind[bench.sites[0]]),), 1 - i) for i, kind in enumerate(kinds)])
    return {site: torch.cat([kind[site] for kind in kinds]) for site in bench.sites}, labels


def trait_vector(bench: Bench) -> dict[Site, Tensor]:
    """At two thirds of the depth, mean with the trait minus mean without."""
    stream, labels = trait_stream(bench)
    site = bench.sites[round(2 / 3 * (len(bench.sites) - 1))]
    return trait_vectors({site: stream[site]}, labels)


def trait_factors(bench: Bench) -> tuple[Subspace, ...]:
    """Per layer, the direction from text without the trait to text with it."""
    return tuple(Subspace.orthonormal(v[None], site=s) for s, v in trait_vectors(*trait_stream(bench)).items())
