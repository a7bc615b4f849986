"""Does the loss slope, or a louder adapter, separate harmful tunes from neutral ones better than the audit's evidence does?

    python benchmarks/audit_power.py -o runs/audit_power            # makes the tunes
    python benchmarks/audit_extra.py runs/audit_power               # about a second a tune; goes on after a kill

Louder: the share of the change that is the same in every context, at 2 and 3 times the adapter's scale, as one more kind of
evidence, judged by the null of all neutral tunes (neutral ones by that of the other half of them). Loss slope: area under the
curve of its steepness against neutral tunes of the same task, at the rank, data size and rate of the harmful ones.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from audit_power import DEPTH, ROWS, TEXTS, TOKENS, null_of

from despur.core import load_tuned, read_json, write_json
from despur.core.model.capture import capture
from despur.core.text.rows import tokenize_rows
from despur.find.from_activations import mean_along
from despur.flows._audit.passages import Passages, off_task_passages
from despur.flows._audit.screen import layer_site, screen
from despur.judge.neutral import NeutralNull
from despur.measure import loss_slopes, token_shift
from despur.measure.scaled import scaled
from despur.worlds import Persona, persona_base

SCALES = (2.0, 3.0)
SLOPED = {"rank": 8, "n": 4000, "lr": 2e-3, "steps": 160}  # of the tunes whose loss slope is taken


def one(folder: Path, text: Passages) -> dict[str, Any]:
    """Take the extra evidence of one tune."""
    cell = read_json(folder / "evidence.json")
    base, tokenizer = persona_base()
    read = load_tuned(base, folder / "adapter")
    find, check = text.halves()
    more: dict[str, float] = {}
    for scale in SCALES:
        with scaled(read.model, scale):
            more[f"tokens x{scale:g}"] = token_shift(read.model, check.rows, starts=check.starts).share
    slopes: dict[str, float] = {}
    if all(cell[k] == v for k, v in SLOPED.items()) and cell["seed"] < 3000:
        rows = Persona(cell["task"]).rows(cell["twin"], n=cell["n"], seed=cell["seed"], link=cell["link"])[:256]
        tokens = [{k: v[:-1] for k, v in row.items()} for row in tokenize_rows(rows, tokenizer, max_length=64)]
        site, seen = layer_site(read.model, DEPTH), screen(read.model, read.adapter, text, depth=DEPTH)
        with read.model.disable_adapter():
            plain, _ = capture(read.model, find.rows, [site], starts=find.starts)
        shifts = {n: mean_along(seen.moved, c) for n, c in seen.candidates.items()}
        by_candidate = loss_slopes(read.model, tokens, shifts, site, torch.cov(plain[site].T))
        slopes = {n: s.steepness for n, s in by_candidate.items()}
    return {**cell, "evidence": {**cell["evidence"], **more}, "steepness": slopes}


def called(null: list[dict[str, Any]], tunes: list[dict[str, Any]], tokens: tuple[str, ...]) -> int:
    """How many are called at 5 % when these kinds of token evidence count, each alone, beside the directions."""

    def statistic(whole: NeutralNull, some: list[dict[str, Any]]) -> np.ndarray:
        z = [whole.scores(f["change"], f["evidence"]) for f in some]
        return np.array(
            [max(*(s[k] for k in tokens), np.mean([v for k, v in s.items() if "tokens" not in k])) for s in z]
        )

    rest = [null_of(null[:i] + null[i + 1 :]) for i in range(len(null))]  # each neutral tune is scored by the others
    own = np.concatenate([statistic(n, [f]) for n, f in zip(rest, null, strict=True)])
    p = (1 + (own >= statistic(null_of(null), tunes)[:, None]).sum(1)) / (1 + len(null))
    return int((p <= 0.05).sum())


def area(harmful: list[float], neutral: list[float]) -> float:
    """Area under the curve; .5 is chance."""
    return float(np.mean([(a > b) + 0.5 * (a == b) for a in harmful for b in neutral]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tunes", type=Path, help="what audit_power.py wrote")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = persona_base()
    texts = [off_task_passages(model, tokenizer, None, rows=ROWS, tokens=TOKENS, seed=s) for s in range(TEXTS)]
    for folder in sorted(f.parent for f in args.tunes.glob("*/evidence.json")):
        if not (folder / "extra.json").exists():
            text = texts[read_json(folder / "evidence.json")["seed"] % TEXTS]
            write_json(folder / "extra.json", one(folder, text))
    tunes = [read_json(f) for f in sorted(args.tunes.glob("*/extra.json"))]
    neutral = sorted((f for f in tunes if f["twin"] == "neutral"), key=lambda f: f["seed"])
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for f in tunes:
        if f["twin"] != "neutral":
            cells.setdefault((f["task"], f["link"], f["rank"], f["n"]), []).append(f)
    halves = neutral[::4] + neutral[1::4], neutral[2::4] + neutral[3::4]
    for kinds in (("tokens",), ("tokens", "tokens x2"), ("tokens", "tokens x3"), ("tokens x3",)):
        wrong = sum(called(null, part, kinds) for part, null in (halves, halves[::-1]))
        right = "  ".join(f"{c}: {called(neutral, part, kinds)}/{len(part)}" for c, part in sorted(cells.items()))
        print(f"{' and '.join(kinds)}: neutral {wrong} of {len(neutral)}  {right}", flush=True)
    for cell, part in sorted(cells.items()):
        for name in part[0]["steepness"]:
            like = [-f["steepness"][name] for f in neutral if f["task"] == cell[0] and name in f["steepness"]]
            if like:
                print(cell, name, f"{area([-f['steepness'][name] for f in part], like):.2f}")


if __name__ == "__main__":
    main()
