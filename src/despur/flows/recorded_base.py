"""What an adapter's folder calls its base: the name that the user gave, where PEFT wrote the place on this machine."""

import json
from pathlib import Path

from despur.core.adapter.peft_config import CONFIG, read_config
from despur.core.disk.files import write_bytes

_KEY, _CARD = "base_model_name_or_path", "README.md"


def record_base(folder: Path, name: str) -> None:
    """Let an adapter's configuration and model card name the base as it was given.

    Args:
        folder: What PEFT's `save_pretrained` just wrote.
        name: Folder, GGUF file, hub id or name of the base.
    """
    config = read_config(folder / CONFIG)
    place = config.get(_KEY)
    if place == name:
        return
    write_bytes(folder / CONFIG, f"{json.dumps({**config, _KEY: name}, indent=2, sort_keys=True)}\n".encode())
    card = folder / _CARD
    if place and card.is_file():
        write_bytes(card, card.read_bytes().replace(str(place).encode(), name.encode()))
