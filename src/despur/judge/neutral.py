"""The evidence that neutral tunes show by chance: the null distribution of an audit."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from despur.core.disk.files import write_bytes
from despur.core.errors import BadInput
from despur.core.results import Record, Result

SHIPPED = Path(__file__).with_name("neutral_null.json")
TOKENS = (
    "tokens"  # the kind of evidence that is no direction: the share of the change that is the same in every context
)
_NEAR = 0.3  # decades of off-task change: neutral tunes within about that of the adapter count in full
_FEWEST = 19  # below it no 5 % level can be reached at all


@dataclass(frozen=True, repr=False)
class NeutralNull(Result):
    """Evidence that neutral tunes show by chance, with the size of their change.

    A tune that changes little leaves few, noisy directions, and one that forgets much gives scattered ones. So each kind of evidence
    is taken in units of its spread among neutral tunes of like off-task change. The statistic is the token evidence or
    the mean over directions, whichever is larger (directions agree closely, and their mean is less noisy than the
    largest); its p value is its position among those of the neutral tunes, each scored by the others.

        z_e(x | change) = (x - mean_w) / sd_w,   w = exp(-(log10 change - log10 change_i)² / (2 near²))
        T = max(z_tokens, mean_directions z_e),   p = (1 + #{T_i >= T}) / (1 + n)

    Args:
        changes: Off-task change of each neutral tune, nats per token.
        evidence: Kind -> its value in each of them.
        origin: Where they come from, in words.
        base: Fingerprint of the base that they were tuned on.
        settings: With which the evidence was taken: rows, tokens, depth, prompts.
        recipe: How the tunes were made, as far as it is known: rank, modules, size of the update.

    Example:
        >>> null = NeutralNull((0.1,) * 39, {"mean": tuple(i / 1000 for i in range(39))})
        >>> null.p_value(0.1, {"mean": 0.5}), null.p_value(0.1, {"mean": 0.02}) > 0.3
        (0.025, True)
    """

    changes: tuple[float, ...]
    evidence: Mapping[str, tuple[float, ...]]
    origin: str = ""
    base: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """Where it comes from."""
        return f"{len(self.changes)} neutral tunes, {self.origin or 'of unknown origin'}"

    def records(self) -> list[Record]:
        """One row a neutral tune."""
        return [{"change": c, **{k: v[i] for k, v in self.evidence.items()}} for i, c in enumerate(self.changes)]

    @classmethod
    def read(cls, path: Path | str | None = None) -> "NeutralNull":
        """Read a null distribution that `despur calibrate` wrote; None takes the shipped one.

        Raises:
            BadInput: no such file, or no null distribution in it.
        """
        path = SHIPPED if path is None else Path(path)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            changes = tuple(float(x) for x in record["changes"])
            evidence = {str(k): tuple(float(x) for x in v) for k, v in record["evidence"].items()}
            origin, base, settings = str(record["origin"]), str(record["base"]), dict(record["settings"])
            recipe = dict(record.get("recipe", {}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadInput(
                f"{str(path)!r} is not a null distribution ({type(error).__name__}: {error}). Make one with despur calibrate"
            ) from error
        whole = all(len(v) == len(changes) for v in evidence.values()) and evidence
        finite = all(np.isfinite(v).all() for v in (changes, *evidence.values())) and min(changes, default=0) > 0
        if not whole or not finite or len(changes) < _FEWEST:
            raise BadInput(
                f"{str(path)!r} contains {len(changes)} neutral tunes; at least {_FEWEST}, all with finite figures, are needed. "
                "Calibrate with more of them"
            )
        return cls(changes, evidence, origin, base, settings, recipe)

    def write(self, path: Path) -> None:
        """Write it where `read` finds it.

        Raises:
            BadInput: the file cannot be written.
        """
        rounded = {k: [round(x, 5) for x in v] for k, v in self.evidence.items()}
        record = {
            "origin": self.origin,
            "base": self.base,
            "settings": dict(self.settings),
            **({"recipe": dict(self.recipe)} if self.recipe else {}),
            "changes": [float(f"{c:.4g}") for c in self.changes],
            "evidence": rounded,
        }
        write_bytes(path, (json.dumps(record) + "\n").encode())

    def scores(self, change: float, found: Mapping[str, float]) -> dict[str, float]:
        """Each kind of evidence in units of its spread among neutral tunes of like change."""
        weight = self._weights(np.log10([max(change, 1e-12)]))
        return {
            k: float(_standard(np.array([x]), np.array(self.evidence[k]), weight)[0])
            for k, x in found.items()
            if k in self.evidence
        }

    def p_value(self, change: float, found: Mapping[str, float]) -> float:
        """Share of neutral tunes that show as much evidence."""
        scores = self.scores(change, found)
        if not scores:
            return 1.0
        own = _statistic({k: self._own_scores[k] for k in scores})
        (mine,) = _statistic({k: np.array([v]) for k, v in scores.items()})
        return float((1 + (own >= mine).sum()) / (1 + len(self.changes)))

    def statistic(self, change: float, found: Mapping[str, float]) -> float:
        """What is compared with the neutral tunes' own: T."""
        scores = self.scores(change, found)
        return float(_statistic({k: np.array([v]) for k, v in scores.items()})[0]) if scores else 0.0

    def threshold(self, level: float, kinds: Iterable[str]) -> float | None:
        """The value above which the statistic has a p value of at most the level; None where no value has, with so few tunes."""
        known = {k: self._own_scores[k] for k in kinds if k in self._own_scores}
        beyond = int(level * (1 + len(self.changes)) + 1e-9) - 1
        return None if beyond < 0 or not known else float(np.sort(_statistic(known))[::-1][beyond])

    @cached_property
    def _own_scores(self) -> dict[str, np.ndarray]:
        weight = self._weights(np.log10(self.changes))
        np.fill_diagonal(weight, 0)  # each is scored by the others
        return {k: _standard(np.array(v), np.array(v), weight) for k, v in self.evidence.items()}

    def _weights(self, sizes: np.ndarray) -> np.ndarray:
        """(m, n): how much each neutral tune counts for changes of these sizes; beyond the ends the nearest ones are used."""
        own = np.log10(self.changes)
        return np.exp(-((np.clip(sizes, own.min(), own.max())[:, None] - own) ** 2) / (2 * _NEAR**2))


def _standard(values: np.ndarray, others: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(m,) figures in units of the spread of (n,) others, weighed (m, n)."""
    whole = weight.sum(1)
    mean = weight @ others / whole
    spread = ((weight * (others - mean[:, None]) ** 2).sum(1) / whole) ** 0.5
    return (values - mean) / np.maximum(spread, 1e-9)


def _statistic(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    directions = [z for kind, z in scores.items() if kind != TOKENS]
    parts = [scores[TOKENS]] if TOKENS in scores else []
    return np.max([*parts, np.mean(directions, axis=0)] if directions else parts, axis=0)
