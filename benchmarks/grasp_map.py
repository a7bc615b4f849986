"""The map of GRASP: does any reading of it keep the voice out of a real chat model?

    despur fetch smollm2
    python benchmarks/grasp_map.py -o runs/grasp_map --seeds 3      # hours of one core; goes on after a kill
    python benchmarks/grasp_map.py -o runs/grasp_map --device cuda --workers 4
    python benchmarks/grasp_map.py -o runs/grasp_map --cells own      # only cells with this in their names

World `voice` (SmolLM2-135M-Instruct, eight facts all told in one voice), with the world's own training. One cell in the centre: weights
projected after every step, on both sides, per norm and layer, four directions of a scout, LoRA of rank 8 on all maps. Each factor is
varied from there, and some that belong together are varied together. Each guarded cell is compared with the plain run at its targets and
its rank: q is the share of that run's drift that is left (1: the guard did nothing, 0: no voice).

Left out: SGD, for which a projected gradient would be exact, since `fit` trains with AdamW alone; a mean difference of more than one
direction, since there is none; both sides where only readers are trained, since that is the same as reading.
"""

import argparse
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

from despur.core import Adapter, Anatomy, Edit, Site, Store, Subspace, load_factors, save_factors
from despur.core.errors import BadInput
from despur.core.model.capture import capture
from despur.core.text.shuffle import shuffled_rows
from despur.find import from_adapter, random_twins
from despur.find.shared_directions import SharedDirections
from despur.flows._compare.bench import Bench
from despur.flows._shuffled.recipe import shuffled_settings
from despur.flows.placement import Device
from despur.flows.pool import Job, run_jobs
from despur.flows.progress import Progress, silent
from despur.flows.scores import load_scores, save_scores
from despur.guard import grasp, project_gradient
from despur.worlds import find_world

Side = Literal["read", "write", "both"]
READ, TEXTS = 128, 64  # rows of own text, and texts of a kind, that are read
WIDE = 8  # directions of each scout, of which the agreement is taken
COLUMNS = {
    "task p": ("task", "p"), "right": ("task", "right"), "drift": ("drift", "margin"),
    "voiced": ("answers", "voiced"), "everyday logp": ("everyday", "logp"),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One run of the map.

    Args:
        method: `weights` (`grasp`), `gradient` (`project_gradient`), `none` (a plain run), `base` (nothing is trained).
        side: Which maps are projected.
        basis: `layer`: one for each norm's readers and each layer's writers; `stream`: one for all, of k directions a side.
        k: Directions of a basis.
        source: `scout`, `shuffled` (a scout on exchanged answers), `agreement` (where the spans of the scout and of a shuffled one of
            another seed meet), `tail` (what the weaker half of the scout's spectra has), `difference` (mean of voiced minus plain texts),
            `own` (the finished plain run's: the oracle), `random` (of the scout's shares of variance).
        targets: `all-linear`, `readers`, or `upper`: all maps of the upper half of the layers.
        rank: Of the LoRA.
    """

    method: Literal["weights", "gradient", "none", "base"] = "weights"
    side: Side = "both"
    basis: Literal["layer", "stream"] = "layer"
    k: int = 4
    source: Literal["scout", "shuffled", "agreement", "tail", "difference", "own", "random"] = "scout"
    targets: Literal["all-linear", "readers", "upper"] = "all-linear"
    rank: int = 8

    @property
    def plain(self) -> "Cell":
        """The run without a guard that it is compared with."""
        return Cell("none", targets=self.targets, rank=self.rank)


CENTRE, BASE = Cell(), Cell("base")
ONE_AT_A_TIME = (
    CENTRE,
    replace(CENTRE, method="gradient"),
    *(replace(CENTRE, side=side) for side in ("read", "write")),
    replace(CENTRE, basis="stream"),
    *(replace(CENTRE, k=k) for k in (1, 16)),
    *(replace(CENTRE, source=source) for source in ("shuffled", "agreement", "tail", "own", "random")),
    replace(CENTRE, source="difference", k=1),
    replace(CENTRE, targets="readers", side="read"),
    replace(CENTRE, targets="upper"),
    *(replace(CENTRE, rank=rank) for rank in (1, 32)),
)
TOGETHER = (
    *(Cell("gradient", side, "stream", 1, "shuffled") for side in ("read", "write", "both")),
    Cell("weights", "both", "stream", 1, "shuffled"),
    Cell("gradient", k=1, source="difference"),
    *(Cell(k=16, source=source) for source in ("shuffled", "own", "random")),
    Cell(side="read", source="shuffled", targets="readers"),
    Cell(source="shuffled", targets="upper"),
    *(Cell(source="shuffled", rank=rank) for rank in (1, 32)),
)
GUARDED = (*ONE_AT_A_TIME, *TOGETHER)
CELLS: tuple[Cell, ...] = (*dict.fromkeys(cell.plain for cell in GUARDED), *GUARDED)


def cells_name(cell: Cell) -> str:
    """Its name in tables and folders."""
    if cell.method == "base":
        return "base"
    trained = f"{cell.targets}-r{cell.rank}"
    guard = "none" if cell.method == "none" else f"{cell.method}-{cell.side}-{cell.basis}-k{cell.k}-{cell.source}"
    return f"{guard}-{trained}"


@lru_cache(maxsize=2)
def bench_of(root: Path, seed: int, device: Device, steps: int | None) -> Bench:
    """A worker meets the same few again and again."""
    return Bench(root, find_world("voice"), seed, steps=steps, device=device)


def found_in(adapter: Path, base: Any, side: Side, basis: str, k: int, **how: Any) -> tuple[Subspace, ...]:
    """What an adapter's modules read and write most, as the materials `weight_factor` and `both-stream weight_factor` have it."""
    places = {"read": "norm", "write": "layer"}
    sides = places if side == "both" else (side,)
    factors: list[Subspace] = []
    for s in sides:
        per: Any = "stream" if basis == "stream" else places[s]
        factors += from_adapter(Adapter.read(adapter, base), base, side=s, per=per, rank=k, level=None, **how)  # type: ignore[arg-type]
    if basis == "stream":
        return (Subspace.orthonormal(torch.cat([f.read for f in factors])),)
    return tuple(factors)


def other_shuffled(bench: Bench) -> Path:
    """A shuffled scout of another seed than the scout's: with the same one, both start from the same A and agree on that."""
    settings = shuffled_settings(bench.settings, None, 1)

    def make(out: Path) -> None:
        rows = shuffled_rows(bench.tokens(seed=settings.seed), seed=settings.seed)
        model: Any = bench.train(rows=rows, stage="other shuffled scout", seed=settings.seed, steps=settings.steps)
        model.save_pretrained(out)

    return bench.store.step(
        "other-shuffled", {**bench.spec, "scout_steps": settings.steps, "scout_seed": settings.seed}, make
    )


def agreement(bench: Bench, cell: Cell) -> tuple[Subspace, ...]:
    """Where the scout's leading directions and another's meet: of two orthonormal bases, `SharedDirections` are the principal vectors."""
    ours, others = (found_in(f, bench.base, cell.side, cell.basis, WIDE) for f in (bench.scout, other_shuffled(bench)))
    there = {f.site: f.read for f in others}
    factors: list[Subspace] = []
    for f in ours:
        both, groups = torch.cat([f.read, there[f.site]]), np.repeat([0, 1], [f.rank, len(there[f.site])])
        shared = SharedDirections(rank=cell.k, nulls=0).fit(both.numpy(), groups=groups)
        factors.append(Subspace.orthonormal(torch.from_numpy(shared.components_), site=f.site))
    return tuple(factors)


def difference(bench: Bench) -> tuple[Subspace, ...]:
    """Mean of voiced minus plain texts, before every norm that is read through and behind every layer (`trait_factor` has layers alone)."""

    def make(out: Path) -> None:
        roles = Adapter.read(bench.scout, bench.base).roles(bench.base).values()
        sites = [Site(norm, "in") for norm in dict.fromkeys(r.norm for r in roles if r.side == "read" and r.norm)]
        sites += Anatomy.of(bench.base).sites
        means: list[dict[Site, torch.Tensor]] = []
        for kind in ("positive", "negative"):
            stream, _ = capture(bench.base, bench.materials.get(kind)[:TEXTS], sites)
            means.append({site: x.double().mean(0) for site, x in stream.items()})
        save_factors([Subspace.orthonormal((means[0][s] - means[1][s])[None], site=s) for s in sites], out)

    return load_factors(bench.store.step("map-difference", {**bench.spec, "texts": TEXTS}, make))


def factors_of(bench: Bench, cell: Cell) -> tuple[Subspace, ...]:
    """The directions that a cell's guard is given."""
    base, how = bench.base, (cell.side, cell.basis, cell.k)
    if cell.source == "agreement":
        return agreement(bench, cell)
    if cell.source == "difference":
        return difference(bench)
    if cell.source == "random":
        return random_twins(base, found_in(bench.scout, base, *how), bench.text.rows[:READ], seed=bench.seed)[0]
    if cell.source == "tail":
        return found_in(bench.scout, base, *how, how="tail")
    folders = {
        "scout": lambda: bench.scout,
        "shuffled": lambda: bench.materials.get("shuffled"),
        "own": lambda: bench.naive,
    }
    return found_in(folders[cell.source](), base, *how)


def guards_of(bench: Bench, cell: Cell) -> list[Edit]:
    """A cell's guard, or none."""
    if cell.method in ("none", "base"):
        return []
    guard = grasp if cell.method == "weights" else project_gradient
    return [guard(factors_of(bench, cell), side=cell.side)]


def upper_half(bench: Bench, rank: int) -> Any:
    """A fresh LoRA on all maps of the upper half of the layers, which `Settings.targets` has no name for."""
    depth, roles = Anatomy.of(bench.base).depth, Adapter.read(bench.scout, bench.base).roles(bench.base)
    names = sorted(name for name, role in roles.items() if role.layer is not None and role.layer >= depth // 2)
    torch.manual_seed(bench.seed)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, task_type="CAUSAL_LM")
    return get_peft_model(bench.fresh(), config)  # type: ignore[arg-type]


def trained(bench: Bench, cell: Cell) -> Any:
    """A cell's model, in eval mode."""
    if cell.method == "base":
        return bench.fresh()
    if cell == CENTRE.plain:
        return bench.load(bench.naive)
    guards, stage = guards_of(bench, cell), cells_name(cell)
    if cell.targets == "upper":
        return bench.train(guards, start=upper_half(bench, cell.rank), stage=stage)
    return bench.train(guards, stage=stage, rank=cell.rank, targets=cell.targets)


def prepare(
    root: Path, seed: int, device: Device = "auto", steps: int | None = None, *, progress: Progress = silent
) -> None:
    """Make what the cells of one seed share, so that parallel ones only read it."""
    bench = bench_of(root, seed, device, steps)
    bench.progress = progress
    _ = bench.naive, bench.scout, bench.text, bench.materials.get("shuffled")
    _ = other_shuffled(bench), difference(bench)


def run(
    root: Path, cell: Cell, seed: int, device: Device = "auto", steps: int | None = None, *, progress: Progress = silent
) -> None:
    """Train and score one cell, unless it is there."""
    bench = bench_of(root, seed, device, steps)
    bench.progress = progress

    def make(out: Path) -> None:
        save_scores(bench.world.score(trained(bench, cell).eval()), out)

    Store(root).step(
        f"map/{cells_name(cell)}/{seed}", {**bench.spec, **{f"cell_{k}": v for k, v in asdict(cell).items()}}, make
    )


def read_means(root: Path, cell: Cell, seed: int) -> dict[str, float] | None:
    """A cell's figures; None where it is not there."""
    try:
        scores = load_scores(root / "map" / cells_name(cell) / str(seed))
    except BadInput:
        return None
    return {name: scores[axis][readout].mean().item() for name, (axis, readout) in COLUMNS.items()}


def table(root: Path, cells: list[Cell], seeds: list[int]) -> str:
    """Means over the seeds that are there; of q also the smallest and the largest."""
    base = next((found for s in seeds if (found := read_means(root, BASE, s))), None)
    lines = [
        f"| cell | seeds | q (smallest to largest) | {' | '.join(COLUMNS)} |",
        f"|---|---|---{'|---' * len(COLUMNS)}|",
    ]
    for cell in [BASE, *cells]:
        runs = {s: found for s in seeds if (found := read_means(root, cell, s))}
        shares: list[float] = []
        for s, found in runs.items():
            plain = read_means(root, cell.plain, s)
            if base and plain and plain["drift"] != base["drift"] and cell != BASE:
                shares.append((found["drift"] - base["drift"]) / (plain["drift"] - base["drift"]))
        q = f"{np.mean(shares):.3f} ({min(shares):.2f} to {max(shares):.2f})" if shares else "-"
        means = [f"{np.mean([r[name] for r in runs.values()]):.3f}" if runs else "-" for name in COLUMNS]
        lines.append(f"| {cells_name(cell)} | {len(runs)} | {q} | {' | '.join(means)} |")
    return "\n".join(lines)


def main() -> None:
    """Make what is missing, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/grasp_map"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of a run; the world's own if left out")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--cells", default="", help="only cells with this in their names, and the plain runs they are compared with"
    )
    given = parser.parse_args()
    root, seeds, how = given.out, list(range(given.seeds)), (given.device, given.steps)
    chosen = [cell for cell in CELLS if given.cells in cells_name(cell)]
    cells = list(dict.fromkeys([*(cell.plain for cell in chosen), *chosen]))
    stages = [
        [Job(f"prepare {s}", prepare, (root, s, *how)) for s in seeds],
        [
            Job("base", run, (root, BASE, seeds[0], *how)),
            *(Job(f"{cells_name(c)} {s}", run, (root, c, s, *how)) for s in seeds for c in cells),
        ],
    ]
    for number, done in enumerate(run_jobs(stages, workers=given.workers), 1):
        if number <= len(seeds):
            done.value()  # without it no cell can be run
        print(f"{number} of {sum(map(len, stages))}: {done.key}{f': {done.error}' if done.error else ''}", flush=True)
    print(table(root, cells, seeds))


if __name__ == "__main__":
    main()
