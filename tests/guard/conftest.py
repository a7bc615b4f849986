"""What guards' tests share: text to be held to, a factor, a plain Trainer."""

import pytest
import torch
from guarding import ENERGY, filled
from leak import random_factor
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from despur.core import Adapter, Subspace
from despur.guard import OwnText
from despur.guard._inputs import input_bases

PLAIN = {
    "per_device_train_batch_size": 2, "learning_rate": 1e-2, "report_to": [], "disable_tqdm": True, "use_cpu": True,
    "save_strategy": "no", "dataloader_pin_memory": False, "logging_steps": 1, "lr_scheduler_type": "constant",
    "bf16": False,
}  # fmt: skip


@pytest.fixture
def own_text() -> OwnText:
    """Twelve rows of 6 to 9 tokens."""
    draw = torch.Generator().manual_seed(3)
    return OwnText(tuple((1, *torch.randint(7, 64, (5 + i % 4,), generator=draw).tolist()) for i in range(12)))


@pytest.fixture
def factor() -> Subspace:
    """Three random directions of the tiny models' stream."""
    return random_factor(rank=3, width=32)


@pytest.fixture
def moved(tiny, lora):
    """Six layers, and an adapter that has learned something in each."""
    return filled(lora(tiny(num_hidden_layers=6)).eval())


@pytest.fixture
def bases(tiny, lora, own_text):
    """Module -> what it reads on the own text."""
    model = lora(tiny())
    return input_bases(model, list(Adapter.of(model).updates), own_text, ENERGY)


@pytest.fixture
def settings() -> dict[str, object]:
    """Arguments of a short run on a CPU."""
    return dict(PLAIN)


@pytest.fixture
def trainer(lora, tiny, tmp_path):
    """`trainer(callback, max_steps=4)`: a plain Trainer on 16 rows of tokens."""

    def build(
        *callbacks: TrainerCallback, model: nn.Module | None = None, rows: int = 16, evaluate: bool = False,
        **options: object,
    ) -> Trainer:  # fmt: skip
        draw = torch.Generator().manual_seed(0)
        data = [{"input_ids": row, "labels": row} for row in torch.randint(7, 64, (rows, 8), generator=draw)]
        arguments = TrainingArguments(**{**PLAIN, "output_dir": str(tmp_path / "trainer"), "max_steps": 4, **options})
        made = Trainer(
            model=model or lora(tiny()), args=arguments, callbacks=list(callbacks),
            train_dataset=data, eval_dataset=data if evaluate else None,
        )  # fmt: skip
        made.remove_callback(PrinterCallback)
        return made

    return build
