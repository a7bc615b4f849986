"""Directions from an adapter's weights alone: what its modules share, its loudest, and what hides in their tails."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from despur.core import Adapter, Anatomy, LowRank, NormGain, Role, Site, Subspace, layer_path, method
from despur.core.adapter.lowrank import Core
from despur.find._ranked import Null

Per = Literal["stream", "layer", "norm"]
How = Literal["agreement", "head", "tail"]
_ZERO = 1e-6  # of a module's largest singular value: less is rounding, and no component to look at


@method(room="find", paper="after Gilligan-Lee et al. 2026, arXiv:2605.27676")
def from_adapter(
    adapter: Adapter | Path | str | Sequence[Adapter | Path | str],
    base: Any,
    *,
    side: Literal["read", "write"] = "write",
    per: Per = "stream",
    how: How = "agreement",
    rank: int = 4,
    level: float | None = 0.05,
    nulls: int = 100,
    null: Null = "auto",
    seed: int = 0,
    roles: Mapping[str, str] | None = None,
    cores: Mapping[str, Core] | None = None,
) -> tuple[Subspace, ...]:
    """Find the directions that an adapter's modules share, without labels and without data.

    Three ways to look at the same rows, and each sees what the others miss: `"agreement"` counts modules alike;
    `"head"` takes the leading directions of all updates side by side, by energy, so that one loud module may win;
    `"tail"` asks what the weaker half of each module's spectrum agrees on, modules alike.

        X_m = the rows sigma_i u_i of module m's update (written), or sigma_i v_i through the norm's gain (read)
        `SharedDirections(weigh="energy" for a head, else "groups")` of all X_m, one group a module

    Args:
        adapter: A PEFT folder, or an adapter already read; or several, of the same data from other seeds: their modules
            count alike. One run goes one of many ways, several show more of them (`benchmarks/cue_seeds.py`).
        base: Its base model.
        side: What the modules read, or what they write.
        per: One basis for the whole stream, one a layer, or one a norm (each norm's readers together).
        how: What counts: agreement of modules, energy (head), or agreement of their tails.
        rank: Directions in a basis, at most.
        level: False-positive rate of the null by rotation; None takes the leading `rank` directions without a test.
            A loud module's own direction never beats it (rotation keeps it as loud): ask for a head with None.
        nulls: Rotations behind it, where they are drawn.
        null: Whether they are; see `SharedDirections`.
        seed: Seeds them.
        roles: For architectures that are not in the table; see `stream_roles`.
        cores: What `LowRank.core` gave by module of a single adapter, where it was taken already for a table of spectra.

    Returns:
        One Subspace a site, those that beat the null; empty when nothing is shared.

    Raises:
        BadInput, ShapeMismatch, SiteNotFound: the adapter cannot be read, is of another base, or
            adapts a map whose role is not known.

    Example:
        >>> # factors = from_adapter("adapter/", AutoModelForCausalLM.from_pretrained("base/"))

    Source: reconstruction from the abstract of arXiv:2605.27676; see `SharedDirections`.
    Differs: modules count alike; norms' gains are taken into account; the null by rotation is ours.
    Limits: a screen. Modules of one model agree a little anyway, so that a neutral tune passes often: the causal check decides.
    """
    from despur.find.shared_directions import SharedDirections  # scikit-learn takes a second to import

    adapters = [_opened(a, base) for a in ([adapter] if isinstance(adapter, Adapter | Path | str) else adapter)]
    known = cores or {} if len(adapters) == 1 else {}  # by module's name, which several adapters share
    path = layer_path(base) if per != "stream" else ""
    sites: dict[str, list[tuple[Role, LowRank]]] = {}
    for one in adapters:
        for name, role in one.roles(base, roles).items():
            if role.side == side:
                sites.setdefault(_site_name(role, per, path), []).append((role, one.updates[name]))
    factors: list[Subspace] = []
    for name, members in sites.items():
        rows, modules = _stack(base, members, how, known)
        if not np.linalg.norm(rows):
            continue
        shared = SharedDirections(
            rank=rank, weigh="energy" if how == "head" else "groups", null=null, seed=seed,
            nulls=0 if level is None else nulls, level=level or 1.0,
        ).fit(rows, groups=modules)  # fmt: skip
        count = len(shared.components_) if level is None else shared.found_
        if count:
            evidence = {
                "method": "from_adapter", "how": how, "side": side, "agreement": shared.agreement_[:count].tolist(),
                "control": shared.threshold_, "null": shared.null_, "level": level, "modules": shared.groups_, "seed": seed,
            }  # fmt: skip
            site = Site(name, "in" if per == "norm" else "out")
            directions = torch.from_numpy(shared.components_[:count])
            factors.append(Subspace.orthonormal(directions, site=site, **evidence))
    return tuple(factors)


def _opened(adapter: Adapter | Path | str, base: Any) -> Adapter:
    if not isinstance(adapter, Adapter):
        adapter = Adapter.read(adapter, base)
        adapter.check(base)
    return adapter


def _stack(
    base: Any, members: Sequence[tuple[Role, LowRank]], how: How, cores: Mapping[str, Core]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of all modules, one behind the other (n, d), and whose each row is (n,).

    A row is a scaled singular direction in coordinates of the stream: reading maps give what they react to before
    the norm, writing maps what they add.
    """
    anatomy = Anatomy.of(base)
    modules, width = anatomy.modules, anatomy.width
    gains: dict[str | None, NormGain] = {}
    rows = torch.empty(sum(update.down.shape[0] for _, update in members), width)
    sizes: list[int] = []
    for role, update in members:
        core = cores[role.module] if role.module in cores else update.core()
        whole = int((core.values > _ZERO * core.values[0]).sum())
        part = slice(whole - whole // 2 if how == "tail" else 0, whole)
        core = Core(core.values[part], core.reads[part], core.writes[part])
        if role.norm not in gains:
            gains[role.norm] = NormGain.of(modules[role.norm] if role.norm else None, width)
        gain = gains[role.norm]
        own = gain.pull_back(update.reads(core)) if role.side == "read" else update.writes(core) * gain.gain
        rows[sum(sizes) : sum(sizes) + len(own)] = own
        sizes.append(len(own))
    return rows[: sum(sizes)].numpy(), np.repeat(np.arange(len(sizes)), sizes)


def _site_name(role: Role, per: Per, path: str) -> str:
    if per == "norm" and role.norm is not None:
        return role.norm
    return "*" if per == "stream" or role.layer is None else path.replace("#", str(role.layer))
