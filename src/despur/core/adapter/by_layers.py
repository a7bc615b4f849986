"""What was put on a model, as an adapter: layer by layer, exact where it is plain LoRA."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from despur.core.adapter.adapter import Adapter
from despur.core.adapter.dense import low_rank_changes
from despur.core.adapter.expert_lora import expert_lora
from despur.core.adapter.peft_config import reason
from despur.core.adapter.peft_folder import Opened
from despur.core.adapter.peft_merge import changed_by, lora_factors
from despur.core.errors import BadInput, DespurError
from despur.core.model.base_modules import base_modules
from despur.core.model.stacks import stack_of

_NOISE = 1e-7  # relative change below which PEFT's merge moves a tensor by rounding alone


def by_layers(
    model: Any, opened: Opened, before: Mapping[str, Tensor], moved: Mapping[str, Tensor], rank: int, *, measure: bool
) -> tuple[Adapter, float]:
    """The adapter, and the squared change of what is no plain LoRA on a module where it is measured."""
    exact, biases = lora_factors(model) if opened.config["peft_type"] == "LORA" else ({}, {})
    stacks = {lora.stack for lora in expert_lora(model).values() if lora.stack not in moved} if exact else set[str]()
    exact = {n: u for n, u in exact.items() if f"{n}.weight" not in moved and stack_of(n) not in moved}
    done = {*exact, *(n.rpartition(".")[0] for n in stacks)}
    seen: set[str] = set()
    energies = [u.norm() ** 2 for n, u in exact.items() if measure and stack_of(n) in stacks]

    def pairs():
        for name, old, new in changed_by(model, before, done):
            seen.add(name)
            if measure:
                energies.append(float((new.detach().double() - old.detach().to(new.device).double()).square().sum()))
            yield name, old, new
        yield from ((n, before[n], new) for n, new in moved.items() if n not in seen)

    try:
        changes = low_rank_changes(pairs(), base_modules(model), rank=rank, noise=_NOISE)
    except DespurError:
        raise
    except Exception as error:  # PEFT's own, about values that no shape reveals
        raise BadInput(f"PEFT cannot merge {str(opened.folder)!r}: {reason(error)}. Save the adapter again") from error
    updates = {**exact, **changes.updates}
    if not changes.others and not biases and not any(u.up.any() and u.down.any() for u in updates.values()):
        raise BadInput(
            f"{str(opened.folder)!r} changes nothing: the adapter was never trained, or its training did not reach it. "
            "Look at the run's loss and learning rate"
        )
    adapter = Adapter(
        updates, opened.config, opened.folder, opened.record, kind=str(opened.config["peft_type"]),
        kept=changes.kept, others={**biases, **changes.others},
    )  # fmt: skip
    return adapter, math.fsum(energies)
