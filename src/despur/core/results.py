"""What verbs give: a line in an interpreter, a few in `summary()`, a table in `to_frame()`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from despur.core.notebook import frame_of
from despur.core.reports import Report
from despur.core.visible import visible

_LONGEST = 200  # characters of a line in an interpreter
Record = dict[str, Any]


class Result(ABC):
    """The result of a verb."""

    @property
    @abstractmethod
    def headline(self) -> str:
        """It in a sentence."""

    @property
    def details(self) -> Sequence[str]:
        """What `summary` has below the headline, a line each."""
        return ()

    @abstractmethod
    def records(self) -> list[Record]:
        """Its figures as plain rows."""

    def __repr__(self) -> str:
        """One line."""
        line = visible(self.headline, one_line=True)
        return f"<{type(self).__name__}: {line if len(line) <= _LONGEST else line[: _LONGEST - 3] + '...'}>"

    def summary(self) -> str:
        """It in a few lines of text, without control characters."""
        return "\n".join(visible(line) for line in (self.headline, *self.details))

    def to_frame(self) -> Any:
        """Its figures as a pandas DataFrame.

        Raises:
            MissingExtra: pandas is not installed.
        """
        return frame_of(self.records())


class Judged(Result):
    """A result with a verdict and its sentence."""

    verdict: Any  # a word of the verb's own
    sentence: str
    notes: Any  # texts; each verb has a type of its own

    @property
    def headline(self) -> str:
        """Verdict and sentence."""
        return f"{self.verdict}: {self.sentence}"

    @property
    def details(self) -> Sequence[str]:
        """Notes."""
        return self.notes


class Measured(Result):
    """A result with reports that are named twice, as run -> axis -> report."""

    axes: Mapping[str, Mapping[str, Report]]
    notes: Any = ()  # texts; each verb has a type of its own

    @property
    def details(self) -> Sequence[str]:
        """The axes of every run, and notes."""
        return [*(axes_line(run, reports) for run, reports in self.axes.items()), *self.notes]

    def records(self) -> list[Record]:
        """One row a run and axis."""
        return report_records(self.axes, "run", "axis")


def report_records(reports: Mapping[str, Mapping[str, Report]], outer: str, inner: str) -> list[Record]:
    """Rows of reports that are named twice, as run -> axis -> report.

    Args:
        reports: The reports.
        outer: Column of the first name.
        inner: Column of the second.

    Example:
        >>> rows = report_records({"avert": {"task": Report("task", 0.9, 0.8, 1.0, 64)}}, "run", "axis")
        >>> rows[0]["run"], rows[0]["axis"], rows[0]["value"], rows[0]["n"]
        ('avert', 'task', 0.9, 64)
    """
    return [
        {outer: one, inner: two, "value": r.value, "low": r.low, "high": r.high, "control": r.control, "n": r.n, "unit": r.unit}
        for one, named in reports.items()
        for two, r in named.items()
    ]  # fmt: skip


def axes_line(run: str, reports: Mapping[str, Report]) -> str:
    """The axes of a run in words.

    Example:
        >>> axes_line("avert", {"task": Report("task", 0.91, 0.8, 1.0, 64)})
        'avert: task 0.91 [0.80, 1.00]'
    """
    known = (f"{n} {r.value:.2f} [{r.low:.2f}, {r.high:.2f}]" for n, r in reports.items() if r.value == r.value)
    return f"{run}: " + (", ".join(known) or "not measured")
