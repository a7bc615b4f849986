"""How an adapter was made, as far as its folder tells: what neutral tunes must have in common with it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import log2
from typing import Any

from despur.core import Adapter
from despur.core.errors import BadInput
from despur.core.model.base_modules import base_modules
from despur.core.model.stacks import map_shapes

_TAKEN = (  # of `adapter_config.json`: what makes a LoRA, and needs nothing beside the base
    "r", "lora_alpha", "target_modules", "layers_to_transform", "layers_pattern", "exclude_modules", "rank_pattern", "alpha_pattern",
    "use_rslora", "fan_in_fan_out", "lora_dropout",
)  # fmt: skip
_OTHER = (
    "use_dora",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "lora_bias",
)


@dataclass(frozen=True)
class Recipe:
    """What of a LoRA's making its folder tells.

    Args:
        ranks: Of its modules.
        targets: Last names of its modules, and `all` where it changes every kind of map in the layers.
        layers: How many layers it changes.
        scales: Alpha over rank, of its modules.
        size: Frobenius norm of the whole update, to half an octave: adapters of like size share a null.

    Example:
        >>> Recipe((8,), ("q_proj", "v_proj"), 30, (2.0,), 11.3).words
        'r 8, q_proj and v_proj, size 11'
    """

    ranks: tuple[int, ...]
    targets: tuple[str, ...]
    layers: int
    scales: tuple[float, ...]
    size: float

    @classmethod
    def of(cls, adapter: Adapter, base: Any) -> "Recipe":
        """Read it off the updates themselves, whatever the configuration says."""
        updates = adapter.updates
        inside = {n: n.rpartition(".")[2] for n in map_shapes(base_modules(base)) if _layer(n)}
        targets = {n.rpartition(".")[2] for n in updates}
        every = set(inside.values()) <= targets
        return cls(
            tuple(sorted({len(u.down) for u in updates.values()})), ("all",) if every else tuple(sorted(targets)),
            len({_layer(n) for n in updates} - {""}), tuple(sorted({round(u.scale, 6) for u in updates.values()})),
            _rounded(adapter.norm()),
        )  # fmt: skip

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Recipe":
        """Take what `to_dict` gave.

        Raises:
            BadInput: it is none.
        """
        try:
            ranks, scales = tuple(map(int, record["ranks"])), tuple(map(float, record["scales"]))
            return cls(ranks, tuple(map(str, record["targets"])), int(record["layers"]), scales, float(record["size"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"the null's recipe cannot be read ({error!r}). Make the null again") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), **{k: list(getattr(self, k)) for k in ("ranks", "targets", "scales")}}

    @property
    def words(self) -> str:
        """For people."""
        maps = "all maps" if self.targets == ("all",) else _listed(self.targets)
        return f"r {_listed([str(r) for r in self.ranks])}, {maps}, size {self.size:.2g}"

    def differs(self, other: "Recipe") -> str:
        """How another recipe differs in rank, maps or layers, in words; empty where it does not."""
        parts = []
        if self.ranks != other.ranks:
            parts.append(f"r {_listed([str(r) for r in other.ranks])}")
        if self.targets != other.targets:
            parts.append("all maps" if other.targets == ("all",) else _listed(other.targets))
        if self.layers != other.layers:
            parts.append(f"{other.layers} layers")
        return ", ".join(parts)


def lora_options(adapter: Adapter) -> dict[str, Any]:
    """The options of a LoRA like this one.

    Raises:
        BadInput: it is of another kind, or has parts that no plain LoRA has.
    """
    why = None
    if adapter.kind != "LORA" or not adapter.config:
        names = {"model": "a whole model", "difference": "the difference of two tunes"}
        why = names.get(adapter.kind, f"of the kind {adapter.kind}")
    elif parts := [name for name in _OTHER if adapter.config.get(name)]:
        why = f"a LoRA with {parts[0]}"
    elif adapter.config.get("bias", "none") != "none":
        why = "a LoRA with biases"
    if why is not None:
        raise BadInput(
            f"--null auto makes neutral tunes as plain LoRA, and the adapter is {why}. Train 19 neutral ones alike, run despur calibrate, "
            "and give --null FILE"
        )
    config = adapter.config
    return {name: config[name] for name in _TAKEN if config.get(name) is not None}


def alike(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The recipe that neutral adapters have in common, with their median size; empty where they differ in more, or it is not known."""
    if not all(records):
        return {}
    recipes = [Recipe.read(record) for record in records]
    if any(recipes[0].differs(other) for other in recipes):
        return {}
    return replace(recipes[0], size=sorted(r.size for r in recipes)[len(recipes) // 2]).to_dict()


def _rounded(size: float) -> float:
    return float(f"{2 ** (round(2 * log2(size)) / 2):.4g}") if size > 0 else 0.0


def _layer(name: str) -> str:
    return next((part for part in name.split(".") if part.isdigit()), "")


def _listed(parts: Sequence[str]) -> str:
    few = list(parts[:4]) + ([f"{len(parts) - 4} more"] if len(parts) > 4 else [])
    return few[0] if len(few) == 1 else f"{', '.join(few[:-1])} and {few[-1]}"
