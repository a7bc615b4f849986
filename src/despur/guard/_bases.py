"""Which directions each trainable matrix must leave alone: factor and roles made into projections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core import NormGain, Role, Subspace, factor_at, layer_path, match_role, stream_roles
from despur.core._peft_config import PLAIN_INITS
from despur.core._shards import is_spread, like, local, share, sum_shards
from despur.core.errors import CannotAttach, ShapeMismatch, SiteNotFound

Sides = Literal["read", "write", "both"]


@dataclass
class Held:
    """One trainable matrix and what it must not change; of a sharded one, this process's part.

    Args:
        basis: (k, n) orthonormal rows, in the coordinates of the held dimension.
        rows: Whether the held dimension is the matrix's first (else its last).
        anchor: The matrix's own product with the basis at the start; None where it must be zero (LoRA).
        cut: Whether basis and anchor are those of this process's part alone.
    """

    basis: Float[Tensor, "k n"]
    rows: bool
    anchor: Tensor | None = None
    cut: bool = False

    def meet(self, weight: Tensor) -> None:
        """Bring basis and anchor to where the matrix lies, cut to this process's part of it."""
        if self.cut == is_spread(weight) and self.basis.device == weight.device:
            return
        held = 0 if self.rows else 1
        self.basis = share(self.basis, weight, held, 1)
        if self.anchor is not None:
            self.anchor = share(self.anchor, weight, 1 - held, 1 - held)
        self.cut = is_spread(weight)

    def keep(self, weight: Tensor) -> None:
        """Take what the matrix does with the basis now as what it must go on doing."""
        self.anchor = self.reading(weight).clone()

    def reading(self, weight: Tensor) -> Tensor:
        """The part of the matrix along the basis, in float32."""
        w = local(weight).float()
        return sum_shards(self.basis @ w, weight, 0) if self.rows else sum_shards(w @ self.basis.T, weight, 1)

    def project(self, weight: Tensor, strength: float = 1.0) -> Tensor:
        """The matrix with its change along the basis taken out, in full or in part."""
        self.meet(weight)
        w = local(weight).float()
        gone = self.reading(weight)
        if self.anchor is not None:
            gone = gone - self.anchor
        left, right = (self.basis.T, gone) if self.rows else (gone, self.basis)
        out = torch.addmm(w, left, right, alpha=-strength)
        return like(out.to(weight.dtype), weight)


def held_matrices(
    model: Any, factor: Subspace | Sequence[Subspace], side: Sides, roles: Mapping[str, str] | None
) -> dict[str, Held]:
    """Map every trainable matrix's name to what it must not change.

    Raises:
        CannotAttach: nothing would be held, or something trainable could carry the factor unseen.
        ShapeMismatch: the factor has another width than the model's stream.
    """
    check_start(model)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    table = stream_roles(base, roles)
    modules = dict(base.named_modules())
    bases = _by_site((factor,) if isinstance(factor, Subspace) else tuple(factor))
    held: dict[str, Held] = {}
    shared: dict[tuple[int, str | None, str], Tensor] = {}  # maps behind one norm meet one basis
    loose: list[str] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        module, part = _split(name)
        if part is None:
            loose.append(name)
            continue
        role = match_role(module, table)
        if part in ("A", "B") and (part == "A") != (role.side == "read"):
            continue  # the other factor of the pair: free
        if side not in (role.side, "both"):
            continue
        subspace = factor_at(role, bases, None if roles else layer_path(base))
        if subspace is None:
            continue
        key = (id(subspace), role.norm, role.side)
        basis = shared[key] if key in shared else _seen(role, subspace, modules)
        size = parameter.shape[0] if _held_first(part, role, modules[module]) else parameter.shape[-1]
        if size != basis.shape[1]:
            raise ShapeMismatch(
                f"the factor has width d={basis.shape[1]}, {name!r} meets a stream of width {size}. "
                "Was it found on another model?"
            )
        matrix = Held(basis, _held_first(part, role, modules[module]))
        matrix.meet(parameter)
        shared[key] = basis if matrix.cut else matrix.basis
        if part == "weight":
            _check_tied(parameter, role, modules, table)
            matrix.keep(parameter.detach())
        held[name] = matrix
    if any("lora_magnitude_vector" in name for name in loose):
        raise CannotAttach(
            "DoRA rescales every row of W0 + B A, and with it what the base does along the factor, so no projection of A "
            "and B holds the change to zero. Train plain LoRA (use_dora=False)"
        )
    if loose:
        raise CannotAttach(
            f"{len(loose)} trainable tensors could carry the factor past this guard, first {loose[0]!r}. Train plain LoRA "
            "matrices or whole weight matrices: no biases or norms"
        )
    if not held:
        raise CannotAttach(
            f"no trainable matrix of this model would be held (side={side!r}, sites {sorted(bases)}). Does the adapter "
            "target maps on that side, in those layers?"
        )
    return held


def check_start(model: Any) -> None:
    """Refuse adapters whose start moved the base's own weights: A V = 0 would then not be the base's own reading."""
    for name, config in getattr(model, "peft_config", {}).items():
        init = getattr(config, "init_lora_weights", True)
        if init not in PLAIN_INITS:
            raise CannotAttach(
                f"adapter {name!r} starts with init_lora_weights={init!r}, which moves the base's own weights, so the "
                "guard would hold the wrong ones. Take init_lora_weights=True"
            )


def _check_tied(weight: Tensor, role: Role, modules: Mapping[str, nn.Module], table: Mapping[str, Role]) -> None:
    """Refuse a whole weight that another map of the stream uses in its own way: one basis cannot hold both."""
    for other in table.values():
        if getattr(modules[other.module], "weight", None) is weight and (other.side, other.norm) != (
            role.side,
            role.norm,
        ):
            raise CannotAttach(
                f"{role.module + '.weight'!r} is tied to {other.module!r}: one writes the stream, the other reads it, and a "
                "whole weight is held on one side only. Freeze it, untie it (tie_word_embeddings=False), or train LoRA"
            )


def _split(name: str) -> tuple[str, str | None]:
    """('model.layers.0.mlp.up_proj', 'A' | 'B' | 'weight'), or part None for what is no known matrix."""
    plain = name.removeprefix("base_model.model.")
    for mark, part in ((".lora_A.", "A"), (".lora_B.", "B"), (".lora_embedding_A.", "A"), (".lora_embedding_B.", "B")):
        if mark in plain and not plain.endswith(".bias"):
            return plain.split(mark)[0], part
    module, _, leaf = plain.rpartition(".")
    is_matrix = leaf == "weight" and "norm" not in module.lower() and ".ln_" not in module
    return (module, "weight") if is_matrix and "lora_" not in plain else (plain, None)


def _held_first(part: str, role: Role, module: nn.Module) -> bool:
    if part != "weight":
        return part == "B"
    transposed = isinstance(module, nn.Embedding) or type(module).__name__ == "Conv1D"
    return (role.side == "write") != transposed


def _by_site(factors: tuple[Subspace, ...]) -> dict[str, Subspace]:
    found: dict[str, Subspace] = {}
    for factor in factors:
        if factor.site.module in found:
            raise CannotAttach(
                f"two factors at site {factor.site.module!r}. Join them: Subspace.orthonormal(torch.cat(...))"
            )
        found[factor.site.module] = factor
    return found


def _seen(role: Role, factor: Subspace, modules: Mapping[str, nn.Module]) -> Float[Tensor, "k d"]:
    """The factor as this map meets it, orthonormal: behind the norm's gain where one stands between."""
    gain = NormGain.of(modules[role.norm] if role.norm else None, factor.width)
    directions = factor.write if role.side == "read" else factor.read
    if len(gain.gain) != factor.width:
        raise ShapeMismatch(
            f"the factor has width d={factor.width}, norm {role.norm!r} {len(gain.gain)}. Was it found on another model?"
        )
    shown = gain.show(directions) if role.side == "read" else gain.pull_back(directions)
    # twice orthogonalised in double: what the guard leaves is then float32's own rounding
    q = torch.linalg.qr(shown.double().T).Q
    if q.shape[1] == 0 or not torch.isfinite(q).all():
        raise SiteNotFound(f"norm {role.norm!r} shows nothing of the factor")
    return q.T.float().contiguous()
