"""`guard.json`: what an adapter was guarded by, and the figures and digests by which that is checked again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from despur.core import Adapter, Subspace, read_json
from despur.core.errors import BadInput
from despur.core.model.fingerprint import base_weights
from despur.measure.leakage import leak_by_module

FILE = "guard.json"
SCHEMA = "despur.guard/1"  # a field that goes or changes its meaning raises the number
STRUCTURAL = ("grasp",)  # guards whose promise can be read off the weights
EXACT = 1e-6  # of a module's update, for float32
# what PEFT writes besides what an adapter does: where it came from, and options of training alone
_ASIDE = {
    "auto_mapping", "base_model_name_or_path", "inference_mode", "lora_dropout", "peft_version", "revision", "task_type",
}  # fmt: skip
_LATER = ("text", "start")  # which earlier certificates lack
_UNSIGNED = "that this file is true: it is not signed; digests identify base, data and weights, but do not prove where they come from"
NOT_PROMISED = {
    "structural": (
        "that the behaviour was not learned: an update that neither reads nor writes these directions can switch "
        "the factor on through others",
        "anything of maps and of directions that are not listed here",
        _UNSIGNED,
    ),
    "functional": (
        "anything about the weights: the guard acts on what the model says, so there is no weight identity to verify",
        "that the model stays close to its base on text unlike the text that the guard used",
        _UNSIGNED,
    ),
}


@dataclass(frozen=True)
class Certificate:
    """What `guard.json` says of an adapter.

    Args:
        guard: Name of the guard.
        settings: The guard's options, its strength included, and how the run was trained.
        side: Sides that it guarded, "read", "write" or "both"; None where nothing is promised of the weights.
        promise: The promise, in a sentence.
        not_promised: What is not promised.
        factors: Digest, sites and ranks of the factors next to it; None where there are none.
        leak: Module to its side, its leak, that of a random subspace of the rank, and the leak that is allowed.
        adapter: Digest of the weights, and what of the configuration decides what they do.
        base: Fingerprint of the base, and the dtype in which it was trained on.
        data: Name and SHA-256 of the training rows; None where they were not given.
        roles: Roles that the user stated.
        versions: Versions of the libraries.
        text: Digests of the tokenizer and of the chat template; None where they were not at hand, or not recorded yet.
        start: The adapter that the run went on with: its name and the digest of its weights, its rank in each module, and the
            digest of these first parts of the certified updates, of which nothing is promised; None where there was none.
    """

    guard: str
    settings: Mapping[str, Any]
    side: str | None
    promise: str
    not_promised: tuple[str, ...]
    factors: Mapping[str, Any] | None
    leak: Mapping[str, Mapping[str, Any]]
    adapter: Mapping[str, Any]
    base: Mapping[str, str]
    data: Mapping[str, str] | None = None
    roles: Mapping[str, str] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    text: Mapping[str, str | None] | None = None
    start: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, folder: Path | str) -> "Certificate":
        """Read the certificate of an adapter folder.

        Raises:
            BadInput: there is none, or despur did not write it.
        """
        path = Path(folder) / FILE
        if not path.exists():
            raise BadInput(
                f"no {FILE} in {str(folder)!r}, so nothing says how it was guarded. Give an adapter that `despur train` wrote "
                "with a guard, or one that despur.certify was called on"
            )
        record = read_json(path)
        if not isinstance(record, dict) or record.get("schema") != SCHEMA:
            schema = repr(record.get("schema")) if isinstance(record, dict) else type(record).__name__
            raise BadInput(
                f"{str(path)!r} is of schema {schema}, where {SCHEMA!r} is needed. Certify the adapter again"
            )
        forms: dict[str, Any] = {
            "guard": str, "settings": dict, "side": (str, type(None)), "promise": str, "not_promised": list,
            "factors": (dict, type(None)), "leak": dict, "adapter": dict, "base": dict, "data": (dict, type(None)),
            "roles": (dict, type(None)), "versions": dict,
        }  # fmt: skip
        wrong = [key for key, form in forms.items() if key not in record or not isinstance(record[key], form)]
        wrong += [f"adapter.{k}" for k in ("weights", "config") if not wrong and k not in record["adapter"]]
        wrong += [f"base.{k}" for k in ("fingerprint", "dtype") if not wrong and k not in record["base"]]
        if not wrong and record["side"] is not None:
            if record["side"] not in ("read", "write", "both"):
                wrong.append("side")
            if record["factors"] is None or "digest" not in record["factors"]:
                wrong.append("factors")
        wrong += [key for key in _LATER if not isinstance(record.get(key), dict | None)]
        if not wrong and record.get("start") is not None and not _is_start(record["start"]):
            wrong.append("start")
        if wrong:
            raise BadInput(f"{str(path)!r} has no readable {wrong[0]!r}: it is damaged. Certify the adapter again")
        values: dict[str, Any] = {**{key: record[key] for key in forms}, "not_promised": tuple(record["not_promised"])}
        values |= {key: record.get(key) for key in _LATER}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"schema": SCHEMA, **asdict(self), "not_promised": list(self.not_promised)}


def _is_start(start: Mapping[str, Any]) -> bool:
    ranks = start.get("ranks")
    return (
        isinstance(start.get("part"), str)
        and isinstance(ranks, dict)
        and all(isinstance(rank, int) and rank > 0 for rank in ranks.values())  # type: ignore[reportUnknownVariableType]
    )


def guarded_leaks(
    adapter: Adapter, base: nn.Module, factors: Sequence[Subspace], side: str, roles: Mapping[str, str] | None
) -> dict[str, dict[str, Any]]:
    """Measure every guarded module: its side, its leak, that of a random subspace, and the leak that is allowed.

    Allowed is 1e-6; where the adapter is stored in fewer digits, twice their relative spacing times sqrt(k / d), the share
    that a random subspace shows (a 64th of it in bfloat16, a 512th in float16), which is the size of its rounding.
    """
    leaks: dict[str, dict[str, Any]] = {}
    for name, leak in leak_by_module(adapter, base, factors, roles=roles).items():
        if side not in (leak.side, "both"):
            continue
        update = adapter.updates[name]
        spacing = torch.finfo((update.down if leak.side == "read" else update.up).dtype).eps
        rounding = 2 * spacing * (leak.rank / leak.width) ** 0.5 if spacing > 1e-6 else 0.0
        leaks[name] = {"side": leak.side, "leak": leak.share(leak.along), "random": leak.share(leak.random),
                       "allowed": max(EXACT, rounding)}  # fmt: skip
    return leaks


def deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of an `adapter_config.json` decides what the weights do, in one form however PEFT wrote it."""
    plain = {k: sorted(map(str, v)) if isinstance(v, list) else v for k, v in config.items() if k not in _ASIDE}
    return {k: v for k, v in sorted(plain.items()) if v not in (None, False, "none") and v != [] and v != {}}


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, dtypes, shapes and values, whatever the file around them."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def part_digest(part: Adapter) -> str:
    """SHA-256 of an adapter's updates as they are stored."""
    tensors = {f"{n}.{leaf}": t for n, u in part.updates.items() for leaf, t in (("A", u.down), ("B", u.up))}
    return tensors_digest(tensors)


def factors_digest(factors: Sequence[Subspace]) -> str:
    """SHA-256 of directions and sites; the evidence for them does not count."""
    sites = [
        {**asdict(f.site), "tokens": "all"} for f in factors
    ]  # the third field is of the schema: digests stay what they were
    sha = hashlib.sha256(json.dumps(sites).encode())
    for factor in factors:
        sha.update(tensors_digest({"read": factor.read, "write": factor.write, "center": factor.center}).encode())
    return sha.hexdigest()


def base_dtype(base: nn.Module) -> str:
    """The dtype of a base's weights, as `torch.` names it."""
    return next((str(w.dtype) for w in base_weights(base).values() if w.is_floating_point()), "none").removeprefix(
        "torch."
    )
