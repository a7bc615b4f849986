"""What every measurement promises: a figure inside its interval, counted, beside the figure of a control."""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch

from despur.core.build import build
from despur.core.catalogue import Method
from despur.core.materials import Materials
from despur.core.reports import Report
from despur.testing.require import at_hand, fingerprints, require


def check_figures_are_whole(method: Method, given: Materials, **options: Any) -> None:
    """Value and interval are finite, low <= value <= high, and n counts something."""
    for report in _reports(method, given, options):
        figures = (report.low, report.value, report.high)
        require(all(map(math.isfinite, figures)), f"{report.name} is {figures}: not finite")
        require(report.low <= report.value <= report.high, f"{report.name}: {report.value} lies outside its interval")
        require(report.n > 0, f"{report.name}: n={report.n} counts nothing")


def check_has_a_control(method: Method, given: Materials, **options: Any) -> None:
    """The control's figure is finite, and `spec["control"]` names it."""
    for report in _reports(method, given, options):
        require(math.isfinite(report.control), f"{report.name}: its control is {report.control}")
        require(report.spec.get("control"), f"{report.name}: spec['control'] does not name its control")


def check_says_what_it_counts(method: Method, given: Materials, **options: Any) -> None:
    """Each has a name of its own, a unit, and plain values for JSON; fractions lie in [0, 1]."""
    reports = _reports(method, given, options)
    require(len({r.name for r in reports}) == len(reports), "two figures have one name")
    for report in reports:
        require(report.name and report.unit and report.spec, f"{report.name!r} lacks a name, a unit or a spec")
        require(report.unit != "fraction" or 0 <= report.value <= 1, f"{report.name}: {report.value} is no fraction")
        json.dumps(report.to_dict(), allow_nan=False)


def check_leaves_everything_alone(method: Method, given: Materials, **options: Any) -> None:
    """What it measures stays as it is, and so do the global draws; measured again, it is the same."""
    materials = at_hand(method, given)
    before, drawn = fingerprints(materials), torch.get_rng_state()
    one = _reports(method, materials, options)
    require(torch.equal(drawn, torch.get_rng_state()), "it draws from the global generator")
    require(fingerprints(materials) == before, "it changes what it measures")
    require(one == _reports(method, materials, options), "measured again it gives other figures")


SUITE = (check_figures_are_whole, check_has_a_control, check_says_what_it_counts, check_leaves_everything_alone)


def _reports(method: Method, given: Materials, options: Mapping[str, Any]) -> list[Report]:
    made = build(method.name, given, **options)
    reports = [made] if isinstance(made, Report) else list(made.values() if isinstance(made, Mapping) else made)
    require(reports and all(isinstance(r, Report) for r in reports), "it gives something other than Reports, or none")
    return reports
