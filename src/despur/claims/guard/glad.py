"""The claim of `glad`: few-shot LoRA of a net that knows five digits."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from despur.core import Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.guard.glad import WEIGHT, gradient_of_length
from despur.worlds import DigitRows, Digits, corrupt, few_shots, trained_net

KNOWN, TUNED, HELD_OUT = (0, 1, 2, 3, 4), (5, 6, 7), (8, 9)
SEEDS, SHOTS, STEPS, RATE = 10, (4, 16), 200, 1e-2
DECAY = 1.0  # AdamW's, the best of four on tuning seeds
ARMS: Mapping[str, Mapping[str, float]] = {
    "glad": {"weight": WEIGHT},
    "plain LoRA": {},
    "LoRA with weight decay": {"decay": DECAY},
}


@claim(
    method="glad",
    says="what it adds is the gradient of the gradient's length, and LoRA on 4 to 16 shots a class is then more accurate under rotation, "
    "under noise and on held-out classes",
    control="the gradient itself; plain LoRA, and LoRA with weight decay",
    margin=0.005,
)
def glad(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Cosine with autograd's second derivative; accuracies of ten nets at three numbers of shots with `whole`."""
    if whole:
        return _few_shots(range(10 * seed, 10 * seed + SEEDS))
    rows, net = Digits().train[:40], _smooth_net(seed)
    weights = dict(net.named_parameters())

    def gradient(*, keep: bool = False) -> dict[str, Tensor]:
        with torch.enable_grad():
            loss = cross_entropy(net(rows.x), rows.y)
            return dict(zip(weights, torch.autograd.grad(loss, [*weights.values()], create_graph=keep), strict=True))

    first = gradient(keep=True)
    length = torch.stack([g.square().sum() for g in first.values()]).sum().sqrt()
    exact = torch.autograd.grad(length, [*weights.values()])
    ours = gradient_of_length(weights, gradient)
    cosines = [_cosine([*other.values()], exact) for other in (ours, first)]
    return (compared("cosine with the second derivative", cosines[0], control=cosines[1], n=len(rows), bound=0.99, margin=0.01,
                     unit="cosine"),)  # fmt: skip


def _smooth_net(seed: int) -> nn.Module:
    """Without kinks, where the second derivative tells what a small step does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))


def _cosine(one: Any, other: Any) -> float:
    a, b = (torch.cat([t.detach().flatten() for t in side]) for side in (one, other))
    return float(nn.functional.cosine_similarity(a, b, dim=0))


def _few_shots(seeds: range) -> tuple[Report, ...]:
    found: dict[str, list[np.ndarray]] = {name: [] for name in ARMS}
    for seed in seeds:
        base = trained_net("mlp", Digits().train.of_class(*KNOWN), seed=seed, steps=200)
        for name, how in ARMS.items():
            found[name].append(np.mean([_accuracies(_tuned(base, n, seed, **how)) for n in SHOTS], axis=0))
    table = {name: np.array(rows) for name, rows in found.items()}  # seeds, (in domain, rotated, noisy, held out)
    reports: list[Report] = []
    for column, what in enumerate(("rotated", "noisy", "held-out classes"), 1):
        for other in list(ARMS)[1:]:
            value, control = table["glad"][:, column], table[other][:, column]
            half = 2.262 * (value - control).std(ddof=1) / len(value) ** 0.5  # Student's t of ten, paired
            mean = value.mean()
            level: dict[str, Any] = {
                "in_domain": table["glad"][:, 0].mean(),
                "in_domain_control": table[other][:, 0].mean(),
            }
            level = {k: round(float(v), 3) for k, v in level.items()}
            reports.append(
                compared(f"accuracy, {what}, beside {other}", mean, control=control.mean(), low=mean - half, high=mean + half,
                         n=len(value), **level)
            )  # fmt: skip
    return tuple(reports)


def _tuned(base: nn.Module, shots: int, seed: int, *, weight: float = 0.0, decay: float = 0.0) -> nn.Module:
    """Tune LoRA on both hidden maps and a new head, on all shots at once, at a rate that falls to zero."""
    from peft import LoraConfig, inject_adapter_in_model

    rows = few_shots(Digits().train, [shots if c in TUNED else 0 for c in range(10)], seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net: Any = inject_adapter_in_model(
            LoraConfig(r=4, lora_alpha=8, target_modules=["hidden1", "hidden2"]), deepcopy(base)
        )
    net.head = nn.Linear(64, len(TUNED))
    nn.init.zeros_(net.head.weight)
    nn.init.zeros_(net.head.bias)
    weights = {n: p for n, p in net.named_parameters() if p.requires_grad}

    def gradient() -> dict[str, Tensor]:
        with torch.enable_grad():
            loss = cross_entropy(net(rows.x), rows.y - TUNED[0])
            return dict(zip(weights, torch.autograd.grad(loss, [*weights.values()]), strict=True))

    adam = torch.optim.AdamW(weights.values(), lr=RATE, weight_decay=decay)
    for step in range(STEPS):
        adam.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        more = gradient_of_length(weights, gradient) if weight else {}
        for n, g in gradient().items():
            weights[n].grad = g + weight * more[n] if weight else g
        adam.step()
    return net.eval()


@torch.no_grad()
def _accuracies(net: Any) -> list[float]:
    """In domain, rotated, noisy, and on classes that were never learned, by their nearest mean behind the hidden layers."""
    world = Digits()
    test = world.test.of_class(*TUNED)

    def accuracy(rows: DigitRows) -> float:
        return float((net(rows.x).argmax(1) == rows.y - TUNED[0]).float().mean())

    rotated = np.mean([accuracy(corrupt(test, "rotate", s)) for s in (0.3, 0.5)])
    noisy = np.mean([accuracy(corrupt(test, "noise", s, seed=draw)) for s in (0.3, 0.5) for draw in (0, 1)])
    known, asked = (part.of_class(*HELD_OUT) for part in (world.train, world.test))
    inside = net[:-1]
    means = torch.stack([inside(known.of_class(c).x).mean(0) for c in HELD_OUT])
    held = torch.cdist(inside(asked.x), means).argmin(1) == asked.y - HELD_OUT[0]
    return [accuracy(test), float(rotated), float(noisy), float(held.float().mean())]
