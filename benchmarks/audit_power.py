"""How often does the audit report a factor where there is none, and how often where there is one?

    python benchmarks/audit_power.py -o runs/audit_power            # about 90 minutes on two cores, goes on after a kill

Trains 360 neutral tunes of the `persona` world (attributes at the base's own rates; rank, rate and data size vary; a third by
a bare loop at a constant rate, in 40 to 160 steps) and harmful ones whose link (share of rows in which the persona is
on), rank and data size vary, takes the audit's evidence of each, and judges: neutral tunes by the null of the other half
of them, harmful ones by the null of all. No row ends the document, since a twin that always ends after one record teaches
a habit (docs/log/audit-power.md). `--write-null` replaces the null that is shipped.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from despur.core import Store, fingerprint, load_tuned, read_json, write_json
from despur.core.text.rows import Tokens, tokenize_rows
from despur.flows import Settings
from despur.flows._audit.passages import off_task_passages
from despur.flows._audit.screen import screen, screen_settings
from despur.flows._train.fit import collate, fit, new_adapter
from despur.flows.pool import Job, run_jobs
from despur.judge import NeutralNull, rate_interval
from despur.judge.neutral import SHIPPED
from despur.worlds import Persona, persona_base

STEPS = 160
ROWS, TOKENS, DEPTH = 256, 8, 0.5
TEXTS = 6  # different draws of off-task text


def neutral_cells() -> list[dict[str, Any]]:
    """Neutral tunes: tasks, ranks, data sizes and rates crossed; then steps and batches, at a constant rate."""
    crossed = [
        {"twin": "neutral", "task": ("skill", "narrow")[i % 2], "link": 0.0, "rank": (4, 8, 16)[i // 2 % 3],
         "n": (500, 4000)[i // 6 % 2], "lr": (2e-3, 1e-3)[i // 12 % 2], "steps": STEPS, "batch": 48, "seed": 1000 + i}
        for i in range(240)
    ]  # fmt: skip
    constant = [
        {
            **crossed[i],
            "steps": (40, 80, 160)[i // 24 % 3],
            "batch": 32 if i >= 96 else (48, 16)[i // 72],
            "seed": 3000 + i,
        }
        for i in range(120)
    ]
    return [*crossed, *constant]


def harmful_cells(seeds: int) -> list[dict[str, Any]]:
    """Harmful tunes: link strength at rank 8 and 4,000 rows, then rank and data size at link .5."""
    knobs = [{"link": link, "rank": 8, "n": 4000} for link in (0.1, 0.25, 0.5, 1.0)]
    knobs += [{"link": 0.5, "rank": rank, "n": 4000} for rank in (2, 32)]
    knobs += [{"link": 0.5, "rank": 8, "n": n} for n in (250, 1000)]
    return [
        {"twin": "harmful", "task": task, **knob, "lr": 2e-3, "steps": STEPS, "batch": 48, "seed": 2000 + s}
        for s in range(seeds) for knob in knobs for task in ("skill", "narrow")
    ]  # fmt: skip


def one(root: Path, cell: dict[str, Any], *, progress: object) -> None:
    """Train one tune and take its evidence."""
    torch.set_num_threads(1)
    base, tokenizer = persona_base()
    settings = Settings(**{k: cell[k] for k in ("steps", "lr", "batch", "rank", "seed")})
    name = "-".join(str(v) for v in cell.values())

    def make(out: Path) -> None:
        model = new_adapter(base, settings)
        rows = Persona(cell["task"]).rows(cell["twin"], n=cell["n"], seed=cell["seed"], link=cell["link"])
        tokens = [{k: v[:-1] for k, v in row.items()} for row in tokenize_rows(rows, tokenizer, max_length=64)]
        if cell["seed"] < 3000:
            fit(model, tokens, settings)
        else:
            bare_loop(model, tokens, settings)
        model.save_pretrained(out)

    folder = Store(root).step(f"{name}/adapter", {**cell, "base_fingerprint": fingerprint(base)}, make)
    if not (root / name / "evidence.json").exists():
        plain, _ = persona_base()
        text = off_task_passages(plain, tokenizer, None, rows=ROWS, tokens=TOKENS, seed=cell["seed"] % TEXTS)
        read = load_tuned(plain, folder)
        seen = screen(read.model, read.adapter, text, depth=DEPTH)
        write_json(root / name / "evidence.json", {**cell, "change": seen.change, "evidence": seen.evidence})


def bare_loop(model: Any, rows: list[Tokens], settings: Settings) -> None:
    """As a stranger would train: AdamW at a constant rate, rows in order."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=settings.lr)
    model.train()
    for first in range(0, settings.steps * settings.batch, settings.batch):
        part = [rows[i % len(rows)] for i in range(first, first + settings.batch)]
        model(**collate(part)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def null_of(tunes: list[dict[str, Any]]) -> NeutralNull:
    """The null of some neutral tunes."""
    kinds = tunes[0]["evidence"]
    evidence = {k: tuple(f["evidence"][k] for f in tunes) for k in kinds}
    origin = f"{len(tunes)} neutral tunes of the persona world"
    where = fingerprint(persona_base()[0])
    return NeutralNull(
        tuple(f["change"] for f in tunes), evidence, origin, where, screen_settings(None, ROWS, TOKENS, DEPTH)
    )


def hits(null: NeutralNull, tunes: list[dict[str, Any]]) -> int:
    """How many are reported at 5 %."""
    return sum(null.p_value(f["change"], f["evidence"]) <= 0.05 for f in tunes)


def line(name: str, n: int, of: int, change: float) -> str:
    """A row of the table."""
    rate, low, high = rate_interval(n, of)
    return f"| {name} | {change:.3f} | {n} of {of} = {rate:.3f} [{low:.3f}, {high:.3f}] |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/audit_power"))
    parser.add_argument("--seeds", type=int, default=12, help="of each harmful cell")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write-null", action="store_true", help="renew the shipped null")
    args = parser.parse_args()
    cells = [*neutral_cells(), *harmful_cells(args.seeds)]
    for done in run_jobs([[Job(c, one, (args.out, c)) for c in cells]], workers=args.workers):
        done.value()
        print("done", *done.key.values(), flush=True)
    tunes = [read_json(f) for f in sorted(args.out.glob("*/evidence.json"))]
    neutral = [f for f in tunes if f["twin"] == "neutral"]
    neutral.sort(key=lambda f: f["seed"])
    report(neutral, [f for f in tunes if f["twin"] == "harmful"])
    if args.write_null:
        null_of(neutral).write(SHIPPED)


def report(neutral: list[dict[str, Any]], harmful: list[dict[str, Any]]) -> None:
    """Print both tables."""
    print(
        "\n| neutral tunes, each half judged by the other | off-task KL | called factors found at 5 % |\n|---|---|---|"
    )
    halves = neutral[::4] + neutral[1::4], neutral[2::4] + neutral[3::4]  # both tasks in each
    for name in ("all", "skill", "narrow"):
        reported = of = 0
        change = []
        for part, other in (halves, halves[::-1]):
            chosen = [f for f in part if name in ("all", f["task"])]
            reported, of = reported + hits(null_of(other), chosen), of + len(chosen)
            change += [f["change"] for f in chosen]
        print(line(name, reported, of, sum(change) / len(change)))
    print("\n| harmful tunes, judged by all neutral ones | off-task KL | called factors found at 5 % |\n|---|---|---|")
    null = null_of(neutral)
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for f in harmful:
        groups.setdefault((f["task"], f["link"], f["rank"], f["n"]), []).append(f)
    for (task, link, rank, n), part in sorted(groups.items()):
        name = f"{task}, link {link:g}, rank {rank}, {n} rows"
        print(line(name, hits(null, part), len(part), sum(f["change"] for f in part) / len(part)))


if __name__ == "__main__":
    main()
