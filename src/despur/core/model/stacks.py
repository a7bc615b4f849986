"""Linear maps that a module keeps in one parameter: the stacked experts of a mixture, and its router."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from despur.core.model.base_modules import map_shape, unwrapped

_UNSAID = ("Llama4TextExperts",)  # transposed without saying so


class Stack(NamedTuple):
    """One parameter that is a linear map, or several of one shape.

    Args:
        experts: How many maps; None where the parameter is one matrix.
        shape: (d_out, d_in) of each.
        transposed: Whether each is kept as (d_in, d_out).
        crossed: Whether PEFT takes its input for its output, so that LoRA's A writes and B reads.
    """

    experts: int | None
    shape: tuple[int, int]
    transposed: bool = False
    crossed: bool = False

    def names(self, name: str) -> list[str]:
        """Names of its maps: the parameter's, and behind it the expert's number."""
        return [name] if self.experts is None else [f"{name}.{i}" for i in range(self.experts)]


def stacks(modules: Mapping[str, nn.Module]) -> dict[str, Stack]:
    """Parameters that are maps, by the parameter's name in the base.

    Counted are parameters of three dimensions, and matrices called `weight`, of modules that are an architecture's own
    (torch's convolutions have three dimensions, too). Which dimension is the input is the architecture's own statement,
    `is_transposed`, as PEFT takes it.

    Args:
        modules: A model's, as `base_modules` gives them.

    Example:
        >>> from transformers import MixtralConfig, MixtralForCausalLM
        >>> from despur.core.model.base_modules import base_modules
        >>> sizes = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "num_local_experts": 2}
        >>> model = MixtralForCausalLM(MixtralConfig(**sizes, num_key_value_heads=1, intermediate_size=16))
        >>> {name.rpartition("mlp.")[2]: stack.shape for name, stack in stacks(base_modules(model)).items()}
        {'gate.weight': (2, 8), 'experts.gate_up_proj': (32, 8), 'experts.down_proj': (8, 16)}
    """
    found: dict[str, Stack] = {}
    for name, module in modules.items():
        inside = unwrapped(module)
        if type(inside).__module__.startswith("torch.nn.") or map_shape(inside) is not None:
            continue
        stated = bool(getattr(inside, "is_transposed", False))
        transposed = stated or type(inside).__name__ in _UNSAID
        for leaf, weight in inside.named_parameters(recurse=False):
            first, last = weight.shape[-2:] if weight.ndim > 1 else (0, 0)
            if weight.is_floating_point() and weight.ndim == 3:
                shape = (last, first) if transposed else (first, last)
                found[f"{name}.{leaf}"] = Stack(len(weight), shape, transposed, transposed != stated)
            elif weight.is_floating_point() and weight.ndim == 2 and leaf == "weight":
                found[f"{name}.{leaf}"] = Stack(None, (first, last))
    return found


def stack_of(name: str) -> str:
    """Name of the parameter that an expert's map lies in; any other name as it is.

    Example:
        >>> stack_of("layers.0.mlp.experts.down_proj.7"), stack_of("layers.0.mlp.up_proj")
        ('layers.0.mlp.experts.down_proj', 'layers.0.mlp.up_proj')
    """
    stem, _, last = name.rpartition(".")
    return stem if last.isdecimal() else name


def map_shapes(modules: Mapping[str, nn.Module]) -> dict[str, tuple[int, int]]:
    """(d_out, d_in) of every linear map and embedding of a model, those of experts one by one."""
    shapes = {name: shape for name, module in modules.items() if (shape := map_shape(module)) is not None}
    return shapes | {n: stack.shape for name, stack in stacks(modules).items() for n in stack.names(name)}
