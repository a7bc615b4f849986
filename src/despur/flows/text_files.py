"""Own text on disk: flat tokens and row lengths in one safetensors file; and what a user's file of text is known by."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from despur.core.errors import BadInput, ShapeMismatch
from despur.core.text.row_files import data_digest
from despur.guard import OwnText

NAME = "own_text.safetensors"


def save_text(text: OwnText, folder: Path) -> None:
    """Write rows of own text."""
    flat = torch.tensor([t for r in text.rows for t in r])
    tensors = {
        "tokens": flat, "lengths": torch.tensor([len(r) for r in text.rows]), "starts": torch.tensor(text.starts),
    }  # fmt: skip
    save_file(tensors, folder / NAME, metadata={"origin": text.origin})


def load_text(folder: Path) -> OwnText:
    """Read them back.

    Raises:
        BadInput: the file is missing or damaged.
    """
    try:
        with safe_open(folder / NAME, "pt") as file:
            saved, about = {name: file.get_tensor(name) for name in ("tokens", "lengths", "starts")}, file.metadata()
        rows = tuple(tuple(r.tolist()) for r in saved["tokens"].split(saved["lengths"].tolist()))
        return OwnText(rows, about["origin"], tuple(saved["starts"].tolist()))
    except (OSError, SafetensorError, KeyError, RuntimeError, TypeError, ShapeMismatch) as error:
        raise BadInput(
            f"{str(folder / NAME)!r} is damaged ({type(error).__name__}). Remove its folder, and start the same command again"
        ) from error


def text_spec(file: Path | str | None) -> str:
    """What stands for a user's text in the spec of a stage: its content, whatever its name."""
    return str(file) if file is None or not Path(file).exists() else data_digest(Path(file))[:16]
