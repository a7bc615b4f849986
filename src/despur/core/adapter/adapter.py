"""PEFT adapters: read, checked against their base before anything is computed with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.adapter.expert_lora import stored_expert_lora
from despur.core.adapter.lowrank import LowRank
from despur.core.adapter.peft_config import CONFIG
from despur.core.adapter.peft_folder import Opened, open_folder, plain_parts
from despur.core.adapter.plain_config import check_plain
from despur.core.errors import BadInput, ShapeMismatch, nearest
from despur.core.model.anatomy import Anatomy
from despur.core.model.base_modules import base_modules, map_shape
from despur.core.model.fingerprint import base_weights, known_fingerprint, same_base
from despur.core.model.named_bases import same_folder
from despur.core.model.roles import Role, match_role
from despur.core.model.stacks import map_shapes, stack_of

OWN_BASE = "it was trained on another base. Give the base that it was trained on"


@dataclass(frozen=True)
class Adapter:
    """What a fine-tune changed, as low-rank updates.

    Of a plain LoRA adapter the updates are the whole change, exactly. Of anything else (see `load_tuned`) `kept` and
    `others` say what the updates leave out.

    Args:
        updates: Base-model module name to its update; a tied weight under each of its names, an expert under its stack's and its number.
        config: The contents of `adapter_config.json`, empty for a whole model.
        folder: Where it was read, None for one in memory.
        record: The contents of `despur.json` beside it (base fingerprint, guard), empty for an adapter that despur did not write.
        copies: Base weights that PEFT saved along (embeddings that it adapts); `check` compares them with the base's.
        kind: PEFT's name of the kind, or "model" for a whole fine-tune.
        kept: Module name to the share of its change's squared Frobenius norm that the update covers, where that is below 1.
        others: Tensors that changed and are no maps (norm gains, biases): name to
            |after - before| / max(|before|, |after|).

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
    kind: str = "LORA"
    kept: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path | str, base: nn.Module | None = None) -> "Adapter":
        """Read a plain LoRA folder written by PEFT's `save_pretrained`; `load_tuned` reads the other kinds.

        Args:
            folder: The folder with `adapter_config.json`.
            base: Its base, without which LoRA on stacked experts (`target_parameters`) cannot be taken apart.

        Raises:
            BadInput: no adapter there, pickled weights, not LoRA or a kind of it whose change cannot be computed
                without the base, NaN or Inf, factors without their partner or of another rank than the config
                says, modules that the config does not name, or all of one side zero.
        """
        opened = open_folder(Path(folder))
        check_plain(opened.config, repr(str(opened.folder / CONFIG)), experts=base is not None)
        return plain_adapter(opened, base)

    @classmethod
    def of(cls, model: nn.Module, name: str = "default") -> "Adapter":
        """Take the adapter of a live PEFT model; the tensors are shared, not copied.

        Args:
            model: What `get_peft_model` or `add_adapter` gave, or the base model inside it.
            name: Which of its adapters.

        Raises:
            BadInput: the model carries no LoRA adapter of that name, or one of a kind that is not handled.
        """
        from despur.core.adapter.peft_merge import lora_factors

        configs: dict[str, Any] = getattr(model, "peft_config", {})
        if name not in configs:
            raise BadInput(
                f"the model has no adapter {name!r} (it has: {', '.join(map(repr, configs)) or 'none'}). "
                "Wrap it with peft.get_peft_model first"
            )
        config = json.loads(json.dumps(configs[name].to_dict(), default=sorted))  # as adapter_config.json has it
        check_plain(config, f"adapter {name!r}", experts=True)
        return cls(lora_factors(model, name)[0], config)

    def roles(self, base: nn.Module, stated: Mapping[str, str] | None = None) -> dict[str, Role]:
        """Role of every adapted module that touches the stream; see `stream_roles` for `stated`.

        Maps inside a block that are known to touch it on no side (low-rank attention, state space models) are left out.

        Raises:
            SiteNotFound: an adapted module whose role is not known.
        """
        anatomy = Anatomy.of(base, stated)
        return {n: match_role(n, anatomy.roles) for n in self.updates if not {n, stack_of(n)} & anatomy.inner}

    def norm(self) -> float:
        """Frobenius norm of all updates together."""
        return sum(u.norm() ** 2 for u in self.updates.values()) ** 0.5

    def check(self, base: nn.Module, base_folder: Path | str | None = None, *, known: str | None = None) -> list[str]:
        """Check that the adapter belongs to this base.

        Args:
            base: The base model, an adapter on top or not.
            base_folder: Where it was loaded from, for messages.
            known: The base's fingerprint, where it was taken already (before its vocabulary was resized).

        Returns:
            What could not be verified, one sentence each; empty when a recorded fingerprint agrees.

        Raises:
            ShapeMismatch: a module that the base or the file lacks, another width, other embeddings, or another
                fingerprint.
        """
        where = repr(str(self.folder)) if self.folder else "the adapter"
        modules = base_modules(base)
        shapes = map_shapes(modules)
        for name, update in self.updates.items():
            if name not in modules and name not in shapes:
                raise ShapeMismatch(
                    f"{where} adapts {name!r}, which this base does not have{nearest(name, modules)}: {OWN_BASE}"
                )
            got, want = (update.up.shape[0], update.down.shape[1]), shapes.get(name)
            if want is not None and got != want:
                raise ShapeMismatch(f"{where} changes {name!r} with shape {got}, this base has {want}: {OWN_BASE}")
        self._check_whole(modules, where)
        self._check_copies(base_weights(base, tied=True), where)
        recorded = self.record.get("base_fingerprint")
        if recorded is None:
            return self._unverified(base_folder)
        if not same_base(str(recorded), actual := known or known_fingerprint(base)):
            half = any(p.dtype == torch.float16 for p in base.parameters())
            remedy = "load the base in bfloat16 or float32 to be sure, since float16 rounds in its own way"
            raise ShapeMismatch(
                f"{where} records the base fingerprint {recorded!r}, this base has {actual!r}: same shapes, other "
                "weights; " + (remedy if half else OWN_BASE)
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
                raise ShapeMismatch(f"{where} carries its own {name!r}, whose values are not this base's: {OWN_BASE}")

    def _unverified(self, base_folder: Path | str | None) -> list[str]:
        compared = "names, shapes and its copy of the embeddings" if self.copies else "names and shapes"
        name, other = self.config.get("base_model_name_or_path") or None, f", you gave {str(base_folder)!r}"
        given = "" if base_folder is None else ", as you do" if same_folder(base_folder, name) else other
        if self.kind == "model":
            return [f"a whole model names no base, so only names, shapes and configuration were compared{given}"]
        named = f"it names its base {name!r}{given}"
        return [f"the adapter records no base fingerprint, so only {compared} were compared; {named}"]

    def _check_whole(self, modules: Mapping[str, nn.Module], where: str) -> None:
        """PEFT leaves modules that the file lacks as they are, without a word."""
        targets = self.config.get("target_modules")
        narrowed = any(self.config.get(key) for key in ("layers_to_transform", "exclude_modules", "modules_to_save"))
        if self.kind != "LORA" or not isinstance(targets, list) or narrowed:
            return
        ends = tuple(f".{target}" for target in targets)
        spare = [n for n, m in modules.items() if n not in self.updates and f".{n}".endswith(ends) and map_shape(m)]
        if spare:
            raise ShapeMismatch(
                f"{where} lacks {len(spare)} modules of this base that its target_modules name, such as "
                f"{spare[0]!r}: the file is incomplete, or {OWN_BASE}"
            )


def plain_adapter(opened: Opened, base: nn.Module | None = None) -> Adapter:
    """The adapter of a folder of plain LoRA; `base` as in `Adapter.read`.

    Raises:
        BadInput: see `Adapter.read`.
    """
    updates, copies = plain_parts(opened, {} if base is None else stored_expert_lora(opened.config, base))
    return Adapter(updates, opened.config, opened.folder, opened.record, copies)
