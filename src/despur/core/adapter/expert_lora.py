"""PEFT's LoRA on parameters that are maps, `target_parameters`: one pair of matrices has those of all experts, side by side."""

from typing import Any, NamedTuple

from torch import nn

from despur.core.adapter.lowrank import LowRank
from despur.core.model.base_modules import base_modules
from despur.core.model.stacks import Stack, stacks


class ExpertLora(NamedTuple):
    """LoRA on one stack.

    Args:
        stack: Name of the parameter in the base.
        form: What maps it contains.
        layer: PEFT's layer.
    """

    stack: str
    form: Stack
    layer: Any

    def updates(self, adapter: str) -> dict[str, LowRank]:
        """The update of each map, by its name; views of the tensors, not copies."""
        layer, count = self.layer, self.form.experts or 1
        down, up = (part[adapter].weight.detach() for part in (layer.lora_A, layer.lora_B))
        downs = down.reshape(count, -1, down.shape[1])  # PEFT counts experts first in A, ranks first in B
        ups = up.reshape(up.shape[0], -1, count).permute(2, 0, 1)
        if self.form.crossed:
            downs, ups = ups.mT, downs.mT
        scale = float(layer.scaling[adapter])
        return {n: LowRank(downs[i], ups[i], scale) for i, n in enumerate(self.form.names(self.stack))}

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
            stack = f"{path.replace('.base_layer', '')}.{module.parameter_name}"  # several on one module are nested
            if stack in known:
                found[path] = ExpertLora(stack, known[stack], module)
    return found
