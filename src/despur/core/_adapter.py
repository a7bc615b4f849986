"""PEFT adapters: read, checked against their base before anything is computed with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from despur.core._fingerprint import base_weights, fingerprint
from despur.core._lowrank import LowRank
from despur.core._peft_folder import check_plain, read_folder
from despur.core._roles import Role, base_modules, map_shape, match_role, stream_roles
from despur.core.errors import BadInput, ShapeMismatch, nearest

_OWN_BASE = "it was trained on another base. Give the base that it was trained on"


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter as low-rank updates.

    Args:
        updates: Base-model module name to its update.
        config: What `adapter_config.json` says.
        folder: Where it was read, None for one in memory.
        record: What `despur.json` beside it says (base fingerprint, guard), empty for a stranger's adapter.
        copies: Base weights that PEFT saved along (embeddings that it adapts); `check` compares them with the base's.

    Example:
        >>> update = LowRank(torch.ones(1, 3), torch.ones(2, 1))
        >>> round(Adapter({"model.layers.0.mlp.up_proj": update}).norm() ** 2)
        6
    """

    updates: Mapping[str, LowRank]
    config: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    copies: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path | str) -> "Adapter":
        """Read a folder written by PEFT's `save_pretrained`.

        Args:
            folder: The folder that holds `adapter_config.json`.

        Raises:
            BadInput: no adapter there, pickled weights, not LoRA or a kind of it that is not handled, NaN or
                Inf, factors without their partner or of another rank than the config says, or all of one side zero.
        """
        folder = Path(folder)
        parts = read_folder(folder)
        updates = parts.updates.values()
        for letter, factors in (("B", [u.up for u in updates]), ("A", [u.down for u in updates])):
            if not any(factor.any() for factor in factors):
                raise BadInput(
                    f"every lora_{letter} in {str(folder)!r} is zero: the adapter was never trained, or its training "
                    "did not reach it, so it changes nothing. Look at the run's loss and learning rate"
                )
        return cls(parts.updates, parts.config, folder, parts.record, parts.copies)

    @classmethod
    def of(cls, model: nn.Module, name: str = "default") -> "Adapter":
        """Take the adapter of a live PEFT model; the tensors are shared, not copied.

        Args:
            model: What `get_peft_model` or `add_adapter` gave, or the base model inside it.
            name: Which of its adapters.

        Raises:
            BadInput: the model carries no LoRA adapter of that name, or one of a kind that is not handled.
        """
        from peft.tuners.lora import LoraLayer

        configs: dict[str, Any] = getattr(model, "peft_config", {})
        if name not in configs:
            raise BadInput(
                f"the model has no adapter {name!r} (it has: {', '.join(map(repr, configs)) or 'none'}). "
                "Wrap it with peft.get_peft_model first"
            )
        config = json.loads(json.dumps(configs[name].to_dict(), default=sorted))  # as adapter_config.json would say it
        check_plain(config, f"adapter {name!r}")
        updates: dict[str, LowRank] = {}
        for path, module in base_modules(model).items():
            if isinstance(module, LoraLayer) and name in module.scaling:
                layer: Any = module
                if name in layer.lora_A:
                    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
                else:
                    down, up = layer.lora_embedding_A[name], layer.lora_embedding_B[name]
                updates[path] = LowRank(down.detach(), up.detach(), float(layer.scaling[name]))
        return cls(updates, config)

    def roles(self, base: nn.Module, stated: Mapping[str, str] | None = None) -> dict[str, Role]:
        """Role of every adapted module; see `stream_roles` for `stated`.

        Raises:
            SiteNotFound: an adapted module whose role is not known.
        """
        table = stream_roles(base, stated)
        return {name: match_role(name, table) for name in self.updates}

    def norm(self) -> float:
        """Frobenius norm of all updates together."""
        return sum(u.norm() ** 2 for u in self.updates.values()) ** 0.5

    def check(self, base: nn.Module, base_folder: Path | str | None = None) -> list[str]:
        """Check that the adapter belongs to this base.

        Args:
            base: The base model, an adapter on top or not.
            base_folder: Where it was loaded from, for the wording.

        Returns:
            What could not be verified, one sentence each; empty when a recorded fingerprint agrees.

        Raises:
            ShapeMismatch: a module that the base lacks, another width, other embeddings, or another fingerprint.
        """
        where = repr(str(self.folder)) if self.folder else "the adapter"
        modules = base_modules(base)
        for name, update in self.updates.items():
            if name not in modules:
                raise ShapeMismatch(
                    f"{where} adapts {name!r}, which this base does not have{nearest(name, modules)}: {_OWN_BASE}"
                )
            got, want = (update.up.shape[0], update.down.shape[1]), map_shape(modules[name])
            if want is not None and got != want:
                raise ShapeMismatch(f"{where} changes {name!r} with shape {got}, this base has {want}: {_OWN_BASE}")
        self._check_copies(base_weights(base, tied=True), where)
        recorded = self.record.get("base_fingerprint")
        if recorded is None:
            return self._unverified(modules, base_folder)
        if recorded != (found := fingerprint(base)):
            half = any(p.dtype == torch.float16 for p in base.parameters())
            remedy = "load the base in bfloat16 or float32 to be sure, since float16 rounds in its own way"
            raise ShapeMismatch(
                f"{where} records the base fingerprint {recorded!r}, this base has {found!r}: same shapes, other "
                "weights; " + (remedy if half else _OWN_BASE)
            )
        return []

    def _check_copies(self, weights: Mapping[str, Tensor], where: str) -> None:
        for name, copy in self.copies.items():
            weight = weights.get(f"{name}.weight")
            if weight is None or weight.shape != copy.shape:
                size = None if weight is None else tuple(weight.shape)
                raise ShapeMismatch(
                    f"{where} carries its own {name!r} of shape {tuple(copy.shape)}, this base has {size}: its "
                    "vocabulary was resized, or it was trained on another base. Give the base resized in the same way"
                )
            if not torch.equal(copy.to(weight.device, torch.bfloat16), weight.detach().bfloat16()):
                raise ShapeMismatch(f"{where} carries its own {name!r}, whose values are not this base's: {_OWN_BASE}")

    def _unverified(self, modules: Mapping[str, nn.Module], base_folder: Path | str | None) -> list[str]:
        compared = "names, shapes and its copy of the embeddings" if self.copies else "names and shapes"
        named = repr(self.config.get("base_model_name_or_path"))
        given = f", you gave {str(base_folder)!r}" if base_folder is not None else ""
        said = [
            f"the adapter records no base fingerprint, so only {compared} were compared; it names its base "
            f"{named}{given}"
        ]
        targets = self.config.get("target_modules")
        narrowed = any(self.config.get(key) for key in ("layers_to_transform", "exclude_modules"))
        if isinstance(targets, list) and not narrowed:
            ends = tuple(f".{target}" for target in targets)
            spare = [n for n, m in modules.items() if n not in self.updates and f".{n}".endswith(ends) and map_shape(m)]
            if spare:
                said.append(
                    f"this base has {len(spare)} modules of the adapted kinds that the adapter leaves out, such as "
                    f"{spare[0]!r}: it may have more layers than the adapter's own base"
                )
        return said
