"""What does a functional guard cost on a real chat model: a step's time, the time of `bind`, memory beyond the plain run?

    python benchmarks/real_step.py                           # SmolLM2-135M-Instruct, 8 and 4 rows of 64 tokens: 20 minutes, one thread
    python benchmarks/real_step.py --budget low --cycles 3
    python benchmarks/real_step.py --skip memory             # times alone

LoRA of rank 8 on all maps, AdamW. The own text is that of `despur train` at its defaults, written by the base once. Times are of
the processor: in one process a plain step and a step under each guard take turns, and a ratio is of sums over all cycles, since a
guard on a small budget reads text in every few steps; beside it the median over cycles of four such steps. Memory is the process's
highest resident size, in a process each: after loading and binding, and after two steps.
"""

import argparse
import inspect
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from despur.core import Site, Subspace
from despur.core.model.named_bases import base_folder
from despur.core.run.guarded_run import GuardedRun
from despur.flows._train.train import train
from despur.flows.load import load_base
from despur.flows.text_files import load_text, save_text
from despur.guard import OwnText, avert, hold, rehearse

GUARDS = ("avert", "rehearse", "hold")


def lora(base: str) -> Any:
    torch.manual_seed(0)
    model = load_base(base)[0]
    return get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))


def guard_of(name: str, folder: Path, model: Any, options: dict[str, Any]) -> Any:
    text = load_text(folder)
    if name == "avert":
        return avert(text, folder / "scout", **options)
    if name == "rehearse":
        return rehearse(text, **options)
    draws, width = torch.Generator().manual_seed(1), model.config.hidden_size
    sites = [Site(f"model.layers.{i}") for i in range(model.config.num_hidden_layers)]
    return hold([Subspace.orthonormal(torch.randn(2, width, generator=draws), site=s) for s in sites], text, **options)


def batch_of(model: Any, shape: list[int]) -> Tensor:
    return torch.randint(3, model.config.vocab_size, tuple(shape), generator=torch.Generator().manual_seed(0))


class Loop:
    """A LoRA run whose steps are guarded or plain."""

    def __init__(self, model: Any, batch: Tensor) -> None:
        self.model, self.batch = model.train(), batch
        self.optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def step(self, run: GuardedRun | None = None) -> float:
        start = time.process_time()
        if run is not None:
            run.forward.attach()
        self.model(input_ids=self.batch, labels=self.batch).loss.backward()
        if run is not None:
            run.add_losses()
            run.forward.detach()
            run.step += 1
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.process_time() - start


def peak() -> float:
    """GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    made = make()
    return made, time.process_time() - start


def prepare(folder: Path, base: str, rows: int, tokens: int) -> dict[str, Any]:
    """Own text and a scout of two plain steps."""
    model, tokenizer = load_base(base)
    text, seconds = timed(lambda: OwnText.sample(model, tokenizer, rows=rows, max_new_tokens=tokens, batch=64))
    save_text(text, folder)
    model = lora(base)
    loop = Loop(model, batch_of(model, [4, 64]))
    loop.optimizer.param_groups[0]["lr"] = 1e-3
    for _ in range(2):
        loop.step()
    model.save_pretrained(folder / "scout")
    lengths = [len(r) for r in text.rows]
    return {"rows": len(lengths), "mean_length": sum(lengths) / len(lengths), "seconds": seconds}


def times(
    folder: Path, base: str, shapes: list[list[int]], cycles: int, turn: int, options: dict[str, Any]
) -> dict[str, Any]:
    model = lora(base)
    runs, out = {}, {"bind": {}, "ratios": {}}
    for name in GUARDS:
        runs[name], out["bind"][name] = timed(
            lambda name=name: GuardedRun(model, [guard_of(name, folder, model, options)], seed=0)
        )
    for shape in shapes:
        loop = Loop(model, batch_of(model, shape))
        for run in (None, *runs.values()):
            loop.step(run)
        seconds: dict[str, list[float]] = {name: [] for name in ("plain", *GUARDS)}
        for _ in range(cycles * turn):
            seconds["plain"].append(loop.step())
            for name, run in runs.items():
                seconds[name].append(loop.step(run))
        turns = {n: [sum(s[i : i + turn]) for i in range(0, len(s), turn)] for n, s in seconds.items()}
        out["ratios"]["x".join(map(str, shape))] = {
            n: {
                "seconds": sum(turns[n]) / len(seconds[n]),
                "ratio": sum(turns[n]) / sum(turns["plain"]),
                "median": statistics.median(a / b for a, b in zip(turns[n], turns["plain"], strict=True)),
            }
            for n in turns
        }
    return out


def memory(folder: Path, base: str, name: str, shape: list[int], options: dict[str, Any]) -> dict[str, Any]:
    model = lora(base)
    loaded = peak()
    run = None if name == "plain" else GuardedRun(model, [guard_of(name, folder, model, options)], seed=0)
    bound = peak()
    loop = Loop(model, batch_of(model, shape))
    for _ in range(2):
        loop.step(run)
    return {"loaded": loaded, "bound": bound, "stepped": peak()}


def apart(**call: Any) -> Any:
    """One part of the work in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--part", json.dumps(call)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own = {n: p.default for n, p in inspect.signature(train).parameters.items()}
    parser.add_argument("--base")
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 4])
    parser.add_argument("--own-rows", type=int, default=own["own_rows"])
    parser.add_argument("--own-tokens", type=int, default=own["own_tokens"])
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--turn", type=int, default=4, help="steps of a cycle")
    parser.add_argument("--budget", help="of the guards; their own if left out")
    parser.add_argument("--skip", nargs="*", default=[], choices=["times", "memory"])
    parser.add_argument("--folder", type=Path, help="where text and scout are kept; a temporary one if left out")
    parser.add_argument("--part", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part:
        what, call = args.part.pop("what"), args.part
        print(json.dumps(globals()[what](Path(call.pop("folder")), **call)))
        return
    base = args.base or str(base_folder("smollm2"))
    options: dict[str, Any] = {} if args.budget is None else {"budget": float(args.budget)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        if not (folder / "scout").exists():
            text = apart(what="prepare", folder=str(folder), base=base, rows=args.own_rows, tokens=args.own_tokens)
            print(
                f"own text: {text['rows']} rows of {text['mean_length']:.0f} tokens, written in {text['seconds']:.0f} s\n"
            )
        shapes = [[n, 64] for n in args.rows]
        if "times" not in args.skip:
            found = apart(
                what="times",
                folder=str(folder),
                base=base,
                shapes=shapes,
                cycles=args.cycles,
                turn=args.turn,
                options=options,
            )
            print(
                "| rows x tokens | step | seconds | of the plain step | median over turns | bind, s |\n|---|---|---|---|---|---|"
            )
            for shape, of in found["ratios"].items():
                for name, t in of.items():
                    bind = f"{found['bind'][name]:.1f}" if name in found["bind"] else ""
                    print(
                        f"| {shape} | {name} | {t['seconds']:.2f} | {t['ratio']:.3f} | {t['median']:.3f} | {bind} |",
                        flush=True,
                    )
        if "memory" not in args.skip:
            print("\n| run | loaded, GB | bound, GB | after two steps, GB | beyond plain |\n|---|---|---|---|---|")
            plain = 0.0
            for name in ("plain", *GUARDS):
                m = apart(what="memory", folder=str(folder), base=base, name=name, shape=shapes[0], options=options)
                plain = plain or m["stepped"]
                print(
                    f"| {name} | {m['loaded']:.2f} | {m['bound']:.2f} | {m['stepped']:.2f} | {m['stepped'] - plain:+.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
