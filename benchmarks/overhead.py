"""What does a guard cost a step? The same LoRA steps with and without it, side by side in one run, one thread.

    python benchmarks/overhead.py                   # shipped width-64 model, and a width-512 Llama made from a config

Blocks of steps alternate between the two, so that a noisy machine disturbs both alike; ratios are of medians.
"""

import argparse
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from despur.core import Edit, Subspace
from despur.core._train import guarded
from despur.guard import OwnText, grasp, rehearse


def model_of(width: int, layers: int, vocabulary: int) -> torch.nn.Module:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=width * 8 // 3 // 8 * 8, num_hidden_layers=layers,
        num_attention_heads=width // 16 if width < 512 else 8, max_position_embeddings=512,
    )  # fmt: skip
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    return get_peft_model(LlamaForCausalLM(config), lora)


def timed(model: torch.nn.Module, edits: list[Edit], batch: torch.Tensor, *, steps: int) -> list[float]:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    out = []
    with guarded(model, optimizer, *edits):
        for _ in range(steps):
            start = time.perf_counter()
            model(input_ids=batch, labels=batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            out.append(time.perf_counter() - start)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | rows x tokens | plain step, ms | guard | ratio of medians |\n|---|---|---|---|---|")
    for width, layers, vocabulary, rows, tokens in ((64, 4, 189, 48, 32), (512, 4, 4096, 6, 96)):
        model = model_of(width, layers, vocabulary)
        generator = torch.Generator().manual_seed(0)
        batch = torch.randint(3, vocabulary, (rows, tokens), generator=generator)
        factor = Subspace.orthonormal(torch.randn(4, width, generator=generator))
        own = OwnText(tuple(tuple(r.tolist()) for r in torch.randint(3, vocabulary, (64, tokens), generator=generator)))
        guards = {"grasp": [grasp(factor)], f"rehearse, {rows // 6} rows": [rehearse(own, rows_per_step=rows // 6)]}
        seconds: dict[str, list[float]] = {"plain": [], **{g: [] for g in guards}}
        timed(model, [], batch, steps=2)
        for _ in range(args.rounds):
            for name, edits in (("plain", []), *guards.items()):
                seconds[name] += timed(model, edits, batch, steps=args.steps)
        plain = statistics.median(seconds["plain"])
        for name in guards:
            ratio = statistics.median(seconds[name]) / plain
            print(
                f"| width {width}, {layers} layers | {rows} x {tokens} | {1000 * plain:.0f} | {name} | {ratio:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
