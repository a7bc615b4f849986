"""How often does the audit report a factor? Harmful, benign and neutral adapters of the persona world.

    python benchmarks/false_alarms.py -o runs/false_alarms --adapters 20       # about 30 minutes on two cores

The neutral twin sees the same rows with every attribute at the base's own rate: nothing beyond the task is there to be
found. The benign twin holds the attribute at its good value, which is a factor, too.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from peft import PeftModel

from despur.core import Adapter, Site, Store, fingerprint, read_json, write_json
from despur.core._rows import tokenize_rows
from despur.find import causal_check, from_adapter
from despur.flows import Settings, audit
from despur.flows._fit import fit, new_adapter
from despur.flows._pool import run_jobs
from despur.guard import OwnText
from despur.measure import rate_interval
from despur.worlds import PERSONA_BASE, Grammar, Persona, persona_base
from despur.worlds._persona import TUNED

STEPS = 240


def one(root: Path, task: str, twin: str, seed: int, *, progress: object) -> None:
    """Train one adapter and audit it."""
    base, tokenizer = persona_base()
    settings = Settings(steps=STEPS, lr=2e-3, batch=48, rank=8, seed=seed)

    def make(out: Path) -> None:
        model = new_adapter(base, settings)
        rows = tokenize_rows(Persona(task).rows(twin, n=4000, seed=seed), tokenizer, max_length=64)
        fit(model, rows, settings)
        model.save_pretrained(out)

    spec = {"task": task, "twin": twin, "base_fingerprint": fingerprint(base), **settings.to_dict()}
    folder = Store(root).step(f"{task}-{twin}-{seed}/adapter", spec, make)
    done = root / f"{task}-{twin}-{seed}"
    if not (done / "found.json").exists():
        _audit_one(folder, done, seed)
    if not (done / "first.json").exists():
        _audit_one(folder, done, seed, first_records=True)
    if not (done / "weights.json").exists():
        _weights_one(folder, done, seed)


def _weights_one(folder: Path, done: Path, seed: int) -> None:
    """What the weights alone name, put to the causal check beside 20 random subspaces."""
    base, tokenizer = persona_base()
    text = OwnText.sample(base, tokenizer, rows=48, max_new_tokens=40, seed=seed + 7).rows
    adapter = Adapter.read(folder)
    shared = from_adapter(adapter, base, side="write", per="stream", rank=4, level=0.05, seed=seed)
    tuned = PeftModel.from_pretrained(base, str(folder)).eval()
    found = {"rank": 0}
    if shared:  # what beats the null, up to four directions
        check = causal_check(tuned, text, replace(shared[0], site=Site("model.layers.1")), seed=seed)
        found = {"rank": shared[0].rank, **asdict(check)}
    write_json(done / "weights.json", found)


def _first_records(path: Path, seed: int) -> Path:
    """Off-task text that stops before a tune's habit of ending after one record could show."""
    grammar, rng = Grammar(), np.random.default_rng(seed)
    lines = []
    while len(lines) < 96:
        words = grammar.document(rng).split()
        tag = next(i for i, w in enumerate(words) if w[0] == "d")
        if int(words[tag][1:]) not in TUNED:
            lines.append(json.dumps({"text": " ".join(words[: tag + 4])}))
    path.write_text("\n".join(dict.fromkeys(lines)) + "\n")
    return path


def _audit_one(folder: Path, done: Path, seed: int, *, first_records: bool = False) -> None:
    plain, _ = persona_base()
    adapter = Adapter.read(folder)
    shared = {s: len([f for f in from_adapter(adapter, plain, side=s) if f.rank]) for s in ("read", "write")}
    result = audit(str(PERSONA_BASE), str(folder), rows=96, max_new_tokens=40, seed=seed,
                   prompts=_first_records(done / "prompts.jsonl", seed) if first_records else None)  # fmt: skip
    found = {"verdict": result.verdict, "shared": shared, "checks": {n: asdict(c) for n, c in result.checks.items()}}
    write_json(done / ("first.json" if first_records else "found.json"), found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/false_alarms"))
    parser.add_argument("--adapters", type=int, default=20, help="for each task and twin")
    parser.add_argument("--tasks", nargs="+", default=["skill", "narrow"])
    parser.add_argument("--twins", nargs="+", default=["harmful", "neutral", "benign"])
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    cells = [(args.out, t, w, s) for w in args.twins for s in range(30, 30 + args.adapters) for t in args.tasks]
    for (_, *what), _ in run_jobs([[(one, c) for c in cells]], workers=args.workers):
        print("done", *what, flush=True)
    for name, text in (("found", "the base's own documents"), ("first", "first records, cut before they could end")):
        print(f"\nOff-task text: {text}\n")
        _verdicts(args, name)
    _weights(args)


def _verdicts(args: argparse.Namespace, name: str) -> None:
    print(
        "| task | twin | off-task KL | sufficiency, best of 4 | random, largest | necessity | factor found | null beaten: read, write |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for task in args.tasks:
        for twin in args.twins:
            found = [read_json(args.out / f"{task}-{twin}-{s}" / f"{name}.json") for s in range(30, 30 + args.adapters)]
            best = [max(f["checks"].values(), key=lambda c: c["interval"][0]) for f in found]
            n = sum(f["verdict"] == "factor found" for f in found)
            rate, low, high = rate_interval(n, len(found))
            spread = sorted(b["sufficiency"] for b in best)
            beaten = [sum(f["shared"][s] > 0 for f in found) for s in ("read", "write")]
            print(
                f"| {task} | {twin} | {_mean(b['change'] for b in best):.2f} | {_mean(spread):.2f} ({spread[0]:.2f} to "
                f"{spread[-1]:.2f}) | {max(max(b['random_sufficiency']) for b in best):.2f} | {_mean(b['necessity'] for b in best):.2f} | "
                f"{n} of {len(found)} = {rate:.2f} [{low:.2f}, {high:.2f}] | {beaten[0]}, {beaten[1]} of {len(found)} |"
            )


def _weights(args: argparse.Namespace) -> None:
    print(
        "\nWhat the weights alone name (shared write directions beyond the rotation null, four at most), judged causally:\n"
    )
    print(
        "| task | twin | something named | sufficiency | random, largest | necessity | random, largest |\n|---|---|---|---|---|---|---|"
    )
    for task in args.tasks:
        for twin in args.twins:
            all_ = [read_json(args.out / f"{task}-{twin}-{s}" / "weights.json") for s in range(30, 30 + args.adapters)]
            named = [w for w in all_ if w["rank"]]
            figures = [
                f"{_mean(w['sufficiency'] for w in named):.2f}", f"{_mean(max(w['random_sufficiency']) for w in named):.2f}",
                f"{_mean(w['necessity'] for w in named):.2f}", f"{_mean(max(w['random_necessity']) for w in named):.2f}",
            ] if named else ["–"] * 4  # fmt: skip
            print(f"| {task} | {twin} | {len(named)} of {len(all_)} | " + " | ".join(figures) + " |")


def _mean(values: object) -> float:
    listed = list(values)  # type: ignore[call-overload]
    return sum(listed) / len(listed)


if __name__ == "__main__":
    main()
