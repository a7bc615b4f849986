"""A GGUF file as a base: its weights dequantised into memory, its own tokenizer; transformers reads both."""

import contextlib
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, modeling_gguf_pytorch_utils

from despur.core.adapter.peft_config import reason
from despur.core.errors import BadInput
from despur.core.extras import need
from despur.core.model.quiet import quiet_loading
from despur.flows.base_sizes import check_sizes

_HEAD = struct.Struct("<4sIQ")  # "GGUF", version, number of tensors


def load_gguf(file: Path, placed: Mapping[str, Any] | None = None) -> tuple[Any, Any, dict[str, Any]]:
    """Load a causal language model and its tokenizer from a GGUF file, as plain weights.

    Two files of one checkpoint hold the same weights only where they are quantised alike.

    Args:
        file: The file; one of several parts is not read.
        placed: `Placement.options`; a precision of `auto` is float32 here, since the file's own is dequantised.

    Returns:
        The model, its tokenizer, and which tensors transformers missed, by kind.

    Raises:
        BadInput: no GGUF, a damaged one, or one of an architecture that transformers cannot read from GGUF.
        MissingExtra: the package gguf is not installed.
    """
    named = repr(str(file))
    tensors = _tensors(file)
    need("gguf", f"base {named} is a GGUF file: that")
    options: dict[str, Any] = {"gguf_file": file.name}
    where = {"dtype": "auto", **(placed or {})}
    if where["dtype"] == "auto":
        where["dtype"] = torch.float32
    plain = getattr(transformers, "GgufConfig", None)  # versions without it always dequantise
    try:
        with quiet_loading(), _without_bar():
            config: Any = AutoConfig.from_pretrained(file.parent, **options)
            check_sizes(str(file), config.to_dict(), tensors=tensors)
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
            if plain is not None:
                options["quantization_config"] = plain(gguf_file=file.name, dequantize=True)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                file.parent, config=config, output_loading_info=True, **where, **options
            )
    except BadInput:
        raise
    except Exception as error:  # of transformers, gguf and numpy, all of them about this file
        if "not supported" in str(error) or isinstance(error, NotImplementedError):
            raise BadInput(
                f"transformers {transformers.__version__} cannot read base {named} from GGUF: {reason(error)}. Give the folder that it "
                "was made from"
            ) from error
        raise BadInput(f"cannot read base {named}: {reason(error)}. Copy or download the file again") from error
    model, missed = loaded
    model.name_or_path = model.config._name_or_path = ""  # the file's folder, where PEFT would look for a configuration
    return model, tokenizer, missed


def _tensors(file: Path) -> int:
    """Number of tensors that a file says it has."""
    with file.open("rb") as stream:
        head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(b"GGUF"):
        raise BadInput(
            f"{str(file)!r} is a file and no GGUF, the only one that is read as a base. Give that, a folder saved by "
            "transformers, a name that `despur fetch` lists, or a hub id 'owner/name'"
        )
    return _HEAD.unpack(head)[2]


@contextlib.contextmanager
def _without_bar() -> Iterator[None]:
    """Its bar is tqdm's own, which transformers does not switch off with its others."""
    reader: Any = modeling_gguf_pytorch_utils
    was = reader.tqdm
    reader.tqdm = partial(was, disable=True)
    try:
        yield
    finally:
        reader.tqdm = was
