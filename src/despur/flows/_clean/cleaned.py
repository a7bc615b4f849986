"""What cleaning an adapter gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from despur.core import Report, Subspace
from despur.core.results import Measured


@dataclass(frozen=True, repr=False)
class Cleaned(Measured):
    """An adapter with factors removed from its update, and the effect.

    Args:
        verdict: One word for pipelines.
        sentence: The same for people.
        adapter: Folder of the cleaned adapter, vanilla PEFT; None where nothing was written.
        factors: The removed factors: one for the whole stream, or one per site.
        axes: Run -> axis -> report: base (0, 0), the adapter as it came (1, 1), cleaned, random, truncated.
        leak: Run -> side -> share of the update along the factors.
        means: Run -> readout -> raw mean.
        notes: What could not be verified.
        record: Verb, arguments and versions, for `despur run`.
    """

    verdict: str
    sentence: str
    adapter: Path | None
    factors: tuple[Subspace, ...]
    axes: Mapping[str, Mapping[str, Report]]
    leak: Mapping[str, Mapping[str, Report]]
    means: Mapping[str, Mapping[str, float]]
    notes: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """Verdict and sentence."""
        return f"{self.verdict}: {self.sentence}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

        def plain(table: Mapping[str, Mapping[str, Report]]) -> dict[str, Any]:
            return {run: {name: report.to_dict() for name, report in reports.items()} for run, reports in table.items()}

        about = [{"site": f.site.module, "rank": f.rank} for f in self.factors]
        return {
            "schema": "despur.clean/1", "verdict": self.verdict, "sentence": self.sentence, "notes": list(self.notes),
            "adapter": self.adapter and str(self.adapter), "factors": about, "axes": plain(self.axes), "leak": plain(self.leak),
            "means": {run: dict(values) for run, values in self.means.items()}, **self.record,
        }  # fmt: skip
