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
CARRIED = "carried"  # nats a token that few directions carry: only of tunes whose update is as large
_NEAR = 0.3  # decades of off-task change: neutral tunes within about that of the adapter count in full
FEWEST = 19  # below it no 5 % level can be reached at all


@dataclass(frozen=True, repr=False)
class NeutralNull(Result):
    """Evidence that neutral tunes show by chance, with the size of their change.

    A tune that changes little leaves few, noisy directions, and one that forgets much gives scattered ones. So each kind of evidence
    is taken in units of its spread among neutral tunes of like off-task change. The statistic is the token evidence or
    the mean over directions, whichever is larger (directions agree closely, and their mean is less noisy than the
    largest), or what directions carry in nats where updates are alike (`carried`): of a large base neutral tunes, too, move few
    directions, and a voice moves them farther. An audit gives that one alone then. Its p value is its position among those of
    the neutral tunes, each scored by the others.

        z_e(x | change) = (x - mean_w) / sd_w,   w = exp(-(log10 change - log10 change_i)² / (2 near²))
        z_carried       = the same of log10(change mean_directions share), w = 1
        T = max(z_tokens, mean_directions z_e, z_carried),   p = (1 + #{T_i >= T}) / (1 + n)

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
        if not whole or not finite or len(changes) < FEWEST:
            raise BadInput(
                f"{str(path)!r} contains {len(changes)} neutral tunes; at least {FEWEST}, all with finite figures, are needed. "
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
        scores = {
            k: float(_standard(np.array([x]), np.array(self.evidence[k]), weight)[0])
            for k, x in found.items()
            if k in self.evidence
        }
        if CARRIED in found:
            every = np.ones((1, len(self.changes)))
            scores[CARRIED] = float(_standard(np.array([found[CARRIED]]), self._carried, every)[0])
        return scores

    def by(self, change: float, found: Mapping[str, float]) -> str:
        """The kind of evidence that the statistic is: `tokens`, `carried`, or `directions`."""
        scores = {k: np.array([v]) for k, v in self.scores(change, found).items()}
        parts = _parts(scores)
        return max(parts, key=lambda kind: float(parts[kind][0])) if parts else ""

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
        scores = {k: _standard(np.array(v), np.array(v), weight) for k, v in self.evidence.items()}
        every = 1 - np.eye(len(self.changes))
        return {**scores, CARRIED: _standard(self._carried, self._carried, every)}

    @cached_property
    def _carried(self) -> np.ndarray:
        rows = ({k: v[i] for k, v in self.evidence.items()} for i in range(len(self.changes)))
        return np.array([carried(change, row) for change, row in zip(self.changes, rows, strict=True)])

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


def carried(change: float, evidence: Mapping[str, float]) -> float:
    """What few directions carry of the off-task change, log10 of nats a token: the mean over those that compete.

    Example:
        >>> carried(2.0, {"mean": 0.4, "PCA 1": 0.6, "tokens": 0.9})
        0.0
    """
    shares = [share for kind, share in evidence.items() if kind not in (TOKENS, CARRIED)]
    return float(np.log10(max(change, 1e-12) * max(np.mean(shares or [0.0]), 1e-3)))


def _statistic(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.max(list(_parts(scores).values()), axis=0)


def _parts(scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The figures of which the statistic is the largest."""
    directions = [z for kind, z in scores.items() if kind not in (TOKENS, CARRIED)]
    parts = {kind: scores[kind] for kind in (TOKENS, CARRIED) if kind in scores}
    return {**parts, "directions": np.mean(directions, axis=0)} if directions else parts
