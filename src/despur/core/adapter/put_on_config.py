"""The configuration with which a file is put on."""

import dataclasses
import warnings
from typing import Any

from despur.core.adapter.peft_config import foreign_keys, reason, short_repr, unknown_key
from despur.core.adapter.peft_folder import Opened
from despur.core.errors import BadInput
from despur.core.model.states import bare

HEADS = (
    "score",
    "classifier",
    "v_head",
    "summary",
    "qa_outputs",
    "classification_head",
)  # what classifiers add to a model

SIZES = ("r", "init_r", "target_r", "n_frequency", "num_vectors", "vector_length", "block_size", "rank_pattern")

PREFIX = "base_model.model."


def check_task(opened: Opened, base: Any, where: str) -> None:
    """Name a classifier or a reward model as what it is."""
    task = opened.config.get("task_type")
    heads = [n for n in opened.tensors if n.removeprefix(PREFIX).split(".")[0] in HEADS]
    inside = dict(bare(base).named_children())
    missing = [n for n in heads if n.removeprefix(PREFIX).split(".")[0] not in inside]
    if missing:
        raise BadInput(
            f"{where} is of task_type={short_repr(task)}, and its file has {missing[0]!r}: a classifier or a reward model, which writes no "
            "text, on a base that does. Give an adapter of a language model"
        )


def peft_config(opened: Opened, where: str) -> Any:
    """PEFT's own configuration of an adapter's kind, every key of the file accounted for.

    Raises:
        BadInput: a key that is not known, or a size beyond what the file has.
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    from peft.utils.peft_types import PeftType

    kind = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(opened.config["peft_type"])]
    fields = {f.name for f in dataclasses.fields(kind)} - {"runtime_config"}
    numbers = sum(t.numel() for t in opened.tensors.values())
    for key, value in foreign_keys(opened.config, fields):
        raise unknown_key(key, value, where)
    for key, value in opened.config.items():
        values = value.values() if isinstance(value, dict) else (value,)
        if key in SIZES and any(isinstance(v, int) and v > numbers for v in values):
            raise BadInput(
                f"{where} has {key}={short_repr(value)}, more than the file has numbers. Save the adapter again"
            )
    options: dict[str, Any] = {key: value for key, value in opened.config.items() if key in fields}
    options |= {"inference_mode": True, "task_type": None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind(**options)
    except Exception as error:
        raise BadInput(f"{where} is refused by PEFT: {reason(error)}. Save the adapter again") from error
