"""One LoRA run: data in, vanilla PEFT adapter out, guards attached or the run does not start."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from despur.core import Edit
from despur.core._quiet import quiet_loading
from despur.core._rows import Tokens, pad_rows
from despur.core._train import GuardCallback
from despur.core.errors import BadInput
from despur.flows._progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Settings:
    """How a LoRA run is trained; the same for scout, naive twin and guarded run.

    Args:
        steps: Optimiser steps.
        lr: Learning rate, falling linearly to zero.
        batch: Rows a step.
        rank: LoRA rank; alpha is twice that.
        max_length: Tokens of a row that are kept.
        seed: Seeds LoRA's start, the order of the rows and the guard's draws.
    """

    steps: int = 300
    lr: float = 1e-4
    batch: int = 16
    rank: int = 16
    max_length: int = 1024
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for specs and JSON."""
        return asdict(self)


def new_adapter(base: nn.Module, settings: Settings) -> Any:
    """Wrap a base with a fresh LoRA on every linear map; the same seed starts the same adapter."""
    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with quiet_loading():
        return get_peft_model(base, config)  # type: ignore[arg-type]


def fit(
    model: Any, rows: Sequence[Tokens], settings: Settings, edits: Sequence[Edit] = (), *, stage: str = "train",
    progress: Progress = silent, every: int = 0, evaluate: Callable[[Any, int], None] | None = None,
) -> list[float]:  # fmt: skip
    """Train a PEFT model in place with `transformers.Trainer`.

    Args:
        model: PEFT model.
        rows: Token rows with labels.
        settings: Steps, rate, batch, seed.
        edits: Guards.
        stage: Name that progress shows.
        progress: Called after every step.
        every: Steps between calls of `evaluate`; 0 never calls it.
        evaluate: Called with the model and the step; for learning curves.

    Returns:
        Training loss at every step.

    Raises:
        CannotAttach: a guard would not act.
        BadInput: the loss is not finite.
    """
    watch = _Watch(stage, progress)
    with tempfile.TemporaryDirectory() as workspace, warnings.catch_warnings():
        # the Trainer's own advice about settings that are set on purpose here
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            output_dir=workspace, max_steps=settings.steps, per_device_train_batch_size=settings.batch,
            learning_rate=settings.lr, lr_scheduler_type="linear", optim="adamw_torch", weight_decay=0.0,
            logging_steps=1, logging_strategy="steps", logging_nan_inf_filter=False, save_strategy="no", report_to=[], disable_tqdm=True,
            seed=settings.seed, remove_unused_columns=False, dataloader_num_workers=0, use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
        )  # fmt: skip
        callbacks: list[TrainerCallback] = [watch]
        if evaluate is not None and every:
            callbacks.append(_Evaluate(evaluate, every))
        if edits:
            callbacks.append(GuardCallback(*edits, seed=settings.seed))
        trainer = Trainer(
            model=model, args=arguments, train_dataset=list(rows), data_collator=collate,  # type: ignore[arg-type]
            callbacks=callbacks,
        )  # fmt: skip
        from transformers.trainer_callback import PrinterCallback

        trainer.remove_callback(PrinterCallback)
        trainer.train()
    if watch.losses and not all(loss == loss and abs(loss) != float("inf") for loss in watch.losses):
        raise BadInput(f"the loss became {watch.losses[-1]} at lr={settings.lr}: the run diverged. Take a lower --lr")
    return watch.losses


def collate(rows: Sequence[Tokens]) -> dict[str, Tensor]:
    """Right-pad a batch; padding carries no loss."""
    ids, mask = pad_rows([r["input_ids"] for r in rows], 0)
    labels, _ = pad_rows([r["labels"] for r in rows], -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class _Evaluate(TrainerCallback):
    def __init__(self, evaluate: Callable[[Any, int], None], every: int) -> None:
        self.evaluate, self.every = evaluate, every

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step % self.every == 0:
            model.eval()
            self.evaluate(model, state.global_step)
            model.train()


class _Watch(TrainerCallback):
    def __init__(self, stage: str, progress: Progress) -> None:
        self.stage, self.progress, self.losses = stage, progress, []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))
            self.progress(self.stage, state.global_step, state.max_steps, {"loss": self.losses[-1]})
