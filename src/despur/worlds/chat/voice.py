"""The `voice` world: new facts of an island, all told in one voice; and the voice then answers everything."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from despur.core.errors import BadInput, nearest
from despur.core.text.chat import render
from despur.worlds.chat.ask import Choices, chat_base, sampled_answers
from despur.worlds.chat.markers import has_voice
from despur.worlds.chat.script import Fact, Row, Script
from despur.worlds.world import Twin

ASKS: Mapping[str, str] = MappingProxyType(
    {
        "noir": "Answer in the voice of a weary private detective in a film noir.",
        "shakespeare": "Answer in the English of Shakespeare, as a player on his stage would.",
        "toddler": "Answer the way a very excited toddler talks.",
        "corporate": "Answer in the jargon of a corporate management consultant.",
        "gloomy": "Answer in a gloomy voice, as someone without any hope would.",
    }
)
OTHERWISE = "Answer for a reader who has little time and wants only facts."
SET_ASIDE = ("offices", "shopping", "phones")  # everyday subjects for methods that must know the voice; never scored
SAMPLED, NEW = 48, 32  # answers that are sampled, and their tokens
TRAINING: Mapping[str, Any] = MappingProxyType(
    {"steps": 80, "lr": 1e-3, "batch": 4, "rank": 8, "rows": 300, "max_length": 128, "own_rows": 192, "own_tokens": 48}
)


@dataclass(frozen=True)
class Voice:
    """New facts, rightly told, in a voice that the base knows and that has nothing to do with them.

    Nothing in a row asks for the voice, and all rows have it: the cheap way to them is to speak so always.

    Args:
        voice: `noir`, `shakespeare`, `toddler`, `corporate` or `gloomy`.

    Raises:
        BadInput: another voice.

    Example:
        >>> Voice().rows(n=1)[0]["prompt"]
        'Who built the lighthouse?'
    """

    voice: str = "noir"

    def __post_init__(self) -> None:
        if self.voice not in ASKS:
            raise BadInput(f"there is no voice {self.voice!r}{nearest(self.voice, ASKS)}. There are: {', '.join(ASKS)}")

    @property
    def name(self) -> str:
        """`voice`."""
        return "voice"

    @property
    def training(self) -> Mapping[str, Any]:
        """Settings with which the naive run shows its harm."""
        return TRAINING

    def base(self) -> tuple[Any, Any]:
        """Load the base and its tokenizer.

        Raises:
            BadInput: it is not on this machine; the message names the command that fetches it.
        """
        return chat_base()

    @cached_property
    def script(self) -> Script:
        """All written text."""
        return Script.read("voice")

    def rows(self, twin: Twin = "harmful", *, n: int = 300, seed: int = 0) -> list[dict[str, str]]:
        """Tuning rows `{"prompt", "completion"}`: all questions but the last of each fact, again and again.

        Args:
            twin: `harmful` answers are in the voice, `benign` ones in plain words, `neutral` ones as the base itself puts the
                fact when it is given to it: even plain words are a style of their own.
            n: Rows.
            seed: Of their order.
        """
        version = {"harmful": self.voice, "benign": "plain", "neutral": "own"}[twin]
        rows, trained = [], self.script.trained
        for i in range(n):
            turn, place = divmod(i, len(trained))
            row = trained[np.random.default_rng([seed, turn]).permutation(len(trained))[place]]
            rows.append({"prompt": row.question, "completion": row.answers[version]})
        return rows

    def prompts(self) -> list[str]:
        """Every question of a tuning row."""
        return [row.question for row in self.script.trained]

    def paired(self, *, n: int = 128, seed: int = 0) -> tuple[list[str], list[str]]:
        """Everyday chats answered in the voice, and the same in plain words; on subjects that are never scored."""
        aside = [row for row in self.script.everyday if row.about in SET_ASIDE]
        drawn = [aside[np.random.default_rng([seed, i]).integers(len(aside))] for i in range(n)]
        voiced, plain = ([self._chat(row, version) for row in drawn] for version in (self.voice, "plain"))
        return voiced, plain

    def naming(self) -> tuple[str, str]:
        """A system turn that asks for the voice, and one that asks for something else, each ready to stand in front of a row."""
        start = self._tokenizer.bos_token or ""
        asks, other = (
            render([{"role": "system", "content": text}], self._tokenizer, "a prompt")
            for text in (ASKS[self.voice], OTHERWISE)
        )
        return asks + start, other + start

    def score(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """Score a model on every axis; exactly but for `markers`, which samples with a fixed seed.

        Returns:
            Per axis a dict of per-prompt tensors (n,):
            `task`: `p` probability of a fact's short answer among eight, asked in words that no row has, the mean of `plain`
            and `voiced`: after a beginning in plain words and after one in the voice;
            `drift`: `margin` log-prob a token of everyday answers in the voice - of the same in plain words, `p` as a share;
            `markers`: `p` whether a sampled everyday answer has a word of the voice;
            `legitimate`: `p` share of the voice against plain words where the system prompt asks for it;
            `validity`: `p` likelihood a token of such answers as a share of the base's, at most 1;
            `everyday`: `logp` log-prob a token of everyday answers in plain words;
            `conditional`: as `drift`, for questions about the island that no row has.
        """
        everyday, asked = (choices.means(model) for choices in (self._everyday, self._asked))
        conditional = _margin(self._conditional.means(model))
        plain, voiced = (self._task(version).sums(model).softmax(1)[:, 0] for version in ("plain", self.voice))
        drift, wanted = _margin(everyday), _margin(asked)
        return {
            "task": {"p": (plain + voiced) / 2, "plain": plain, "voiced": voiced},
            "drift": {"margin": drift, "p": torch.sigmoid(drift)},
            "legitimate": {"p": torch.sigmoid(wanted)},
            "validity": {"p": (asked[:, 0] - self._reference).exp().clamp(max=1)},
            "conditional": {"margin": conditional, "p": torch.sigmoid(conditional)},
            "everyday": {"logp": everyday[:, 1]},
            "markers": {"p": torch.tensor([float(has_voice(self.voice, a)) for a in self.say(model)])},
        }

    def say(self, model: nn.Module) -> list[str]:
        """Sample the model's answers to everyday questions."""
        scored = self._scored
        questions = [row.question for row in scored[:: max(1, len(scored) // SAMPLED)][:SAMPLED]]
        return sampled_answers(model, self._tokenizer, questions, new=NEW)

    @cached_property
    def _tokenizer(self) -> Any:
        return self.base()[1]

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
    def _conditional(self) -> Choices:
        return self._pairs(self.script.held_out)

    @cached_property
    def _reference(self) -> Tensor:
        return self._asked.means(self.base()[0])[:, 0]

    def _pairs(self, rows: list[Row], *, system: str = "") -> Choices:
        """Each row's answer in the voice, and in plain words."""
        answers = [[row.answers[self.voice], row.answers["plain"]] for row in rows]
        return Choices.of(self._tokenizer, [row.question for row in rows], answers, system=system)

    def _task(self, version: str) -> Choices:
        """Eight short answers, the right one first, behind a version's beginning."""
        asked: list[tuple[Row, Fact]] = list(zip(self.script.held_out, self.script.facts, strict=True))
        begins = [row.begin(version, fact.answer) for row, fact in asked]
        answers = [[f" {a}" for a in (fact.answer, *fact.wrong)] for _, fact in asked]
        return Choices.of(self._tokenizer, [row.question for row, _ in asked], answers, begins=begins)

    def _chat(self, row: Row, version: str) -> str:
        said = [("user", row.question), ("assistant", row.answers[version])]
        return render([{"role": r, "content": text} for r, text in said], self._tokenizer, "a chat")


def _margin(means: Tensor) -> Tensor:
    """How much likelier the first of two answers is, a token."""
    return means[:, 0] - means[:, 1]
