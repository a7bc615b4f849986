"""How long-running work reports its progress."""

from collections.abc import Callable, Mapping

Progress = Callable[[str, int, int, Mapping[str, float]], None]  # stage, step, steps, figures


def silent(stage: str, step: int, steps: int, figures: Mapping[str, float]) -> None:
    """Show nothing."""
