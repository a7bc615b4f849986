"""What does a guard cost a step, in time and in memory? The same LoRA steps with and without it, side by side in one run, one thread.

    python benchmarks/overhead.py                   # widths 64 and 512, and Qwen2.5-0.5B's widths
    python benchmarks/overhead.py --shapes 0.5B --rounds 3 --steps 4

All models are made from a config and not trained. "0.5B" has Qwen2.5-0.5B's widths (hidden 896, intermediate 4864, 14 heads, 2 key-value
heads), but 4 layers in place of 24 and a vocabulary of 4096 in place of 151936, so that a step fits a CPU: the guard's work and bytes are
per layer, and the large vocabulary would only slow the plain step. Times are of the processor; blocks of steps alternate between
plain and guarded, so that a noisy machine disturbs both alike; ratios are of medians. `grasp`'s projections are timed alone, too. Memory is
what `grasp` needs beside the model, each tensor counted once: with one factor for the whole stream, and with one a norm and layer, as
`despur train` finds them.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from despur.core import Edit, Site, Subspace
from despur.core.run.callback import guarded
from despur.core.run.guarded_run import GuardedRun
from despur.guard import OwnText, grasp, rehearse

RANK = 4  # of the factor
SHAPES = {
    "64": (64, 189, 48, 32),
    "512": (512, 4096, 6, 96),
    "0.5B": (896, 4096, 4, 128),
}  # width, vocabulary, rows, tokens
LAYERS = 4


def model_of(shape: str) -> Any:
    torch.manual_seed(0)
    width, vocabulary, *_ = SHAPES[shape]
    plain: dict[str, int] = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": LAYERS,
        "max_position_embeddings": 512,
    }
    if shape == "0.5B":
        config = Qwen2Config(**plain, intermediate_size=4864, num_attention_heads=14, num_key_value_heads=2)
        model: Any = Qwen2ForCausalLM(config)
    else:
        heads = width // 16 if width < 512 else 8
        model = LlamaForCausalLM(
            LlamaConfig(**plain, intermediate_size=width * 8 // 3 // 8 * 8, num_attention_heads=heads)
        )
    return get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))


def timed(model: Any, edits: list[Edit], batch: Tensor, *, steps: int) -> list[float]:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    out = []
    with guarded(model, optimizer, *edits):
        for _ in range(steps):
            start = time.process_time()
            model(input_ids=batch, labels=batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            out.append(time.process_time() - start)
    return out


def size(tensors: list[Tensor]) -> int:
    """Bytes, each storage once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def alone(model: Any, edit: Edit, *, times: int = 20) -> float:
    """Seconds that a weight guard takes after one step, the median."""
    run = GuardedRun(model, [edit], seed=0)
    out = []
    for _ in range(times):
        start = time.process_time()
        run.hold_weights()
        out.append(time.process_time() - start)
    return statistics.median(out)


def memory(model: Any, guard: Any) -> tuple[int, int]:
    """Bytes that a guard needs, and the adapter's."""
    tensors: list[Tensor] = []
    for matrix in guard.projections.values():
        source = matrix.source
        if isinstance(source, Tensor):
            tensors.append(source)
        else:
            tensors += [*source.directions.values(), source.mix, *([source.gain.gain] if source.gain else [])]
        tensors += [matrix.anchor] if matrix.anchor is not None else []
    return size(tensors), size([p for p in model.parameters() if p.requires_grad])


def sited(width: int) -> tuple[Subspace, ...]:
    """A factor at each norm for what reads, at each layer for what writes."""
    generator, parts = torch.Generator().manual_seed(1), (".input_layernorm", ".post_attention_layernorm", "")
    sites = [Site(f"model.layers.{i}{part}") for i in range(LAYERS) for part in parts]
    return tuple(Subspace.orthonormal(torch.randn(RANK, width, generator=generator), site=s) for s in sites)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    sizes = []
    print("| model | rows x tokens | plain step, ms | guard | ratio of medians |\n|---|---|---|---|---|")
    for shape in args.shapes:
        width, vocabulary, rows, tokens = SHAPES[shape]
        model = model_of(shape)
        generator = torch.Generator().manual_seed(0)
        batch = torch.randint(3, vocabulary, (rows, tokens), generator=generator)
        factor = Subspace.orthonormal(torch.randn(RANK, width, generator=generator))
        own = OwnText(tuple(tuple(r.tolist()) for r in torch.randint(3, vocabulary, (64, tokens), generator=generator)))
        guards = {"grasp": [grasp(factor)], "rehearse": [rehearse(own)]}
        seconds: dict[str, list[float]] = {"plain": [], **{g: [] for g in guards}}
        timed(model, [], batch, steps=2)
        for _ in range(args.rounds):
            for name, edits in (("plain", []), *guards.items()):
                seconds[name] += timed(model, edits, batch, steps=args.steps)
        plain = statistics.median(seconds["plain"])
        for name in guards:
            ratio = statistics.median(seconds[name]) / plain
            print(
                f"| {shape}, {LAYERS} layers | {rows} x {tokens} | {1000 * plain:.0f} | {name} | {ratio:.3f} |",
                flush=True,
            )
        share = alone(model, guards["grasp"][0])
        what = f"grasp's projections alone, {1000 * share:.2f} ms"
        print(
            f"| {shape}, {LAYERS} layers | {rows} x {tokens} | {1000 * plain:.0f} | {what} | {1 + share / plain:.3f} |"
        )
        sizes.append((shape, "one", RANK * width, *memory(model, guards["grasp"][0])))
        many = sited(width)
        each = grasp(many)
        each.bind(model)
        sizes.append((shape, "one a norm and layer", sum(f.read.numel() for f in many), *memory(model, each)))
    print("\n| model | factors | adapter, bytes | the factors, k d floats each | grasp needs, bytes | beyond them |")
    print("|---|---|---|---|---|---|")
    for shape, which, floats, owned, adapter in sizes:
        beyond = f"{(owned - 4 * floats) / adapter:.1%} of the adapter"
        print(f"| {shape}, {LAYERS} layers | {which} | {adapter} | {4 * floats} | {owned} | {beyond} |")


if __name__ == "__main__":
    main()
