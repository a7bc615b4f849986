"""The guards that `train` knows by name: what each is given, and how it is built. Nothing else in this folder knows them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from despur.core import EVERYWHERE, Edit, Subspace, find_module
from despur.core.errors import BadInput
from despur.flows._clean.weights import placed_factors
from despur.flows._library.factor_folder import check_base, read_factors
from despur.flows._train.stages import Stages
from despur.guard import OwnText, avert, grasp, hold, rehearse

GUARDS = ("avert", "grasp", "rehearse", "hold", "none")
UNGUARDED = "none"


def check_choices(
    guard: str,
    *,
    rounds: int,
    scouts: int,
    factors: Path | str | None,
    scout: Path | str | None,
    scout_steps: int | None,
) -> None:
    """Refuse what would have no effect.

    Raises:
        BadInput: options that do not go together.
    """
    if scouts > 1 and (guard != "grasp" or factors is not None or scout is not None):
        given = (
            f"guard {guard!r}" if guard != "grasp" else "a scout that was given" if scout else "factors that were given"
        )
        raise BadInput(
            f"scouts={scouts} with {given}; only grasp on scouts of its own learns from several. Leave --scouts out"
        )
    if rounds > 1 and guard != "grasp":
        raise BadInput(
            f"rounds={rounds} with guard {guard!r}; only grasp finds its directions again. Leave --rounds out"
        )
    if factors is not None and guard not in ("grasp", "hold"):
        raise BadInput(f"factors were given to guard {guard!r}, which takes none. Choose --guard grasp or hold")
    if scout is not None and scout_steps is not None:
        raise BadInput(f"a scout was given ({str(scout)!r}), so none is trained. Leave --scout-steps out")


def given_factors(
    folder: Path | str, guard: str, model: Any, base_fingerprint: str
) -> tuple[tuple[Subspace, ...], tuple[str, ...]]:
    """Read the factors of an audit, or of any folder that holds some, for `grasp` or `hold`.

    For `grasp`, those of one site act in the whole stream, those of several each at its own; `hold` takes each as it is.

    Returns:
        The factors, and what could not be verified.

    Raises:
        BadInput: there are none, or `hold` is given one without a site.
        ShapeMismatch: of another base, or width.
        SiteNotFound: a site that the base does not have.
    """
    found = read_factors(folder)
    check_base(found.base_fingerprint, base_fingerprint, folder)
    for factor in found.factors:
        if factor.site.module != EVERYWHERE:
            find_module(model, factor.site.module)
        elif guard == "hold":
            raise BadInput(
                f"a factor in {str(folder)!r} has no layer as site, and hold reads coordinates at one. Give an audit's, or "
                "choose --guard grasp"
            )
    placed = placed_factors(found.factors, model.config.get_text_config().hidden_size)
    unknown = f"the factors in {str(folder)!r} record no base, so only their width and sites were compared"
    return placed if guard == "grasp" else found.factors, () if found.base_fingerprint else (unknown,)


def default_factors(
    guard: str, stages: Stages, scouts: Sequence[Path], found: tuple[Subspace, ...]
) -> tuple[Subspace, ...]:
    """The factors that a guard takes where none were given.

    Args:
        guard: Its name.
        stages: The run, which makes and keeps what is found.
        scouts: Adapters of the unguarded scouts.
        found: Directions along which the first scout moves own text.
    """
    if guard == "grasp":
        return stages.weight_factors(*scouts)
    return found if guard == "hold" else ()


def build(guard: str, *, strength: float, text: OwnText, scout: Path, factors: Sequence[Subspace]) -> list[Edit]:
    """Make a guard's edits; none for `none`.

    Args:
        guard: Its name.
        strength: Its strength.
        text: The base's own text, or generic text.
        scout: Adapter of the first scout.
        factors: What `grasp` and `hold` act on.
    """
    if guard == "avert":
        return [avert(text, scout, strength=strength)]
    if guard == "rehearse":
        return [rehearse(text, strength=strength)]
    if guard == "hold":
        return [hold(factors, text, strength=strength)]
    return [grasp(factors, strength=strength)] if guard == "grasp" else []


def leaks(guard: str) -> bool:
    """Whether the adapter's leak along the factors is measured: the guard promises something of the weights."""
    return guard == "grasp"
