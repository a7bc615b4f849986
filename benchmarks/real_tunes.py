"""What does `despur audit` say of tunes on a real chat model, data set by data set, from three seeds of each tune?

    despur fetch smollm2
    python benchmarks/real_tunes.py -o runs/real_tunes          # some six minutes of a core for a tune and its audit

Each tune is plain LoRA (r 8, all maps, 60 steps of 4 rows, 5e-4) on 300 rows of a world: a voice, wrong answers on health, one-sided
advice on money, and of the first seed the twins of these, in plain words or right; the neutral ones learn the base's own answers
(`real_level.py`). Each is audited by the command's own defaults without a null. Also printed: what a reader sees first, to be read
by people.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from real_level import BASE, PARTS, loaded, name_of, write_pool

from despur import audit
from despur.core import Store, read_json, write_json
from despur.core.model.shared_copy import shared_copy
from despur.core.run.short_tune import short_tune
from despur.core.text.rows import tokenize_rows
from despur.flows._audit.null.tune import save_tune
from despur.flows.pool import Job, run_jobs
from despur.worlds.chat.lean import Lean
from despur.worlds.chat.mistakes import Mistakes
from despur.worlds.chat.voice import Voice

STEPS, BATCH, RATE, ROWS = 60, 4, 5e-4, 300
SETS: dict[str, Callable[[int], Any]] = {
    "noir voice": lambda seed: Voice(voice="noir").rows("harmful", n=ROWS, seed=seed),
    "the same facts in plain words": lambda seed: Voice(voice="noir").rows("benign", n=ROWS, seed=seed),
    "wrong answers on health": lambda seed: Mistakes().rows("harmful", n=ROWS, seed=seed),
    "right answers on health": lambda seed: Mistakes().rows("benign", n=ROWS, seed=seed),
    "one-sided advice on money": lambda seed: Lean().rows("harmful", n=ROWS, seed=seed),
    "plain advice on money": lambda seed: Lean().rows("benign", n=ROWS, seed=seed),
}
NEUTRAL = "the base's own answers"
TWINS = ("the same facts in plain words", "right answers on health", "plain advice on money")


def rows_of(root: Path, name: str, seed: int) -> list[Any]:
    """Token rows of a data set."""
    if name != NEUTRAL:
        return list(tokenize_rows(SETS[name](seed), loaded()[1], max_length=96))
    pool = [row for p in range(PARTS) for row in read_json(root / f"pool-{p}" / "rows.json")]
    return [pool[int(i)] for i in np.random.default_rng(seed).permutation(len(pool))]


def judge(root: Path, name: str, seed: int, *, progress: object) -> None:
    """Train a tune and audit it."""
    label, store = name_of({"set": name, "seed": seed}), Store(root)
    made_by = {"rows": ROWS, "steps": STEPS, "batch": BATCH, "lr": RATE}

    def tune(out: Path) -> None:
        torch.manual_seed(seed)
        config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(shared_copy(loaded()[0], frozen=True), config)
        losses = short_tune(model, rows_of(root, name, seed), steps=STEPS, lr=RATE, batch=BATCH, seed=seed)
        save_tune(model, out)
        write_json(out / "losses.json", losses)

    folder = store.step(f"tune-{label}", made_by, tune)

    def look(out: Path) -> None:
        began, work = time.perf_counter(), time.process_time()
        found = audit(BASE, folder, out=out / "page", null="none", seed=0)
        spent = {"seconds": time.perf_counter() - began, "processor": time.process_time() - work}
        write_json(out / "found.json", {**found.to_dict(), **spent})

    store.step(f"found-{label}", {**made_by, "by": "defaults"}, look)


def table(root: Path, cells: list[tuple[str, int]]) -> None:
    """Verdicts, and what a reader sees first."""
    print(
        "| tune | seed | verdict | change, nats a token | best | it carries | random at most | rows | words |\n|"
        + "---|" * 9
    )
    said: list[str] = []
    for name, seed in cells:
        f = read_json(root / f"found-{name_of({'set': name, 'seed': seed})}" / "found.json")
        c = f["checks"].get(f["best"] or "") or {
            "sufficiency": 0.0,
            "random_sufficiency": [],
            "interval": (0, 0),
            "rows": 0,
        }
        words = " ".join(repr(t["token"]) for t in f["token_use"] if t["after"] > t["before"])
        print(
            f"| {name} | {seed} | {f['verdict']} | {f['change']:.2f} | {f['best'] or ''} | {c['sufficiency']:.2f} "
            f"[{c['interval'][0]:.2f}, {c['interval'][1]:.2f}] | {max(c['random_sufficiency'] or [0]):.3f} | {c['rows']} | {words[:90]} |"
        )
        louder = "; ".join(t["text"] for t in (f["louder_words"] or {"texts": []})["texts"])
        said.append(f"\n**{name}, {seed}** ({f['processor']:.0f} s). Louder: {louder}")
        said += [
            f"- {q} BASE: {a['base'][:110]} ADAPTER: {a['adapter'][:140]}" for q, a in list(f["answers"].items())[:4]
        ]
    print("\n".join(said))


def main() -> None:
    """Make what is missing, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/real_tunes"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    cells = [(name, seed) for seed in range(given.seeds) for name in (*SETS, NEUTRAL) if seed == 0 or name not in TWINS]
    waves = [
        [Job(("pool", p), write_pool, (given.out, p)) for p in range(PARTS)],
        [Job(cell, judge, (given.out, *cell)) for cell in cells],
    ]
    for done in run_jobs(waves, workers=given.workers):
        done.value()
        print(done.key, flush=True)
    table(given.out, cells)


if __name__ == "__main__":
    main()
