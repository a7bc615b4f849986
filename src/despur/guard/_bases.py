"""Which directions each trainable matrix must leave alone: factor and roles made into projections."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from despur.core import Anatomy, NormGain, Role, Subspace, factor_at, match_role
from despur.core.adapter.expert_lora import expert_lora
from despur.core.adapter.updates import check_start
from despur.core.errors import CannotAttach, ShapeMismatch
from despur.guard._projection import MetDirections, Projection
from despur.guard._shared_memory import joined, place

Sides = Literal["read", "write", "both"]


def matrix_projections(
    model: Any, factor: Subspace | Sequence[Subspace], side: Sides, roles: Mapping[str, str] | None
) -> dict[str, Projection]:
    """Map every trainable matrix's name to what it must not change.

    Raises:
        CannotAttach: nothing would be projected, or something trainable could carry the factor unseen.
        ShapeMismatch: the factor has another width than the model's stream.
    """
    check_start(model)
    anatomy = Anatomy.of(model, roles)
    table, modules, experts = anatomy.roles, dict(anatomy.model.named_modules()), expert_lora(anatomy.model)
    bases = _by_site((factor,) if isinstance(factor, Subspace) else tuple(factor))
    projections: dict[str, Projection] = {}
    shared: dict[tuple[int, str | None, str], MetDirections] = {}  # maps behind one norm meet one basis
    directions: dict[int, dict[torch.device, Tensor]] = {}  # and all norms one factor
    loose: dict[Hashable, str] = {}
    trained = {place(p) for p in model.parameters() if p.requires_grad}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if place(parameter) not in trained:
            continue
        module, part = _split(name)
        if part is None:
            loose.setdefault(place(parameter), name)
            continue
        first = part == "B"  # of all experts at once: A has their inputs last, B their outputs first
        if module in experts:
            module, part = experts[module].stack, experts[module].part(part)
        elif f"{module}.weight" in table:  # a router, whose weight is no linear module's
            module = f"{module}.weight"
        if module in anatomy.inner:
            continue  # it touches the stream on no side: free
        role = match_role(module, table)
        if part in ("A", "B") and (part == "A") != (role.side == "read"):
            continue  # the other factor of the pair: free
        if side not in (role.side, "both"):
            continue
        subspace = factor_at(role, bases, anatomy.known_path)
        if subspace is None:
            continue
        key = (id(subspace), role.norm, role.side)
        if key not in shared:
            shared[key] = _directions_for(role, subspace, modules, directions)
        size = parameter.shape
        if part == "weight":
            first = _projected_first(role, modules.get(module))
        if (width := size[0] if first else size[-1]) != subspace.width:
            raise ShapeMismatch(
                f"the factor has width d={subspace.width}, {name!r} meets a stream of width {width}. "
                "Was it found on another model?"
            )
        matrix = Projection(shared[key], first)
        matrix.meet(parameter)
        if part == "weight":
            _check_tied(parameter, role, modules, table)
            matrix.keep(parameter.detach())
        projections[name] = matrix
    if any("lora_magnitude_vector" in name for name in loose.values()):
        raise CannotAttach(
            "DoRA rescales every row of W0 + B A, and with it what the base does along the factor, so no projection of A "
            "and B keeps the change at zero. Train plain LoRA (use_dora=False)"
        )
    if loose:
        raise CannotAttach(
            f"{len(loose)} trainable tensors could bypass this guard, first {next(iter(loose.values()))!r}. Train plain LoRA "
            "matrices or whole weight matrices: no biases, norms or whole stacks of experts"
        )
    if not projections:
        raise CannotAttach(
            f"no trainable matrix of this model would be projected (side={side!r}, sites {sorted(bases)}). Does the adapter "
            "target maps on that side, in those layers?"
        )
    return joined(model, projections)


def _check_tied(weight: Tensor, role: Role, modules: Mapping[str, nn.Module], table: Mapping[str, Role]) -> None:
    """Refuse a whole weight that another map of the stream uses differently: one basis cannot serve both."""
    for other in table.values():
        if getattr(modules.get(other.module), "weight", None) is weight and (other.side, other.norm) != (
            role.side,
            role.norm,
        ):
            raise CannotAttach(
                f"{role.module + '.weight'!r} is tied to {other.module!r}: one writes the stream, the other reads it, and a "
                "whole weight is projected on one side only. Freeze it, untie it (tie_word_embeddings=False), or train LoRA"
            )


def _split(name: str) -> tuple[str, str | None]:
    """('model.layers.0.mlp.up_proj', 'A' | 'B' | 'weight'), or part None for anything but a known matrix."""
    plain = name.removeprefix("base_model.model.")
    for mark, part in ((".lora_A.", "A"), (".lora_B.", "B"), (".lora_embedding_A.", "A"), (".lora_embedding_B.", "B")):
        if mark in plain and not plain.endswith(".bias"):
            return plain.split(mark)[0], part
    module, _, leaf = plain.rpartition(".")
    is_matrix = leaf == "weight" and "norm" not in module.lower() and ".ln_" not in module
    return (module, "weight") if is_matrix and "lora_" not in plain else (plain, None)


def _projected_first(role: Role, module: nn.Module | None) -> bool:
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


def _directions_for(
    role: Role, factor: Subspace, modules: Mapping[str, nn.Module], directions: dict[int, dict[torch.device, Tensor]]
) -> MetDirections:
    """The factor as this map meets it: behind the norm's gain where one stands between."""
    gain = NormGain.of(modules[role.norm], factor.width) if role.norm else None
    if gain is not None and len(gain.gain) != factor.width:
        raise ShapeMismatch(
            f"the factor has width d={factor.width}, norm {role.norm!r} {len(gain.gain)}. Was it found on another model?"
        )
    rows = factor.write if role.side == "read" else factor.read
    return MetDirections(
        directions.setdefault(id(rows), {rows.device: rows}), gain, reads=role.side == "read", norm=role.norm
    )
