"""What methods are built from, each material made when it is first needed, and saved in a run's store."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from despur.core import Adapter, Site, Subspace, load_factors, save_factors
from despur.core.adapter.peft_folder import tune_digest
from despur.core.adapter.scout import Scout
from despur.core.model.capture import capture
from despur.core.text.rows import Tokens
from despur.find import from_activations, from_adapter, random_twins
from despur.flows.scout_factors import GRASP_RANK, layer_sites, scout_directions
from despur.flows.sources import Sources
from despur.guard import telling_rows, trait_vectors

_READ = 128  # rows of own text that directions are computed from
Side = Literal["read", "write"]


class Maker:
    """Makes the materials of `core.materials` from their sources, each once.

    A name may begin with a form: `"random factor"` is random directions of the same places, ranks and shares of activation
    variance, `"permuted scout"` the scout with its change on other words; `FORMS` lists them. Controls are made of them.

    Args:
        sources: Where materials come from.
        step: Makes a folder once by name and spec, as `Store.step` does.
        seed: Seed of random directions and permutations.
        rank: Directions of a factor at each layer.
        weight_rank: Directions of a weight factor at each norm and layer.
        scouts: How many scouts a weight factor is computed from.
        sides: Which sides of the scouts to use.
        roles: Roles that were stated, for an architecture that is not known.

    Example:
        >>> # build("grasp", Maker(sources, store.step, seed=0), instead={"factor": "random weight_factor"})
    """

    def __init__(
        self, sources: Sources, step: Callable[[str, Mapping[str, Any], Callable[[Path], Any]], Path], *, seed: int,
        rank: int = GRASP_RANK, weight_rank: int = GRASP_RANK, scouts: int = 1, sides: Sequence[Side] = ("read", "write"),
        roles: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.sources, self.step, self.seed, self.sides = sources, step, seed, tuple(sides)
        self.rank, self.weight_rank, self.scouts, self.roles = rank, weight_rank, scouts, roles
        self._made: dict[str, Any] = {}
        of_pairs: dict[str, Callable[[], Any]] = {
            "vectors": self._vectors, "stream": lambda: self._paired()[0], "labels": lambda: self._paired()[1],
            "trait_factor": self._trait_factor, "positive": lambda: self._texts()[0], "negative": lambda: self._texts()[1],
        }  # fmt: skip
        s = sources
        self._makers: dict[str, Callable[[], Any]] = {
            "text": s.text, "rows": s.rows, "base": s.base, "scout": lambda: s.scout(0),
            "factor": self._factor, "weight_factor": self._weight_factor,
            **({"beginnings": s.beginnings} if s.beginnings else {}),
            **({"shuffled": s.shuffled} if s.shuffled else {}),
            **({"generic": s.generic} if s.generic else {}),
            **({"template": s.template} if s.template else {}),
            **(of_pairs if s.pairs else {}),
            **({"prompt": lambda: self.naming()[0]} if s.naming else {}),
            **({"tuned": lambda: s.load(s.adapters["adapter"]())} if "adapter" in s.adapters else {}),
            **{name: lambda folder=folder: Adapter.read(folder()) for name, folder in s.adapters.items()},
        }  # fmt: skip

    def has(self, name: str) -> bool:
        """Whether it can be made from these sources."""
        form, _, plain = name.rpartition(" ")
        return plain in self._makers and (not form or _kind(form) in FORMS)

    def get(self, name: str) -> Any:
        """Make it, or return it where it was made."""
        if name not in self._made:
            form, _, plain = name.rpartition(" ")
            self._made[name] = FORMS[_kind(form)](self, plain, form) if form else self._makers[plain]()
        return self._made[name]

    @property
    def sites(self) -> list[Site]:
        """The stream after every layer."""
        return layer_sites(self.get("base"))

    def _saved(
        self, name: str, spec: Mapping[str, Any], find: Callable[[], tuple[Subspace, ...]]
    ) -> tuple[Subspace, ...]:
        return load_factors(self.step(name, spec, lambda out: save_factors(find(), out)))

    def _factor(self) -> tuple[Subspace, ...]:
        """Per layer, the leading directions along which the scout moves own text."""
        scout: Path = self.get("scout")
        spec = {"of": "activations", "rank": self.rank, "scout": tune_digest(scout)}
        return self._saved(
            "factors", spec,
            lambda: from_activations(self.sources.load(scout), self.get("text").rows[:_READ], self.sites, rank=self.rank),
        )  # fmt: skip

    def _weight_factor(self) -> tuple[Subspace, ...]:
        """Per norm what the scouts read, per layer what they write."""
        scouts = [self.get("scout"), *(self.sources.scout(i) for i in range(1, self.scouts))]
        spec = {
            "of": "weights", "rank": self.weight_rank, "sides": list(self.sides), "scout": ",".join(map(tune_digest, scouts)),
        }  # fmt: skip
        return self._saved(
            "weight_factors", spec, lambda: self.directions([Adapter.read(s, self.get("base")) for s in scouts])
        )

    def directions(self, adapter: Adapter | Sequence[Adapter], rank: int | None = None) -> tuple[Subspace, ...]:
        """What an adapter, or several, read and write most."""
        return scout_directions(
            adapter, self.get("base"), rank=rank or self.weight_rank, sides=self.sides, roles=self.roles
        )

    def naming(self) -> tuple[Sequence[int], Sequence[int]]:
        """A prompt that asks for the trait, and one of the same length that asks for something else."""
        assert self.sources.naming is not None
        return self._made.setdefault("naming", self.sources.naming())

    def _texts(self) -> tuple[Any, Any]:
        """Texts with the trait and without, as tokens."""
        assert self.sources.pairs is not None
        return self._made.setdefault("pairs", self.sources.pairs())

    def _paired(self) -> tuple[dict[Site, Tensor], Tensor]:
        """The base's stream on texts with the trait and without, a line per token, and which is which."""
        if "paired" not in self._made:
            kinds = [capture(self.get("base"), texts, self.sites)[0] for texts in self._texts()]
            labels = torch.cat([torch.full((len(kind[self.sites[0]]),), 1 - i) for i, kind in enumerate(kinds)])
            self._made["paired"] = {s: torch.cat([kind[s] for kind in kinds]) for s in self.sites}, labels
        return self._made["paired"]

    def _vectors(self) -> dict[Site, Tensor]:
        """At two thirds of the depth, mean with the trait minus mean without."""
        stream, labels = self._paired()
        site = self.sites[round(2 / 3 * (len(self.sites) - 1))]
        return trait_vectors({site: stream[site]}, labels)

    def _trait_factor(self) -> tuple[Subspace, ...]:
        """Per layer, the direction from text without the trait to text with it."""
        return tuple(Subspace.orthonormal(v[None], site=s) for s, v in trait_vectors(*self._paired()).items())


def _kind(form: str) -> str:
    return re.sub(r"\d+$", "", form)


def _random(maker: Maker, plain: str, form: str) -> tuple[Subspace, ...]:
    draw = int(form.partition("-")[2] or 0)
    return random_twins(
        maker.get("base"), maker.get(plain), maker.get("text").rows[:_READ], seed=maker.seed + 1000 * draw
    )[0]


def _in_stream(maker: Maker, plain: str, form: str) -> tuple[Subspace, ...]:
    """One basis for the whole stream: what all modules of the scout read, write, or both."""
    side = form.partition("-")[0]
    scout = Adapter.read(maker.get("scout"), maker.get("base"))
    sides: tuple[Side, ...] = ("read", "write") if side == "both" else (cast(Side, side),)
    base, rank = maker.get("base"), maker.weight_rank
    factors = [f for s in sides for f in from_adapter(scout, base, side=s, rank=rank, level=None, roles=maker.roles)]
    return (Subspace.orthonormal(torch.cat([f.read for f in factors])),)


def _own(maker: Maker, plain: str, form: str) -> tuple[Subspace, ...]:
    """The finished adapter's own leading directions."""
    return maker.directions(maker.get("adapter"), int(form.partition("-")[2]))


def _telling(maker: Maker, plain: str, form: str) -> list[Tokens]:
    """The quarter of generic rows that the scout finds oddest."""
    rows = [{"input_ids": list(r), "labels": list(r)} for r in maker.get(plain).rows]
    scout = maker.get("scout")
    return telling_rows(maker.sources.load(scout), [scout], rows, keep=len(rows) // 4)


# what a material may be turned into; the number behind a dash is no part of the form
FORMS: Mapping[str, Callable[[Maker, str, str], Any]] = {
    "random": _random,
    "random-": _random,
    "permuted": lambda maker, plain, form: Scout(maker.get(plain), permuted=maker.seed),
    "irrelevant": lambda maker, plain, form: maker.naming()[1],
    "reversed": lambda maker, plain, form: {site: -v for site, v in maker.get(plain).items()},
    "telling": _telling,
    "read-stream": _in_stream,
    "write-stream": _in_stream,
    "both-stream": _in_stream,
    "own-": _own,
}
