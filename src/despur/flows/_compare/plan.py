"""What a comparison is going to run, written down before it runs."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from despur.core.catalogue import find_method
from despur.core.disk.files import write_bytes
from despur.core.errors import BadInput, nearest
from despur.flows._compare.arm import Arm, Setting, find_arm
from despur.flows._compare.arms import ARMS, QUICK
from despur.flows._compare.cell import Cell
from despur.flows._compare.worlds import OWN, open_world
from despur.judge import Prereg

FILE = "prereg.yaml"
REFERENCES = ("base", "naive")
TUNING, REPORT = 3, 8  # default number of seeds of each kind
QUICK_REPORT = 2
FIRST_TUNING, FIRST_REPORT = 0, 10
JUDGED = "avert"  # the default of `despur train`: what every other guard is tested against
MARGIN = 0.02  # of the task, within which it counts as unchanged


def register(
    worlds: Sequence[str],
    *,
    root: Path,
    guards: Sequence[str] | None = None,
    guard_budget: float | None = None,
    seeds: int | None = None,
    tuning_seeds: int | None = None,
    steps: int | Mapping[str, int] | None = None,
    quick: bool = False,
) -> Prereg:
    """Make the plan from what the user asked; every guard brings its control along.

    Raises:
        UnknownName: no such world or guard.
        BadInput: nothing to compare, or steps for a world that is not compared.
    """
    if isinstance(steps, Mapping) and (other := [w for w in steps if w not in worlds]):
        raise BadInput(
            f"steps are given for {other[0]!r}, which is not compared{nearest(other[0], worlds)}. There are: {', '.join(worlds)}"
        )
    guards = [g for g in guards or () if g not in REFERENCES]
    seeds = (QUICK_REPORT if quick else REPORT) if seeds is None else seeds
    tuning_seeds = (0 if quick else TUNING) if tuning_seeds is None else tuning_seeds
    if seeds < 1 or tuning_seeds < 0:
        raise BadInput(f"seeds={seeds}, tuning_seeds={tuning_seeds}; at least 1 and 0 are needed")
    asked = [find_arm(name, ARMS) for name in (guards or (QUICK if quick else ARMS))]
    if OWN in worlds:  # there are no neutral twins of a user's data, and what hides in them is not known
        if guards and (lacking := [a.name for a in asked if a.needs != "nothing"]):
            raise BadInput(
                f"{', '.join(lacking)} need more than your base, data and probes: {find_arm(lacking[0], ARMS).needs}"
            )
        asked = [a for a in asked if a.needs == "nothing"]
    given = steps if isinstance(steps, Mapping) else {w: steps for w in worlds}
    names = dict.fromkeys(itertools.chain(REFERENCES, *((a.name, *([a.control] if a.control else [])) for a in asked)))
    arms = [ARMS[name] for name in ARMS if name in names]
    return Prereg(
        worlds=tuple(dict.fromkeys(worlds)),
        guards={arm.name: _settings(arm, quick, guard_budget) for arm in arms},
        tuning_seeds=tuple(range(FIRST_TUNING, FIRST_TUNING + tuning_seeds)),
        report_seeds=tuple(range(FIRST_REPORT, FIRST_REPORT + seeds)),
        steps={
            w: given.get(w) or int(open_world(w, root).training["steps"]) // (2 if quick else 1)
            for w in dict.fromkeys(worlds)
        },
        margins={"task": MARGIN},
        judged=next((a.name for a in arms if a.name == JUDGED), next(a.name for a in arms if a.kind != "reference")),
        baselines=tuple(a.name for a in arms if a.name not in REFERENCES and a.kind != "control"),
    )


def _settings(arm: Arm, quick: bool, budget: float | None) -> tuple[Setting, ...]:
    """An arm's settings, of many a middle and a strong one where it is to be quick; at a budget where its method has one."""
    n = len(arm.settings)
    some = (arm.settings[n // 2], arm.settings[-1]) if quick and n > 2 else arm.settings
    if budget is None or arm.method is None or "budget" not in find_method(arm.method).options:
        return some
    return tuple({**setting, "budget": budget} for setting in some)


def write_plan(plan: Prereg, folder: Path) -> None:
    """Write `prereg.yaml`, its digest in the first line."""
    text = yaml.safe_dump(plan.to_dict(), sort_keys=False, allow_unicode=True)
    write_bytes(folder / FILE, f"# sha256 of the plan: {plan.digest}\n{text}".encode())


def read_plan(path: Path) -> Prereg:
    """Read a plan.

    Raises:
        BadInput: no plan.
    """
    try:
        plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise BadInput(
            f"{str(path)!r} is no readable plan: {' '.join(str(error).split())[:200]}. Register a new one with another -o"
        ) from error
    if not isinstance(plan, dict) or not all(isinstance(name, str) for name in plan):
        raise BadInput(f"{str(path)!r} is no plan. Register a new one with another -o")
    return Prereg.from_dict(plan)


def cells_of(
    plan: Prereg,
    worlds: Iterable[str],
    seeds: Iterable[int],
    without: Mapping[str, Mapping[str, Iterable[int]]] | None = None,
) -> list[Cell]:
    """Every run of some worlds and seeds, world by world.

    Args:
        plan: The registered plan.
        worlds: Some worlds of the plan.
        seeds: Tuning or report seeds.
        without: World -> guard -> numbers of the settings that are not run.
    """
    cells: list[Cell] = []
    for world, seed in itertools.product(worlds, tuple(seeds)):
        for guard, settings in plan.guards.items():
            left_out = (without or {}).get(world, {}).get(guard, ())
            for number, setting in enumerate(settings):
                if number not in left_out:
                    cells.append(Cell(world, guard, dict(setting), seed, plan.steps[world]))
    return cells
