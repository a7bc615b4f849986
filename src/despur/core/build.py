"""The one way from a method's name to the method: built from materials that are asked for by argument name."""

import inspect
from collections.abc import Mapping
from typing import Any

from despur.core.catalogue import find_method
from despur.core.errors import BadInput, UnknownName, nearest
from despur.core.extras import need
from despur.core.materials import Materials, about


def build(method: str, materials: Materials, *, instead: Mapping[str, str] | None = None, **options: Any) -> Any:
    """Build a method from materials, asked for by the names of its arguments.

    Args:
        method: Its name, with dashes or underscores.
        materials: Where they come from.
        instead: Argument -> another material than the method's own: a control is the same method on another material.
        **options: Of the method.

    Returns:
        What the method makes: an `Edit`, an adapter, factors, reports.

    Raises:
        UnknownName: no such method, argument or option.
        BadInput: a material is missing; the message names the option that brings it.
        MissingExtra: it needs packages that are not installed; the message says how to install them.

    Example:
        >>> from despur.core.materials import Given
        >>> build("l2-sp", Given({}), strength=3.0).spec.options
        {'strength': 3.0}
    """
    entry, instead = find_method(method), instead or {}
    for kind, names, known in (("material", instead, entry.takes), ("option", options, entry.options)):
        if other := [name for name in names if name not in known]:
            raise UnknownName(
                f"{entry.name} takes no {kind} {other[0]!r}{nearest(other[0], known)}. It takes: {', '.join(known) or 'none'}"
            )
    need(entry.extra, entry.name)
    given: dict[str, Any] = {}
    for argument, own in entry.takes.items():
        name = instead.get(argument, own)
        if materials.has(name):
            given[argument] = materials.get(name)
        elif (
            argument in instead
            or inspect.signature(entry.factory).parameters[argument].default is inspect.Parameter.empty
        ):
            raise BadInput(_missing(entry.name, name))
    return entry.factory(**given, **options)


def missing(method: str, materials: Materials) -> str:
    """Name in one sentence the material that a method lacks here; "" where it can be built.

    Raises:
        UnknownName: no such method.
    """
    entry = find_method(method)
    parameters = inspect.signature(entry.factory).parameters
    lacking = [
        m for a, m in entry.takes.items() if not materials.has(m) and parameters[a].default is inspect.Parameter.empty
    ]
    return _missing(entry.name, lacking[0]) if lacking else ""


def _missing(method: str, material: str) -> str:
    known = about(material)
    remedy = (
        f"Give {known.option}" if known.option else "Build it in Python, where you have that, or choose another method"
    )
    return f"{method} needs {known.what} ({material}), which is not given. {remedy}"
