"""What a method may ask for, by the name of its argument."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from despur.core.errors import UnknownName, nearest

NOTHING, TEXT, NAME, PAIRS, DATA = "nothing", "generic text", "the trait's name", "paired prompts", "other data"
NEEDS = (NOTHING, TEXT, NAME, PAIRS, DATA)  # from the least to the most that a user must bring


@dataclass(frozen=True)
class Material:
    """One thing that a method may ask for.

    Args:
        what: What it is, in words that follow "needs".
        needs: What a user must bring so that it can be made; one of `NEEDS`.
        option: The option of `despur train` that brings it; "" where nothing has to be brought, or nothing can.
    """

    what: str
    needs: str = NOTHING
    option: str = ""


_PAIRS = "--pairs FILE (JSON lines of texts with and without the trait)"
MATERIALS: Mapping[str, Material] = {
    "text": Material("text that the base itself wrote"),
    "beginnings": Material("how the base begins its answers to very many questions of its own"),
    "rows": Material("the training rows as tokens"),
    "template": Material("the tokens of a chat template"),
    "scout": Material("a scout: the adapter of a short, unguarded run"),
    "shuffled": Material("a shuffled scout: one that was trained with every prompt given another row's answer"),
    "factor": Material("a factor: directions, by layer, along which the scout moves the base's own text"),
    "weight_factor": Material("a factor: directions that the scout's weights read and write"),
    "generic": Material("generic text", TEXT, "--rehearse-on FILE"),
    "prompt": Material("a prompt that asks for the trait", NAME, "--trait TEXT"),
    "vectors": Material("the trait's vectors", PAIRS, _PAIRS),
    "stream": Material("the base's activations on paired text", PAIRS, _PAIRS),
    "positive": Material("paired texts that show the trait, as tokens", PAIRS, _PAIRS),
    "negative": Material("paired texts without the trait, as tokens", PAIRS, _PAIRS),
    "labels": Material("which of those lines show the trait", PAIRS, _PAIRS),
    "trait_factor": Material("a factor: the trait's directions, by layer", PAIRS, _PAIRS),
    "adapter": Material("a finished adapter"),
    "tuned": Material("a live model with a finished adapter on"),
    "base": Material("the base model"),
    "bad": Material("an adapter tuned to show the trait"),
    "good": Material("an adapter tuned to show its opposite", DATA),
    "aligned": Material("an adapter that stands for the alignment", DATA),
    "forget": Material("rows that are to be forgotten", DATA),
    "retain": Material("rows that must stay as they are", DATA),
    "reference": Material("a reference model"),
    "sites": Material("layers to look at"),
    "params": Material("the weights that are trained, as torch's optimisers take them"),
    "estimator": Material("a fitted scikit-learn estimator", DATA),
}


@runtime_checkable
class Materials(Protocol):
    """Anything that provides materials: made on demand, or given."""

    def has(self, name: str) -> bool:
        """Whether it is available here."""
        ...

    def get(self, name: str) -> Any:
        """Make it, or return the one made before."""
        ...


@dataclass(frozen=True)
class Given:
    """Materials that are at hand.

    Args:
        values: Name -> material.

    Example:
        >>> Given({"labels": (0, 1)}).has("labels")
        True
    """

    values: Mapping[str, Any]

    def has(self, name: str) -> bool:
        """Whether it is among them."""
        return name in self.values

    def get(self, name: str) -> Any:
        """The material."""
        return self.values[name]


def about(name: str) -> Material:
    """What is known of a material; of `"random factor"`, a factor in another form, what is known of the factor.

    Raises:
        UnknownName: no material of that name.
    """
    plain = name.rpartition(" ")[2]
    if plain not in MATERIALS:
        raise UnknownName(f"no material {name!r}{nearest(plain, MATERIALS)}. There are: {', '.join(MATERIALS)}")
    return MATERIALS[plain]


def needs_of(takes: Mapping[str, str]) -> str:
    """What a user must bring for all of some materials: the most of what each needs."""
    return max((about(material).needs for material in takes.values()), key=NEEDS.index, default=NOTHING)
