"""Where a model's layers are, and what each of its maps does to the stream."""

from collections.abc import Mapping
from typing import Any

from despur.core.model.anatomy import Anatomy
from despur.core.model.roles import Role


def layer_path(model: Any) -> str:
    """Name of the decoder layers with `#` for the number.

    Raises:
        SiteNotFound: the model does not have exactly one stack of as many layers as in its config.

    Example:
        >>> from transformers import LlamaConfig, LlamaModel
        >>> sizes = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        >>> layer_path(LlamaModel(LlamaConfig(**sizes)))
        'layers.#'
    """
    return Anatomy.of(model).path


def stream_roles(model: Any, roles: Mapping[str, str] | None = None) -> dict[str, Role]:
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
    return Anatomy.of(model, roles).roles
