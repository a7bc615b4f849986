"""The updates that a run trains, as they live in the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from despur.core.adapter.expert_lora import expert_lora
from despur.core.adapter.plain_config import PLAIN_INITS
from despur.core.errors import CannotAttach
from despur.core.model.base_modules import base_modules, unwrapped
from despur.core.model.shards import is_spread


def check_start(model: Any) -> None:
    """Refuse adapters whose start moved the base's own weights: A V = 0 would then not be the base's own reading."""
    for name, config in getattr(model, "peft_config", {}).items():
        init = getattr(config, "init_lora_weights", True)
        if init not in PLAIN_INITS:
            raise CannotAttach(
                f"adapter {name!r} starts with init_lora_weights={init!r}, which moves the base's own weights, so the "
                "guard would constrain the wrong ones. Take init_lora_weights=True"
            )


@dataclass(frozen=True)
class Pair:
    """Names of a LoRA pair's two factors in the live model, of which the update `scale * up @ down` is made."""

    down: str
    up: str
    scale: float

    def factors(self, model: nn.Module) -> tuple[Float[Tensor, "r d_in"], Float[Tensor, "d_out r"]]:
        """The two as they are now, in float32, with their gradients; the scale is in the second."""
        return model.get_parameter(self.down).float(), self.scale * model.get_parameter(self.up).float()


@dataclass(frozen=True)
class Trained:
    """What is trained: LoRA pairs by the base's module, and names of weights that are trained whole."""

    pairs: Mapping[str, Pair]
    whole: Sequence[str]


def trained_updates(model: nn.Module, guard: str) -> Trained:
    """List everything that a run trains.

    Raises:
        CannotAttach: something trainable is neither a pair of LoRA matrices nor a weight of the base's own.
    """
    check_start(model)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    pairs: dict[str, Pair] = {}
    seen: set[str] = set()
    for path, module in model.named_modules():
        layer: Any = module
        for adapter in layer.scaling if isinstance(module, LoraLayer) else ():
            for form in ("lora_{}.%s.weight", "lora_embedding_{}.%s"):
                down, up = (f"{path}.{form.format(letter)}" % adapter for letter in "AB")
                if down in trained or up in trained:
                    name = path.removeprefix("base_model.model.")
                    pairs[name] = Pair(down, up, float(layer.scaling[adapter]))
                    seen |= {down, up}
    if experts := sorted({lora.stack for path, lora in expert_lora(model).items() if path in pairs}):
        raise CannotAttach(
            f"{guard} measures W - W0 of one matrix a module, and {experts[0]!r} has all experts in one tensor. Take grasp, or a guard "
            "of what the model says (avert), or leave target_parameters out"
        )
    adapters = set(getattr(model, "peft_config", {}))
    whole = [n for n in trained if n not in seen]
    foreign = [n for n in whole if adapters & set(n.split("."))]
    flat = [n for pair in pairs.values() for n in (pair.down, pair.up) if model.get_parameter(n).ndim != 2]
    if foreign or flat:
        raise CannotAttach(
            f"{guard} measures W - W0 from LoRA's two matrices or from whole weights, and {(foreign or flat)[0]!r} is neither. "
            "Train plain LoRA on linear maps: no DoRA, no LoRA biases, no modules_to_save"
        )
    if not trained:
        raise CannotAttach(f"{guard} finds nothing that is trained. Wrap the model with peft.get_peft_model first")
    return Trained(pairs, whole)


def linear_pairs(model: nn.Module, guard: str) -> dict[str, Pair]:
    """The LoRA pairs of a run that trains nothing but LoRA on linear maps.

    Raises:
        CannotAttach: anything else is trained.
    """
    found, modules = trained_updates(model, guard), base_modules(model)
    other = [*found.whole, *(n for n in found.pairs if not is_linear(modules[n]))]
    if other:
        raise CannotAttach(
            f"{guard} handles LoRA on linear maps alone, and {other[0]!r} is trained. Train nothing else"
        )
    return dict(found.pairs)


def is_linear(module: nn.Module) -> bool:
    """Whether a map takes vectors to vectors: GPT-2's Conv1D counts, embeddings do not."""
    inside = unwrapped(module)
    return isinstance(inside, nn.Linear) or type(inside).__name__ == "Conv1D"


def refuse_shards(model: nn.Module, guard: str) -> None:
    """Stop where the weights are spread over processes and the guard would take parts for whole matrices.

    Raises:
        CannotAttach: a trained weight is sharded.
    """
    if any(is_spread(p) for p in model.parameters() if p.requires_grad):
        raise CannotAttach(f"{guard} needs whole matrices, and FSDP2 shards these. Launch with DDP, or take rehearse")
