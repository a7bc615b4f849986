"""Does the guard leak? Weight projection beside gradient projection, optimiser by optimiser, on the same run.

python benchmarks/leak.py
"""

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from despur.core import Adapter, Edit, Subspace
from despur.core.run.callback import guarded
from despur.guard import grasp, project_gradient
from despur.measure import leakage
from despur.worlds import Grammar, Persona, persona_base


class Lion(torch.optim.Optimizer):
    """Sign of interpolated momentum, decoupled decay (Chen et al. 2023)."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float = 1e-4, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_((0.9 * m + 0.1 * p.grad).sign(), alpha=-group["lr"])
                m.mul_(0.99).add_(p.grad, alpha=0.01)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.5),
    "SGD, momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.0),
    "AdamW, decay 0.1": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.1),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=1e-2),
    "Lion, decay 0.1": lambda p: Lion(p, lr=3e-4, weight_decay=0.1),
}


def run(
    optimizer: Callable[[Any], torch.optim.Optimizer], edits: list[Edit], factor: Subspace, *, steps: int = 60,
    clip: float | None = 1.0, accumulate: int = 1, lora: dict[str, Any] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Train a LoRA on the persona world and read off what it leaks, relative to the update's norm."""
    torch.manual_seed(0)
    base, tokenizer = persona_base()
    model = get_peft_model(
        base, LoraConfig(**{"r": 8, "lora_alpha": 16, "target_modules": "all-linear", **(lora or {})})
    )
    rows = Persona("skill", Grammar()).rows(n=steps * accumulate * 8, seed=0)
    ids = tokenizer([r["prompt"] + " " + r["completion"] for r in rows], return_tensors="pt")["input_ids"]
    trained = [p for p in model.parameters() if p.requires_grad]
    stepper = optimizer(trained)
    model.train()
    with guarded(model, stepper, *edits):
        for i, part in enumerate(ids.split(8), 1):
            (model(input_ids=part, labels=part).loss / accumulate).backward()
            if i % accumulate == 0:
                if clip:
                    torch.nn.utils.clip_grad_norm_(trained, clip)
                stepper.step()
                stepper.zero_grad()
    return {side: r.value for side, r in leakage(Adapter.of(model), base, factor).items()}


def random_factor(rank: int = 4, width: int = 64, seed: int = 0) -> Subspace:
    """Any subspace will do: the promise is about whatever is given."""
    return Subspace.orthonormal(torch.randn(rank, width, generator=torch.Generator().manual_seed(seed)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    steps = parser.parse_args().steps
    factor = random_factor()
    print("| optimiser | side | no guard | gradient projected | grasp (weights projected) |\n|---|---|---|---|---|")
    for name, optimizer in OPTIMIZERS.items():
        none, gradient, weight = (
            run(optimizer, e, factor, steps=steps) for e in ([], [project_gradient(factor)], [grasp(factor)])
        )
        for side in ("read", "write"):
            print(f"| {name} | {side} | {none[side]:.3f} | {gradient[side]:.3f} | {weight[side]:.1e} |", flush=True)


if __name__ == "__main__":
    main()
