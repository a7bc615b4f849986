"""The pretrained bases that are shipped with the package."""

from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from despur.core.model.quiet import quiet_loading

BASES = Path(__file__).parent / "bases"
PERSONA_BASE = BASES / "persona"


def load_base(name: str) -> tuple[Any, Any]:
    """Load one of the shipped bases, a fresh copy, and its tokenizer; `recipes/worlds.py` makes them."""
    with quiet_loading():
        return AutoModelForCausalLM.from_pretrained(BASES / name).eval(), AutoTokenizer.from_pretrained(BASES / name)


def persona_base() -> tuple[Any, Any]:
    """Load the worlds' base model and its tokenizer: a Llama of 4 layers, width 64, made by `pretrain`.

    Example:
        >>> model, tokenizer = persona_base()
        >>> model.config.hidden_size
        64
    """
    return load_base("persona")
