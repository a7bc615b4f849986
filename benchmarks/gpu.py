"""What do guards, an audit and a calibration cost on a GPU, and does it find there what it finds on a CPU?

    python benchmarks/gpu.py                        # width 512, 8 layers, vocabulary 32768: minutes on one card
    python benchmarks/gpu.py --width 2048 --layers 16 --rows 16 --tokens 1024
    python benchmarks/gpu.py --quick                # in small, on this machine's CPU

Guards: a Llama made from its config, plain and guarded, bfloat16, the same batch.
The model is not trained and its data are random: only time and memory are read. Blocks of steps of every guard take turns, so that a
card that heats up slows all alike; times are medians over steps, on the clock and with the device waited for. Memory is the most that
was held at once in the guard's blocks, the model included. `avert`, `rehearse` and `hold` add one pass over some rows of text a step,
and what they cost follows from `--own-rows` beside `--rows`.

Verbs: `audit` on the CPU and on the device, and `calibrate` on the device, of adapters with random weights: on `smollm2` where it was
fetched, else, and with `--quick`, on the base of the persona world. The change in nats per token should agree to about a tenth: the text
is sampled on each device anew.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from despur.core import Edit, Site, Subspace
from despur.core.errors import BadInput
from despur.core.model.named_bases import base_folder
from despur.core.model.quiet import quiet_loading
from despur.core.run.callback import guarded
from despur.flows import Placement, audit, calibrate
from despur.flows.load import load_base
from despur.guard import OwnText, avert, grasp, hold, rehearse
from despur.worlds import persona_base

RANK = 4  # of the factors
NEUTRAL = 19  # adapters, the fewest that calibrate takes
QUICK = {
    "device": "cpu",
    "width": 64,
    "layers": 2,
    "vocabulary": 128,
    "rows": 2,
    "tokens": 8,
    "own_rows": 2,
    "rounds": 1,
    "steps": 2,
}


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
    budget = args.own_rows / args.rows  # its rows are as long as the task's
    return {
        "plain": [],
        "avert": [avert(text, scout, budget=budget)],
        "rehearse": [rehearse(text, budget=budget)],
        "hold": [hold(layers, text, budget=budget)],
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


def verbs(folder: Path, args: argparse.Namespace) -> Iterator[str]:
    """Time audit and calibration; gives the lines of their table."""
    small = {"rows": 16, "tokens": 4} if args.quick else {"rows": 64, "tokens": 8}
    try:
        base = str(base_folder("smollm2")) if not args.quick else ""
    except BadInput:
        base = ""
    if not base:
        base = str(folder / "persona")
        for part in persona_base():
            part.save_pretrained(base)
    adapters = [str(folder / f"neutral-{i}") for i in range(NEUTRAL)]
    for seed, place in enumerate(adapters):
        torch.manual_seed(seed)
        config = LoraConfig(r=2, target_modules=["down_proj"], task_type="CAUSAL_LM")
        with quiet_loading():
            model = get_peft_model(load_base(base)[0], config)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "lora_B" in name:
                    p.normal_(std=0.05)
        model.save_pretrained(place)
    yield f"\nbase {Path(base).name}, {small['rows']} rows of {small['tokens']} tokens, {NEUTRAL} adapters\n"
    yield "| verb | device | s | change, nats a token |\n|---|---|---|---|"
    for device in dict.fromkeys(("cpu", args.device)):
        start = time.perf_counter()
        found = audit(base, adapters[0], placement=Placement(device, "float32"), n_random=4, **small)
        yield f"| audit | {device} | {time.perf_counter() - start:.1f} | {found.change:.4f} |"
    start = time.perf_counter()
    null = calibrate(base, adapters, out=folder / "null.json", placement=Placement(args.device, "float32"), **small)
    yield f"| calibrate | {args.device} | {time.perf_counter() - start:.1f} | {statistics.median(null.changes):.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"width": 512, "layers": 8, "vocabulary": 32768, "rows": 8, "tokens": 256, "own-rows": 8}
    for name, default in {**sizes, "rounds": 3, "steps": 10}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="in small, on the CPU")
    args = parser.parse_args()
    if args.quick:
        vars(args).update(QUICK)
    on_card = torch.device(args.device).type == "cuda"
    if on_card and not torch.cuda.is_available():
        print("no CUDA device here, so there is nothing to time; --quick tries the script on the CPU")
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
    with tempfile.TemporaryDirectory() as folder:
        for line in verbs(Path(folder), args):
            print(line, flush=True)


if __name__ == "__main__":
    main()
