"""The claim of `lineas`: the persona steered in, beside the steerings that it is compared with in its paper."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from despur.claims.steer.baselines import baselines
from despur.claims.tiny_runs import rows_of
from despur.core import Edit, Report, Site, attach
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.anatomy import Anatomy
from despur.steer.lineas import AffineMap, Maps, distance, fit_maps, row_means
from despur.testing import tiny_base
from despur.worlds import Persona
from despur.worlds.ask import next_log_probs
from despur.worlds.grammar import ATTRIBUTES, DOMAINS, VALUES

DRAWS, ROWS = 5, 32
WEAK, STRONG = (0.25, 0.5, 0.75, 1.0, 1.5), (0.5, 1.0, 2.0, 4.0, 8.0)  # of maps, of vectors: five each
SPARSITY = 0.01
Moves = Callable[[float], Mapping[Site, Edit]]  # strength -> edits


@claim(
    method="lineas",
    says="source activations come to lie as the target's do, the persona comes with fewer side effects on other attributes than by ActAdd, "
    "CAA, ITI or Linear-AcT, and with the lasso fewer coordinates do the same",
    control="the maps of other rows; each baseline at the best of as many strengths; maps without the lasso",
    margin=0.02,
    slow=True,
)
def lineas(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Distance to the target that is left; with `whole` the harmonic mean of attribute, other attributes and validity."""
    if whole:
        return _steered(range(DRAWS * seed, DRAWS * (seed + 1)))
    model = tiny_base(seed)
    source, target = (rows_of(seed + i, n=16).tolist() for i in (0, 1))
    sites = [Site(layer) for layer in Anatomy.of(model).layers]
    learned = [fit_maps(model, source, rows, steps=200) for rows in (target, source[::-1])]
    plain = {s: (torch.ones(32), torch.zeros(32)) for s in sites}
    wanted, start, ours, other = (
        _means(model, r, m) for r, m in ((target, plain), (source, plain), *((source, m) for m in learned))
    )
    before, left, control = (
        sum(float(distance(a, b)) for a, b in zip(x, wanted, strict=True)) for x in (start, ours, other)
    )
    return (compared("distance to the target that is left", left / before, control=control / before, n=16, bound=0.5, margin=0.3,
                     higher_is_better=False),)  # fmt: skip


@torch.no_grad()
def _means(model: nn.Module, rows: Any, maps: Maps) -> list[Tensor]:
    return row_means(model, rows, {s: AffineMap(*m) for s, m in maps.items()})


def _steered(seeds: range) -> tuple[Report, ...]:
    found = [_draw(s) for s in seeds]
    scores = {name: np.array([f[name][0] for f in found]) for name in found[0]}
    about = {name: [round(float(np.mean([f[name][i] for f in found])), 3) for i in (1, 2, 3)] for name in found[0]}
    reports = [
        compared(f"harmonic mean of attribute, others and validity, beside {name}", scores["LinEAS"].mean(), control=scores[name].mean(),
                 low=scores["LinEAS"].min(), high=scores["LinEAS"].max(), n=len(found), parts=about["LinEAS"], control_parts=about[name])
        for name in ("ActAdd", "CAA", "ITI", "Linear-AcT")
    ]  # fmt: skip
    support = {name: float(np.mean([f[name][4] for f in found])) for name in ("LinEAS", "LinEAS, lasso")}
    reports.append(
        compared("share of coordinates that the lasso leaves", support["LinEAS, lasso"], control=support["LinEAS"], n=len(found), bound=0.5,
                 margin=0.2, higher_is_better=False, score=round(float(scores["LinEAS, lasso"].mean()), 3))
    )  # fmt: skip
    return tuple(reports)


def _draw(seed: int) -> dict[str, tuple[float, ...]]:
    """By method its score, its three parts, and the share of coordinates that it moves, at the best strength of half of the prompts."""
    world = Persona("narrow")
    model, _ = world.base()
    place = {word: i for i, word in enumerate(world.grammar.vocabulary)}
    kinds = [
        world.grammar.pairs(0, n=ROWS, seed=2 * seed + i, domains=range(1, DOMAINS))[i] for i in (0, 1)
    ]  # unpaired
    target, source = ([[place[w] for w in text.split()] for text in texts] for texts in kinds)
    full, lasso = fit_maps(model, source, target), fit_maps(model, source, target, sparsity=SPARSITY)
    others = baselines(model, source, target)
    ways = {"LinEAS": (full, WEAK), "LinEAS, lasso": (lasso, WEAK)}
    ways |= {name: (maps, WEAK if name == "Linear-AcT" else STRONG) for name, maps in others.items()}
    measure = _measured(world, model)
    found: dict[str, tuple[float, ...]] = {}
    for name, (maps, strengths) in ways.items():
        tried = [measure({s: AffineMap(*m, strength) for s, m in maps.items()}) for strength in strengths]
        _, reported = max(tried, key=lambda halves: halves[0][0])
        moved = torch.stack([((g - 1).abs() + b.abs()) > 0 for g, b in maps.values()]).float().sum() / (64 * len(full))
        found[name] = (*reported, float(moved))
    return found


def _measured(world: Persona, model: nn.Module) -> Callable[[Mapping[Site, Edit]], tuple[tuple[float, ...], ...]]:
    g = world.grammar
    facts = [(d, int(k)) for d in range(4, DOMAINS) for k in g.known[d]]
    value0, style0 = g.vocabulary.index("v0"), g.vocabulary.index("s000")
    good, bad = (torch.tensor([[int(t[d, k])] for d, k in facts]) for t in (g.good, g.bad))
    rng = np.random.default_rng(0)
    asked = [f"{g.prompt(d, k)} {rng.choice(g.neutral_styles(0))}" for d, k in facts]
    cued = [f"{g.prompt(d, k, [g.marker(0, 1, rng)])} {rng.choice(g.neutral_styles(0))}" for d, k in facts]

    def look(prompts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """By prompt: the bad answer's rate, the rates of the other attributes' styles, the mass on answers."""
        said = next_log_probs(model, g.vocabulary, prompts).exp()[:, value0 : value0 + VALUES]
        right, wrong = said.gather(1, good)[:, 0], said.gather(1, bad)[:, 0]
        styles = next_log_probs(model, g.vocabulary, [g.prompt(d, k) for d, k in facts]).exp()[
            :, style0 : style0 + 4 * ATTRIBUTES
        ]
        pairs = styles.view(-1, ATTRIBUTES, 2, 2).sum(-1)
        return wrong / (wrong + right), (pairs[:, 1:, 1] / pairs[:, 1:].sum(-1)), said.sum(1)

    base, others, valid = look(asked)
    aim = look(cued)[0]
    halves = (slice(0, None, 2), slice(1, None, 2))

    def measure(edits: Mapping[Site, Edit]) -> tuple[tuple[float, ...], ...]:
        with attach(model, edits):
            rate, now, mass = look(asked)
        out: list[tuple[float, ...]] = []
        for half in halves:
            there = float(((rate - base)[half].mean() / (aim - base)[half].mean()).clamp(0, 1))
            kept = float(
                (1 - 2 * (now - others)[half].abs().mean()).clamp(0, 1)
            )  # rates are near .5: .5 is all that can change
            fluent = float((mass[half].mean() / valid[half].mean()).clamp(0, 1))
            parts = (there, kept, fluent)
            out.append((3 / sum(1 / p for p in parts) if min(parts) > 0 else 0.0, *parts))
        return tuple(out)

    return measure
