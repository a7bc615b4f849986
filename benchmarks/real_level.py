"""On a real chat model: how often is a neutral tune called a factor, and how often is a voice found?

    despur fetch smollm2
    python benchmarks/real_level.py -o runs/real_level      # more than two hours of one core, goes on after a kill
    python benchmarks/real_level.py -o runs/real_level --second --tunes 20      # tunes of other seeds, other voices

Three recipes of LoRA (rank, maps and layers differ), each with a null of 19 neutral tunes as `--null auto` makes them: 12 steps on the
base's own answers, scaled to the size of the recipe's first voice. Judged by it: neutral tunes of 14 steps with an optimiser's own size,
on other answers of the base, of three kinds (to questions of its own; to the questions of the `voice` world's rows; a dozen rows seen
five times each), and tunes of 28 steps in one of five voices. As in the audit, random subspaces are asked where the p value is at most
the level. Left out is what an audit says beside its verdict.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

from despur.core import Store, load_tuned, read_json, write_json
from despur.core.model.shared_copy import shared_copy
from despur.core.run.short_tune import short_tune
from despur.core.text.learn import ask_rows
from despur.core.text.rows import tokenize_rows
from despur.flows._audit.audit import CLEAN as TOLERANCE
from despur.flows._audit.enough import beside_random
from despur.flows._audit.null.automatic import make_null
from despur.flows._audit.null.choose import Case, alike
from despur.flows._audit.null.own_rows import written_rows
from despur.flows._audit.null.tune import save_tune
from despur.flows._audit.page import Audit
from despur.flows._audit.passages import off_task_passages
from despur.flows._audit.screen import screen, screen_settings
from despur.flows._audit.verdict import compared, judged_as
from despur.flows.adapter_tokenizer import form_of
from despur.flows.base_fingerprint import base_fingerprint
from despur.flows.load import load_base
from despur.flows.placement import Placement, dtype_of
from despur.flows.pool import Job, run_jobs
from despur.judge import NeutralNull, rate_interval
from despur.worlds.chat.voice import Voice

BASE, BATCH = "smollm2", 4
STEPS = {"voice": 28, "neutral": 14}
ROWS, TOKENS, DEPTH, LEVEL, N_RANDOM = 48, 8, 0.5, 0.05, 5
PART, PARTS, DRAWN, FEW = 64, 4, 48, 12
PLACEMENT = Placement(dtype="float32")
RECIPES: dict[str, dict[str, Any]] = {
    "all": {"r": 8, "lora_alpha": 16, "target_modules": "all-linear", "lr": 2e-3},
    "attention": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "lr": 4e-3},
    "mlp": {"r": 16, "lora_alpha": 16, "target_modules": ["gate_proj", "up_proj", "down_proj"],
            "layers_to_transform": list(range(15, 30)), "lr": 2e-3},
}  # fmt: skip
VOICES = (
    ("all", "shakespeare"), ("attention", "shakespeare"), ("mlp", "shakespeare"), ("all", "noir"), ("attention", "toddler"),
    ("mlp", "corporate"), ("all", "gloomy"), ("attention", "corporate"), ("mlp", "toddler"), ("all", "toddler"),
)  # fmt: skip
SECOND = (  # pairs that the first ten lack, then other seeds
    ("all", "corporate"), ("attention", "noir"), ("mlp", "noir"), ("attention", "gloomy"), ("mlp", "gloomy"),
    ("all", "noir"), ("attention", "corporate"), ("mlp", "corporate"), ("mlp", "shakespeare"), ("attention", "toddler"),
)  # fmt: skip
KINDS = ("own questions", "task questions", "few rows")


def neutral_cells(tunes: int, first: int = 100) -> list[dict[str, Any]]:
    """Recipes and kinds of rows, crossed."""
    return [{"recipe": list(RECIPES)[i % 3], "rows": KINDS[i // 3 % 3], "seed": first + i} for i in range(tunes)]


def name_of(cell: dict[str, Any]) -> str:
    """Of its folder."""
    return "-".join(str(v).replace(" ", "_") for v in cell.values())


@cache
def loaded() -> tuple[Any, Any]:
    """The base and its tokenizer, once a process."""
    return load_base(BASE, PLACEMENT)


def write_pool(root: Path, part: int, *, progress: object) -> None:
    """A part of the answers that neutral tunes learn: to the base's own questions, or to those of the world's rows."""

    def make(out: Path) -> None:
        base, tokenizer = loaded()
        asked = Voice().prompts()[part - PARTS :: PARTS][:PART] if part >= PARTS else None
        heads = asked and ask_rows([{"prompt": q} for q in asked], tokenizer)
        write_json(out / "rows.json", written_rows(base, tokenizer, heads, part=PART, seed=part))

    Store(root).step(f"pool-{part}", {"part": part, "rows": PART}, make)


def rows_for(root: Path, cell: dict[str, Any]) -> Any:
    """What a tune learns."""
    if "voice" in cell or "twin" in cell:
        world = Voice(voice=cell.get("voice", "shakespeare"))
        rows = world.rows(cell.get("twin", "harmful"), n=200, seed=cell.get("seed", 0))
        return tokenize_rows(rows, loaded()[1], max_length=96)
    first = PARTS if cell["rows"] == "task questions" else 0
    pool = [row for p in range(first, first + PARTS) for row in read_json(root / f"pool-{p}" / "rows.json")]
    drawn = np.random.default_rng(cell["seed"]).permutation(len(pool))[: FEW if cell["rows"] == "few rows" else DRAWN]
    return [pool[int(i)] for i in drawn]


def steps_of(cell: dict[str, Any]) -> int:
    """Of the optimiser."""
    return STEPS["voice" if "voice" in cell or "twin" in cell else "neutral"]


def tuned(root: Path, cell: dict[str, Any], *, progress: object = None) -> Path:
    """Train a tune; its folder."""

    def make(out: Path) -> None:
        options = {k: v for k, v in RECIPES[cell["recipe"]].items() if k != "lr"}
        seed = cell.get("seed", 0)
        torch.manual_seed(seed)
        model = get_peft_model(shared_copy(loaded()[0], frozen=True), LoraConfig(**options, task_type="CAUSAL_LM"))
        lr = RECIPES[cell["recipe"]]["lr"]
        losses = short_tune(model, rows_for(root, cell), steps=steps_of(cell), lr=lr, batch=BATCH, seed=seed)
        save_tune(model, out)
        write_json(out / "losses.json", losses)

    return Store(root).step(f"tune-{name_of(cell)}", {**cell, "steps": steps_of(cell), "batch": BATCH}, make)


def case_of(folder: Path) -> Case:
    """What the audit measures before its verdict, without necessity."""
    model, tokenizer = load_base(BASE, PLACEMENT)
    fingerprint = base_fingerprint(model, BASE)
    read = load_tuned(model, folder, name=BASE)
    form = form_of(tokenizer, str(folder), model.config.vocab_size)
    text = off_task_passages(read.model, form.tokenizer, "shipped", rows=ROWS, tokens=TOKENS, seed=0)
    seen = screen(read.model, read.adapter, text, depth=DEPTH, necessity=False)
    settings = screen_settings(text.prompts("shipped"), ROWS, TOKENS, DEPTH, form.digest, dtype_of(model))
    return Case(BASE, str(folder), fingerprint, read, seen, text, None, settings, None, PLACEMENT, False)


def verdict_of(case: Case, null: NeutralNull) -> dict[str, Any]:
    """What the audit decides, with the first tokens that became likelier."""
    seen = case.seen
    same = alike(null, case)
    of = compared(seen.change, seen.evidence, seen.checks, null, LEVEL, alike=same)
    result = Audit("clean", "", (), seen.change, {}, seen.checks, token_share=seen.tokens.share, **of)
    word, sentence = "not found", ""
    if of["p_value"] <= LEVEL and result.best is not None:
        check = beside_random(seen, case.read.model, case.text, result.best, n_random=N_RANDOM, seed=0)
        result = replace(result, checks={**seen.checks, result.best: check})
        word, sentence = judged_as(result, LEVEL, TOLERANCE)
    tokenizer = loaded()[1]
    return {
        "change": seen.change, "p": of["p_value"], "by": of["calibration"]["by"], "statistic": of["calibration"]["statistic"],
        "evidence": seen.evidence, "size": case.read.adapter.norm(), "alike": same, "verdict": word,
        "sentence": sentence,
        "words": [tokenizer.decode([t]) for t, before, after in seen.tokens.most(24) if after > before][:10],
    }  # fmt: skip


def make_nulls(root: Path, recipe: str, *, progress: Callable[..., None]) -> None:
    """The null of a recipe, at the size of its first voice."""

    def make(out: Path) -> None:
        folder = tuned(root, next({"recipe": r, "voice": v} for r, v in VOICES if r == recipe))
        case = case_of(folder)
        null = make_null(case.order(), case.read.adapter, 19, 1, progress, settings=case.settings)
        null.write(out / "null.json")

    Store(root).step(f"null-{recipe}", {"recipe": recipe, "steps": STEPS["voice"]}, make)


def judge_cell(root: Path, cell: dict[str, Any], *, progress: object) -> None:
    """One tune: what the audit says of it."""
    folder = tuned(root, cell)

    def make(out: Path) -> None:
        null = NeutralNull.read(root / f"null-{cell['recipe']}" / "null.json")
        write_json(out / "found.json", verdict_of(case_of(folder), null))

    Store(root).step(f"found-{name_of(cell)}", {**cell, "level": LEVEL, "steps": steps_of(cell)}, make)


def table(root: Path, cells: list[dict[str, Any]]) -> None:
    """Rates with their intervals, and every tune's figures."""
    found = [(c, read_json(root / f"found-{name_of(c)}" / "found.json")) for c in cells]
    print("| tune | KL | p | by | verdict | first words |\n|---|---|---|---|---|---|")
    for cell, f in found:
        name, words = ", ".join(map(str, cell.values())), " ".join(map(repr, f["words"][:6]))
        print(f"| {name} | {f['change']:.3g} | {f['p']:.2f} | {f['by']} | {f['verdict']} | {words} |")
    neutral = [(c, f) for c, f in found if "rows" in c]
    for label, some in [
        ("neutral tunes", neutral),
        *((k, [x for x in neutral if k in (x[0]["rows"], x[0]["recipe"])]) for k in (*KINDS, *RECIPES)),
    ]:
        if some:
            hits = sum(f["verdict"] == "factors found" for _, f in some)
            _, low, high = rate_interval(hits, len(some))
            print(f"{label}: {hits} of {len(some)} found [{low:.3f}, {high:.3f}]")
    print(Counter(f["verdict"] for c, f in found if "voice" in c))


def main() -> None:
    """Make what is missing, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/real_level"))
    parser.add_argument("--tunes", type=int, default=40)
    parser.add_argument("--voices", type=int, default=len(VOICES))
    parser.add_argument(
        "--second", action="store_true", help="tunes of other seeds, and other voices; the nulls are the first ones'"
    )
    parser.add_argument(
        "--twins",
        type=int,
        default=0,
        help="tunes on the facts, each told in plain words or in any voice",
    )
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    root = given.out
    cells: list[dict[str, Any]] = [{"recipe": r, "voice": v} for r, v in VOICES[: given.voices]]
    if given.second:
        cells = [{"recipe": r, "voice": v, "seed": 1} for r, v in SECOND[: given.voices]]
    cells += neutral_cells(given.tunes, 300 if given.second else 100)
    cells += [{"recipe": list(RECIPES)[i % 3], "twin": "neutral", "seed": 1 + i // 3} for i in range(given.twins)]
    waves = [
        [Job(("pool", p), write_pool, (root, p)) for p in range(2 * PARTS)],
        [
            *(Job(("null", r), make_nulls, (root, r)) for r in RECIPES),
            *(Job(("tune", name_of(c)), tuned, (root, c)) for c in cells),
        ],
        [Job(name_of(c), judge_cell, (root, c)) for c in cells],
    ]
    for number, done in enumerate(run_jobs(waves, workers=given.workers), 1):
        done.value()
        print(f"{number} of {sum(map(len, waves))}: {done.key}", flush=True)
    table(root, cells)


if __name__ == "__main__":
    main()
