"""The tokenizer or chat template that lies in an adapter's folder."""

import copy
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from despur.core.adapter.peft_config import reason
from despur.core.model.quiet import quiet_loading

VOCABULARY = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt", "tekken.json")
TEMPLATE = "chat_template.jinja"


class Unreadable(Exception):
    """A stranger's tokenizer cannot be read; what is said is why."""


def own_tokenizer(folder: Path, base: Any) -> Any:
    """Read the tokenizer in a folder, or else put the folder's template on the base's.

    Args:
        folder: The adapter's.
        base: The base's tokenizer; None where it is not at hand.

    Returns:
        None where the folder has neither, or a template alone and no base is at hand.

    Raises:
        Unreadable: what is there cannot be read.
    """
    try:
        if has_vocabulary(folder):
            with quiet_loading():
                return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        if base is None or not (folder / TEMPLATE).is_file():
            return None
        own = copy.deepcopy(base)
        own.chat_template = (folder / TEMPLATE).read_text(encoding="utf-8")
        return own
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a stranger's files; tokenizers' own panics are no Exception
        raise Unreadable(why_unreadable(error)) from error


def has_vocabulary(folder: Path) -> bool:
    """Whether a folder has a tokenizer of its own."""
    return any((folder / name).is_file() for name in VOCABULARY)


def why_unreadable(error: BaseException) -> str:
    """Why a stranger's tokenizer cannot be used, in a few words."""
    if isinstance(error, Unreadable):
        return str(error)
    return reason(error) if isinstance(error, Exception) else type(error).__name__
