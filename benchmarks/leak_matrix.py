"""What grasp leaks at every checkpoint: optimiser x precision x accumulation x clipping x launcher, beside no guard.

    python benchmarks/leak_matrix.py

One process runs the whole matrix. DDP and FSDP2 (two gloo processes, each with half of every batch) run every optimiser
in both precisions, with accumulation 4 and clipping 1.0; Adafactor is left out of FSDP2, as torch's own does not take
sharded weights. A figure is the share of the update's norm along the factor,
the worse of reading and writing, and the worst of all checkpoints; no guard is that at the last step.
"""

import argparse
import gc
import itertools
import os
import socket
import tempfile
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from leak import OPTIMIZERS, random_factor
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from despur import guarded
from despur.core import Adapter
from despur.guard import grasp
from despur.measure import leakage
from despur.worlds import Grammar, Persona, persona_base

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FACTOR = random_factor()
Setting = tuple[str, str, int, float | None]  # optimiser, precision, accumulation, clipping


def in_two(work: Callable[..., None], *args: Any) -> None:
    """Call `work(*args)` in two processes, forked, with the environment that torchrun would give; failures are raised."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(_one_of_two, args=(port, work, args), nprocs=2, start_method="fork")


def _one_of_two(rank: int, port: int, work: Callable[..., None], args: tuple[Any, ...]) -> None:
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo", "ACCELERATE_USE_CPU": "true",
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
    }  # fmt: skip
    work(*args)
    # after `work` and all that it owned: a DDP reducer that outlives its group waits for the group's threads with the GIL locked
    gc.collect()
    if dist.is_initialized():
        dist.destroy_process_group()


def adapted(precision: str) -> Any:
    torch.manual_seed(0)
    base, _ = persona_base()
    return get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")).to(PRECISIONS[precision])


def shard(model: Any) -> nn.Module:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model.get_base_model().model.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def leaks(setting: Setting, ids: torch.Tensor, *, launcher: str, steps: int, every: int, guard: bool) -> list[float]:
    """Train, and read the leak off the gathered weights at every checkpoint."""
    optimizer, precision, accumulate, clip = setting
    model: Any = adapted(precision)
    if launcher == "FSDP2":
        model = shard(model)
    elif launcher == "DDP":
        model = DistributedDataParallel(model)
    rank, world = (dist.get_rank(), dist.get_world_size()) if launcher != "one process" else (0, 1)
    trained = [p for p in model.parameters() if p.requires_grad]
    stepper = OPTIMIZERS[optimizer](trained)
    base, _ = persona_base()
    shares = []
    with guarded(model.train(), stepper, grasp(FACTOR)) if guard else nullcontext():
        for i, part in enumerate(ids[: steps * accumulate * 8].split(8), 1):
            mine = part.chunk(world)[rank]
            (model(input_ids=mine, labels=mine).loss / accumulate).backward()
            if i % accumulate:
                continue
            if clip:
                nn.utils.clip_grad_norm_(trained, clip)
            stepper.step()
            stepper.zero_grad()
            if i // accumulate % every == 0:
                copy = adapted(precision)
                inner = model.module if launcher == "DDP" else model
                weights = {n: p.full_tensor() if isinstance(p, DTensor) else p for n, p in inner.named_parameters()}
                copy.load_state_dict(weights)
                shares.append(max(r.value for r in leakage(Adapter.of(copy), base, FACTOR).values()))
    return shares


def run(settings: list[Setting], launcher: str, options: dict[str, Any], out: Path) -> None:
    """Each setting with the guard and without, as a table row; the largest guarded leaks go to a file."""
    if launcher != "one process":
        dist.init_process_group("gloo")
    _, tokenizer = persona_base()
    rows = Persona("skill", Grammar()).rows(n=options["steps"] * 4 * 8, seed=0)
    ids = tokenizer([r["prompt"] + " " + r["completion"] for r in rows], return_tensors="pt")["input_ids"]
    worst: dict[str, float] = {}
    for setting in settings:
        with_guard, without = (
            leaks(setting, ids, launcher=launcher, guard=guard, **options) for guard in (True, False)
        )
        worst[setting[1]] = max(worst.get(setting[1], 0.0), *with_guard)
        if launcher == "one process" or dist.get_rank() == 0:
            row = (
                setting[0],
                setting[1],
                setting[2],
                setting[3] or "none",
                launcher,
                f"{max(with_guard):.1e}",
                f"{without[-1]:.3f}",
            )
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
            torch.save(worst, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--every", type=int, default=6, help="steps between checkpoints")
    options = vars(parser.parse_args())
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)  # PEFT's own
    everything: list[Setting] = list(itertools.product(OPTIMIZERS, PRECISIONS, (1, 4), (None, 1.0)))
    some = [s for s in everything if s[2:] == (4, 1.0)]
    print("| optimiser | weights | accumulation | clipping | launcher | grasp | no guard |\n|" + "---|" * 7)
    worst: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "worst.pt"
        for launcher in ("DDP", "FSDP2"):
            in_two(run, [s for s in some if (s[0], launcher) != ("Adafactor", "FSDP2")], launcher, options, out)
            worst |= {f"{p}, {launcher}": v for p, v in torch.load(out).items()}
        run(everything, "one process", options, out)
        worst |= {f"{p}, one process": v for p, v in torch.load(out).items()}
    print("\nlargest of all checkpoints: " + "; ".join(f"{name} {value:.1e}" for name, value in sorted(worst.items())))


if __name__ == "__main__":
    main()
