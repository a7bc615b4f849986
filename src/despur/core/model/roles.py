"""What each linear map does to the residual stream: from the table of families, or as stated by hand."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from despur.core.errors import SiteNotFound, nearest
from despur.core.model.base_modules import map_shape
from despur.core.model.families import FAMILIES, NORMED_STREAM
from despur.core.model.stacks import stack_of, stacks
from despur.core.types import EVERYWHERE, Subspace

Side = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Role:
    """What a linear map does to the residual stream.

    Args:
        module: Name of the map in the base model; of experts that are stacked, of the parameter that they lie in.
        side: Reads the stream or writes it.
        layer: Decoder layer, None outside the layers.
        norm: Name of the norm between stream and map, None where there is none.
    """

    module: str
    side: Side
    layer: int | None
    norm: str | None


def tabled_roles(kind: str, config: Any, path: str, modules: Mapping[str, nn.Module]) -> dict[str, Role]:
    """Roles by the table of families.

    Args:
        kind: The model type of its text part, one of the table.
        config: Of that part.
        path: Name of its layers with `#` for the number.
        modules: Of the base, by name.

    """
    stem = path.removesuffix("#").rstrip(".").rpartition(".")[0]
    holder = stem + "." if stem else ""
    table: dict[str, Role] = {}
    for key, patterns in FAMILIES[kind].items():
        side: Side = "read" if key.startswith("read") else "write"
        norms = key.partition(":")[2].split("|")
        for pattern in patterns:
            for layer in range(config.num_hidden_layers) if "{L}" in pattern else (None,):
                names = {"L": path.replace("#", str(layer)), "M": holder}
                name = pattern.format(**names)
                shape = map_shape(modules[name]) if name in modules else None
                if shape is not None and shape[side == "read"] == config.hidden_size:
                    between = [norm.format(**names) for norm in norms]
                    norm = next((n for n in between if n in modules), between[0])
                    table[name] = Role(name, side, layer, norm or None)
    return table


STATE = (
    "State the roles, in a file for --roles or as roles={'*.attn.in_proj': 'read:*.norm1', '*.attn.out_proj': 'write'}"
)


def normed_stream(config: Any) -> str | None:
    """The setting by which a model norms the stream itself, not its readers; None where it does not."""
    return next((f"{n}={v}" for n, v in NORMED_STREAM.items() if getattr(config, n, None) is v), None)


def untold(kind: str, config: Any) -> str:
    """The beginning of the error for an architecture whose roles are not known."""
    setting = normed_stream(config)
    if setting is not None and kind in FAMILIES:
        return f"this {kind!r} model norms the stream itself ({setting}), not its readers, and its roles cannot be told"
    return f"model type {kind!r} is not in the table of roles, and they cannot be told by watching it"


def stated_roles(modules: Mapping[str, nn.Module], roles: Mapping[str, str], path: str | None) -> dict[str, Role]:
    """Roles as stated by hand.

    Args:
        modules: Of the base, by name.
        roles: Glob of map names to role; see `stream_roles`.
        path: Name of the layers with `#` for the number; None where they are not known, and the first number in a name
            is taken for the layer's.

    Raises:
        SiteNotFound: not a role, or a glob that matches no linear map.
    """
    table: dict[str, Role] = {}
    layer = re.compile(re.escape(f"{path}.").replace(r"\#", r"(\d+)") if path else r"(?:.*?\.)??(\d+)\.")
    for pattern, stated in roles.items():
        side, _, norm = stated.partition(":")
        if side not in ("read", "write"):
            raise SiteNotFound(
                f"role {stated!r} of {pattern!r} is not 'read', 'read:NORM', 'write' or 'write:NORM'. State one"
            )
        regex = re.compile(re.escape(pattern).replace(r"\*", "(.*)"))
        maps = [*(name for name, module in modules.items() if map_shape(module) is not None), *stacks(modules)]
        matches = [m for name in maps if (m := regex.fullmatch(name))]
        if not matches:
            raise SiteNotFound(f"role pattern {pattern!r} matches no linear map{nearest(pattern, maps)}. Correct it")
        for match in matches:
            number = layer.match(match[0])
            stem = match[1] if regex.groups else "*"
            table[match[0]] = Role(match[0], side, int(number[1]) if number else None, norm.replace("*", stem) or None)
    return table


def match_role(name: str, roles: Mapping[str, Role]) -> Role:
    """Role of one adapted module; an expert has that of its stack.

    Raises:
        SiteNotFound: the module is not one that reads or writes the stream, as far as the table knows.
    """
    stack = stack_of(name)
    if name not in roles and stack in roles:
        return replace(roles[stack], module=name)
    if name not in roles:
        raise SiteNotFound(
            f"no role known for adapted module {name!r}{nearest(name, roles)}. "
            "State it: roles={'" + re.sub(r"\b\d+\b", "*", stack) + "': 'read:NORM' or 'write'}"
        )
    return roles[name]


def factor_at(role: Role, factors: Mapping[str, Subspace], path: str | None) -> Subspace | None:
    """Which factor a map meets: its own norm's, else its layer's, else the one for the whole stream.

    Args:
        role: Of the map.
        factors: By the name of their site's module.
        path: Name of the layers as `layer_path` gives it; None where they are not known.
    """
    layer = path.replace("#", str(role.layer)) if path is not None and role.layer is not None else None
    return next(
        (factors[site] for site in (role.norm, layer, EVERYWHERE) if site is not None and site in factors), None
    )
