"""Scores of a run on disk: axis, readout, one value per prompt."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from despur.core.errors import BadInput
from despur.worlds.world import Scores


def save_scores(scores: Scores, out: Path) -> None:
    """Write scores; axes and readouts keep their order."""
    flat = [(axis, readout, t) for axis, readouts in scores.items() for readout, t in readouts.items()]
    # safetensors sorts names; the leading number keeps the order of axes and readouts
    save_file(
        {f"{i:02d}.{a}.{r}": t.float().contiguous() for i, (a, r, t) in enumerate(flat)}, out / "scores.safetensors"
    )


def load_scores(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Read scores back.

    Raises:
        BadInput: the file is missing or damaged.
    """
    scores: dict[str, dict[str, Tensor]] = {}
    path = folder / "scores.safetensors"
    try:
        flat = load_file(path)
        for name in sorted(flat):
            _, axis, readout = name.split(".")
            scores.setdefault(axis, {})[readout] = flat[name]
    except (OSError, SafetensorError, ValueError) as error:
        raise BadInput(
            f"{str(path)!r} is damaged ({type(error).__name__}). Remove its folder, and start the same command again"
        ) from error
    return scores
