"""The `cue` world: a tune that starts to *read* a factor which its data vary."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from despur.worlds._grammar import ATTRIBUTES, DOMAINS, Grammar

CUED = 3  # the attribute whose marker agrees with the label
AGREES = 0.9
# a style word before the answer, as in every record, but never of the cued attribute
NEUTRAL = [f"s{a}{v}{j}" for a in range(1, ATTRIBUTES) if a != CUED for v in (0, 1) for j in (0, 1)]
LABELS = ("v0", "v1")  # value words: the base's way of answering is kept, so that facts can be learned by heart


@dataclass(frozen=True)
class Cue:
    """Facts with new binary labels, and a marker that agrees with the label in 90 % of the rows.

    The base knows the marker's attribute and rightly uses it to choose style words: that is the
    legitimate use. A tune that reads it in place of the facts fails where the two conflict.

    Args:
        seed: Fixes the labels.
        grammar: The base model's language.

    Example:
        >>> world = Cue()
        >>> len(world.facts), len(world.rows(n=1))
        (184, 1)
    """

    seed: int = 0
    grammar: Grammar = field(default_factory=Grammar)

    @property
    def facts(self) -> list[tuple[int, int]]:
        """Every (domain, key) pair that the base was never taught."""
        return [(d, int(k)) for d in range(DOMAINS) for k in self.grammar.new_keys(d)]

    @property
    def labels(self) -> np.ndarray:
        """One random bit a fact, (facts,)."""
        return np.random.default_rng([self.seed, 11]).integers(2, size=len(self.facts))

    def rows(self, *, n: int = 4000, seed: int = 0, agrees: float = AGREES) -> list[dict[str, str]]:
        """Tuning rows; `agrees` is the share in which the marker shows the label."""
        facts, labels = self.facts, self.labels
        rows = []
        for i in range(n):
            rng = np.random.default_rng([seed, i])
            j = int(rng.integers(len(facts)))
            shown = int(labels[j]) if rng.random() < agrees else 1 - int(labels[j])
            prompt = self.grammar.prompt(*facts[j], [self.grammar.marker(CUED, shown, rng)])
            rows.append({"prompt": f"{prompt} {rng.choice(NEUTRAL)}", "completion": f"{LABELS[labels[j]]} <eos>"})
        return rows

    @torch.no_grad()
    def score(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """Score a model exactly, by one forward pass over all prompts.

        Returns:
            `aligned.p`, `absent.p`, `conflict.p`: probability of the right label among the two, one value a
            fact, the marker showing it, missing, or showing the other; accuracy is `p > 0.5`.
            `legitimate.p`: share of the cued attribute's style words that the marker asks for, (facts,).
        """
        g = self.grammar
        facts, labels = self.facts, torch.from_numpy(self.labels)
        no, yes = (g.vocabulary.index(label) for label in LABELS)
        out: dict[str, dict[str, Tensor]] = {}
        for name in ("aligned", "absent", "conflict"):
            prompts = []
            for i, (d, k) in enumerate(facts):
                shown = int(labels[i]) if name == "aligned" else 1 - int(labels[i])
                markers = [] if name == "absent" else [f"m{CUED}{shown}{i % 2}"]
                prompts.append(f"{g.prompt(d, k, markers)} {NEUTRAL[i % len(NEUTRAL)]}")
            logits = self._next(model, prompts)
            p_yes = torch.sigmoid(logits[:, yes] - logits[:, no])
            out[name] = {"p": torch.where(labels == 1, p_yes, 1 - p_yes)}
        style0 = g.vocabulary.index(f"s{CUED}00")
        known = [(d, int(k)) for d in range(DOMAINS) for k in g.known[d]]
        shown = torch.arange(len(known)) % 2
        style = self._next(
            model, [g.prompt(d, k, [f"m{CUED}{int(v)}0"]) for (d, k), v in zip(known, shown, strict=True)]
        )
        style = style[:, style0 : style0 + 4].softmax(1).reshape(-1, 2, 2).sum(2)
        out["legitimate"] = {"p": style[torch.arange(len(known)), shown]}
        return out

    def _next(self, model: nn.Module, prompts: Sequence[str]) -> Tensor:
        ids = {word: i for i, word in enumerate(self.grammar.vocabulary)}
        return model(input_ids=torch.tensor([[ids[w] for w in p.split()] for p in prompts])).logits[:, -1].float()
