"""How a claim ended, as plain values: what `evidence.json` has of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from despur.core.claim import Claim, Form
from despur.core.errors import in_one_line
from despur.core.evidence import ERROR, FAILS
from despur.core.reports import Report
from despur.core.results import Record, Result


@dataclass(frozen=True)
class Proven:
    """One claim, run in one form.

    Args:
        method: Name in the catalogue.
        room: Its room.
        form: `mechanism`, what two seconds can show; `statement`, what the method is said to do.
        seed: Of everything that was drawn.
        verdict: `holds`, `does not hold here`, `proxy holds` or `error`.
        says: The claim's sentence.
        control: What was measured beside it.
        margin: How far reports must be ahead.
        proxy: What is not claimed; "" where the statement itself was measured.
        slow: Whether its statement may take five minutes.
        seconds: It took so long.
        reports: Figures, as `Report.to_dict` gives them.
        reasons: What they miss.
        error: Why there is no verdict; "" where there is one.
    """

    method: str
    room: str
    form: Form
    seed: int
    verdict: str
    says: str
    control: str
    margin: float
    proxy: str = ""
    slow: bool = False
    seconds: float = 0.0
    reports: Sequence[Mapping[str, Any]] = ()
    reasons: Sequence[str] = ()
    error: str = ""

    @classmethod
    def of(cls, claim: Claim, room: str, form: Form, seed: int, reports: Sequence[Report], seconds: float) -> "Proven":
        """What the reports of a claim show.

        Args:
            claim: That was run.
            room: Of its method.
            form: In which it was run.
            seed: With which.
            reports: What it gave.
            seconds: It took so long.
        """
        verdict, reasons = claim.judge(reports)
        return cls(
            claim.method, room, form, seed, verdict, claim.says, claim.control, claim.margin, claim.proxy, claim.slow,
            round(seconds, 2), [r.to_dict() for r in reports], list(reasons),
        )  # fmt: skip

    @classmethod
    def broken(
        cls, claim: Claim | None, method: str, room: str, form: Form, seed: int, cause: BaseException
    ) -> "Proven":
        """A claim that raised.

        Args:
            claim: None where there is none.
            method: Its method.
            room: Of its method.
            form: In which it was run.
            seed: With which.
            cause: What it raised.
        """
        if claim is None:
            return cls(method, room, form, seed, ERROR, "", "", 0.0, error=in_one_line(cause))
        return cls(
            method,
            room,
            form,
            seed,
            ERROR,
            claim.says,
            claim.control,
            claim.margin,
            claim.proxy,
            claim.slow,
            error=in_one_line(cause),
        )

    @property
    def good(self) -> bool:
        """Whether it holds, or its proxy does."""
        return self.verdict not in (ERROR, FAILS)

    @property
    def closest(self) -> tuple[str, float | None, float | None]:
        """Name, value and control of the report that has least to spare: what decides the verdict."""
        if not self.reports:
            return self.error, None, None
        worst = min(self.reports, key=_ahead)
        return worst["name"], worst["value"], worst["control"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def _ahead(report: Mapping[str, Any]) -> float:
    """How far a report is ahead of its control and of its bound, whichever is nearer; without a figure it is far behind."""
    sign, value, control = 1 if report["higher_is_better"] else -1, report["value"], report["control"]
    if value is None or control is None:
        return float("-inf")
    bound = report["spec"].get("bound")
    ahead = [sign * (value - mark) for mark in (control, bound) if mark is not None]
    return min(ahead)


@dataclass(frozen=True, repr=False)
class Evidence(Result):
    """Claims that were run, and where they are written.

    Args:
        proven: Every claim and form, sorted by room, method, form.
        lost: What held before and does not now.
        folder: Where `evidence.json` and the page are; None where nothing is written.
        earlier: What the shipped evidence has of the forms that were not run now.
        record: Verb, arguments and versions.
    """

    proven: Sequence[Proven]
    lost: Sequence[str] = ()
    folder: str | None = None
    earlier: Sequence[Proven] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """How many claims held."""
        good = [p for p in self.proven if p.good]
        return f"{len(good)} of {len(self.proven)} claims hold"

    @property
    def details(self) -> list[str]:
        """Each claim with its verdict."""
        return [f"{p.method} ({p.form}): {p.verdict}: {p.says or p.error}" for p in self.proven]

    def records(self) -> list[Record]:
        """One row a claim and form, with the report that decides."""
        return [
            {"method": p.method, "room": p.room, "form": p.form, "verdict": p.verdict, "says": p.says, "control": p.control,
             **dict(zip(("report", "value", "of_control"), p.closest, strict=True)), "seconds": p.seconds}
            for p in self.proven
        ]  # fmt: skip

    @property
    def bad(self) -> bool:
        """Whether a claim raised, or one that held does not any more."""
        return bool(self.lost) or any(p.verdict == ERROR for p in self.proven)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.record, "proven": [p.to_dict() for p in self.proven], "lost": list(self.lost), "folder": self.folder,
        }  # fmt: skip
