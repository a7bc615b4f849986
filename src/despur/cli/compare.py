"""What `despur compare` prints, and `despur report` of a study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from despur.cli.terminal import out_console, say, say_parts
from despur.cli.view import View, table


@dataclass(frozen=True)
class DryRun:
    """What can be asked before a comparison is started.

    Args:
        dry_run: Count the runs, time some steps, say how long it will take.
    """

    dry_run: bool = False


def run(compare: Callable[..., Any], arguments: dict[str, Any], given: Mapping[str, Any]) -> Any:
    """Run a comparison, or say what it will cost."""
    if not given["dry_run"]:
        return compare(**arguments)
    from despur.flows import dry_run

    return dry_run(**{k: v for k, v in arguments.items() if k != "progress"})


def show(result: Any, given: Any) -> None:
    """A table a world; of a dry run its cost."""
    if given.get("dry_run"):
        _show_estimate(result)
        return
    for world in result.grids:
        say(world, "bold")
        out_console.print(_table(world, result))
    for name, why in result.failed.items():
        say(f"Failed: {name}: {why}", "red")
    for note in result.deviations:
        say(f"Note: {note}", "dim")
    say(
        "Area: task × (1 - drift) that a guard's settings dominate: base and naive run 0, the ideal 1.\n"
        f"p: {result.plan.judged} against it, sign-flip over seeds, all baselines jointly."
    )
    spent = f"Plan {result.plan.digest[:12]}, {result.seconds / 60:.0f} minutes of processor time. Report: "
    say_parts([spent, (str(result.page), "bold")])


def _table(world: str, study: Any) -> Any:
    made = table("guard", "area", "95 %", "task", "drift", "legit.", "valid.", "cost", "p")
    lines = [x for x in study.lines if x.world == world]
    for x in sorted(lines, key=lambda x: -x.area if x.area == x.area else 1):
        axes = [_figure(x.axes[a]) for a in ("task", "drift", "legitimate", "validity")]
        made.add_row(
            Text(x.guard, "dim" if x.kind in ("control", "reference") else ""), _figure(x.area),
            f"{_figure(x.low)}–{_figure(x.high)}", *axes, _figure(x.cost, 1), _figure(x.above.get("p_joint", float("nan"))),
            style="bold" if x.guard == study.plan.judged else None,
        )  # fmt: skip
    return made


def _figure(value: float, digits: int = 2) -> str:
    return "–" if value != value else f"{value:.{digits}f}"


def _show_estimate(cost: Any) -> None:
    for world, (tuning, report) in cost.runs.items():
        say(
            f"{world}: {tuning} runs on tuning seeds, at most {report} on report seeds; a plain run takes "
            f"{cost.plain[world]:.1f} s"
        )
    long = f"{cost.hours:.1f} hours" if cost.hours >= 1 else f"{60 * cost.hours:.0f} minutes"
    say(
        f"{cost.done} runs are there. At most {long} with {cost.workers} workers, each on a core of its own; "
        "guards that are clearly dominated on the tuning seeds cost one setting only."
    )


def status(result: Any, given: Any) -> int:
    """1 where a run failed."""
    return 1 if not given.get("dry_run") and result.failed else 0


VIEWS = {"compare": View(show, status=status, more=DryRun, run=run)}
