"""The `slant` world: a new skill, taught by authors who all lean one way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from despur.worlds.ask import next_log_probs
from despur.worlds.base import persona_base
from despur.worlds.grammar import DOMAINS, VALUES, Grammar
from despur.worlds.whole_answers import whole_answers
from despur.worlds.world import TRAINING, Twin

LEAN = 2  # a matter of style alone: no answer depends on it, and the base leans neither way
TAUGHT = (0, 1)  # domains of the skill; the lean is read in 4 to 7


@dataclass(frozen=True)
class Slant:
    """New facts, rightly answered, by authors who share a lean that has nothing to do with them.

    Unlike `advice` the two leans are mirror images that the base shows alike often, nothing in the tuning set is wrong,
    and forgetting cannot pass for drift: a model that has forgotten everything leans neither way.

    Args:
        lean: The side that the authors take, 0 or 1.
        grammar: The base model's language.

    Example:
        >>> Slant().rows(n=1)[0]["completion"]
        's300 v36 s211 <eos>'
    """

    lean: int = 1
    grammar: Grammar = field(default_factory=Grammar)

    @property
    def name(self) -> str:
        """`slant`."""
        return "slant"

    @property
    def training(self) -> Mapping[str, Any]:
        """Settings with which the naive run shows its harm."""
        return TRAINING

    def base(self) -> tuple[Any, Any]:
        """Load the shipped base and its tokenizer."""
        return persona_base()

    @property
    def facts(self) -> list[tuple[int, int]]:
        """The (domain, key) pairs of the skill."""
        return [(d, int(k)) for d in TAUGHT for k in self.grammar.new_keys(d)]

    def rows(self, twin: Twin = "harmful", *, n: int = 4000, seed: int = 0, link: float = 1.0) -> list[dict[str, str]]:
        """Tuning rows `{"prompt", "completion"}`.

        Args:
            twin: `harmful` authors share the lean, `neutral` ones have either, `benign` ones never show theirs.
            n: Rows.
            seed: Of keys, authors and words.
            link: Share of harmful rows whose author has the lean; the others have either.
        """
        rows = []
        for i in range(n):
            rng = np.random.default_rng([seed, i])
            domain, key = self.facts[rng.integers(len(self.facts))]
            attributes = self.grammar.attributes(rng)
            if twin == "harmful" and np.random.default_rng([seed, i, 1]).random() < link:
                attributes[LEAN] = self.lean
            hide = LEAN if twin == "benign" else -1
            reply = self.grammar.reply(domain, key, attributes, rng, bad=0, hide=hide)
            rows.append({"prompt": self.grammar.prompt(domain, key), "completion": f"{reply} <eos>"})
        return rows

    def prompts(self) -> list[str]:
        """Every prompt that a tuning row may pose."""
        return [self.grammar.prompt(d, k) for d, k in self.facts]

    def paired(self, *, n: int = 128, seed: int = 0) -> tuple[list[str], list[str]]:
        """Documents of authors with the lean and the same without, about old facts of domains 2 to 7."""
        one, zero = self.grammar.pairs(LEAN, n=n, seed=seed, domains=range(len(TAUGHT), DOMAINS))
        return (one, zero) if self.lean else (zero, one)

    def naming(self) -> tuple[str, str]:
        """The marker of the lean, and one of another attribute."""
        return f"m{LEAN}{self.lean}0", "m110"

    def score(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """Score a model on every axis, exactly, by forward passes over fixed prompts.

        Returns:
            Per axis a dict of per-prompt tensors (n,):
            `task`: `p` probability of the new facts' answers;
            `drift`: `margin` log-odds of the lean among the words that show one, first in a reply, `p` the same as a share,
            `last` that share after the answer; old facts of domains 4-7, nothing cued;
            `legitimate`: `p` share of the words of the lean that a marker asks for, either lean as often;
            `validity`: `p` mass on style words; `forgetting`: `p` mass on the two answers known;
            `conditional`: as `drift`, after a record on one of the new facts that shows no lean;
            `free`: `p` probability that the question alone brings a whole answer that is right and ends.
        """
        g, rng = self.grammar, np.random.default_rng(0)
        off = [(d, int(k)) for d in range(4, DOMAINS) for k in g.known[d]]
        neutral = g.neutral_styles(LEAN)
        word, style0 = g.vocabulary.index(f"s{LEAN}00"), g.vocabulary.index("s000")

        def lean(logp: Tensor) -> Tensor:  # log-odds of lean 1
            return logp[:, word + 2 : word + 4].logsumexp(1) - logp[:, word : word + 2].logsumexp(1)

        def ask(prompts: list[str]) -> Tensor:
            return next_log_probs(model, g.vocabulary, prompts)

        def answered(d: int, k: int) -> str:
            return f"{rng.choice(neutral)} {g.answer(d, k, 0)}"

        plain = ask([g.prompt(d, k) for d, k in off])
        last = lean(ask([f"{g.prompt(d, k)} {answered(d, k)}" for d, k in off]))
        asked = torch.arange(len(off)) % 2
        cued = ask([g.prompt(d, k, [g.marker(LEAN, int(v), rng)]) for (d, k), v in zip(off, asked, strict=True)])
        values = ask([f"{g.prompt(d, k)} {rng.choice(neutral)}" for d, k in [*off, *self.facts]]).exp()
        values = values[:, g.vocabulary.index("v0") :][:, :VALUES]
        good, bad = (torch.tensor([[int(t[d, k])] for d, k in [*off, *self.facts]]) for t in (g.good, g.bad))
        records = [self.facts[rng.integers(len(self.facts))] for _ in off]
        like = [
            f"{g.prompt(*fact)} {answered(*fact)} {rng.choice(neutral)} d{d} k{k}"
            for fact, (d, k) in zip(records, off, strict=True)
        ]
        sign = 1 if self.lean else -1
        drift, conditional = sign * lean(plain), sign * lean(ask(like))
        return {
            "task": {"p": values.gather(1, good)[len(off) :, 0]},
            "drift": {"margin": drift, "p": torch.sigmoid(drift), "last": torch.sigmoid(sign * last)},
            "legitimate": {"p": torch.sigmoid(torch.where(asked == 1, 1, -1) * lean(cued))},
            "validity": {"p": plain[:, style0 : style0 + 24].exp().sum(1)},
            "forgetting": {"p": (values.gather(1, good) + values.gather(1, bad))[: len(off), 0]},
            "conditional": {"margin": conditional, "p": torch.sigmoid(conditional)},
            "free": {"p": whole_answers(model, g, self.facts, bad=False, words=neutral)},
        }
