"""A figure beside its control: how far ahead it must be, and what it lacks where it is not."""

from typing import Any

from despur.core.reports import Report


def compared(
    name: str, value: float, *, control: float, low: float | None = None, high: float | None = None, n: int = 1,
    bound: float | None = None, margin: float | None = None, higher_is_better: bool = True, unit: str = "fraction", **spec: Any,
) -> Report:  # fmt: skip
    """Make the report of a claim.

    Args:
        name: What was measured.
        value: The figure.
        control: The control's figure.
        low: Lower end of the interval; the value itself where there is none, as of an identity.
        high: Upper end.
        n: Independent units behind it.
        bound: What the claim demands of the value and denies to the control.
        margin: Of this report, in its unit, in place of the claim's own.
        higher_is_better: Direction of good.
        unit: What the figure counts.
        **spec: How it was measured.

    Example:
        >>> report = compared("error", 1e-8, control=0.3, bound=1e-6, higher_is_better=False)
        >>> misses(report, 0.1)
        ()
    """
    given = {k: v for k, v in (("bound", bound), ("margin", margin)) if v is not None}
    value, control = float(value), float(control)
    low, high = (value if end is None else float(end) for end in (low, high))
    return Report(name, value, low, high, n, control, unit, higher_is_better, {**spec, **given})


def misses(report: Report, margin: float) -> tuple[str, ...]:
    """Say in sentences what a report lacks to be ahead of its control by a margin, with the control failing.

    Args:
        report: Its `spec` may have a `bound`, which the value must reach and the control must not, and its own `margin`.
        margin: In the report's unit.
    """
    sign = 1 if report.higher_is_better else -1
    margin, bound = report.spec.get("margin", margin), report.spec.get("bound")
    value, control, near = report.value, report.control, report.low if report.higher_is_better else report.high
    beside = f"{report.name}: {value:.3g} beside {control:.3g}"
    reasons: list[str] = []
    if not sign * (value - control) >= margin:  # written this way, NaN is refused, too
        reasons.append(f"{beside} for the control; {margin:g} better is needed")
    elif not sign * (near - control) > 0:
        reasons.append(f"{beside} for the control, which lies in the interval to {near:.3g}")
    if bound is not None:
        if not sign * (value - bound) >= 0:
            reasons.append(f"{report.name}: {value:.3g}; {'at least' if sign > 0 else 'at most'} {bound:g} is needed")
        if not sign * (control - bound) < 0:
            reasons.append(f"{report.name}: the control reaches {bound:g}, too, with {control:.3g}; it had to fail")
    return tuple(reasons)
