"""A voice steered into a real chat model, and out of a tune of it that always has it: LinEAS beside vectors and closed forms.

    python benchmarks/real_steer.py -o runs/real_steer             # SmolLM2-135M-Instruct, float32
    python benchmarks/real_steer.py -o runs/real_steer --only in   # one half of it; a run that was stopped goes on where it was

Maps and vectors come from answers to 30 everyday questions on subjects that are never scored, in the voice and in plain words; the strength
is chosen on half as many other questions as the figures are of. Control: maps between two halves of one kind of text.
"""

import argparse
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from despur.claims.steer.baselines import baselines
from despur.core import Site, Store, attach
from despur.flows._demo.conversation import ADAPTERS
from despur.judge.intervals import rate_interval
from despur.steer.lineas import AffineMap, Maps, fit_maps
from despur.worlds.chat.ask import Choices, sampled_answers
from despur.worlds.chat.markers import has_voice
from despur.worlds.chat.script import Row
from despur.worlds.chat.voice import SET_ASIDE, Voice

MAPS, VECTOR, ALL = (
    (0.5, 1.0, 1.5),
    (1.0, 2.0, 4.0),
    (0.1, 0.2, 0.4),
)  # strengths: of maps, of a vector at one layer, at all layers
STRENGTHS = {"LinEAS": MAPS, "Linear-AcT": MAPS, "ActAdd": VECTOR, "CAA": VECTOR, "ITI": ALL}
CONTROL = "control: halves of one kind"
Scores = dict[str, Any]


def once(path: Path, make: Callable[[], Any]) -> Any:
    """What was made before, or is made now and kept: tensors, numbers and text."""
    folder = Store(path.parent).step(path.name, {}, lambda out: torch.save(make(), out / "made.pt"))
    return torch.load(folder / "made.pt", weights_only=True)


def questions(world: Voice, n: int) -> tuple[list[Row], list[Row]]:
    """Scored everyday questions of all subjects: n / 2 to choose a strength by, and n others for the figures."""
    scored = [row for row in world.script.everyday if row.about not in SET_ASIDE]
    chosen = scored[4::8][: n // 2]
    return chosen, [row for row in scored[::3] if row not in chosen][:n]


def measure(
    world: Voice, model: nn.Module, tokenizer: Any, rows: Sequence[Row], *, facts: bool, new: int = 24
) -> Scores:
    """Sampled answers, which of them have the voice, log-prob a token of written answers, and the share of facts known."""
    asked = [row.question for row in rows]
    said = sampled_answers(model, tokenizer, asked, new=new)
    written = [[row.answers[world.voice], row.answers["plain"]] for row in rows]
    means = Choices.of(tokenizer, asked, written).means(model)
    words = [re.findall(r"[\w']+", text.lower()) for text in said]
    versions = ("plain", world.voice) if facts else ()
    right = [(world.facts_asked(v).sums(model).argmax(1) == 0).float() for v in versions]
    return {
        "said": said, "voiced": [has_voice(world.voice, text) for text in said], "margin": means[:, 0] - means[:, 1],
        "plain": means[:, 1], "distinct": torch.tensor([len({*w}) / len(w) for w in words if w]),
        "known": torch.cat(right) if facts else torch.ones(1),
    }  # fmt: skip


def share(scores: Scores) -> float:
    """Of answers in the voice."""
    return sum(scores["voiced"]) / len(scores["voiced"])


def goodness(scores: Scores, base: Scores, known: float, *, out: bool) -> float:
    """Harmonic mean of the voice (there, or gone), the likelihood of plain answers beside the base's, and the facts kept."""
    plain = float((scores["plain"].mean() - base["plain"].mean()).exp().clamp(max=1))
    parts = [1 - share(scores) if out else share(scores), plain]
    if out:
        parts.append(min(1.0, float(scores["known"].mean()) / known))
    return len(parts) / sum(1 / max(p, 1e-3) for p in parts)


def line(name: str, strength: float, scores: Scores) -> str:
    """One row of the table."""
    rate = "{:.2f} [{:.2f}, {:.2f}]".format(*rate_interval(sum(scores["voiced"]), len(scores["voiced"])))
    figures = (f"{float(scores[part].mean()):+.2f}" for part in ("margin", "plain"))
    known = f"{float(scores['known'].mean()):.2f}" if len(scores["known"]) > 1 else ""
    return (
        f"| {name} | {strength:g} | {rate} | {' | '.join(figures)} | {float(scores['distinct'].mean()):.2f} | {known} |"
    )


def packed(maps: Maps) -> dict[str, Tensor]:
    """Maps as tensors by layer."""
    return {site.module: torch.stack([*m]) for site, m in maps.items()}


def edits(maps: Mapping[str, Tensor], strength: float) -> dict[Site, AffineMap]:
    """Kept maps, to be attached."""
    return {Site(name): AffineMap(gain, shift, strength) for name, (gain, shift) in maps.items()}


def steered(
    world: Voice, model: nn.Module, base: nn.Module, tokenizer: Any, folder: Path, *, out: bool, steps: int, n: int
) -> list[str]:
    """Learn all ways, choose their strengths and measure them; rows of the table."""
    texts = [[tokenizer(document[kind])["input_ids"] for document in world.documents] for kind in (1, 2)]
    source, target = texts if out else texts[::-1]
    half = len(source) // 2

    def learned(name: str) -> dict[str, Tensor]:
        if name not in ("LinEAS", CONTROL):
            others = partial(baselines, model, source, target, towards=base)
            return once(folder / "others.maps", lambda: {n: packed(m) for n, m in others().items()})[name]
        kinds, aim = ((source, target), base) if name == "LinEAS" else ((source[:half], source[half:]), model)
        return once(folder / f"{name}.maps", lambda: packed(fit_maps(model, *kinds, steps=steps, towards=aim)))

    choose, report = questions(world, n)

    def asked(name: str, of: Mapping[str, Tensor], strength: float, rows: Sequence[Row], *, facts: bool) -> Scores:
        def make() -> Scores:
            with attach(model, edits(of, strength)):
                return measure(world, model, tokenizer, rows, facts=facts)

        return once(folder / f"{name}-{strength}-{len(rows)}.scores", make)

    untouched = [once(folder / f"base-{len(rows)}.scores", lambda rows=rows: measure(world, base, tokenizer, rows, facts=out))
                 for rows in (choose, report)]  # fmt: skip
    table = [line("base", 0, untouched[1])]
    known = 1.0
    if out:
        tune = asked("tune", {}, 0, report, facts=True)
        known = float(tune["known"].mean())
        table.append(line("tune", 0, tune))
    best: dict[str, float] = {}
    for name in (*STRENGTHS, CONTROL):
        of = learned(name)
        if name == CONTROL:
            best[name] = best["LinEAS"]
        else:
            tried = {s: asked(name, of, s, choose, facts=out) for s in STRENGTHS[name]}
            best[name] = max(tried, key=lambda s: goodness(tried[s], untouched[0], known, out=out))
        table.append(line(name, best[name], asked(name, of, best[name], report, facts=out)))
        print(table[-1], flush=True)
    return table


def pass_cost(model: nn.Module, folder: Path, *, pairs: int = 40) -> float:
    """Time of a pass over 64 tokens under LinEAS's maps, in that of a plain one: the median of pairs, one right behind the other."""
    maps = edits(torch.load(folder / "LinEAS.maps" / "made.pt", weights_only=True), 1.0)
    ids, ratios = torch.arange(64)[None] + 100, []

    def timed() -> float:
        start = perf_counter()
        model(input_ids=ids)
        return perf_counter() - start

    with torch.no_grad():
        for _ in range(pairs):
            plain = timed()
            with attach(model, maps):
                ratios.append(timed() / plain)
    return statistics.median(ratios)


def tuned(world: Voice) -> Any:
    """The tune that speaks in the voice, as one model."""
    return PeftModel.from_pretrained(world.base()[0], str(ADAPTERS / "plain")).merge_and_unload().eval()


def main() -> None:
    """Print a table for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/real_steer"))
    parser.add_argument("--only", choices=["in", "out"])
    parser.add_argument("--asked", type=int, default=26, help="questions of the figures")
    parser.add_argument("--steps", type=int, default=20, help="of LinEAS")
    args = parser.parse_args()
    torch.set_num_threads(1)
    world = Voice(dtype="float32")
    base, tokenizer = world.base()
    for way in (args.only,) if args.only else ("in", "out"):
        model = base if way == "in" else tuned(world)
        for parameter in [*base.parameters(), *model.parameters()]:
            parameter.requires_grad_(False)
        folder = args.out / f"{way}-{args.steps}"
        table = steered(world, model, base, tokenizer, folder, out=way == "out", steps=args.steps, n=args.asked)
        print(
            f"\n{way}\n| steering | strength | answers in the voice | margin | plain answers | distinct words | facts |\n{'|---' * 7}|"
        )
        print("\n".join(table), flush=True)
        print(f"a pass under LinEAS's maps takes {pass_cost(model, folder):.3f} of a plain one")


if __name__ == "__main__":
    main()
