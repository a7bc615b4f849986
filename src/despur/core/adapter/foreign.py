"""Adapters that other tools wrote, or that were saved from inside a wrapper: what they are, and how to make PEFT's form of them."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

_SAVE = "Save it with PEFT's save_pretrained"
# files that tools leave instead of adapter_model.safetensors, and what to do with them
_FILES = {
    "adapters.safetensors": "MLX (mlx-lm)",
    "adapters.npz": "MLX (mlx-lm)",
    "pytorch_lora_weights.safetensors": "diffusers, for an image model",
    "pytorch_adapter.bin": "the library adapters (AdapterHub)",
    "adapter_0.pt": "torchtune",
    "value_head.safetensors": "a value head alone (TRL, LLaMA-Factory)",
    "*.gguf": "llama.cpp (GGUF)",
    "*.nemo": "NeMo",
    "mp_rank_*": "DeepSpeed, not gathered yet",
    "*/mp_rank_*": "DeepSpeed, not gathered yet",
    "pytorch_model_fsdp*": "FSDP, not gathered yet",
    "*.distcp": "torch's distributed checkpoints, not gathered yet",
    "*/*.distcp": "torch's distributed checkpoints, not gathered yet",
}
_REMEDY = {
    "MLX (mlx-lm)": (
        "fuse it into its base in the form of transformers (mlx_lm.fuse --dequantize) and give the fused model's folder with the "
        "unquantised base, or transpose lora_a and lora_b into a PEFT folder"
    ),
    "torchtune": "set save_adapter_weights_only and the checkpointer for Hugging Face, which writes adapter_model.safetensors",
    "llama.cpp (GGUF)": "give the PEFT folder that it was converted from",
}
_OTHER_REMEDY = "save it in PEFT's form, or merge it into its base and give the merged model's folder"
_PEFTS_OWN = "base_model.model."
_WRAPPERS = {
    "_orig_mod": "torch.compile", "module": "DistributedDataParallel", "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing", "_forward_module": "Lightning", "pretrained_model": "TRL's value head",
    "_ddp_wrapped_module": "DDP", "_flat_param": "FSDP", "_module": "a wrapper such as Opacus",
}  # fmt: skip


def made_by(config: Mapping[str, Any]) -> str | None:
    """Who wrote an `adapter_config.json` without a PEFT type, and what can be done; None where that is not plain."""
    if {"fine_tune_type", "lora_parameters"} & set(config) or {"lora_layers", "num_layers", "adapter_path"} & set(
        config
    ):
        return f"MLX (mlx-lm), not of PEFT, and is not read: {_REMEDY['MLX (mlx-lm)']}"
    if {"architecture", "adapter_residual_before_ln", "model_class"} & set(config) and "config" in config:
        return f"the library adapters (AdapterHub), not of PEFT, and is not read: {_OTHER_REMEDY}"
    if {"finetuning_type", "lora_target", "stage"} & set(config):
        return f"LLaMA-Factory's settings, not PEFT's, and is no adapter's: give the output_dir of the run. {_SAVE}"
    return None


def left_by(folder: Path) -> str:
    """What other tool's files a folder without PEFT's has, as the end of a sentence; "" where none is known."""
    for pattern, maker in _FILES.items():
        try:
            there = next(iter(sorted(folder.glob(pattern))), None)
        except (OSError, ValueError):
            return ""
        if there is not None:
            return f"; it holds {there.name!r} of {maker}: {_REMEDY.get(maker, _OTHER_REMEDY)}"
    return ""


def wrapped_names(names: Collection[str]) -> str | None:
    """Say which wrapper's prefix is in the names of an adapter's tensors, or that PEFT's own is not; None where all is well.

    PEFT ignores each such tensor without an error and gives the base.

    Example:
        >>> wrapped_names(["base_model.model.q_proj.lora_A.weight"]) is None
        True
        >>> wrapped_names(["module.base_model.model.q_proj.lora_A.weight"])[:43]
        "have 'module.', the prefix of DistributedDa"
    """
    for name in names:
        before, own, after = name.partition(_PEFTS_OWN)
        parts = [p for p in (*before.split("."), *after.split(".")) if p in _WRAPPERS]
        known = next((p for p in parts if p != "module" or p in before.split(".") or after.startswith("module.")), None)
        if own and known is not None:
            return _prefix(f"{known}.", _WRAPPERS[known])
        if own and before:
            return _prefix(before, "whatever it was saved from")
    bare = [n for n in names if re.search(r"\.lora_(?:embedding_)?[AB](?:\.|$)", n)]
    if bare and not any(_PEFTS_OWN in n for n in names):
        return (
            f"lack the prefix {_PEFTS_OWN!r} that PEFT's own have (such as {short(bare[0])}), so PEFT would leave out every one. Put it in "
            "front of every name, and save the file again with safetensors"
        )
    if any(re.search(r"\.lora_[ab]$", n) for n in names):
        return f"are of MLX (mlx-lm), not of PEFT: {_REMEDY['MLX (mlx-lm)']}"
    if named := next(
        (m for n in names if (m := re.search(r"\.lora_[AB]\.(?!weight|bias)([^.]+)\.(?:weight|bias)$", n))), None
    ):
        return (
            (
                f"contain the adapter's name {short(named[1])}, as a model's state_dict has them, so PEFT would leave out every one. "
                f"{_SAVE}, or take '.{named[1]}' out of every name"
            )
            if named[1] != "default"
            else None
        )
    return None


def _prefix(prefix: str, of: str) -> str:
    return (
        f"have {short(prefix)}, the prefix of {of}, so it was saved from inside a wrapper and PEFT would leave out every such tensor. "
        f"Take it out: save_file({{k.replace({prefix!r}, ''): v for k, v in load_file(F).items()}}, F, metadata={{'format': 'pt'}}) with "
        "safetensors.torch, F being that file"
    )


def short(name: str) -> str:
    """A name of a stranger's file for a message."""
    text = repr(name)
    return text if len(text) <= 60 else text[:57] + "..."
