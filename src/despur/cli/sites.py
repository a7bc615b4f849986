"""`despur sites`: where in a model factors live."""

from typing import Any

from despur.cli.terminal import out_console
from despur.cli.view import View, table


def sites(base: str) -> list[Any]:
    """List the places of a model where factors live, and what each linear map does to the stream.

    Args:
        base: Folder, GGUF file, hub id or name (`smollm2`) of the base model.

    Example:
        $ despur sites base/
    """
    from despur.core import stream_roles
    from despur.flows.load import load_base

    return list(stream_roles(load_base(base)[0]).values())


def _show_sites(roles: Any, given: Any) -> None:
    """Maps that differ in their layer alone are one line: a model of thirty layers has two hundred."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for role in roles:
        one, every = f".{role.layer}.", ".*."
        norm = (role.norm or "").replace(one, every, 1)
        alike.setdefault((role.module.replace(one, every, 1), role.side, norm), []).extend(
            [] if role.layer is None else [role.layer]
        )
    made = table("map", "does", "layers", "norm between", left=4)
    for (module, side, norm), layers in alike.items():
        made.add_row(module, side, _spans(layers), norm.rpartition(".*.")[2])
    out_console.print(made)


def _spans(numbers: list[int]) -> str:
    """Numbers in words: 0-3, 5."""
    ends = [n for n in sorted(numbers) if n + 1 not in numbers]
    starts = [n for n in sorted(numbers) if n - 1 not in numbers]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


VIEWS = {
    "sites": View(
        _show_sites,
        plain=lambda roles, given: [{"map": r.module, "does": r.side, "layer": r.layer, "norm": r.norm} for r in roles],
    ),
}
