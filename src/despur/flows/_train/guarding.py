"""The guard of a run: any of the catalogue, built from what the run makes and what it was given."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from despur.core import EVERYWHERE, Anatomy, Edit, Subspace, find_module
from despur.core.build import build, missing
from despur.core.catalogue import Method, find_method, methods
from despur.core.errors import BadInput, UnknownName, nearest
from despur.core.materials import Given, Materials
from despur.flows._clean.weights import placed_factors
from despur.flows._library.factor_folder import check_base, read_factors
from despur.flows.method_options import read_options

UNGUARDED = "none"
APART = ("strength", "budget")  # of a guard's options, those that have their own in `train`
MADE = (  # materials that every run can make
    "text", "beginnings", "rows", "template", "base", "scout", "shuffled", "factor", "weight_factor",
)  # fmt: skip


def guards() -> tuple[str, ...]:
    """Names that `--guard` takes."""
    return (*(m.name for m in methods().values() if m.room == "guard"), UNGUARDED)


def find_guard(name: str) -> Method | None:
    """The method of a guard; None for `none`.

    Raises:
        UnknownName: no guard of that name; the message names the room of a method that is no guard.
    """
    if name == UNGUARDED:
        return None
    try:
        entry = find_method(name)
    except UnknownName:
        entry = None
    if entry is None or entry.room != "guard":
        other = f"{entry.name} is a method of the room {entry.room}, no guard" if entry else f"no guard {name!r}"
        raise UnknownName(f"{other}{nearest(name, guards())}. There are: {', '.join(guards())}")
    return entry


def check_choices(
    guard: str, *, rounds: int, scouts: int, factors: Path | str | None, scout: Path | str | None, scout_steps: int | None,
    options: Mapping[str, str], given: Mapping[str, Any], budget: float | None = None, keep: str = "guarded",
) -> None:  # fmt: skip
    """Refuse options without effect, and a guard that lacks a material, before anything is done.

    Args:
        guard: Its name.
        rounds: As in `train`.
        scouts: As in `train`.
        factors: As in `train`.
        scout: As in `train`.
        scout_steps: As in `train`.
        options: The guard's own, as text.
        given: Material -> what brings it; None where nothing does.
        budget: As in `train`.
        keep: As in `train`.

    Raises:
        BadInput: options that do not go together, or a material that nothing brings.
        UnknownName: no such guard, or no such option of it.
    """
    entry = find_guard(guard)
    takes = {} if entry is None else entry.takes
    finds = "weight_factor" in takes.values()  # read off the weights of scouts, and found again in rounds
    if scouts > 1 and not hears(guard) and (not finds or factors is not None or scout is not None):
        source = f"guard {guard!r}" if not finds else "a scout that was given" if scout else "factors that were given"
        raise BadInput(
            f"scouts={scouts} with {source}; only grasp, discount and absorb learn from several scouts of their own. Leave --scouts out"
        )
    if keep != "guarded" and not hears(guard):
        raise BadInput(
            f"keep={keep!r} with guard {guard!r}, which leaves no factor behind; discount and absorb do. Leave --keep out"
        )
    if rounds > 1 and not finds:
        raise BadInput(
            f"rounds={rounds} with guard {guard!r}; only grasp finds its directions again each round. Leave --rounds out"
        )
    if factors is not None and "factor" not in takes:
        having = [m.name for m in methods().values() if m.room == "guard" and "factor" in m.takes]
        raise BadInput(
            f"factors were given to guard {guard!r}, which takes none. Choose --guard {', '.join(having[:-1])} or {having[-1]}"
        )
    if scout is not None and scout_steps is not None:
        raise BadInput(f"a scout was given ({str(scout)!r}), so none is trained. Leave --scout-steps out")
    if budget is not None and "budget" not in (entry.options if entry else ()):
        reading = [m.name for m in methods().values() if m.room == "guard" and "budget" in m.options]
        raise BadInput(
            f"guard_budget={budget:g} with guard {guard!r}, which reads no text in a step; those that do: {', '.join(reading)}. "
            "Leave --guard-budget out"
        )
    if entry is None:
        if options:
            raise BadInput(f"guard options were given ({', '.join(options)}) and no guard. Leave --guard-options out")
        return
    read_options(entry, options, apart=APART, what="guard option")
    here = Given(dict.fromkeys((*MADE, *(name for name, value in given.items() if value is not None))))
    if lacking := missing(guard, here):
        raise BadInput(lacking)


def given_factors(
    folder: Path | str, guard: str, model: Any, base_fingerprint: str
) -> tuple[tuple[Subspace, ...], tuple[str, ...]]:
    """Read the factors of an audit, or of any folder with factors, for a guard that takes them.

    For a guard of weights, those of one site act in the whole stream, those of several each at its own; others take each
    where it was found.

    Returns:
        The factors, and what could not be verified.

    Raises:
        BadInput: there are none, or one without a site is given to a guard that reads coordinates.
        ShapeMismatch: of another base, or width.
        SiteNotFound: a site that the base does not have.
    """
    found, entry = read_factors(folder, model=model), find_guard(guard)
    of_weights = entry is not None and entry.takes["factor"] == "weight_factor"
    check_base(found.base_fingerprint, base_fingerprint, folder)
    for factor in found.factors:
        if factor.site.module != EVERYWHERE:
            find_module(model, factor.site.module)
        elif guard == "hold":
            raise BadInput(
                f"a factor in {str(folder)!r} has no layer as site, and hold reads coordinates at one. Give an audit's, or "
                "choose --guard grasp"
            )
    placed = placed_factors(found.factors, Anatomy.of(model).width)
    unknown = f"the factors in {str(folder)!r} record no base, so only their width and sites were compared"
    return placed if of_weights else found.factors, () if found.base_fingerprint else (unknown,)


def factors_of(guard: str, materials: Materials) -> tuple[Subspace, ...]:
    """The factors that a guard takes where none are given; () for one that takes none."""
    entry = find_guard(guard)
    return tuple(materials.get(entry.takes["factor"])) if entry is not None and "factor" in entry.takes else ()


def edits_of(
    guard: str,
    materials: Materials,
    factors: Sequence[Subspace],
    *,
    strength: float,
    options: Mapping[str, str],
    budget: float | None = None,
    roles: Mapping[str, str] | None = None,
) -> list[Edit]:
    """Build a guard; nothing for `none`.

    Args:
        guard: Its name.
        materials: Materials of the run.
        factors: What it acts on, where it takes factors.
        strength: Its strength, where it has one.
        options: Its own other options, as text.
        budget: Its tokens of text for each of the task's; its own default if None.
        roles: Roles that were stated, for a guard that asks for them.
    """
    entry = find_guard(guard)
    if entry is None:
        return []
    own = read_options(entry, options, apart=APART, what="guard option")
    if budget is not None:
        own["budget"] = budget
    if "strength" in entry.options:
        own["strength"] = strength
    if roles is not None and "roles" in entry.options:
        own["roles"] = dict(roles)
    return [build(guard, _With(materials, tuple(factors)), instead={"factor": "factor"} if factors else {}, **own)]


def hears(guard: str) -> bool:
    """Whether it takes a shuffled scout, which then stays at hand as a factor."""
    entry = find_guard(guard)
    return entry is not None and "shuffled" in entry.takes.values()


def leaks(guard: str) -> bool:
    """Whether the adapter's leak along the factors is measured: the guard promises something of the weights."""
    return guard == "grasp"


class _With:
    """Materials with factors in place of their own."""

    def __init__(self, materials: Materials, factors: tuple[Subspace, ...]) -> None:
        self.materials, self.factors = materials, factors

    def has(self, name: str) -> bool:
        return (name == "factor" and bool(self.factors)) or self.materials.has(name)

    def get(self, name: str) -> Any:
        return self.factors if name == "factor" and self.factors else self.materials.get(name)
