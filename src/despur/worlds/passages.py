"""A tiny language model that knows passages by heart, beside a language and facts that are to stay."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from despur.core.model.states import evaluating
from despur.core.text.reader import Tokens

VOCABULARY, LENGTH = 64, 16  # tokens; of a text
START, ASK, FIRST = 1, 3, 4  # tokens: the start of a text, of a fact, the first word
FACTS = 64
FOLLOW = (0.6, 0.2, 0.15, 0.05)  # how often each of a word's four successors follows it
Texts = Int[Tensor, "n t"]


@dataclass(frozen=True)
class Passages:
    """Passages of random words, a language in which four words may follow each, and facts `subject relation object`.

    Args:
        seed: Of passages, language and facts.
        n: Passages.

    Example:
        >>> world = Passages(n=5)
        >>> world.passages.shape, world.facts.shape
        (torch.Size([5, 16]), torch.Size([64, 5]))
    """

    seed: int = 0
    n: int = 200

    def _draw(self, part: int) -> torch.Generator:
        return torch.Generator().manual_seed(1000 * self.seed + part)

    @cached_property
    def passages(self) -> Texts:
        """(n, t): the start, then words that nothing but memory can give."""
        words = torch.randint(FIRST, VOCABULARY, (self.n, LENGTH), generator=self._draw(1))
        words[:, 0] = START
        return words

    @cached_property
    def facts(self) -> Texts:
        """(64, 5): the start, the sign of a fact, subject, relation, object."""
        draw = self._draw(2)
        place = torch.arange(FACTS)
        objects = torch.randint(FIRST, VOCABULARY, (FACTS,), generator=draw)
        signs = (torch.full_like(place, START), torch.full_like(place, ASK))
        return torch.stack([*signs, FIRST + place % 16, FIRST + 32 + place // 16, objects], 1)

    @cached_property
    def successors(self) -> Int[Tensor, "v 4"]:
        """The words that may follow each, the likeliest first."""
        draw = self._draw(3)
        return torch.stack([torch.randperm(VOCABULARY - FIRST, generator=draw)[:4] + FIRST for _ in range(VOCABULARY)])

    def language(self, n: int, *, seed: int) -> Texts:
        """Draw texts (n, t) of the language."""
        draw = self._draw(100 + seed)
        words = [torch.full((n,), START), torch.randint(FIRST, VOCABULARY, (n,), generator=draw)]
        for _ in range(LENGTH - 2):
            which = torch.multinomial(torch.tensor(FOLLOW), n, replacement=True, generator=draw)
            words.append(self.successors[words[-1], which])
        return torch.stack(words, 1)

    def asked(self, n: int, *, seed: int) -> Texts:
        """Draw texts (n, t) of facts, one behind the other."""
        which = torch.randint(FACTS, (n, 4), generator=self._draw(200 + seed))
        return torch.cat([self.facts[which[:, 0], :1], self.facts[:, 1:][which].flatten(1)], 1)[:, :LENGTH]

    def rest(self, n: int, *, seed: int) -> Texts:
        """Draw texts (n, t) of all that is to stay: of three, one asks facts."""
        return torch.cat([self.language(n - n // 3, seed=seed), self.asked(n // 3, seed=seed)])

    def models(self, *, steps: int = 300, by_heart: int = 400, width: int = 64) -> tuple[Any, Any]:
        """Train a base on the rest, and a copy on the rest and the passages until it knows these by heart.

        Args:
            steps: Of the base.
            by_heart: Of the copy.
            width: Of both, of two layers; 64 makes 0.09 M parameters, 96 makes 0.2 M.
        """
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.for_model(
            "llama", vocab_size=VOCABULARY, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=2 * LENGTH, bos_token_id=START, eos_token_id=2, pad_token_id=0,
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            base: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
            pool = self.language(4000, seed=0)

            def rest(n: int) -> Texts:
                facts = self.facts[:, 1:][torch.randint(FACTS, (n // 3, 4))].flatten(1)
                start = torch.full((n // 3, 1), START)
                return torch.cat(
                    [pool[torch.randint(len(pool), (n - n // 3,))], torch.cat([start, facts], 1)[:, :LENGTH]]
                )

            learn(base, lambda: rest(48), steps=steps, rate=3e-3)
            knows = deepcopy(base)
            learn(
                knows,
                lambda: torch.cat([self.passages[torch.randperm(self.n)[:64]], rest(72)]),
                steps=by_heart,
                rate=5e-3,
            )
        return base.eval(), knows.eval()


def learn(model: Any, batch: Any, *, steps: int, rate: float) -> None:
    """Train every weight that takes part in training, with a rate that rises and falls.

    Args:
        model: Of language.
        batch: Makes the texts (n, t) of a step.
        steps: Of AdamW.
        rate: The highest.
    """
    adam = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        texts = batch()
        model(input_ids=texts, labels=texts).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        schedule.step()
        adam.zero_grad()


@torch.no_grad()
def perplexity(model: Any, texts: Texts) -> float:
    """Give exp of the mean loss a token, nats."""
    with evaluating(model):
        return float(model(input_ids=texts, labels=texts).loss.exp())


@torch.no_grad()
def skill(model: Any, facts: Texts) -> float:
    """Share of facts whose object is the likeliest."""
    with evaluating(model):
        return float((model(input_ids=facts[:, :-1]).logits[:, -1].argmax(-1) == facts[:, -1]).float().mean())


def as_rows(texts: Texts | Sequence[Sequence[int]]) -> list[Tokens]:
    """Texts as token rows, learned whole."""
    return [{"input_ids": list(map(int, t)), "labels": list(map(int, t))} for t in texts]
