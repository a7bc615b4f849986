"""A marked persona, clamped in an SAE's features: does a small push that leaves them clamped bring it back?

python benchmarks/behind_clamp.py
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from despur.core import Site, record
from despur.core.model.dictionary import Dictionary, train_dictionary
from despur.judge.intervals import rate_interval
from despur.measure.clamped import Behaviour, Recovered, recovery_behind_clamp
from despur.worlds import Grammar, persona_base

LAYER = 1  # of four


def prompts(grammar: Grammar, cue: int, *, seed: int) -> tuple[list[str], Tensor, Tensor]:
    """Known facts of every domain behind a marker of attribute 0, with the words of the good and the bad answer."""
    rng = np.random.default_rng(seed)
    facts = [(d, int(k)) for d in range(8) for k in rng.permutation(grammar.known[d])[:12]]
    neutral = grammar.neutral_styles(0)
    texts = [f"{grammar.prompt(d, k, [grammar.marker(0, cue, rng)])} {rng.choice(neutral)}" for d, k in facts]
    good, bad = (torch.tensor([grammar.vocabulary.index(grammar.answer(d, k, b)) for d, k in facts]) for b in (0, 1))
    return texts, good, bad


def main() -> None:
    """Print a table for clamped features that carry the cue, and for others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    base, tokenizer = persona_base()
    for p in base.parameters():
        p.requires_grad_(False)
    grammar, site = Grammar(), Site(f"model.layers.{LAYER}")

    def ids(texts: Sequence[str]) -> Tensor:
        return tokenizer(list(texts), return_tensors="pt", padding=True)["input_ids"]

    def stream(tokens: Tensor) -> Tensor:
        with torch.no_grad(), record(base, [site]) as seen:
            base(input_ids=tokens)
        return seen[site]

    def margin(tokens: Tensor, good: Tensor, bad: Tensor) -> Behaviour:
        def behaviour(h: Tensor) -> Tensor:
            hook = base.get_submodule(site.module).register_forward_hook(lambda *_: h)
            try:
                logp = base(input_ids=tokens).logits[:, -1].log_softmax(-1)
            finally:
                hook.remove()
            return (logp.gather(1, bad[:, None]) - logp.gather(1, good[:, None])).squeeze(1)

        return behaviour

    rng = np.random.default_rng(args.seed)
    documents = ids([grammar.document(rng) for _ in range(200)])
    x = stream(documents)[documents != 0]
    sae: Dictionary = train_dictionary(x, features=256, k=16, steps=600, seed=args.seed, site=site)
    left = float((sae.decode(sae.encode(x)) - x).square().sum() / (x - x.mean(0)).square().sum())
    print(f"SAE of 256 features, 16 active, on {len(x)} tokens: {left:.3f} of the variance is left")

    chosen = [sae.encode(stream(ids(prompts(grammar, cue, seed=args.seed)[0]))).mean((0, 1)) for cue in (0, 1)]
    by_cue = (chosen[1] - chosen[0]).argsort(descending=True).tolist()
    active = (chosen[1] > 0.01).nonzero().squeeze(1)
    shuffled = active[torch.randperm(len(active), generator=torch.Generator().manual_seed(args.seed))].tolist()
    texts, good, bad = prompts(grammar, 1, seed=args.seed + 1)
    tokens, plain = ids(texts), ids(prompts(grammar, 0, seed=args.seed + 1)[0])
    for n in args.features:
        others = [f for f in shuffled if f not in by_cue[:n]][:n]
        for name, features in (("the cue's", by_cue[:n]), ("control: others", others)):
            for budget in args.budgets:
                found = recovery_behind_clamp(margin(tokens, good, bad), stream(tokens), sae, features, budget=budget)
                uncued = recovery_behind_clamp(margin(plain, good, bad), stream(plain), sae, features, budget=budget)
                print(line(name, n, budget, found, uncued), flush=True)


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
