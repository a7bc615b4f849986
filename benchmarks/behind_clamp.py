"""A marked persona, clamped in an SAE's features: does a small push that leaves them clamped bring it back?

python benchmarks/behind_clamp.py --features 8                       # a top-k SAE behind one layer
python benchmarks/behind_clamp.py --features 8 --kind jumprelu
python benchmarks/behind_clamp.py --features 8 --layers 1 2 3        # clamped in three layers, pushed behind the first
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from torch import Tensor

from despur.core import Site, record
from despur.core.model.dictionary import Dictionary, train_dictionary
from despur.judge.intervals import rate_interval
from despur.measure.clamped import Recovered, clamp, recovery_behind_clamp
from despur.measure.clamped_layers import recovery_across_layers
from despur.worlds import Grammar, persona_base


def prompts(grammar: Grammar, cue: int, *, seed: int) -> tuple[list[str], Tensor, Tensor]:
    """Known facts of every domain behind a marker of attribute 0, with the words of the good and the bad answer."""
    rng = np.random.default_rng(seed)
    facts = [(d, int(k)) for d in range(8) for k in rng.permutation(grammar.known[d])[:12]]
    neutral = grammar.neutral_styles(0)
    texts = [f"{grammar.prompt(d, k, [grammar.marker(0, cue, rng)])} {rng.choice(neutral)}" for d, k in facts]
    good, bad = (torch.tensor([grammar.vocabulary.index(grammar.answer(d, k, b)) for d, k in facts]) for b in (0, 1))
    return texts, good, bad


class World:
    """The base, what it reads of prompts, and how much it prefers the bad answer."""

    def __init__(self) -> None:
        self.base, self.tokenizer = persona_base()
        for p in self.base.parameters():
            p.requires_grad_(False)
        self.grammar = Grammar()

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Of texts, padded."""
        return self.tokenizer(list(texts), return_tensors="pt", padding=True)["input_ids"]

    def stream(self, tokens: Tensor, layer: int) -> Tensor:
        """Behind a layer."""
        site = Site(f"model.layers.{layer}")
        with torch.no_grad(), record(self.base, [site]) as seen:
            self.base(input_ids=tokens)
        return seen[site]

    def margin(
        self, tokens: Tensor, good: Tensor, bad: Tensor, hooks: Mapping[int, Callable[[Tensor], Tensor]]
    ) -> Tensor:
        """Log-odds of the bad answer, layers' streams replaced."""
        with ExitStack() as stack:
            for layer, hook in hooks.items():
                module = self.base.get_submodule(f"model.layers.{layer}")
                stack.callback(module.register_forward_hook(lambda m, i, x, hook=hook: hook(x)).remove)
            logp = self.base(input_ids=tokens).logits[:, -1].log_softmax(-1)
        return (logp.gather(1, bad[:, None]) - logp.gather(1, good[:, None])).squeeze(1)


def main() -> None:
    """Print a table for clamped features that carry the cue, and for others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, nargs="+", default=[4, 16], help="that are clamped, of each layer")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    parser.add_argument("--kind", choices=["topk", "jumprelu"], default="topk")
    parser.add_argument(
        "--layers", type=int, nargs="+", default=[1], help="that are clamped, of four; the push is behind the lowest"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    world, rng = World(), np.random.default_rng(args.seed)
    documents = world.ids([world.grammar.document(rng) for _ in range(200)])
    saes: dict[int, Dictionary] = {}
    by_cue: dict[int, list[int]] = {}
    others: dict[int, list[int]] = {}
    for layer in args.layers:
        x = world.stream(documents, layer)[documents != 0]
        sae = saes[layer] = train_dictionary(x, features=256, k=16, kind=args.kind, steps=600, seed=args.seed)
        features = sae.encode(x)
        left = float((sae.decode(features) - x).square().sum() / (x - x.mean(0)).square().sum())
        print(
            f"layer {layer}: {args.kind} SAE of 256 features, {float((features > 0).sum(1).float().mean()):.1f} active, "
            f"on {len(x)} tokens: {left:.3f} of the variance is left"
        )
        cued = [
            sae.encode(world.stream(world.ids(prompts(world.grammar, cue, seed=args.seed)[0]), layer)).mean((0, 1))
            for cue in (0, 1)
        ]
        by_cue[layer] = (cued[1] - cued[0]).argsort(descending=True).tolist()
        active = (cued[1] > 0.01).nonzero().squeeze(1)
        others[layer] = active[torch.randperm(len(active), generator=torch.Generator().manual_seed(args.seed))].tolist()
    texts, good, bad = prompts(world.grammar, 1, seed=args.seed + 1)
    tokens, plain = world.ids(texts), world.ids(prompts(world.grammar, 0, seed=args.seed + 1)[0])
    for n in args.features:
        cue = {layer: by_cue[layer][:n] for layer in args.layers}
        rest = {layer: [f for f in others[layer] if f not in cue[layer]][:n] for layer in args.layers}
        for name, chosen in (("the cue's", cue), ("control: others", rest)):
            for budget in args.budgets:
                if len(saes) == 1:
                    ((layer, sae),) = saes.items()
                    search = partial(single, world, good, bad, layer, sae, chosen[layer], budget)
                    found, uncued = search(tokens), search(plain)
                    print(line(name, n, budget, found, uncued), flush=True)
                    continue
                for free in (False, True):
                    search = partial(across, world, good, bad, saes, chosen, budget, free=free)
                    figures = [search(tokens, cued=True), search(plain, cued=False)]
                    print(
                        f"{name} {n}, budget {budget}{', free' * free}: {figures[0]}; uncued {figures[1]}", flush=True
                    )


def single(
    world: World, good: Tensor, bad: Tensor, layer: int, sae: Dictionary, features: Sequence[int], budget: float, tokens: Tensor
) -> Recovered:  # fmt: skip
    """The search behind the clamp of one layer."""

    def behaviour(h: Tensor) -> Tensor:
        return world.margin(tokens, good, bad, {layer: lambda _: h})

    return recovery_behind_clamp(behaviour, world.stream(tokens, layer), sae, features, budget=budget)


def across(
    world: World, good: Tensor, bad: Tensor, saes: Mapping[int, Dictionary], chosen: Mapping[int, Sequence[int]], budget: float,
    tokens: Tensor, *, cued: bool, free: bool,
) -> str:  # fmt: skip
    """The search where features of several layers are clamped, in words: of prompts that the clamps stop, or that never asked."""
    first = min(saes)

    def behaviour(h: Tensor) -> tuple[Tensor, Tensor]:
        reads = [saes[first].read(h)[..., list(chosen[first])].flatten(1)]

        def later(layer: int, x: Tensor) -> Tensor:
            reads.append(saes[layer].read(x)[..., list(chosen[layer])].flatten(1))
            return clamp(x, saes[layer], chosen[layer])

        hooks = {layer: (lambda _: h) if layer == first else partial(later, layer) for layer in saes}
        return world.margin(tokens, good, bad, hooks), torch.cat(reads, 1)

    stream = world.stream(tokens, first)
    shown = world.margin(tokens, good, bad, {}) > 0
    found = recovery_across_layers(
        behaviour, clamp(stream, saes[first], chosen[first]), budget=budget, steps=30, constrained=not free
    )
    valid = (shown if cued else ~shown) & ~found.with_clamps
    back = found.back & valid
    rate = rate_interval(int(back.sum()), int(valid.sum())) if valid.any() else (float("nan"),) * 3
    return "back {} of {} {:.2f} [{:.2f}, {:.2f}], push {:.3f}, reactivated {:.1e} (at most {:.1e})".format(
        int(back.sum()),
        int(valid.sum()),
        *rate,
        float(found.length.mean()),
        float(found.reactivated.median()),
        float(found.reactivated.max()),
    )


def line(name: str, n: int, budget: float, found: Recovered, uncued: Recovered) -> str:
    """One row of the table."""
    valid, back = found.valid, found.back & found.valid
    rate = rate_interval(int(back.sum()), int(valid.sum())) if valid.any() else (float("nan"),) * 3
    some = back if back.any() else torch.ones_like(back)
    never = ~uncued.without_clamp
    figures = [
        f"valid {int(valid.sum())} of {int(found.without_clamp.sum())}", "back {:.2f} [{:.2f}, {:.2f}]".format(*rate),
        f"drift {float(found.drift[some].mean()):.3f}", f"reactivated {float(found.reactivated.max()):.1e}",
        f"push {float(found.length[some].mean()):.3f}", f"by the rest {int((found.by_rest & back).sum())}",
        f"by clamped {int((found.by_clamped & back).sum())}", f"uncued {int((uncued.back & never).sum())} of {int(never.sum())}",
    ]  # fmt: skip
    return f"{name} {n}, budget {budget}: " + ", ".join(figures)


if __name__ == "__main__":
    main()
