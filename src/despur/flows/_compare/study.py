"""Results of a study: settings chosen on tuning seeds, the table on the report seeds, and where it is stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from despur.core.results import Record, Result
from despur.flows._compare.aftermath import Found
from despur.judge import (
    Draws,
    Grid,
    Prereg,
)
from despur.report.fragment import fragment

# world -> guard -> setting, area, accepted, reason, screened, and without (settings not run on the report seeds)
Chosen = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Line:
    """One guard in one world, on the report seeds and the report half of the prompts.

    Args:
        world: Name of the world.
        guard: Name of the guard.
        kind: See `Arm`.
        needs: What it needs besides base and rows.
        area: Dominated area, mean over seeds, with its 95 % interval.
        low: Lower end of the interval.
        high: Upper end of the interval.
        score: The plan's metric, by which guards are ranked and tested, with its interval; the area again where it is that.
        score_low: Lower end of the interval.
        score_high: Upper end of the interval.
        above: Score of the judged guard minus this one's, interval, p alone, jointly and by Holm; empty where it is no baseline.
        kept: Axis of the plan's margins -> mean difference from the naive run, margin, and p of lying within it (`kept_within`).
        setting: The chosen one's options.
        axes: Axis -> mean at the chosen setting.
        drift_at_task: Drift where 98 % of the task is learned, interpolated; NaN where it is never learned.
        task_at_drift: Task where a fifth of the drift is picked up.
        settings: Number of settings that were run.
        seeds: Number of seeds that count.
        cost: Processor time of a run, in plain runs of the same world.
        screened: Why only one setting was run on the report seeds; "" where all were.
        accepted: Whether the plan's constraints are met at the chosen setting.
    """

    world: str
    guard: str
    kind: str
    needs: str
    area: float
    low: float
    high: float
    setting: Mapping[str, Any]
    axes: Mapping[str, float]
    drift_at_task: float
    task_at_drift: float
    settings: int
    seeds: int
    cost: float
    screened: str = ""
    accepted: bool = True
    above: Mapping[str, float] = field(default_factory=dict)
    score: float = float("nan")
    score_low: float = float("nan")
    score_high: float = float("nan")
    kept: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Study(Result):
    """A comparison that was run, whole or in part.

    Args:
        plan: The registered plan.
        lines: One per world and guard, in the order of the plan.
        grids: World -> the arrays behind them.
        draws: World -> bootstrap draws behind the intervals.
        chosen: World -> guard -> setting and why.
        after: World -> guard -> results of the tests after training, one record per seed; see `run_stress`.
        failed: Run -> why.
        deviations: Deviations from the plan.
        seconds: Processor time of all runs together.
        folder: Folder of the study.
        record: Verb, arguments and versions.
    """

    plan: Prereg
    lines: tuple[Line, ...]
    grids: Mapping[str, Grid]
    draws: Mapping[str, Draws]
    chosen: Chosen
    after: Found
    failed: Mapping[str, str]
    deviations: tuple[str, ...]
    seconds: float
    folder: Path
    record: Mapping[str, Any]

    @property
    def headline(self) -> str:
        """How much was compared, and where the report is."""
        guards, missing = (
            {line.guard for line in self.lines},
            f", {len(self.failed)} runs failed" if self.failed else "",
        )
        return f"{len(guards)} guards and controls in {len(self.grids)} worlds{missing}; report in {self.page}"

    @property
    def details(self) -> list[str]:
        """Lines of each world, the largest area first, and deviations from the plan."""
        ranked = sorted(self.lines, key=lambda x: (x.world, -x.area if x.area == x.area else 1))
        return [
            *(f"{x.world}: {x.guard}: area {x.area:.2f} [{x.low:.2f}, {x.high:.2f}]" for x in ranked),
            *self.deviations,
        ]

    def records(self) -> list[Record]:
        """One row a world and guard."""
        nested = ("axes", "setting", "above", "kept")
        return [
            {k: v for k, v in asdict(x).items() if k not in nested} | dict(x.axes) | {"setting": str(dict(x.setting))}
            for x in self.lines
        ]

    @property
    def page(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from despur.flows._compare.page import study_blocks

        return fragment(study_blocks(self)[:2], str(self.page))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes null."""
        return {
            **self.record,
            "plan": self.plan.to_dict(),
            "plan_digest": self.plan.digest,
            "lines": [_plain(asdict(line)) for line in self.lines],
            "chosen": _plain(self.chosen),
            "after": self.after,
            "failed": dict(self.failed),
            "deviations": list(self.deviations),
            "seconds": self.seconds,
            "page": str(self.page),
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
