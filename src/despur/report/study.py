"""Blocks of a page on a comparison of many guards, besides the plain ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from despur.report.blocks import Number, Plain, Point

NAN = math.nan
Estimate = tuple[Number, Number, Number]  # value, low, high; NaN where not known


@dataclass(frozen=True)
class Standing:
    """One guard's line in a league.

    Args:
        name: Name of the guard or control.
        needs: What it needs besides base and data.
        areas: Its score and interval in each world.
        drift_at_task: Drift where 0.98 of the task is learned.
        task_at_drift: Task where the drift is 0.2.
        legitimate: Share of base, at the chosen setting.
        validity: Share of base, at the chosen setting.
        setting: The chosen one, in words.
        seeds: Behind the figures.
        cost: Time of a run, the naive run's being 1.
        p: p-value of the judged guard against this one, adjusted.
        control: Drawn hollow.
        accepted: False draws it grey.
        task: At the chosen setting, where no guard counts and there is no other figure of what it learned.
        drift: The same.
    """

    name: str
    needs: str
    areas: Sequence[Estimate]
    drift_at_task: Number = NAN
    task_at_drift: Number = NAN
    legitimate: Number = NAN
    validity: Number = NAN
    setting: str = ""
    seeds: int = 0
    cost: Number = NAN
    p: Number = NAN
    control: bool = False
    accepted: bool = True
    task: Number = NAN
    drift: Number = NAN

    @property
    def mean(self) -> float:
        """Mean area over the worlds in which it was measured."""
        known = [float(value) for value, _, _ in self.areas if math.isfinite(value)]
        return sum(known) / len(known) if known else NAN


@dataclass(frozen=True)
class League:
    """All guards and controls, best first: areas with intervals drawn, all other figures in a table.

    Args:
        title: Above it; "" for none.
        worlds: In the order of each line's areas.
        rows: In any order.
        judged: Guard that the p-values are about.
        note: Below it, small.
        metric: What the figures of each world are, if not areas; 1 is the ideal, more is better.
    """

    title: str
    worlds: Sequence[str]
    rows: Sequence[Standing]
    judged: str = ""
    note: str = ""
    metric: str = "area"


@dataclass(frozen=True)
class Band:
    """What a quarter, a half and three quarters of the seeds attain with one guard: corners of stairs, each (m, 2).

    Args:
        name: Name of the guard.
        quarter: Task and drift, task ascending.
        half: The same of half of the seeds.
        most: Of three quarters.
    """

    name: str
    quarter: np.ndarray
    half: np.ndarray
    most: np.ndarray


@dataclass(frozen=True)
class Attainment:
    """What guards attain from seed to seed in one world; the first six are drawn in colour."""

    title: str
    bands: Sequence[Band]
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """One world's frontiers: guard and its settings, weak to strong."""

    title: str
    lines: Sequence[tuple[str, Sequence[Point]]]


@dataclass(frozen=True)
class Panels:
    """The same plot for many worlds, side by side; the first six guards are drawn in colour, the same in all."""

    title: str
    panels: Sequence[Panel]
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """What a paper claims, and what was measured here.

    Args:
        claim: In a sentence.
        source: Who says it.
        published: Their figure.
        ours: Ours, with its interval.
        verdict: Whether the claim holds here.
        note: What differs.
    """

    claim: str
    source: str
    published: str
    ours: str
    verdict: Literal["held", "failed", "open"]
    note: str = ""


@dataclass(frozen=True)
class Claims:
    """Published claims with our own figures."""

    title: str
    rows: Sequence[Claim]
    note: str = ""


Block = Plain | League | Attainment | Panels | Claims
