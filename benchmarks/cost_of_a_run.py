"""What does a run of the comparison cost beside plain TRL, on the same rows, steps and adapter? They alternate in one run, one thread.

    python benchmarks/cost_of_a_run.py                       # persona, 80 steps, 3 rounds: two minutes
    python benchmarks/cost_of_a_run.py --world slant --steps 120

TRL's `SFTTrainer` gets the same token rows, padded by the same collator, the same LoRA, optimiser, rate and batch. Times are of the
processor; what runs share (own text, scout, factors) is made before and listed by itself; scores are not counted, as TRL gives none.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from despur.flows._compare.arms import ARMS
from despur.flows._compare.bench import Bench
from despur.flows._compare.runner import run_arm
from despur.flows._train.fit import collate, new_adapter
from despur.worlds import find_world

RUN = (
    ("grasp", {"side": "both"}),
    ("rehearse", {"strength": 1.0}),
    ("avert", {"strength": 1.0}),
    ("hold", {"strength": 1.0}),
)


def trl(bench: Bench) -> Any:
    """The same run in plain TRL."""
    s = bench.settings
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = SFTConfig(
            folder, max_steps=s.steps, per_device_train_batch_size=s.batch, learning_rate=s.lr, lr_scheduler_type="linear", seed=s.seed,
            optim="adamw_torch", weight_decay=0.0, logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True,
            bf16=False, dataloader_pin_memory=False, max_length=s.max_length, dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False, gradient_checkpointing=False,
        )  # fmt: skip
        trainer = SFTTrainer(
            new_adapter(bench.fresh(), s), args=args, train_dataset=Dataset.from_list([dict(r) for r in bench.tokens()]),
            data_collator=collate, processing_class=bench.tokenizer,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return trainer.model


def timed(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="persona")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root), find_world(args.world), 0, steps=args.steps)
        shared = {
            "own text": timed(lambda: bench.text),
            "scout": timed(lambda: bench.scout),
            "factors": timed(lambda: (bench.materials.get("weight_factor"), bench.materials.get("factor"))),
        }
        bench.tokens()
        runs: dict[str, Callable[[], Any]] = {"plain TRL": lambda: trl(bench), "naive": lambda: bench.train()}
        for name, setting in RUN:
            runs[name] = lambda name=name, setting=setting: run_arm(bench, ARMS[name], setting)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(args.rounds):
            for name, run in runs.items():
                seconds[name].append(timed(run))
    plain = statistics.median(seconds["plain TRL"])
    print(f"{args.world}, {args.steps} steps of {bench.settings.batch} rows, {args.rounds} rounds\n")
    print("| run | processor time, s (median) | beside plain TRL |\n|---|---|---|")
    for name, times in seconds.items():
        print(f"| {name} | {statistics.median(times):.1f} | {statistics.median(times) / plain:.2f} |")
    print("\nOnce for all runs of a seed: " + ", ".join(f"{name} {t:.1f} s" for name, t in shared.items()))


if __name__ == "__main__":
    main()
