"""One LoRA run: data in, vanilla PEFT adapter out, guards attached or the run does not start."""

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging

from despur.core import Edit, stream_roles
from despur.core.errors import BadInput, nearest
from despur.core.model.quiet import quiet_loading
from despur.core.run.callback import GuardCallback
from despur.core.text.rows import Tokens, pad_rows
from despur.core.text.turns import Turns
from despur.flows._train.checkpoints import KEPT, CheckpointedTrainer, Checkpoints, load_best
from despur.flows._train.watch import Evaluate, Fitted, Watch
from despur.flows.option import Option
from despur.flows.placement import trains_on_cpu
from despur.flows.progress import Progress, silent
from despur.flows.verb import Seed


@dataclass(frozen=True, slots=True)
class Settings:
    """How a LoRA run is trained; the same for scout, unguarded and guarded run.

    Args:
        steps: Optimiser steps.
        lr: Learning rate, falling linearly to zero.
        batch: Rows per step.
        rank: LoRA rank; alpha is twice that.
        max_length: Tokens of a row to use; longer rows are cut. 1024, or what the base takes, if left out: refused then where
            that cuts most answers.
        turns: Which of the assistant's answers in a chat are learned.
        targets: Maps that get LoRA: `all-linear`, `readers` (those that read the stream: a guard of reading then acts on
            every input; other maps read inside their blocks), or names, separated by commas.
        seed: Seed of LoRA's start, the order of the rows and the guard's draws; the same seed gives the same result on a CPU.
    """

    steps: Annotated[int, Option(low=1)] = 300
    lr: Annotated[float, Option(low=0)] = 1e-4
    batch: Annotated[int, Option(low=1)] = 16
    rank: Annotated[int, Option(low=1)] = 16
    max_length: Annotated[int | None, Option(low=8)] = None
    turns: Turns = "all"
    targets: str = "all-linear"
    seed: Seed = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for specs and JSON."""
        return asdict(self)


def new_adapter(base: nn.Module, settings: Settings, *, roles: Mapping[str, str] | None = None) -> Any:
    """Wrap a base with a fresh LoRA; the same seed starts the same adapter.

    Raises:
        BadInput: the base has no map of a name that `settings.targets` gives.
    """
    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        target_modules=lora_targets(base, settings.targets, roles=roles),
        task_type="CAUSAL_LM",
    )
    with quiet_loading():
        return get_peft_model(base, config)  # type: ignore[arg-type]


def lora_targets(base: nn.Module, targets: str, *, roles: Mapping[str, str] | None = None) -> str | list[str]:
    """PEFT's `target_modules` for what `Settings.targets` says; `roles` as in `stream_roles`.

    Raises:
        BadInput: the base has no map of that name.
    """
    if targets == "all-linear":
        return targets
    head = base.get_output_embeddings()  # type: ignore[operator]
    modules = {name for name, module in base.named_modules() if module is not head}
    if targets == "readers":
        return sorted(
            {n.rpartition(".")[2] for n, r in stream_roles(base, roles).items() if r.side == "read" and n in modules}
        )
    names = [name.strip() for name in targets.split(",")]
    known = sorted({name.rpartition(".")[2] for name in modules})
    if unknown := [n for n in names if n not in known]:
        raise BadInput(
            f"targets {targets!r}: this base has no map {unknown[0]!r}{nearest(unknown[0], known)}. "
            "Give all-linear, readers, or names as in `despur sites BASE`, separated by commas"
        )
    return names


def fit(
    model: Any, rows: Sequence[Tokens], settings: Settings, edits: Sequence[Edit] = (), *, stage: str = "train",
    progress: Progress = silent, every: int = 0, evaluate: Evaluate | None = None, patience: int = 0,
    checkpoints: Checkpoints | None = None, on_evaluation: Callable[[Fitted], None] | None = None, device: str = "auto",
) -> Fitted:  # fmt: skip
    """Train a PEFT model in place with `transformers.Trainer`.

    With checkpoints, a run that was killed goes on from the last whole one, and ends, on a CPU, bit for bit as it would have.

    Args:
        model: PEFT model.
        rows: Token rows with labels.
        settings: Steps, rate, batch, seed.
        edits: Guards.
        stage: Name that progress shows.
        progress: Called after every step.
        every: Steps between calls of `evaluate`, which the last step gets, too; 0 never calls it.
        evaluate: Called with the model and the step; for learning curves. What it returns joins the run's curve.
        patience: Evaluations without a lower `held_out_loss` after which the run ends; the best one's adapter is then used,
            also where the run did not end early. 0 trains all steps and uses the last.
        checkpoints: Where they are saved, and how often.
        on_evaluation: Called after each evaluation with the run so far.
        device: Where it trains, as in `Placement`.

    Returns:
        Losses, curve, and where it began and ended.

    Raises:
        CannotAttach: a guard would not act.
        BadInput: the loss is not finite, or a checkpoint cannot be written.
    """
    watch = Watch(
        stage, progress, settings.lr, every=every, evaluate=evaluate, patience=patience, on_evaluation=on_evaluation
    )
    saved = checkpoints.every if checkpoints else 0
    with tempfile.TemporaryDirectory() as workspace, warnings.catch_warnings(), _quiet_trainer():
        # the Trainer's own advice about settings that are set on purpose here
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            output_dir=str(checkpoints.folder) if checkpoints else workspace, max_steps=settings.steps,
            per_device_train_batch_size=settings.batch, learning_rate=settings.lr, lr_scheduler_type="linear",
            optim="adamw_torch", weight_decay=0.0, logging_steps=1, logging_strategy="steps", logging_nan_inf_filter=False,
            save_strategy="steps" if saved else "no", save_steps=saved or 500, save_total_limit=KEPT, report_to=[],
            disable_tqdm=True, seed=settings.seed, remove_unused_columns=False, dataloader_num_workers=0,
            use_cpu=trains_on_cpu(device), dataloader_pin_memory=False,
        )  # fmt: skip
        callbacks: list[TrainerCallback] = [watch]
        if edits:
            callbacks.append(GuardCallback(*edits, seed=settings.seed))
        trainer = CheckpointedTrainer(
            model=model, args=arguments, train_dataset=rows, data_collator=collate,  # type: ignore[arg-type]
            callbacks=callbacks,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        watch.trainer = trainer
        last = checkpoints.last() if checkpoints else None
        if last:
            watch.best = trainer.best = load_best(last)
            watch.resumed = int(last.name.split("-")[1])
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    watch.restore(model)
    return watch.fitted(trainer.state)


def collate(rows: Sequence[Tokens]) -> dict[str, Tensor]:
    """Right-pad a batch; padding carries no loss."""
    ids, mask = pad_rows([r["input_ids"] for r in rows], 0)
    labels, _ = pad_rows([r["labels"] for r in rows], -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@contextlib.contextmanager
def _quiet_trainer() -> Iterator[None]:
    """A resumed Trainer logs that it saves at other steps now, which was asked for."""
    was = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(was)
