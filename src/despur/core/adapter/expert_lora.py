"""PEFT's LoRA on parameters that are maps, `target_parameters`: one pair of matrices has those of all experts, side by side."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from despur.core.adapter.lowrank import LowRank
from despur.core.model.base_modules import base_modules, unwrapped
from despur.core.model.stacks import Stack, stacks


class ExpertLora(NamedTuple):
    """LoRA on one stack.

    Args:
        stack: Name of the parameter in the base.
        form: What maps it contains.
        layer: PEFT's layer; None of a file.
    """

    stack: str
    form: Stack
    layer: Any = None

    def updates(self, down: Tensor, up: Tensor, scale: float) -> dict[str, LowRank]:
        """The update of each map by its name, from LoRA's two matrices; views of them, not copies."""
        count = self.form.experts or 1
        downs = down.reshape(count, -1, down.shape[1])  # PEFT counts experts first in A, ranks first in B
        ups = up.reshape(up.shape[0], -1, count).permute(2, 0, 1)
        if self.form.crossed:
            downs, ups = ups.mT, downs.mT
        return {n: LowRank(downs[i], ups[i], scale) for i, n in enumerate(self.form.names(self.stack))}

    def live(self, adapter: str) -> dict[str, LowRank]:
        """The same of an adapter in a model; empty where the layer has none of that name."""
        if adapter not in self.layer.scaling:
            return {}
        down, up = (part[adapter].weight.detach() for part in (self.layer.lora_A, self.layer.lora_B))
        return self.updates(down, up, float(self.layer.scaling[adapter]))

    def part(self, letter: str) -> str:
        """Which of the pair, "A" (what is read) or "B" (what is written), PEFT's own letter means."""
        return {"A": "B", "B": "A"}.get(letter, letter) if self.form.crossed else letter


def expert_lora(model: nn.Module) -> dict[str, ExpertLora]:
    """Such layers of a model, by their path among the names of its parameters, without PEFT's prefix."""
    from peft.tuners.lora.layer import ParamWrapper

    known = stacks(base_modules(model))
    found: dict[str, ExpertLora] = {}
    for path, module in model.named_modules():
        if isinstance(module, ParamWrapper):
            path = path.removeprefix("base_model.model.")
            stack = f"{path.replace('.base_layer', '')}.{module.parameter_name}"
            if stack in known:
                found[path] = ExpertLora(stack, known[stack], module)
    return found


def stored_expert_lora(config: Mapping[str, Any], base: nn.Module) -> dict[str, ExpertLora]:
    """Such layers of an adapter's file, by their path in it.

    PEFT wraps the parameters of a module in their order, each around those before: the last has the shortest path.

    Args:
        config: The contents of `adapter_config.json`.
        base: The base, an adapter on top or not.
    """
    ends = tuple(f".{end}" for end in config.get("target_parameters") or ())
    found: dict[str, ExpertLora] = {}
    if not ends:
        return found
    modules = base_modules(base)
    known = stacks(modules)
    for name, module in modules.items():
        inside = unwrapped(module)
        leaves = [leaf for leaf, _ in inside.named_parameters(recurse=False)]
        for depth, leaf in enumerate(reversed([x for x in leaves if f".{name}.{x}".endswith(ends)])):
            stack, path = f"{name}.{leaf}", name + depth * ".base_layer"
            if stack in known:
                found[path] = ExpertLora(stack, known[stack])
            elif leaf == "weight" and isinstance(inside, nn.Linear):
                found[path] = ExpertLora(name, Stack(None, (inside.out_features, inside.in_features)))
    return found
