"""`despur ls`, `despur show` and `despur sites`: what there is to choose from."""

import inspect
from typing import Any

from despur.cli.view import View, out_console, table
from despur.core.errors import UnknownName, nearest
from despur.core.listing import listed


def ls(room: str | None = None) -> list[Any]:
    """List the methods; `despur show NAME` has equation, source and limits.

    Args:
        room: Only those of this room, as find or guard; all if left out.

    Raises:
        UnknownName: no such room.

    Example:
        $ despur ls guard
    """
    known = list(listed().values())
    rooms = sorted({m.room for m in known})
    if room is not None and room not in rooms:
        raise UnknownName(f"no room {room!r}{nearest(room, rooms)}. There are: {', '.join(rooms)}")
    return [m for m in known if room in (None, m.room)]


def show(name: str) -> Any:
    """Show one method: signature, equation, source, limits.

    Args:
        name: A method's name, as `despur ls` prints it.

    Example:
        $ despur show grasp
    """
    import despur.core as core

    return core.find_method(name)


def sites(base: str) -> list[Any]:
    """List the places of a model where factors live, and what each linear map does to the stream.

    Args:
        base: Folder or hub id of the base model.

    Example:
        $ despur sites base/
    """
    from despur.core import stream_roles
    from despur.flows.load import load_base

    return list(stream_roles(load_base(base)[0]).values())


def _plain(method: Any) -> dict[str, Any]:
    return {"name": method.name, "room": method.room, "needs": method.needs, "summary": method.summary}


def _page(method: Any) -> dict[str, Any]:
    factory = method.factory
    return {**_plain(method), "signature": str(inspect.signature(factory)), "page": inspect.getdoc(factory) or ""}


def _show_methods(found: Any, given: Any) -> None:
    made = table("name", "room", "needs", "what it does", left=4)
    for column in made.columns[:2]:
        column.no_wrap = True
    for m in found:
        made.add_row(m.name, m.room, "" if m.needs == "nothing" else m.needs, m.summary)
    out_console.print(made)


def _show_method(method: Any, given: Any) -> None:
    page = _page(method)
    out_console.print(f"[bold]{method.name}[/bold]  ({method.room})")
    out_console.print(f"{method.name}{page['signature']}\n", markup=False, highlight=False, soft_wrap=True)
    out_console.print(page["page"], markup=False, highlight=False)


def _show_sites(roles: Any, given: Any) -> None:
    made = table("map", "does", "layer", "norm between", left=4)
    for role in roles:
        made.add_row(role.module, role.side, "" if role.layer is None else str(role.layer), role.norm or "")
    out_console.print(made)


VIEWS = {
    "ls": View(_show_methods, plain=lambda found, given: [_plain(m) for m in found]),
    "show": View(_show_method, plain=lambda method, given: _page(method)),
    "sites": View(
        _show_sites,
        plain=lambda roles, given: [{"map": r.module, "does": r.side, "layer": r.layer, "norm": r.norm} for r in roles],
    ),
}
