"""Structural findings in an adapter's folder: what no usual training leaves there, read off names, shapes and values alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor

from despur.core.adapter.lowrank import LowRank
from despur.core.adapter.peft_config import rank_and_scale
from despur.core.errors import BadInput

Level = Literal["note", "warning", "error"]
RULES: dict[str, str] = {
    "pickle": "A pickled file lies beside the weights: loading it can run code.",
    "code": "Python code lies beside the weights, or the configuration names code to run.",
    "whole-head": "The whole head or embedding is shipped: it can hold anything, and no rank bounds it.",
    "whole-router": "A router of experts is shipped whole: it decides which experts run.",
    "whole-module": "Another module is shipped whole, so no rank bounds its change.",
    "rank": "A module's factors have another rank than the configuration declares.",
    "not-finite": "A tensor has NaN or Inf in it.",
    "idle": "Modules are named and have weights, and their update is zero.",
    "half-idle": "A module's A is zero, which no usual training leaves.",
    "low-rank": "Modules use less than half of the rank that their factors have room for.",
    "one-module": "One module has most of the update's energy.",
    "scale": "The declared scale multiplies the factors by far more than is usual.",
}
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".joblib", ".npy", ".npz")
_OWN = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt")  # of transformers' Trainer
_HEADS = ("lm_head", "embed_tokens", "embed_out", "wte", "word_embeddings", "output_layer")
_ROUTERS = ("router", "gate", "gate_up_router", "expert_gate")
_RANK, _SCALE, _MOST = 1e-5, 16.0, 0.5


@dataclass(frozen=True)
class Finding:
    """One thing that was seen.

    Args:
        rule: A name in `RULES`.
        level: How much it matters: an error cannot come of usual training.
        sentence: What was seen, with names and figures.
        file: In which file.
    """

    rule: str
    level: Level
    sentence: str
    file: str

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {"rule": self.rule, "level": self.level, "sentence": self.sentence, "file": self.file}


@dataclass(frozen=True)
class Module:
    """What one module's factors say: rank of the factors, rank in use, Frobenius norm of the update."""

    rank: int
    used: int
    norm: float
    reads: bool


def beside(folder: Path, config: Mapping[str, Any]) -> list[Finding]:
    """Findings among a folder's files: pickles and code."""
    found: list[Finding] = []
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        if path.suffix in PICKLED:
            level: Level = "note" if path.name in _OWN else "warning"
            found.append(Finding("pickle", level, f"{path.name} is pickled: nothing here opens it", path.name))
        if path.suffix in (".py", ".so", ".pyc"):
            found.append(Finding("code", "warning", f"{path.name} is code, which an adapter does not need", path.name))
    named = config.get("auto_mapping") or config.get("auto_map")
    if isinstance(named, dict) and named.get("parent_library") not in (None, "transformers", "diffusers"):
        text = f"the configuration names code to import: {str(named)[:80]!r}"
        found.append(Finding("code", "warning", text, "adapter_config.json"))
    return found


def modules_of(path: Path, config: Mapping[str, Any]) -> tuple[dict[str, Module], list[Finding]]:
    """Every LoRA module of a file, two tensors in memory at a time, and findings in the others.

    Raises:
        BadInput: the file cannot be read.
    """
    modules: dict[str, Module] = {}
    found: list[Finding] = []
    with safe_open(str(path), framework="pt") as file:  # type: ignore[no-untyped-call]
        names: list[str] = sorted(file.keys())
        pairs: dict[str, dict[str, str]] = {}
        for name in names:
            stem, _, letter = name.removeprefix("base_model.model.").rpartition(".lora_")
            side = letter.removeprefix("embedding_")[:1]
            if stem and side in ("A", "B") and letter.removeprefix("embedding_").removesuffix(".weight") == side:
                pairs.setdefault(stem, {})[side] = name
            else:
                found += _whole(name, file.get_tensor(name), path.name)
        for stem, pair in pairs.items():
            if len(pair) == 2:
                down, up = (file.get_tensor(pair[side]) for side in "AB")
                module, more = _module(stem, down, up, config, path.name)
                found += more
                if module is not None:
                    modules[stem] = module
    return modules, found


def _whole(name: str, tensor: Tensor, file: str) -> Iterator[Finding]:
    parts = name.removeprefix("base_model.model.").split(".")
    owner = ".".join(parts[:-1])
    if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
        yield Finding("not-finite", "error", f"{name} has NaN or Inf in it", file)
    if tensor.ndim < 2:
        return
    size = f"{' x '.join(map(str, tensor.shape))} numbers"
    if set(_HEADS) & set(parts):
        yield Finding("whole-head", "warning", f"{owner} is shipped whole, {size}", file)
    elif set(_ROUTERS) & set(parts):
        yield Finding("whole-router", "warning", f"{owner} is shipped whole, {size}", file)
    elif parts[-1] == "weight" and "lora" not in name:
        yield Finding("whole-module", "warning", f"{owner} is shipped whole, {size}", file)


def _module(
    stem: str, down: Tensor, up: Tensor, config: Mapping[str, Any], file: str
) -> tuple[Module | None, list[Finding]]:
    if down.ndim != 2 or up.ndim != 2 or not down.is_floating_point() or not up.is_floating_point():
        return None, []
    if not all(torch.isfinite(t.float()).all() for t in (down, up)):
        return None, [Finding("not-finite", "error", f"{stem} has NaN or Inf in it", file)]
    found: list[Finding] = []
    scale = 1.0
    try:
        declared, scale = rank_and_scale(stem, config, "adapter_config.json")
        if {len(down), up.shape[1]} != {declared}:
            sentence = f"{stem} has factors of rank {len(down)} and {up.shape[1]}, where {declared} is declared"
            found.append(Finding("rank", "error", sentence, file))
    except BadInput as error:
        found.append(Finding("rank", "error", str(error), file))
    if len(down) != up.shape[1]:
        return None, found
    values = LowRank(down.float(), up.float(), scale).core().values
    used = int((values > _RANK * values[0]).sum()) if len(values) and float(values[0]) > 0 else 0
    return Module(len(down), used, float(values.square().sum().sqrt()), bool(down.any())), found


def module_findings(modules: Mapping[str, Module], config: Mapping[str, Any], file: str) -> list[Finding]:
    """Findings that concern all modules together: idle ones, unused rank, energy in one, an unusual scale."""
    found: list[Finding] = []
    idle = [n for n, m in modules.items() if m.norm == 0]
    if idle:
        sentence = f"{len(modules) - len(idle)} of {len(modules)} modules act, {len(idle)} are zero: {_some(idle)}"
        found.append(Finding("idle", "note" if len(idle) < len(modules) else "warning", sentence, file))
    if blind := [n for n, m in modules.items() if not m.reads]:
        found.append(Finding("half-idle", "warning", f"A is zero in {_some(blind)}", file))
    if low := [n for n, m in modules.items() if m.norm > 0 and 2 * m.used < m.rank]:
        used = sorted({modules[n].used for n in low})
        span = f"{used[0]}" if len(used) == 1 else f"{used[0]} to {used[-1]}"
        found.append(
            Finding("low-rank", "note", f"{len(low)} modules use rank {span} of what they have: {_some(low)}", file)
        )
    energy = sum(m.norm**2 for m in modules.values())
    if energy > 0 and len(modules) > 3:
        name, most = max(((n, m.norm**2 / energy) for n, m in modules.items()), key=lambda x: x[1])
        if most > _MOST:
            sentence = f"{name} has {most:.0%} of the update's energy, of {len(modules)} modules"
            found.append(Finding("one-module", "note", sentence, file))
    try:
        _, scale = rank_and_scale("", config, "adapter_config.json")
    except BadInput:
        return found
    if scale > _SCALE:
        found.append(Finding("scale", "warning", f"the factors are multiplied by {scale:g}", "adapter_config.json"))
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
