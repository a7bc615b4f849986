"""How long-running work reports its progress: to nobody, or in plain lines through `logging`."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Progress = Callable[[str, int, int, Mapping[str, float]], None]  # stage, step, steps, figures
LOGGER = "despur"
EVERY = 60.0  # seconds between two lines of one stage


def silent(stage: str, step: int, steps: int, figures: Mapping[str, float]) -> None:
    """Show nothing."""


@dataclass
class Logged:
    """One line where a stage begins and ends, and one a minute, with the time left, at level INFO of the logger `despur`.

    Verbs that are called from Python without `progress` report here: `logging.basicConfig(level="INFO")` shows it.

    Args:
        every: Seconds between two lines of one stage.
        clock: What tells the time.

    Example:
        >>> Logged()("scout", 1, 40, {"loss": 2.0})
    """

    every: float = EVERY
    clock: Callable[[], float] = time.monotonic
    _begun: dict[str, tuple[float, int]] = field(default_factory=dict, init=False)
    _last: dict[str, float] = field(default_factory=dict, init=False)

    def __call__(self, stage: str, step: int, steps: int, figures: Mapping[str, float]) -> None:
        """Report a step."""
        if not steps:
            return
        now, ends = self.clock(), step >= steps
        begun, first = self._begun.setdefault(stage, (now, step))
        if stage in self._last and not ends and now - self._last[stage] < self.every:
            return
        self._last[stage] = now
        left = (
            "" if ends or step == first else f", about {duration((now - begun) / (step - first) * (steps - step))} left"
        )
        known = "".join(f", {name} {value:.3g}" for name, value in figures.items())
        logging.getLogger(LOGGER).info("%s %d/%d%s%s", stage, step, steps, left, known)
        if ends:
            del self._begun[stage], self._last[stage]  # the next one of that name has a time of its own


def duration(seconds: float) -> str:
    """A length of time in words.

    Example:
        >>> duration(8.2), duration(150.0), duration(9000.0)
        ('8 s', '2 min 30 s', '2 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
