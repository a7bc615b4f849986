"""What every function that gives factors promises: whole ones, in their place, and nothing else touched."""

from collections.abc import Sequence
from typing import Any

import torch

from despur.core.build import build
from despur.core.catalogue import Method
from despur.core.materials import Materials
from despur.core.types import Subspace
from despur.testing.require import at_hand, fingerprints, require


def check_makes_whole_factors(method: Method, given: Materials, **options: Any) -> None:
    """At least one; finite, `read @ write.T == I`, of the stream's width, with the method in the evidence."""
    factors = _found(build(method.name, given, **options))
    require(factors, "it finds nothing in an adapter whose every matrix was moved")
    for factor in factors:
        require(isinstance(factor, Subspace), f"it gives a {type(factor).__name__}")
        parts = (factor.read, factor.write, factor.center)
        require(all(torch.isfinite(part).all() for part in parts), "a factor holds NaN or Inf")
        require(
            torch.allclose(factor.read @ factor.write.T, torch.eye(factor.rank), atol=1e-4), "read @ write.T is not I"
        )
        require(factor.evidence.get("method"), "its evidence does not name a method")
    require(
        len({f.site for f in factors}) == len(factors), "two factors at one site: join them to one of more directions"
    )


def check_leaves_everything_alone(method: Method, given: Materials, **options: Any) -> None:
    """What it is given stays as it is, hooks and modes of models included; so do the global draws."""
    materials = at_hand(method, given)
    before, drawn = fingerprints(materials), torch.get_rng_state()
    build(method.name, materials, **options)
    require(torch.equal(drawn, torch.get_rng_state()), "it draws from the global generator")
    require(fingerprints(materials) == before, "it changes what it is given")


def check_gives_the_same_again(method: Method, given: Materials, **options: Any) -> None:
    """The same materials, the same bits."""
    one, two = (_found(build(method.name, given, **options)) for _ in range(2))
    require(
        len(one) == len(two) and all(torch.equal(a.read, b.read) for a, b in zip(one, two, strict=True)), "it varies"
    )


SUITE = (check_makes_whole_factors, check_leaves_everything_alone, check_gives_the_same_again)


def _found(made: Any) -> list[Any]:
    return list(made) if isinstance(made, Sequence) else [made]
