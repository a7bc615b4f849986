"""The parts of a decoder-only model: its layers, widths, norms and head, and which of its maps touch the stream."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from despur.core.errors import SiteNotFound
from despur.core.model.base_modules import base_modules
from despur.core.model.families import FAMILIES
from despur.core.model.known_roles import known_roles
from despur.core.model.roles import Role
from despur.core.model.states import bare
from despur.core.types import Site

_LAST = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")  # beside the layers, where no role names it
# the second is of decoders that were an encoder's partner, the third of layers that count their parts as layers
_COUNTS = ("num_hidden_layers", "decoder_layers", "num_layers")


@dataclass(frozen=True)
class Anatomy:
    """The parts of a decoder-only model; of a multimodal one, the part that reads and writes text.

    Nothing is looked up before it is asked for, so an architecture without known roles still has layers and a width.

    Args:
        model: The base, without any adapter on top.
        stated: Roles stated by hand; see `stream_roles`.

    Raises:
        SiteNotFound: this model does not reveal what is asked for.

    Example:
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> sizes = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 1}
        >>> anatomy = Anatomy.of(LlamaForCausalLM(LlamaConfig(**sizes)))
        >>> anatomy.layers, anatomy.width, anatomy.final_norm
        (('model.layers.0', 'model.layers.1'), 8, 'model.norm')
    """

    model: Any
    stated: Mapping[str, str] | None = None

    @classmethod
    def of(cls, model: Any, roles: Mapping[str, str] | None = None) -> "Anatomy":
        """Look at a model, an adapter on top or not.

        Args:
            model: A decoder-only transformers model.
            roles: For an architecture that is not in the table, or to overrule it; see `stream_roles`.
        """
        return cls(bare(model), roles)

    @cached_property
    def config(self) -> Any:
        """Configuration of the part that reads and writes text; None of a model without any."""
        config: Any = getattr(self.model, "config", None)
        return None if config is None else text_part(config)

    @cached_property
    def kind(self) -> str:
        """Model type of that part."""
        return getattr(self.config, "model_type", type(self.model).__name__)

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.modules[self.path.removesuffix(".#")])  # type: ignore[reportArgumentType]

    @property
    def width(self) -> int:
        """Width d of the residual stream."""
        return self._size("hidden_size")

    @property
    def vocabulary(self) -> int:
        """Number v of tokens."""
        return self._size("vocab_size")

    @property
    def context(self) -> int | None:
        """Tokens of a row at most; None where nothing limits them, or no limit is known."""
        sizes = (getattr(self.config, name, None) for name in ("max_position_embeddings", "max_seq_len"))  # MPT's name
        return next((size for size in sizes if size), None)

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """Every module by its name in the base."""
        return base_modules(self.model)

    @cached_property
    def path(self) -> str:
        """Name of the decoder layers with `#` for the number."""
        depth = self._size("num_hidden_layers")
        lists = {n: len(m) for n, m in self.modules.items() if isinstance(m, nn.ModuleList)}
        counts = [getattr(self.config, name, None) for name in _COUNTS]
        stacks = next((fit for count in counts if (fit := [n for n, size in lists.items() if size == count])), [])
        outer = [n for n in stacks if not any(n.startswith(f"{other}.") for other in stacks)]
        if len(outer) > 1:  # what reads pictures may be as deep as what reads text
            decoder = self.model.get_decoder()
            inside = next((n for n, m in self.modules.items() if m is decoder), "")
            outer = [n for n in outer if n.rpartition(".")[0] == inside]
        if len(outer) != 1:
            raise SiteNotFound(
                f"{type(self.model).__name__} should have one stack of num_hidden_layers={depth} layers, found {outer}. "
                "Give a decoder-only transformers model whose config fits it"
            )
        return f"{outer[0]}.#"

    @cached_property
    def known_path(self) -> str | None:
        """The same; None of a model whose roles are stated by hand, and whose layers are not one stack."""
        try:
            return self.path
        except SiteNotFound:
            if not self.stated:
                raise
            return None

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers."""
        return tuple(self.path.replace("#", str(i)) for i in range(self.depth))

    @property
    def sites(self) -> list[Site]:
        """The stream after every layer."""
        return [Site(layer) for layer in self.layers]

    @property
    def is_tabled(self) -> bool:
        """Whether the table of families has this architecture."""
        return self.kind in FAMILIES

    @cached_property
    def roles(self) -> dict[str, Role]:
        """Role of each map that touches the stream, as `stream_roles` gives them."""
        return self._known[0]

    @property
    def inner(self) -> frozenset[str]:
        """Maps that are known to touch the stream on neither side; of a family in the table they are in no list."""
        return self._known[1]

    @cached_property
    def _known(self) -> tuple[dict[str, Role], frozenset[str]]:
        return known_roles(self)

    @cached_property
    def norms(self) -> tuple[str, ...]:
        """Names of the norms that stand between stream and maps."""
        return tuple(dict.fromkeys(role.norm for role in self.roles.values() if role.norm is not None))

    @cached_property
    def head(self) -> str | None:
        """Name of the map to the vocabulary; None where there is none."""
        head = self.model.get_output_embeddings()
        return next((n for n, m in self.modules.items() if m is head), None)

    @cached_property
    def final_norm(self) -> str | None:
        """Name of the norm between the last layer and the head; None where there is none."""
        try:
            ends = [r.norm for r in self.roles.values() if r.side == "read" and r.layer is None]
        except SiteNotFound:
            ends = []
        if ends:
            return ends[0]
        holder = self.path.removesuffix("#").rstrip(".").rpartition(".")[0]
        beside = (f"{holder}.{name}" if holder else name for name in _LAST)
        return next((name for name in beside if name in self.modules), None)

    def _size(self, name: str) -> int:
        size = getattr(self.config, name, None)
        if size is None:
            raise SiteNotFound(
                f"the config of {type(self.model).__name__} has no {name}. Give a decoder-only transformers model"
            )
        return size


def text_part(config: Any) -> Any:
    """The part of a model's configuration that is of what reads and writes text."""
    return config.get_text_config()
