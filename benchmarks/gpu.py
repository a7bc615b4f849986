"""What does a guard cost a step on a GPU? A Llama made from its config, plain and guarded, bfloat16, the same batch.

    python benchmarks/gpu.py                        # width 512, 8 layers, vocabulary 32768: seconds on one card
    python benchmarks/gpu.py --width 2048 --layers 16 --rows 16 --tokens 1024
    python benchmarks/gpu.py --device cpu --width 64 --layers 2 --vocabulary 512 --rows 2 --tokens 16 --steps 2

The model is not trained and its data are random: only time and memory are read. Blocks of steps of every guard take turns, so that a
card that heats up slows all alike; times are medians over steps, on the clock and with the device waited for. Memory is the most that
was held at once in the guard's blocks, the model included. `avert`, `rehearse` and `hold` add one pass over some rows of text a step,
and what they cost follows from `--own-rows` beside `--rows`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from despur.core import Edit, Site, Subspace
from despur.core.run.callback import guarded
from despur.guard import OwnText, avert, grasp, hold, rehearse

RANK = 4  # of the factors


def tuned(args: argparse.Namespace, *, moved: bool = False) -> PeftModel:
    """A model with a fresh adapter; with `moved` its B matrices are random, as a scout's would be."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=args.vocabulary, hidden_size=args.width, intermediate_size=args.width * 8 // 3 // 8 * 8,
        num_hidden_layers=args.layers, num_attention_heads=max(1, args.width // 64), max_position_embeddings=4096,
    )  # fmt: skip
    with torch.device(args.device):
        base = LlamaForCausalLM(config).bfloat16()
    model = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    if moved:
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "lora_B" in name:
                    p.normal_(std=0.01)
    return model  # type: ignore[return-value]


def guards_of(args: argparse.Namespace, scout: str) -> dict[str, list[Edit]]:
    """Build the guards: the same own text, factors at every fourth layer."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(3, args.vocabulary, (64, args.tokens), generator=draw)
    text = OwnText(tuple(tuple(row) for row in ids.tolist()))

    def directions(module: str = "*") -> Subspace:
        return Subspace.orthonormal(torch.randn(RANK, args.width, generator=draw), site=Site(module))

    layers = [directions(f"model.layers.{i}") for i in range(0, args.layers, 4)]
    some = args.own_rows
    return {
        "plain": [],
        "avert": [avert(text, scout, rows_per_step=some)],
        "rehearse": [rehearse(text, rows_per_step=some)],
        "hold": [hold(layers, text, rows_per_step=some)],
        "grasp": [grasp(directions())],
    }


def timed(model: PeftModel, edits: list[Edit], batch: Tensor, *, steps: int, wait: Callable[[], None]) -> list[float]:
    """Seconds of each step, the first two left out: they bind and warm up."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    out = []
    with guarded(model, optimizer, *edits):
        for _ in range(steps + 2):
            wait()
            start = time.perf_counter()
            model(input_ids=batch, labels=batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            wait()
            out.append(time.perf_counter() - start)
    return out[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"width": 512, "layers": 8, "vocabulary": 32768, "rows": 8, "tokens": 256, "own-rows": 8}
    for name, default in {**sizes, "rounds": 3, "steps": 10}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    on_card = torch.device(args.device).type == "cuda"
    if on_card and not torch.cuda.is_available():
        print("no CUDA device here, so there is nothing to time; --device cpu times this machine")
        return
    wait = torch.cuda.synchronize if on_card else (lambda: None)
    seconds: dict[str, list[float]] = {}
    memory: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scout:
        tuned(args, moved=True).save_pretrained(scout)
        model = tuned(args)
        batch = torch.randint(3, args.vocabulary, (args.rows, args.tokens), device=args.device)
        guards = guards_of(args, scout)
        for _ in range(args.rounds):
            for name, edits in guards.items():
                if on_card:
                    torch.cuda.reset_peak_memory_stats()
                seconds.setdefault(name, []).extend(timed(model, edits, batch, steps=args.steps, wait=wait))
                if on_card:
                    memory[name] = max(memory.get(name, 0), torch.cuda.max_memory_allocated())
    name = torch.cuda.get_device_name() if on_card else "CPU"
    print(
        f"{name}, torch {torch.__version__}; width {args.width}, {args.layers} layers, vocabulary {args.vocabulary}, "
        f"{args.rows} x {args.tokens} tokens, {args.own_rows} rows of own text; {args.rounds} x {args.steps} steps\n"
    )
    print("| guard | a step, ms (10 %, 90 %) | ratio to plain | most memory, MB |\n|---|---|---|---|")
    plain = statistics.median(seconds["plain"])
    for guard, taken in seconds.items():
        low, *_, high = statistics.quantiles(taken, n=10)
        most = f"{memory[guard] / 1e6:.0f}" if on_card else "-"
        middle = statistics.median(taken)
        print(f"| {guard} | {1e3 * middle:.1f} ({1e3 * low:.1f}, {1e3 * high:.1f}) | {middle / plain:.2f} | {most} |")


if __name__ == "__main__":
    main()
