"""What the weights alone say of an adapter, and what it costs: spectra, shared directions, null; time, memory, growth.

python benchmarks/spectra.py                  # every shape beside other tools, then the growth
python benchmarks/spectra.py --shapes qwen    # one shape: qwen, 7b, 70b
"""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import peft.tuners.lora.intruders  # imported before the clock starts
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from despur.core import Adapter, LowRank, stream_roles
from despur.core.model.base_modules import map_shape
from despur.find import from_adapter


class Shape(NamedTuple):
    kind: str
    layers: int
    width: int
    heads: int
    key_heads: int
    mlp: int
    rank: int


SHAPES = {
    "qwen": Shape("qwen2", 4, 896, 14, 2, 4864, 16),  # four layers of Qwen2.5-0.5B: 28 maps
    "7b": Shape("llama", 32, 4096, 32, 32, 11008, 32),
    "70b": Shape("llama", 80, 8192, 64, 8, 28672, 32),
}
TOOLS = {"qwen": ("despur", "QR", "dense SVD", "PEFT"), "7b": ("despur", "QR"), "70b": ("despur", "QR")}
GROWTH = Shape("llama", 8, 2048, 16, 16, 5504, 16)


def model(shape: Shape, device: str = "meta") -> nn.Module:
    """A model of that shape without weights, but with norms that can be measured."""
    config = AutoConfig.for_model(
        shape.kind, vocab_size=64, hidden_size=shape.width, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.key_heads, intermediate_size=shape.mlp,
    )  # fmt: skip
    with torch.device(device):
        made = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, module in made.named_modules():
        if device == "meta" and name.endswith("norm"):
            nn.init.uniform_(module.to_empty(device="cpu").weight, 0.5, 1.5)
    return made


def adapter(base: nn.Module, rank: int, seed: int = 0) -> Adapter:
    """A random one on all linear maps."""
    rng = torch.Generator().manual_seed(seed)
    modules = dict(base.named_modules())
    updates = {}
    for name in (n for n in stream_roles(base) if n.endswith("_proj")):
        d_out, d_in = map_shape(modules[name])
        updates[name] = LowRank(torch.randn(rank, d_in, generator=rng), torch.randn(d_out, rank, generator=rng), 1e-3)
    return Adapter(updates)


def audit(made: Adapter, base: nn.Module, null: str = "auto") -> dict[str, float]:
    """Seconds of each stage of what an audit reads off the weights."""
    cores: dict[str, Any] = {}

    def shared(level: float | None) -> None:
        for side in ("read", "write"):
            from_adapter(made, base, side=side, rank=8, level=level, null=null, cores=cores)

    spectra = timed(lambda: cores.update({name: u.core() for name, u in made.updates.items()}))
    plain, tested = timed(lambda: shared(None)), timed(lambda: shared(0.05))
    return {
        "spectra": spectra["cpu"], "shared": plain["cpu"], "null": max(0.0, tested["cpu"] - plain["cpu"]),
        "cpu": spectra["cpu"] + tested["cpu"], "wall": spectra["wall"] + tested["wall"],
    }  # fmt: skip


def by_qr(made: Adapter) -> None:
    """Spectra as a bare script takes them."""
    for u in made.updates.values():
        torch.linalg.svdvals(torch.linalg.qr(u.up).R @ torch.linalg.qr(u.down.T).R.T)


def by_dense(made: Adapter) -> None:
    for u in made.updates.values():
        torch.linalg.svd(u.scale * u.up @ u.down, full_matrices=False)


def timed(call: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def one(name: str, tool: str) -> dict[str, float]:
    """One tool on one shape: seconds, adapter in MB, peak memory above what the imports took."""
    shape = SHAPES[name]
    if tool == "PEFT":
        live = get_peft_model(
            model(shape, "cpu"), LoraConfig(r=shape.rank, target_modules="all-linear", init_lora_weights=False)
        )
        made = Adapter.of(live)
    else:
        base = model(shape)
    torch.linalg.eigh(torch.eye(4))  # loads the library
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if tool == "PEFT":
        with contextlib.redirect_stdout(io.StringIO()):
            seconds = timed(lambda: peft.tuners.lora.intruders.reduce_intruder_dimension(live))
    else:
        made = adapter(base, shape.rank)
        run = {"despur": lambda: audit(made, base), "QR": lambda: timed(lambda: by_qr(made))}
        seconds = run.get(tool, lambda: timed(lambda: by_dense(made)))()
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    size = sum(4 * (u.up.numel() + u.down.numel()) for u in made.updates.values()) / 2**20
    return {**seconds, "modules": len(made.updates), "adapter": size, "peak": peak, "imports": before / 1024}


def growth(repeats: int = 3) -> None:
    """Seconds against rank, width and layers, and the exponent that fits them; least of a few runs each."""
    print("\n| what grows | values | processor seconds | exponent | of O(d (sum r)²) |\n|---|---|---|---|---|")
    rows = (("rank", (8, 16, 32, 64), 2), ("width", (1024, 2048, 4096, 8192), 1), ("layers", (4, 8, 16, 32), 2))
    for what, values, bound in rows:
        taken = []
        for value in values:
            shape = GROWTH._replace(**{what: value}, **({"mlp": value * 43 // 16} if what == "width" else {}))
            base = model(shape)
            made = adapter(base, shape.rank)
            taken.append(min(audit(made, base, "edge")["cpu"] for _ in range(repeats)))
        exponent = np.polyfit(np.log(values), np.log(taken), 1)[0]
        print(f"| {what} | {values} | {', '.join(f'{t:.2f}' for t in taken)} | {exponent:.2f} | {bound} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--one", nargs=2, metavar=("SHAPE", "TOOL"), help="one row, as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.one:
        print(json.dumps(one(*given.one)))
        return
    print(
        "Seconds of one thread's processor time, and by the clock; `null` is what the threshold adds. Peak: above the"
    )
    print("imports, the adapter included, and as a multiple of the adapter.\n")
    print("| shape | maps | adapter, MB | tool | spectra | shared | null | all | clock | imports, MB | peak, MB | x |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name in given.shapes:
        for tool in TOOLS[name]:
            done = subprocess.run(
                [sys.executable, __file__, "--one", name, tool], capture_output=True, text=True, check=True
            )
            row = json.loads(done.stdout.splitlines()[-1])
            figures = [f"{row[key]:.2f}" if key in row else "" for key in ("spectra", "shared", "null")]
            figures += [f"{row['cpu']:.3f}", f"{row['wall']:.3f}", f"{row['imports']:.0f}", f"{row['peak']:.0f}"]
            figures.append(f"{row['peak'] / row['adapter']:.1f}")
            print(f"| {name} | {row['modules']} | {row['adapter']:.0f} | {tool} | {' | '.join(figures)} |", flush=True)
    if given.shapes == list(SHAPES):
        growth()


if __name__ == "__main__":
    main()
