"""Checkpoints inside a stage: where a killed run continues."""

import contextlib
import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Trainer
from transformers.trainer_callback import TrainerState

from despur.core.errors import BadInput

FOLDER = ".checkpoints"  # in a run's folder, while a stage is being made
KEPT = 2
_BEST, _STATE = "best.safetensors", "trainer_state.json"  # Trainer writes its state last
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where the checkpoints of one stage lie, and how many steps lie between them.

    Args:
        folder: Named by the stage and its spec's digest, so that another setting's are never taken.
        every: Steps; 0 writes none (existing ones are still used).
    """

    folder: Path
    every: int

    def last(self) -> Path | None:
        """The latest whole one; half-written ones are removed."""
        found: dict[int, Path] = {}
        for path in self.folder.glob("checkpoint-*"):
            name = _NAME.fullmatch(path.name)
            if name and _is_whole(path, int(name[1])):
                found[int(name[1])] = path
            else:
                shutil.rmtree(path, ignore_errors=True)
        return found[max(found)] if found else None

    def clear(self, stage: str) -> None:
        """Remove the checkpoints of a stage that is complete, those of other settings too."""
        for left in self.folder.parent.glob(f"{stage}-*"):
            if re.fullmatch(rf"{re.escape(stage)}-[0-9a-f]{{16}}", left.name):
                shutil.rmtree(left, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()


def save_every(asked: int | None, steps: int) -> int:
    """Steps between checkpoints: a tenth of the stage, 500 at most, none in one of less than 100, unless given."""
    if asked is not None:
        return asked
    return 0 if steps < 100 else min(500, -(-steps // 10))


def load_best(checkpoint: Path) -> dict[str, Tensor] | None:
    """The best adapter so far, where the run keeps one."""
    return load_file(checkpoint / _BEST) if (checkpoint / _BEST).is_file() else None


class CheckpointedTrainer(Trainer):
    """A Trainer whose checkpoints contain the best adapter so far, and whose failure to write one is a `BadInput`."""

    best: dict[str, Tensor] | None = None

    def floating_point_ops(self, inputs: Any) -> int:
        """None counted: they are not used, and counting walks through the whole model at every step."""
        return 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step, root = self.state.global_step, Path(str(self.args.output_dir))
        if step >= self.state.max_steps or self.control.should_training_stop:
            return  # the finished stage follows; Trainer could not go on from here
        folder = root / f"checkpoint-{step}"
        try:
            if self.best is not None:
                folder.mkdir(parents=True, exist_ok=True)
                save_file(self.best, folder / _BEST)
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not re.search(
                "PytorchStreamWriter|inline_container|iostream", str(error)
            ):
                raise
            shutil.rmtree(folder, ignore_errors=True)
            former = Checkpoints(root, 0).last()
            begin = f"step {former.name.split('-')[1]}" if former else "the stage's start"
            raise BadInput(
                f"writing {str(folder)!r} failed: {_reason(error)}. Free some room, or write no checkpoints "
                f"(--save-every 0); the same command then continues from {begin}"
            ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it could not be written whole (is the disk full?)" if isinstance(error, RuntimeError) else str(error)


def _is_whole(folder: Path, step: int) -> bool:
    """Whether all that Trainer needs can be read; the ends of the files are checked, not their middles."""
    try:
        if json.loads((folder / _STATE).read_text(encoding="utf-8"))["global_step"] != step:
            return False
        TrainerState.load_from_json(str(folder / _STATE))
        for path in folder.glob("*.safetensors"):
            with safe_open(path, framework="pt"):
                pass
        torch_files = [folder / name for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth")]
        return (folder / "adapter_model.safetensors").is_file() and all(map(zipfile.is_zipfile, torch_files))
    except (OSError, ValueError, TypeError, KeyError, SafetensorError):
        return False
