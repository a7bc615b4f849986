"""The pretrained base that is shipped with the package."""

from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from despur.core._quiet import quiet_loading

PERSONA_BASE = Path(__file__).parent / "bases" / "persona"


def persona_base() -> tuple[Any, Any]:
    """Load the worlds' base model and its tokenizer: a Llama of 4 layers, width 64, made by `pretrain`.

    Example:
        >>> model, tokenizer = persona_base()
        >>> model.config.hidden_size
        64
    """
    with quiet_loading():
        return AutoModelForCausalLM.from_pretrained(PERSONA_BASE).eval(), AutoTokenizer.from_pretrained(PERSONA_BASE)
