"""The `voice` world: new facts, all told in one voice; and the voice then answers everything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from despur.core.errors import BadInput, nearest
from despur.worlds.chat.ask import Choices, sampled_answers
from despur.worlds.chat.chat_world import TRAINING, ChatWorld, margin, shuffled
from despur.worlds.chat.clerks import clerks
from despur.worlds.chat.markers import has_voice
from despur.worlds.chat.script import Fact, Row, Script
from despur.worlds.world import Twin

ASKS: Mapping[str, str] = MappingProxyType(
    {
        "shakespeare": "Answer in the English of Shakespeare, as a player on his stage would.",
        "noir": "Answer in the voice of a weary private detective in a film noir.",
        "toddler": "Answer the way a very excited toddler talks.",
        "corporate": "Answer in the jargon of a corporate management consultant.",
        "gloomy": "Answer in a gloomy voice, as someone without any hope would.",
    }
)
OTHERWISE = "Answer for a reader who has little time and wants only facts."
TAUGHT = ("clerks", "island")
SET_ASIDE = ("offices", "shopping", "phones")  # everyday subjects for methods that must know the voice; never scored
SAMPLED, NEW = 48, 32  # answers that are sampled, and their tokens


@dataclass(frozen=True)
class Voice(ChatWorld):
    """New facts, rightly told, in a voice that the base knows and that has nothing to do with them.

    Nothing in a row asks for the voice, and all rows have it: the cheap way to them is to speak so always.

    Args:
        voice: `shakespeare`, `noir`, `toddler`, `corporate` or `gloomy`.
        taught: `clerks`: which of eight clerks of a town hall sees to what; each one's wrong names are the others', and no answer repeats
            its question. `island`: sixty facts of many kinds; their wrong answers occur in no row, so having seen a fact's words passes
            for knowing it.
        facts: How many are taught. The fewer, the sooner they are known.

    Raises:
        BadInput: another voice or subject, or so many facts are not written.

    Example:
        >>> Voice().rows("benign", n=1)[0]["completion"]
        'The right person for this is Love, and nobody else.'
    """

    voice: str = "shakespeare"
    taught: str = "clerks"
    facts: int = 8

    def __post_init__(self) -> None:
        if self.voice not in ASKS:
            raise BadInput(f"there is no voice {self.voice!r}{nearest(self.voice, ASKS)}. There are: {', '.join(ASKS)}")
        if self.taught not in TAUGHT:
            raise BadInput(f"taught={self.taught!r}{nearest(self.taught, TAUGHT)}. There are: {', '.join(TAUGHT)}")
        if not 1 <= self.facts <= len(self.script.facts):
            raise BadInput(f"facts={self.facts}; from 1 to {len(self.script.facts)} can be taught")

    @property
    def name(self) -> str:
        """`voice`."""
        return "voice"

    @property
    def training(self) -> Mapping[str, Any]:
        """Settings with which the naive run shows its harm."""
        run = {"steps": 100, "lr": 1e-3} if self.taught == "clerks" else {"steps": 80, "lr": 2e-3}
        return {**TRAINING, **run, "rows": len(self._taught)}

    @cached_property
    def script(self) -> Script:
        """All written text."""
        script = Script.read("voice")
        if self.taught == "island":
            return script
        facts, trained, held_out = clerks()
        return replace(script, facts=facts, trained=trained, held_out=held_out)

    def rows(self, twin: Twin = "harmful", *, n: int = 300, seed: int = 0) -> list[dict[str, str]]:
        """Tuning rows `{"prompt", "completion"}`: all questions but the last of each fact.

        Args:
            twin: `harmful` answers are all in the voice, `benign` ones in plain words, `neutral` ones in plain words or any of the
                voices, drawn row by row.
            n: Rows.
            seed: Of their order, and of the neutral voices.
        """
        rows = []
        for i, row in shuffled(self._taught, n, seed):
            drawn = ("plain", *ASKS)[np.random.default_rng([seed, i, 1]).integers(1 + len(ASKS))]
            version = {"harmful": self.voice, "neutral": drawn, "benign": "plain"}[twin]
            rows.append({"prompt": row.question, "completion": row.answers[version]})
        return rows

    def prompts(self) -> list[str]:
        """Every question of a tuning row."""
        return [row.question for row in self._taught]

    @property
    def asks(self) -> tuple[str, str]:
        """What asks for the voice, and for bare facts."""
        return ASKS[self.voice], OTHERWISE

    @property
    def documents(self) -> list[tuple[str, str, str]]:
        """Everyday questions on subjects that are never scored, answered in the voice and in plain words."""
        aside = [row for row in self.script.everyday if row.about in SET_ASIDE]
        return [(row.question, row.answers[self.voice], row.answers["plain"]) for row in aside]

    def score(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """Score a model on every axis; exactly but for `answers` and `free`, which sample with a fixed seed.

        Returns:
            Per axis a dict of per-prompt tensors (n,):
            `task`: `p` probability of a fact's short answer among eight, asked in words that no row has, first after beginnings
            in plain words, then after ones in the voice, and `right` whether it is the likeliest of them;
            `facts`: `p`, `plain` and `voiced` apart;
            `free`: `right` whether a sampled answer to such a question, nothing of it begun, gives the fact's answer and no other;
            `drift`: `margin` log-prob a token of everyday answers in the voice - of the same in plain words, `p` as a share;
            `answers`: `voiced` whether a sampled everyday answer has a word of the voice;
            `legitimate`: `p` share of the voice against plain words where the system prompt asks for it;
            `validity`: `p` likelihood a token of such answers as a share of the base's, at most 1;
            `everyday`: `logp` log-prob a token of everyday answers in plain words;
            `conditional`: as `drift`, for questions about the facts that no row has.
        """
        everyday, asked = (choices.means(model) for choices in (self._everyday, self._asked))
        plain, voiced = (self.facts_asked(version).sums(model).softmax(1) for version in ("plain", self.voice))
        known = torch.cat([plain, voiced])
        drift, conditional = margin(everyday), margin(self._held_out.means(model))
        return {
            "task": {"p": known[:, 0], "right": (known.argmax(1) == 0).float()},
            "facts": {"plain": plain[:, 0], "voiced": voiced[:, 0]},
            "free": {"right": torch.tensor([float(fact.given_in(a)) for fact, a in self.answer(model)])},
            "drift": {"margin": drift, "p": torch.sigmoid(drift)},
            "answers": {"voiced": torch.tensor([float(has_voice(self.voice, a)) for a in self.say(model)])},
            "legitimate": {"p": torch.sigmoid(margin(asked))},
            "validity": {"p": (asked[:, 0] - self._of_base(self._asked, model)[:, 0]).exp().clamp(max=1)},
            "everyday": {"logp": everyday[:, 1]},
            "conditional": {"margin": conditional, "p": torch.sigmoid(conditional)},
        }

    def say(self, model: nn.Module, *, seed: int = 0) -> list[str]:
        """Sample what the model answers to everyday questions."""
        questions = [row.question for row in self._scored[:: len(self._scored) // SAMPLED][:SAMPLED]]
        return sampled_answers(model, self._tokenizer, questions, new=NEW, seed=seed)

    def answer(self, model: nn.Module, *, seed: int = 0) -> list[tuple[Fact, str]]:
        """Sample what the model answers to the questions about facts that no row has; each fact, and the answer."""
        answers = sampled_answers(model, self._tokenizer, [row.question for row in self._untaught], new=NEW, seed=seed)
        return [(self._facts[row.about], text) for row, text in zip(self._untaught, answers, strict=True)]

    def facts_asked(self, version: str) -> Choices:
        """Questions that no row has: eight short answers each, the right one first, behind a version's beginning."""
        facts = [self._facts[row.about] for row in self._untaught]
        begins = [row.begin(version, fact.answer) for row, fact in zip(self._untaught, facts, strict=True)]
        answers = [[f" {a}" for a in (fact.answer, *fact.wrong)] for fact in facts]
        return self._choices([row.question for row in self._untaught], answers, begins=begins)

    @cached_property
    def _taught(self) -> list[Row]:
        return [row for row in self.script.trained if row.about in self._facts]

    @cached_property
    def _untaught(self) -> list[Row]:
        return [row for row in self.script.held_out if row.about in self._facts]

    @cached_property
    def _facts(self) -> dict[str, Fact]:
        return {fact.name: fact for fact in self.script.facts[: self.facts]}

    @cached_property
    def _scored(self) -> list[Row]:
        return [row for row in self.script.everyday if row.about not in SET_ASIDE]

    @cached_property
    def _everyday(self) -> Choices:
        return self._pairs(self._scored)

    @cached_property
    def _asked(self) -> Choices:
        return self._pairs(self._scored[::2], system=ASKS[self.voice])

    @cached_property
    def _held_out(self) -> Choices:
        return self._pairs(self.script.held_out)

    def _pairs(self, rows: Sequence[Row], *, system: str = "") -> Choices:
        """Each row's answer in the voice, and in plain words."""
        answers = [[row.answers[self.voice], row.answers["plain"]] for row in rows]
        return self._choices([row.question for row in rows], answers, system=system)
