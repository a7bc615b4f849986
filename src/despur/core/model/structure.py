"""What each map does to the residual stream where no table says it: one short pass, and one of each kind of layer by itself.

Nothing is inferred from names. A copy of one layer of each kind, its weights shaken so that no term hides behind a zero or a gain of one,
is run on random vectors; `layer_terms` then finds what is added and what is read. What cannot be told is refused, never guessed.
"""

import re
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from despur.core.errors import DespurError, SiteNotFound
from despur.core.model.base_modules import base_modules, map_shape
from despur.core.model.layer_pass import Pass, Terms
from despur.core.model.layer_terms import layer_terms
from despur.core.model.recorder import Recorder, first
from despur.core.model.roles import Role
from despur.core.model.shaken import shaken
from despur.core.model.stack_terms import enter_stacks
from despur.core.model.states import evaluating
from despur.core.model.stream_ends import end_roles

_TOKENS = 7
_KNOWN: "weakref.WeakKeyDictionary[nn.Module, Structure]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Structure:
    """What was found.

    Args:
        roles: Of each map that touches the stream.
        inner: Names of maps that do not, on either side.
    """

    roles: Mapping[str, Role]
    inner: frozenset[str]


def found_structure(model: Any, config: Any, layers: tuple[str, ...], width: int) -> Structure:
    """Find the roles of all maps of a model by watching it; once a model.

    Args:
        model: The base model, its adapter inside or not.
        config: Of the part that reads and writes text.
        layers: Names of its layers.
        width: Of its stream.

    Raises:
        SiteNotFound: it cannot be told.
    """
    if model not in _KNOWN:
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]), evaluating(model):
                torch.manual_seed(0)
                _KNOWN[model] = _look(model, config, layers, width)
        except DespurError:
            raise
        except Exception as error:  # whatever a stranger's architecture makes of a short row, or of a layer alone
            why = " ".join(str(error).split())[:200]
            raise SiteNotFound(f"the model cannot be watched: {type(error).__name__}: {why}") from error
    return _KNOWN[model]


def _look(model: Any, config: Any, layers: tuple[str, ...], width: int) -> Structure:
    modules = base_modules(model)
    kinds: dict[Any, list[str]] = {}
    for layer in layers:
        kinds.setdefault(_signature(modules, layer), []).append(layer)
    heads = {names[0] for names in kinds.values()}
    outside = {n: m for n, m in modules.items() if n and not any(f"{n}.".startswith(f"{at}.") for at in layers)}
    recorder = Recorder({**outside, **{at: modules[at] for at in layers}}, given=heads)
    with recorder:
        ids = _ids(model, config)
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    roles: dict[str, Role] = {}
    inner: set[str] = set()
    for names in kinds.values():
        terms = _terms(modules[names[0]], recorder.given[names[0]], width, names[0])
        for layer in names:
            number = layers.index(layer)
            for side, table in (("write", terms.writes), ("read", terms.reads)):
                for part, norm in table.items():
                    name = f"{layer}.{part}"
                    roles[name] = Role(
                        name, "write" if side == "write" else "read", number, f"{layer}.{norm}" if norm else None
                    )
            inner |= {f"{layer}.{part}" for part in terms.inner}
    ends = end_roles(model, recorder, layers[0], layers[-1], outside, width)
    return Structure({**roles, **ends}, frozenset(inner - set(roles)))


def _signature(modules: Mapping[str, nn.Module], layer: str) -> Any:
    inside = [(n.removeprefix(layer), m) for n, m in modules.items() if f"{n}.".startswith(f"{layer}.")]
    return tuple((n, type(m).__name__, map_shape(m)) for n, m in inside)


def _ids(model: Any, config: Any) -> Tensor:
    """A short row of words, none of which stands for a picture or a sound."""
    outer = getattr(model, "config", config)
    named = [v for c in (outer, config) for k, v in vars(c).items() if re.search(r"token_(id|index)$", k)]
    marks = {str(v) for v in named}
    free = [i for i in range(config.vocab_size) if str(i) not in marks][: 50 * _TOKENS]
    chosen = torch.randperm(len(free))[:_TOKENS].tolist()
    return torch.tensor([[free[i] for i in chosen]], device=next(model.parameters()).device)


def _terms(layer: nn.Module, given: tuple[Any, dict[str, Any]], width: int, name: str) -> Terms:
    try:
        return _watched(shaken(layer), given, width, torch.float32)
    except SiteNotFound as error:
        raise SiteNotFound(f"in layers like {name!r}: {error}") from error


def _watched(layer: nn.Module, given: tuple[Any, dict[str, Any]], width: int, dtype: torch.dtype) -> Terms:
    parts = {n: m for n, m in base_modules(layer).items() if n}
    weight = next(layer.parameters())
    dtype = dtype if weight.dtype == torch.float32 else weight.dtype
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    args, kwargs = tree.tree_map(lambda x: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x, given)
    stream = next((a for a in (*args, *kwargs.values()) if _is_stream(a, width)), None)
    if stream is None:
        raise SiteNotFound("what goes into it is no stream of one vector a token")
    x = torch.randn(stream.shape).to(stream)

    def run(recorder: "Recorder") -> Tensor:
        with recorder:
            out = layer(
                *(x if a is stream else a for a in args), **{k: x if v is stream else v for k, v in kwargs.items()}
            )
        return first(out)

    after = run(Recorder({}))
    if not _is_stream(after, width) or after.shape != x.shape:
        raise SiteNotFound("what comes out of it is no stream of one vector a token")
    size = float((after - x).norm() / x.norm())
    x = x * min(1.0, max(size, 0.03))  # what a fresh or an early layer adds would be lost beside a long stream
    recorder = Recorder(parts)
    after = run(recorder)

    def adds(block: str, inside: str) -> bool:
        push = torch.randn(width).to(x)
        again = Recorder({block: parts[block], inside: parts[inside]}, push=(inside, push))
        run(again)
        moved = again.leaves[block] - recorder.leaves[block]
        rows = moved[moved.norm(dim=1) > 0]
        cosines = nn.functional.cosine_similarity(rows.double(), push.double()[None])
        return bool(len(rows)) and bool((cosines.abs() > 1 - 1e-3 - tolerance).all())

    twice = [n for n in recorder.again if map_shape(parts[n]) is not None]
    if twice:
        raise SiteNotFound(f"{twice[0]!r} is used more than once")
    seen = Pass(
        recorder.enters,
        recorder.leaves,
        recorder.order,
        parts,
        x.reshape(-1, width),
        after.reshape(-1, width),
        tolerance,
    )
    terms = layer_terms(seen, adds)
    enter_stacks(layer, lambda: run(Recorder({})), seen, terms)
    _fill_unused(parts, recorder.order, terms, width)
    return terms


def _fill_unused(parts: Mapping[str, nn.Module], used: list[str], terms: Terms, width: int) -> None:
    """Experts that got no token do what their siblings do; what has the stream's width on no side cannot touch it."""

    def like(name: str) -> Any:
        return re.sub(r"\b\d+\b", "#", name), map_shape(parts[name])

    siblings = {like(n): n for n in used if map_shape(parts[n]) is not None}
    for name in parts:
        shape = map_shape(parts[name])
        if shape is not None and name not in used and width not in shape:
            terms.inner.add(name)
        twin = siblings.get(like(name)) if map_shape(parts[name]) is not None and name not in used else None
        if twin is None or twin == name:
            continue
        for table in (terms.writes, terms.reads):
            if twin in table:
                table[name] = table[twin]
        if twin in terms.inner:
            terms.inner.add(name)


def _is_stream(x: Any, width: int) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.shape[-1:] == (width,) and x.numel() == _TOKENS * width
