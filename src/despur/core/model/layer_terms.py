"""What one layer adds to the residual stream, and what in it reads the stream: found from a recorded pass, or not at all.

A layer that adds to its stream gives x + sum_j c_j o_j, where o_j are outputs of its modules and c_j numbers that may differ by
token (a gate). The o_j are found by least squares, one token at a time, and the rest must be rounding. What reads is then a map
whose input is a point of that stream (x and some of the terms), or what a norm makes of one.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from despur.core.errors import DespurError, SiteNotFound
from despur.core.model.base_modules import map_shape
from despur.core.model.closeness import alike, least_squares, off_parallel, parallel, same
from despur.core.model.layer_pass import Pass, Terms
from despur.core.model.norm_gain import NormGain

_SMALL = 1e-3  # share of a term below which it is none
_ALIKE = 0.5  # correlation with the stream above which what a map reads is no mixture


def layer_terms(seen: Pass, adds: Callable[[str, str], bool]) -> Terms:
    """Find what each map of a layer does.

    Args:
        seen: A recorded pass.
        adds: Whether what the second module (inside the first) gives is added to what the first gives, direction for direction.

    Raises:
        SiteNotFound: it cannot be told.
    """
    terms, parts = Terms(), []
    for name, scale in _summands(seen, seen.after - seen.before).items():
        parts.append(scale[:, None] * seen.leaves[name])
        _enter_writer(seen, name, terms, adds)
    points = [seen.before, *(seen.before + torch.stack(parts[: i + 1]).sum(0) for i in range(len(parts)))]
    norms = {n: seen.leaves[n] for n in seen.order if _is_norm(seen, n) and _on_stream(seen, seen.enters[n], parts)}
    terms.points = {"": points, **{n: [out] for n, out in norms.items()}}
    for name in seen.order:
        shape = map_shape(seen.modules[name])
        if shape is None:
            continue
        z = seen.enters.get(name)
        norm: str | None = None
        if z is not None and shape[1] == seen.before.shape[1] and not isinstance(seen.modules[name], nn.Embedding):
            norm = _reads(seen, z, norms, parts, points, name)
        if norm is not None and name in terms.writes:
            raise SiteNotFound(f"map {name!r} both reads the stream and writes it")
        if norm is not None:
            terms.reads[name] = norm or None
        elif name not in terms.writes:
            terms.inner.add(name)
    return terms


def read_through(seen: Pass, name: str) -> str | None:
    """The norm through which one map reads a stream that is known, "" for none, None where it reads something else."""
    norms = {n: seen.leaves[n] for n in seen.order if _is_norm(seen, n) and _on_stream(seen, seen.enters[n], ())}
    try:
        return _reads(seen, seen.enters[name], norms, (), [seen.before], name)
    except SiteNotFound:
        return None


def _enter_writer(
    seen: Pass, name: str, terms: Terms, adds: Callable[[str, str], bool], norm: str | None = None
) -> None:
    module = seen.modules[name]
    if map_shape(module) is not None:
        terms.writes[name] = norm
    elif norm is None and _is_norm(seen, name):
        if parallel(seen.enters[name], seen.before, seen.tolerance):
            raise SiteNotFound(f"norm {name!r} stands in the stream itself")
        for part in _summands(seen, seen.enters[name], without=name):
            _enter_writer(seen, part, terms, adds, norm=name)
    else:  # maps inside are tried one by one; experts in one tensor are no modules, see `enter_stacks`
        terms.blocks[name] = norm
        width = seen.before.shape[1]
        for inside in seen.order:
            shape = map_shape(seen.modules[inside])
            if inside.startswith(f"{name}.") and shape is not None and shape[0] == width and adds(name, inside):
                terms.writes[inside] = norm


def _summands(seen: Pass, total: Tensor, without: str = "") -> dict[str, Tensor]:
    """Modules whose outputs add up to a sum, in order, and by which factor at each token."""
    leafs, blocks = _candidates(seen, without)
    scale = total.norm()
    if not scale > 0:
        raise SiteNotFound("a layer adds nothing")
    plain = [n for n in leafs if not _is_norm(seen, n)]  # a norm may be parallel to the stream: only where it is needed
    deep = sorted(blocks, key=lambda n: -n.count("."))  # the innermost block that explains the rest, not one around it
    tries = [plain, leafs, *([*some, *deep[: i + 1]] for some in (plain, leafs) for i in range(len(deep)))]
    why = "what a layer adds to its stream is no sum of what its modules give"
    for names in tries:
        columns = torch.stack([seen.before, *(seen.leaves[n] for n in names)], -1).double()  # (t, d, m)
        if columns.shape[-1] >= columns.shape[1]:
            continue
        sizes = columns.norm(dim=1, keepdim=True).clamp(min=1e-12)
        found = least_squares(columns / sizes, total, seen.tolerance)
        rest = total - (columns / sizes @ found)[..., 0].to(total.dtype)
        if rest.norm() > seen.tolerance * 10 * scale:
            continue
        factors = (found / sizes.transpose(1, 2))[..., 0]  # (t, m)
        share = (found[..., 0].abs() / total.double().norm(dim=1, keepdim=True).clamp(min=1e-12)).amax(0)
        limit = max(_SMALL, 10 * seen.tolerance)
        if share[0] > limit:
            why = "a layer scales or norms the stream that it adds to, so a direction is not the same behind it"
            continue
        return {n: factors[:, i + 1].to(total.dtype) for i, n in enumerate(names) if share[i + 1] > limit}
    raise SiteNotFound(why)


def _candidates(seen: Pass, without: str) -> tuple[list[str], list[str]]:
    """Modules that give vectors of the stream's width: those without parts, and blocks; of equal outputs the innermost map."""
    leafs: list[str] = []
    blocks: list[str] = []
    ordered = sorted(seen.order, key=lambda n: (map_shape(seen.modules[n]) is None, -n.count(".")))
    for name in ordered:
        out = seen.leaves.get(name)
        if name in ("", without) or out is None or out.shape != seen.before.shape or not out.any():
            continue
        if any(same(out, seen.leaves[n], seen.tolerance) for n in (*leafs, *blocks)) or same(
            out, seen.before, seen.tolerance
        ):
            continue
        module = seen.modules[name]
        own = next(module.parameters(recurse=False), None) is not None or map_shape(module) is not None
        childless = not any(n.startswith(f"{name}.") for n in seen.modules)
        (leafs if own or childless else blocks).append(name)
    place = {n: i for i, n in enumerate(seen.order)}
    return sorted(leafs, key=place.__getitem__), sorted(blocks, key=place.__getitem__)


def _is_norm(seen: Pass, name: str) -> bool:
    z, out = seen.enters.get(name), seen.leaves.get(name)
    if z is None or out is None or z.shape != seen.before.shape or out.shape != z.shape:
        return False
    module = seen.modules[name]
    if map_shape(module) is not None or next(module.children(), None) is not None or same(z, out, seen.tolerance):
        return False
    try:
        gain = NormGain.of(module, z.shape[1])
    except (DespurError, ValueError, IndexError, AttributeError):  # routers and the like take another shape
        return False
    odd = (module.forward(z) - module.forward(-z)) / 2  # without its bias
    return parallel(gain.show(z.float().cpu()), odd.float().cpu(), 10 * seen.tolerance)


def _on_stream(seen: Pass, z: Tensor, parts: Sequence[Tensor]) -> bool:
    """Whether a tensor is the stream before the layer and some of its terms, whole; a common factor does not count."""
    if z.shape != seen.before.shape:
        return False
    columns = torch.stack([seen.before, *parts], -1).double()
    sizes = columns.norm(dim=1, keepdim=True).clamp(min=1e-12)
    found = least_squares(columns / sizes, z, seen.tolerance) / sizes.transpose(1, 2)
    rest = (z.double()[..., None] - columns @ found).norm()
    if rest > 10 * seen.tolerance * z.double().norm():
        return False
    first = found[:, :1, 0]
    if not (first.abs() > _SMALL).all():
        return False
    shares = found[:, 1:, 0] / first
    limit = max(20 * seen.tolerance, 1e-3)
    return bool(((shares.abs() < limit) | ((shares - 1).abs() < limit)).all())


def _reads(
    seen: Pass, z: Tensor, norms: Mapping[str, Tensor], parts: Sequence[Tensor], points: Sequence[Tensor], name: str
) -> str | None:
    """The norm through which a map reads the stream, "" for none, None where it reads something else.

    Raises:
        SiteNotFound: what it reads is made of the stream in a way that no module does.
    """
    fits = {norm: miss for norm, out in norms.items() if (miss := off_parallel(z, out)) < 10 * seen.tolerance}
    if fits:
        return min(fits, key=fits.__getitem__)
    if _on_stream(seen, z, parts) or any(off_parallel(z, point) < 10 * seen.tolerance for point in points):
        return ""
    if z.shape == seen.before.shape and any(alike(z, point) > _ALIKE for point in points):
        raise SiteNotFound(f"map {name!r} reads something made of the stream that no norm here makes")
    return None
