"""Scores of a run on disk: axis, readout, one value per prompt."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from despur.worlds.world import Scores


def save_scores(scores: Scores, out: Path) -> None:
    """Write scores; axes and readouts keep their order."""
    flat = [(axis, readout, t) for axis, readouts in scores.items() for readout, t in readouts.items()]
    # safetensors sorts names; the leading number keeps the order of axes and readouts
    save_file(
        {f"{i:02d}.{a}.{r}": t.float().contiguous() for i, (a, r, t) in enumerate(flat)}, out / "scores.safetensors"
    )


def load_scores(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Read scores back."""
    scores: dict[str, dict[str, Tensor]] = {}
    flat = load_file(folder / "scores.safetensors")
    for name in sorted(flat):
        _, axis, readout = name.split(".")
        scores.setdefault(axis, {})[readout] = flat[name]
    return scores
