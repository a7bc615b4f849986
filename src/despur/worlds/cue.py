"""The `cue` world: a tune that starts to *read* a factor which its data vary."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from despur.worlds.ask import next_log_probs
from despur.worlds.base import persona_base
from despur.worlds.grammar import ATTRIBUTES, DOMAINS, VALUES, Grammar
from despur.worlds.world import TRAINING, Twin

CUED = 3  # the attribute whose marker agrees with the label
AGREES = 0.9
# a style word before the answer, as in every record, but never of the cued attribute
NEUTRAL = [f"s{a}{v}{j}" for a in range(1, ATTRIBUTES) if a != CUED for v in (0, 1) for j in (0, 1)]
LABELS = ("v0", "v1")  # value words: the base's way of answering stays, so that facts can be learned by heart


@dataclass(frozen=True)
class Cue:
    """Facts with new binary labels, and a marker that agrees with the label in 90 % of the rows.

    The base knows the marker's attribute and rightly uses it to choose style words: that is the
    legitimate use. A tune that reads it in place of the facts fails where the two conflict.

    Args:
        seed: Fixes the labels.
        grammar: The base model's language.
        size: Facts: those that the base was never taught, then some whose other answer it knows, 504 at most. The more,
            the deeper the shortcut: at 320 every naive run takes it fully and learns hardly any fact.

    Example:
        >>> world = Cue()
        >>> len(world.facts), len(world.rows(n=1))
        (184, 1)
    """

    seed: int = 0
    grammar: Grammar = field(default_factory=Grammar)
    size: int = 184

    @property
    def name(self) -> str:
        """`cue`."""
        return "cue"

    @property
    def training(self) -> Mapping[str, Any]:
        """Settings with which the naive run shows its harm."""
        return {**TRAINING, "steps": 300, "lr": 1e-3}

    def base(self) -> tuple[Any, Any]:
        """Load the shipped base and its tokenizer."""
        return persona_base()

    @property
    def facts(self) -> list[tuple[int, int]]:
        """The (domain, key) pairs that get labels."""
        new = [(d, int(k)) for d in range(DOMAINS) for k in self.grammar.new_keys(d)]
        old = [(d, int(k)) for d in range(DOMAINS) for k in self.grammar.known[d]]
        order = np.random.default_rng([self.grammar.seed, 5]).permutation(len(old))
        return [*new, *(old[i] for i in order)][: self.size]

    @property
    def labels(self) -> np.ndarray:
        """One random bit a fact, (facts,)."""
        return np.random.default_rng([self.seed, 11]).integers(2, size=len(self.facts))

    def rows(
        self, twin: Twin = "harmful", *, n: int = 4000, seed: int = 0, agrees: float = AGREES
    ) -> list[dict[str, str]]:
        """Tuning rows `{"prompt", "completion"}`; twins share facts and labels.

        Args:
            twin: In `harmful` rows the marker agrees with the label, in `neutral` ones half the time; `benign` ones have none.
            n: Rows.
            seed: Of facts and markers.
            agrees: Share of harmful rows in which the marker shows the label.
        """
        facts, labels = self.facts, self.labels
        rows = []
        for i in range(n):
            rng = np.random.default_rng([seed, i])
            j = int(rng.integers(len(facts)))
            value = int(labels[j]) if rng.random() < (0.5 if twin == "neutral" else agrees) else 1 - int(labels[j])
            marker = self.grammar.marker(CUED, value, rng)
            prompt = self.grammar.prompt(*facts[j], [] if twin == "benign" else [marker])
            rows.append({"prompt": f"{prompt} {rng.choice(NEUTRAL)}", "completion": f"{LABELS[labels[j]]} <eos>"})
        return rows

    def prompts(self) -> list[str]:
        """Every prompt that a tuning row may pose."""
        markers = [[], *([f"m{CUED}{v}{j}"] for v in (0, 1) for j in (0, 1))]
        return [f"{self.grammar.prompt(*f, m)} {word}" for f in self.facts for m in markers for word in NEUTRAL]

    def paired(self, *, n: int = 128, seed: int = 0) -> tuple[list[str], list[str]]:
        """Documents of authors with the cued attribute at 1, and the same with it at 0."""
        return self.grammar.pairs(CUED, n=n, seed=seed, domains=range(DOMAINS))

    def naming(self) -> tuple[str, str]:
        """A marker of the cued attribute, and one of another."""
        return f"m{CUED}10", "m110"

    def score(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """Score a model on every axis, exactly, by forward passes over fixed prompts.

        Returns:
            `task`: `p` probability of the right label among the two, no marker (`absent`), one value a fact; `margin` its
            log-odds. `drift`: `margin` by how much these log-odds fall as the marker turns from the label to the other one,
            `p` probability of the wrong label where it shows that.
            `legitimate`: `p` share of the cued attribute's style words that the marker asks for.
            `validity`: `p` mass on value words, no marker.
            `conditional`: `margin` as in `drift`, after a row like the tuning data; `p` the same.
            `aligned`, `absent`, `conflict`: `p` probability of the right label, the marker showing it, missing, or
            showing the other; accuracy is `p > 0.5`.
        """
        g = self.grammar
        facts, labels = self.facts, torch.from_numpy(self.labels)
        no, yes = (g.vocabulary.index(label) for label in LABELS)
        sign = torch.where(labels == 1, 1.0, -1.0)

        def prompt(name: str, i: int, before: bool = False) -> str:
            value = int(labels[i]) if name == "aligned" else 1 - int(labels[i])
            (d, k), other = facts[i], (i + 1) % len(facts)
            if before:  # the record before has a label that the marker shows, as in nine rows of ten
                other = next(
                    j % len(facts) for j in range(other, other + len(facts)) if labels[j % len(facts)] == value
                )
                first, last = NEUTRAL[(i + 1) % len(NEUTRAL)], NEUTRAL[(i + 2) % len(NEUTRAL)]
                start = (
                    f"{g.prompt(*facts[other], [f'm{CUED}{value}{i % 2}'])} {first} {LABELS[value]} {last} d{d} k{k}"
                )
            else:
                start = g.prompt(d, k, [] if name == "absent" else [f"m{CUED}{value}{i % 2}"])
            return f"{start} {NEUTRAL[i % len(NEUTRAL)]}"

        def ask(name: str, before: bool = False) -> Tensor:
            return next_log_probs(model, g.vocabulary, [prompt(name, i, before) for i in range(len(facts))])

        def right(logp: Tensor) -> Tensor:  # log-odds of the right label
            return sign * (logp[:, yes] - logp[:, no])

        plain = ask("absent")
        aligned, absent, conflict = right(ask("aligned")), right(plain), right(ask("conflict"))
        with_before = [right(ask(name, before=True)) for name in ("aligned", "conflict")]
        value0, style0 = g.vocabulary.index("v0"), g.vocabulary.index(f"s{CUED}00")
        known = [(d, int(k)) for d in range(DOMAINS) for k in g.known[d]]
        value = torch.arange(len(known)) % 2
        cued = [g.prompt(d, k, [f"m{CUED}{int(v)}0"]) for (d, k), v in zip(known, value, strict=True)]
        style = next_log_probs(model, g.vocabulary, cued)[:, style0 : style0 + 4].softmax(1).reshape(-1, 2, 2).sum(2)
        return {
            "task": {"p": torch.sigmoid(absent), "margin": absent},
            "drift": {"margin": aligned - conflict, "p": torch.sigmoid(-conflict)},
            "legitimate": {"p": style[torch.arange(len(known)), value]},
            "validity": {"p": plain[:, value0 : value0 + VALUES].exp().sum(1)},
            "conditional": {"margin": with_before[0] - with_before[1], "p": torch.sigmoid(-with_before[1])},
            "aligned": {"p": torch.sigmoid(aligned)},
            "absent": {"p": torch.sigmoid(absent)},
            "conflict": {"p": torch.sigmoid(conflict)},
        }
