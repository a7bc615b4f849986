"""A second guard that acts in the same run, beside the first."""

from collections.abc import Mapping, Sequence
from typing import Any

from despur.core import Edit, Subspace
from despur.core.build import build, missing
from despur.core.errors import BadInput
from despur.core.materials import Given, Materials
from despur.flows._train.guarding import MADE, edits_of, find_guard, hears, leaks
from despur.flows.method_options import read_options

BESIDE = ("beside", "beside_options")  # options of a run
_WHAT = "option of the guard beside"


def check_beside(guard: str, beside: str | None, *, options: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Refuse what cannot act beside a guard, before anything is done.

    Args:
        guard: Name of the first.
        beside: Name of the second; None for none.
        options: The second's own, as text.
        given: Material -> what brings it; None where nothing does.

    Raises:
        BadInput: there is no first guard, it is the same one, it must be the first, it lacks a material, or options without it.
        UnknownName: no such guard, or no such option of it.
    """
    if beside is None:
        if options:
            raise BadInput(f"beside_options were given ({', '.join(options)}) and no second guard. Name it: --beside")
        return
    entry, first = find_guard(beside), find_guard(guard)
    if entry is None or first is None:
        raise BadInput(
            f"beside={beside!r} with guard {guard!r}: two guards are needed for one beside the other. Leave --beside out"
        )
    if entry.name == first.name:
        raise BadInput(f"beside={beside!r} is the guard itself. Raise its --strength, or name another")
    if hears(beside) or leaks(beside):
        raise BadInput(
            f"{beside} goes first: its scouts or its promise are the run's. Take --guard {beside} --beside {guard}"
        )
    read_options(entry, options, what=_WHAT)
    here = Given(dict.fromkeys((*MADE, *(name for name, value in given.items() if value is not None))))
    if lacking := missing(entry.name, here):
        raise BadInput(lacking)


def edits_of_run(
    arguments: Mapping[str, Any], materials: Materials, factors: Sequence[Subspace], roles: Mapping[str, str] | None
) -> list[Edit]:
    """Build what a run attaches: its guard, then the one beside it."""
    a = arguments
    first = edits_of(
        a["guard"], materials, factors, strength=a["strength"], budget=a["guard_budget"], options=a["guard_options"] or {}, roles=roles
    )  # fmt: skip
    entry = find_guard(a["beside"]) if a["beside"] else None
    if entry is None:
        return first
    own = read_options(entry, a["beside_options"] or {}, what=_WHAT)
    if roles is not None and "roles" in entry.options:
        own["roles"] = dict(roles)
    return [*first, build(entry.name, materials, **own)]
