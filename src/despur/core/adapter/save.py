"""An adapter in memory, written as PEFT's own folder."""

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from despur.core.adapter.adapter import Adapter
from despur.core.adapter.peft_config import CONFIG
from despur.core.adapter.peft_folder import WEIGHTS
from despur.core.disk.files import write_json
from despur.core.disk.new_folder import new_folder
from despur.core.errors import BadInput


def save_adapter(adapter: Adapter, folder: Path | str) -> Path:
    """Write a plain adapter as PEFT's own folder, which loads without despur.

    Args:
        adapter: Of plain LoRA; its copies of base weights are left out, as they are the base's own.
        folder: Where; an older one that despur wrote is replaced.

    Returns:
        The folder.

    Raises:
        BadInput: the adapter is no plain LoRA, or the folder cannot be written.

    Example:
        >>> # save_adapter(truncate(Adapter.read("adapter/"), 2), "truncated/")
    """
    check_writable(adapter)
    with new_folder(folder) as draft:
        write_adapter(adapter, draft)
        write_json(draft / "despur.json", dict(adapter.record))
    return Path(folder)


def write_adapter(adapter: Adapter, folder: Path) -> None:
    """Write PEFT's two files into a folder that is there."""
    embeddings = embeddings_of(adapter)
    tensors: dict[str, Tensor] = {}
    for module, update in adapter.updates.items():
        for letter, factor in (("A", update.down), ("B", update.up)):
            form = f"lora_embedding_{letter}" if module in embeddings else f"lora_{letter}.weight"
            tensors[f"base_model.model.{module}.{form}"] = factor.detach().float().cpu().contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(dict(adapter.config), indent=1, default=sorted) + "\n", encoding="utf-8")


def check_writable(adapter: Adapter) -> None:
    """Refuse what plain LoRA cannot represent.

    Raises:
        BadInput: the adapter is no plain LoRA.
    """
    if adapter.kind != "LORA" or adapter.kept or adapter.others or adapter.config.get("target_parameters"):
        raise BadInput(
            f"the adapter (peft_type={adapter.kind!r}) changes more than LoRA of linear modules can represent, so it cannot be written as "
            "plain LoRA. Give what Adapter.read takes"
        )


def embeddings_of(adapter: Adapter) -> set[str]:
    """Modules whose LoRA is one of embeddings, which PEFT names in its own way."""
    path = adapter.folder and adapter.folder / WEIGHTS
    if not path or not path.exists():
        return set()
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
    return {n.removeprefix("base_model.model.").split(".lora_embedding_")[0] for n in names if ".lora_embedding_" in n}
