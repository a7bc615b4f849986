"""How a shuffled scout is trained, as settings and in words."""

from dataclasses import replace

from despur.flows._train.fit import Settings


def shuffled_settings(run: Settings, steps: int | None, number: int = 0) -> Settings:
    """The settings of a run's shuffled scout of that number, each with a seed of its own.

    A third of the run's steps if none are named: a scout on exchanged answers cannot learn the task, and may be longer than another.
    """
    return replace(run, steps=steps or max(16, run.steps // 3), seed=run.seed + 500 + 1000 * number)


def recipe_text(scout: Settings, scouts: int, data: str) -> str:
    """Say how scouts were trained, for a card."""
    return (
        f"{scouts} shuffled scout{'s' * (scouts > 1)}, LoRA of rank {scout.rank}, {scout.steps} steps of {scout.batch} rows at a rate of "
        f"{scout.lr:g}, on {data} with its answers exchanged"
    )
