"""Which linear maps read the residual stream, which write it, and the norm that stands between.

One table serves every architecture: a row a map. A family that is missing is a row to add, or to state
in the call (`roles={"*.attn.in_proj": "read:*.norm1"}`), never a guess.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core.errors import ShapeMismatch, SiteNotFound, nearest
from despur.core.model.shards import gathered
from despur.core.types import EVERYWHERE, Subspace

Side = Literal["read", "write"]

# {L} is a layer, {M} what holds the layers; "read:NORM" reads through that norm, "write:NORM" passes one on its way out
_QKV = ("{L}.self_attn.q_proj", "{L}.self_attn.k_proj", "{L}.self_attn.v_proj")
_GATE_UP = ("{L}.mlp.gate_proj", "{L}.mlp.up_proj")
_OUT = ("{L}.self_attn.o_proj", "{L}.mlp.down_proj")
_LLAMA = {
    "read:{L}.input_layernorm": _QKV,
    "read:{L}.post_attention_layernorm": _GATE_UP,
    "write": (*_OUT, "{M}embed_tokens"),
    "read:{M}norm": ("lm_head",),
}
_GEMMA2 = {
    "read:{L}.input_layernorm": _QKV,
    "write:{L}.post_attention_layernorm": _OUT[:1],
    "read:{L}.pre_feedforward_layernorm": _GATE_UP,
    "write:{L}.post_feedforward_layernorm": _OUT[1:],
    "write": ("{M}embed_tokens",),
    "read:{M}norm": ("lm_head",),
}
FAMILIES: dict[str, Mapping[str, tuple[str, ...]]] = {
    # Qwen3 and Gemma 3 also norm queries and keys, behind the maps: that does not touch what the maps read
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma"), _LLAMA),
    **dict.fromkeys(("gemma2", "gemma3_text"), _GEMMA2),
    "phi": {  # attention and MLP in parallel, behind one norm
        "read:{L}.input_layernorm": (*_QKV, "{L}.mlp.fc1"),
        "write": ("{L}.self_attn.dense", "{L}.mlp.fc2", "{M}embed_tokens"),
        "read:{M}final_layernorm": ("lm_head",),
    },
    "phi3": {
        "read:{L}.input_layernorm": ("{L}.self_attn.qkv_proj",),
        "read:{L}.post_attention_layernorm": ("{L}.mlp.gate_up_proj",),
        "write": (*_OUT, "{M}embed_tokens"),
        "read:{M}norm": ("lm_head",),
    },
    "gpt2": {
        "read:{L}.ln_1": ("{L}.attn.c_attn",),
        "read:{L}.ln_2": ("{L}.mlp.c_fc",),
        "write": ("{L}.attn.c_proj", "{L}.mlp.c_proj", "{M}wte", "{M}wpe"),
        "read:{M}ln_f": ("lm_head",),
    },
    "gpt_neox": {  # in parallel or not, the MLP's norm takes the stream
        "read:{L}.input_layernorm": ("{L}.attention.query_key_value",),
        "read:{L}.post_attention_layernorm": ("{L}.mlp.dense_h_to_4h",),
        "write": ("{L}.attention.dense", "{L}.mlp.dense_4h_to_h", "{M}embed_in"),
        "read:{M}final_layer_norm": ("lm_head", "embed_out"),
    },
    "opt": {  # where the embeddings are narrower than the stream, project_in and project_out stand between
        "read:{L}.self_attn_layer_norm": _QKV,
        "read:{L}.final_layer_norm": ("{L}.fc1",),
        "write": ("{L}.self_attn.out_proj", "{L}.fc2", "{M}embed_tokens", "{M}embed_positions", "{M}project_in"),
        "read:{M}final_layer_norm": ("lm_head", "{M}project_out"),
    },
}


@dataclass(frozen=True, slots=True)
class Role:
    """What a linear map does to the residual stream.

    Args:
        module: Name of the map in the base model.
        side: Reads the stream or writes it.
        layer: Decoder layer, None outside the layers.
        norm: Name of the norm between stream and map, None where there is none.
    """

    module: str
    side: Side
    layer: int | None
    norm: str | None


_INSIDE = ("base_layer", "original_module", "token_adapter")  # where PEFT's wrappers keep the base's own module


def base_modules(model: nn.Module, *, shared: bool = False) -> dict[str, nn.Module]:
    """Modules under the names they have in the base model, whether PEFT has wrapped it or not.

    Args:
        model: A model, PEFT on top or not.
        shared: Give a module that stands at several places under all of their names, not once.
    """
    found: dict[str, nn.Module] = {}
    seen: set[int] = set()

    def visit(name: str, module: nn.Module) -> None:
        if id(module) in seen and not shared:
            return
        seen.add(id(module))
        found[name] = module
        for child, inner in unwrapped(module).named_children():
            visit(f"{name}.{child}" if name else child, inner)

    visit("", dict(model.named_modules()).get("base_model.model", model))
    return found


def unwrapped(module: nn.Module) -> nn.Module:
    """The base's own module inside what PEFT put round it."""
    inside = next((getattr(module, part) for part in _INSIDE if part in dict(module.named_children())), None)
    return module if inside is None else unwrapped(inside)


def map_shape(module: nn.Module) -> tuple[int, int] | None:
    """(d_out, d_in) of a linear map or embedding; None for anything else."""
    module = unwrapped(module)
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features  # not the weight's: a quantised one is packed
    if isinstance(module, nn.Embedding):
        return module.embedding_dim, module.num_embeddings
    if type(module).__name__ == "Conv1D":  # GPT-2's transposed linear map
        d_in, d_out = module.get_parameter("weight").shape
        return d_out, d_in
    return None


def layer_path(model: nn.Module) -> str:
    """Name of the decoder layers with `#` for the number.

    Raises:
        SiteNotFound: the model has not exactly one stack of as many layers as its config says.

    Example:
        >>> from transformers import LlamaConfig, LlamaModel
        >>> sizes = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        >>> layer_path(LlamaModel(LlamaConfig(**sizes)))
        'layers.#'
    """
    depth = getattr(_text_config(model), "num_hidden_layers", None)
    stacks = [n for n, m in base_modules(model).items() if isinstance(m, nn.ModuleList) and len(m) == depth]
    outer = [n for n in stacks if not any(n.startswith(f"{other}.") for other in stacks)]
    if len(outer) != 1:
        raise SiteNotFound(
            f"{type(model).__name__} should have one stack of num_hidden_layers={depth} layers, found {outer}. "
            "Give a decoder-only transformers model whose config fits it"
        )
    return f"{outer[0]}.#"


def stream_roles(model: nn.Module, roles: Mapping[str, str] | None = None) -> dict[str, Role]:
    """Roles of every linear map and embedding of a model that touches the residual stream.

    Args:
        model: The base model, PEFT on top or not; its `config.model_type` picks the table.
        roles: For an architecture that is not in the table, or to overrule it: glob of map names to `"read"`,
            `"read:NORM"`, `"write"` or `"write:NORM"`. A `*` in NORM stands for what the first `*` of the glob matched.

    Raises:
        SiteNotFound: unknown architecture and no roles stated, a stated norm that is not there, or a
            glob that matches no linear map.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> sizes = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        >>> stream_roles(LlamaForCausalLM(LlamaConfig(**sizes)))["model.layers.0.mlp.up_proj"].norm
        'model.layers.0.post_attention_layernorm'
    """
    modules = base_modules(model)
    try:
        found = _tabled(model, modules)
    except SiteNotFound:
        if not roles:
            raise
        found = {}
    found |= _stated(modules, roles or {})
    for role in found.values():
        if role.norm is not None and role.norm not in modules:
            raise SiteNotFound(
                f"no norm {role.norm!r} for map {role.module!r}{nearest(role.norm, modules)}. State it anew"
            )
    return found


def _text_config(model: nn.Module) -> Any:
    config: Any = getattr(model, "config", None)
    return config.get_text_config() if config is not None else None


def _tabled(model: nn.Module, modules: Mapping[str, nn.Module]) -> dict[str, Role]:
    config = _text_config(model)
    kind = getattr(config, "model_type", type(model).__name__)
    state = "State the roles: roles={'*.attn.in_proj': 'read:*.norm1', '*.attn.out_proj': 'write'}"
    if kind not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise SiteNotFound(f"model type {kind!r} is not known here (known: {known}). {state}")
    if getattr(config, "do_layer_norm_before", True) is False:
        raise SiteNotFound(
            f"this {kind!r} model norms the stream itself (do_layer_norm_before=False), not its readers. {state}"
        )
    path = layer_path(model)
    stem = path.removesuffix("#").rstrip(".").rpartition(".")[0]
    holder = stem + "." if stem else ""
    found: dict[str, Role] = {}
    for key, patterns in FAMILIES[kind].items():
        side: Side = "read" if key.startswith("read") else "write"
        norm = key.partition(":")[2]
        for pattern in patterns:
            for layer in range(config.num_hidden_layers) if "{L}" in pattern else (None,):
                names = {"L": path.replace("#", str(layer)), "M": holder}
                name = pattern.format(**names)
                shape = map_shape(modules[name]) if name in modules else None
                if shape is not None and shape[side == "read"] == config.hidden_size:
                    found[name] = Role(name, side, layer, norm.format(**names) or None)
    return found


def _stated(modules: Mapping[str, nn.Module], roles: Mapping[str, str]) -> dict[str, Role]:
    found: dict[str, Role] = {}
    for pattern, said in roles.items():
        side, _, norm = said.partition(":")
        if side not in ("read", "write"):
            raise SiteNotFound(
                f"role {said!r} of {pattern!r} is not 'read', 'read:NORM', 'write' or 'write:NORM'. State one"
            )
        regex = re.compile(re.escape(pattern).replace(r"\*", "(.*)"))
        maps = [name for name, module in modules.items() if map_shape(module) is not None]
        matches = [m for name in maps if (m := regex.fullmatch(name))]
        if not matches:
            raise SiteNotFound(f"role pattern {pattern!r} matches no linear map{nearest(pattern, maps)}. State it anew")
        for match in matches:
            number = re.search(r"(?:^|\.)(\d+)\.", match[0])
            stem = match[1] if regex.groups else "*"
            found[match[0]] = Role(match[0], side, int(number[1]) if number else None, norm.replace("*", stem) or None)
    return found


def match_role(name: str, roles: Mapping[str, Role]) -> Role:
    """Role of one adapted module.

    Raises:
        SiteNotFound: the module is not one that reads or writes the stream, as far as the table knows.
    """
    if name not in roles:
        raise SiteNotFound(
            f"no role known for adapted module {name!r}{nearest(name, roles)}. "
            "State it: roles={'" + re.sub(r"\b\d+\b", "*", name) + "': 'read:NORM' or 'write'}"
        )
    return roles[name]


@dataclass(frozen=True)
class NormGain:
    """How a norm shows a stream direction to the map behind it: v -> gain * (v - mean(v)).

    The mean is taken off by LayerNorm only. The norm's division by a length is common to all
    directions and drops out of subspaces.

    Args:
        gain: (d,) elementwise gain.
        centred: Whether the norm subtracts the mean.
    """

    gain: Float[Tensor, " d"]
    centred: bool

    @classmethod
    @torch.no_grad()
    def of(cls, norm: nn.Module | None, width: int) -> "NormGain":
        """Measure a norm module by what it does to two inputs; None is the identity.

        So it need not be known whether a class multiplies by `weight` (Llama) or by `1 + weight` (Gemma,
        Qwen3-Next), and whether it takes the mean off.

        Raises:
            ShapeMismatch: the norm has another width.
            SiteNotFound: the module is no norm.
        """
        if norm is None:
            return cls(torch.ones(width), False)
        twin = gathered(norm).float()  # where it lies: a fused kernel may run on its own device only
        device = next((weight.device for weight in norm.parameters()), torch.device("cpu"))

        def odd(x: Tensor) -> Tensor:  # what is left without the bias
            return (twin.forward(x[None]) - twin.forward(-x[None]))[0] / 2

        half = width // 2
        x = 1024 * torch.ones(width, device=device)  # long, so that eps does not count, and without a mean
        x[:half] *= -(width - half) / max(half, 1)
        y = x + 1024 * torch.linspace(0, 1, width, device=device) ** 2
        try:
            gain, given = odd(x) / x * x.square().mean().sqrt(), odd(y)
        except RuntimeError as error:
            raise ShapeMismatch(
                f"{type(norm).__name__} takes no stream of width {width}. Was the factor found on another model?"
            ) from error
        except TypeError:  # attention and the like take more than one tensor
            gain, given = torch.zeros_like(x), torch.full_like(x, torch.inf)
        for centred, seen in ((False, y), (True, y - y.mean())):
            if (gain * seen / seen.square().mean().sqrt() - given).norm() <= 1e-4 * gain.norm():
                return cls(gain.cpu(), centred)
        raise SiteNotFound(
            f"{type(norm).__name__} is no norm: it does not give gain * (x - mean) / length. State another"
        )

    def show(self, directions: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
        """Stream directions as the map behind the norm sees them."""
        rows = directions - directions.mean(1, keepdim=True) if self.centred else directions
        return rows * self.gain.to(rows)

    def pull_back(self, covectors: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
        """What a map's read rows react to on the stream before the norm: the transpose of `show`."""
        rows = covectors * self.gain.to(covectors)
        return rows - rows.mean(1, keepdim=True) if self.centred else rows


def factor_at(role: Role, factors: Mapping[str, Subspace], path: str | None) -> Subspace | None:
    """Which factor a map meets: its own norm's, else its layer's, else the one for the whole stream.

    Args:
        role: Of the map.
        factors: By the name of their site's module.
        path: Name of the layers as `layer_path` gives it; None where roles were stated by hand.
    """
    layer = path.replace("#", str(role.layer)) if path is not None and role.layer is not None else None
    return next(
        (factors[site] for site in (role.norm, layer, EVERYWHERE) if site is not None and site in factors), None
    )
