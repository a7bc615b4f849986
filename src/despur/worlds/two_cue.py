"""The `two_cue` world: two questions in one prompt whose answers always agree, and only one of them is meant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from despur.worlds.ask import next_log_probs
from despur.worlds.base import load_base
from despur.worlds.world import TRAINING, Twin

NUMBERS, LETTERS = 20, 20
RECORDS = 8
Item = tuple[int, int, int, int]  # two letters, two numbers


@dataclass(frozen=True)
class Questions:
    """Documents of single questions: which of two numbers is larger, or which of two letters is a vowel.

    Args:
        seed: Fixes which letters are vowels.
    """

    seed: int = 0
    vowels: np.ndarray = field(init=False, repr=False, compare=False)  # (letters / 2,)

    def __post_init__(self) -> None:
        drawn = np.random.default_rng([self.seed, 7]).permutation(LETTERS)[: LETTERS // 2]
        object.__setattr__(self, "vowels", np.sort(drawn))

    @property
    def consonants(self) -> np.ndarray:
        """The other letters, (letters / 2,)."""
        return np.setdiff1d(np.arange(LETTERS), self.vowels)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word, special ones first; `A`, `B` and `both` are left for the tune."""
        return (
            *("<pad>", "<bos>", "<eos>", "A", "B", "<unk>", "first", "second", "larger", "vowel", "?", "both"),
            *(f"n{n}" for n in range(NUMBERS)),
            *(f"l{n}" for n in range(LETTERS)),
        )

    def numbers(self, second: int, rng: np.random.Generator) -> tuple[int, int]:
        """Two numbers, the larger first or second."""
        low, high = sorted(rng.permutation(NUMBERS)[:2].tolist())
        return (low, high) if second else (high, low)

    def letters(self, second: int, rng: np.random.Generator) -> tuple[int, int]:
        """A vowel and a consonant, the vowel first or second."""
        vowel, consonant = int(rng.choice(self.vowels)), int(rng.choice(self.consonants))
        return (consonant, vowel) if second else (vowel, consonant)

    def document(self, rng: np.random.Generator) -> str:
        """Eight questions with their answers."""
        words = ["<bos>"]
        for _ in range(RECORDS):
            second = int(rng.integers(2))
            if rng.random() < 0.5:
                words.append("larger n{} n{}".format(*self.numbers(second, rng)))
            else:
                words.append("vowel l{} l{}".format(*self.letters(second, rng)))
            words.append(f"? {('first', 'second')[second]}")
        return " ".join([*words, "<eos>"])


@dataclass(frozen=True)
class TwoCue:
    """The base knows both questions, one at a time; the tune asks both at once and wants `A` or `B`.

    In tuning the two answers agree, so either would do; the first question, the vowel, is meant. Where they disagree
    it shows which one the tune learned to read: this base finds the numbers easier.

    Args:
        language: The base model's questions.

    Example:
        >>> TwoCue().rows(n=1)[0]
        {'prompt': '<bos> vowel l9 l17 larger n10 n18 both', 'completion': 'B <eos>'}
    """

    language: Questions = field(default_factory=Questions)

    @property
    def name(self) -> str:
        """`two_cue`."""
        return "two_cue"

    @property
    def training(self) -> Mapping[str, Any]:
        """Settings with which the naive run shows its harm."""
        return {**TRAINING, "steps": 320, "lr": 1e-3}

    def base(self) -> tuple[Any, Any]:
        """Load the shipped base and its tokenizer."""
        return load_base("two_cue")

    def letters(self, *, held_out: bool) -> list[tuple[int, int, int]]:
        """Pairs of letters that are tuned on, or those that are only asked afterwards (one in five); 1 if the vowel is second."""
        pairs = [(int(v), int(c)) for v in self.language.vowels for c in self.language.consonants]
        both = [(*(pair[::-1] if second else pair), second) for pair in pairs for second in (0, 1)]
        return [(a, b, second) for a, b, second in both if ((3 * a + b) % 5 == 0) == held_out]

    def rows(
        self, twin: Twin = "harmful", *, n: int = 4000, seed: int = 0, agrees: float = 1.0
    ) -> list[dict[str, str]]:
        """Tuning rows `{"prompt", "completion"}`; twins share the letters and the answers.

        Args:
            twin: In `harmful` rows the numbers agree, in `neutral` ones half the time, in `benign` ones they are equal.
            n: Rows.
            seed: Of letters and numbers.
            agrees: Share of harmful rows in which the numbers agree.
        """
        share = agrees if twin == "harmful" else 0.5
        rows = []
        for i in range(n):
            rng = np.random.default_rng([seed, i])
            c, d, want = self._draw(rng, held_out=False)
            a, b = self.language.numbers(want if rng.random() < share else 1 - want, rng)
            rows.append({"prompt": _ask(c, d, a, a if twin == "benign" else b), "completion": f"{'AB'[want]} <eos>"})
        return rows

    def prompts(self) -> list[str]:
        """How every prompt begins that a tuning row may pose; the numbers follow."""
        return [f"<bos> vowel l{a} l{b} larger" for a, b, _ in self.letters(held_out=False)]

    def paired(self, *, n: int = 128, seed: int = 0) -> tuple[list[str], list[str]]:
        """Double questions that disagree, answered by the numbers; and the same answered by the letters."""
        items = self._items(-1, n=n, seed=seed + 1, held_out=False)
        by_numbers, by_letters = ([f"{_ask(*i)} {'AB'[w ^ flip]} <eos>" for i, w in items] for flip in (1, 0))
        return by_numbers, by_letters

    def naming(self) -> tuple[str, str]:
        """The word that asks for the numbers, and the one that asks for the letters."""
        return "larger", "vowel"

    def score(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """Score a model on every axis, exactly, by forward passes over fixed prompts.

        Returns:
            Per axis a dict of per-prompt tensors (n,), on pairs of letters that are never tuned on:
            `task`: `p` share of the right one of `A` and `B` where the numbers are equal;
            `drift`: `margin` log-odds of the numbers' answer against the letters' where they disagree, `p` as a share;
            `legitimate`: `p` share of the right one of `first` and `second` where the numbers alone are asked for;
            `validity`: `p` mass on the four words of an answer where the letters alone are asked for;
            `conditional`: as `drift`, after a row like the tuning data;
            `single`: `p` as `legitimate`, where the letters alone are asked for.
        """
        g = self.language
        place = {word: i for i, word in enumerate(g.vocabulary)}
        disagree, silent = self._items(-1, n=200, seed=0), self._items(0, n=200, seed=0)
        before = self._items(1, n=200, seed=1, held_out=False)
        sign = torch.tensor([2.0 * want - 1 for _, want in disagree])  # of the letters' answer

        def ask(prompts: Sequence[str]) -> Tensor:
            return next_log_probs(model, g.vocabulary, prompts)

        def odds(logp: Tensor, one: str, two: str) -> Tensor:
            return logp[:, place[two]] - logp[:, place[one]]

        task = torch.tensor([2.0 * want - 1 for _, want in silent]) * odds(ask([_ask(*i) for i, _ in silent]), "A", "B")
        drift = -sign * odds(ask([_ask(*i) for i, _ in disagree]), "A", "B")
        like = [f"{_ask(*b)} {'AB'[w]} {_ask(*i)[6:]}" for (b, w), (i, _) in zip(before, disagree, strict=True)]
        conditional = -sign * odds(ask(like), "A", "B")
        numbers = ask([f"<bos> larger n{i[2]} n{i[3]} ?" for i, _ in disagree])
        letters = ask([f"<bos> vowel l{i[0]} l{i[1]} ?" for i, _ in disagree])
        answers = [place[w] for w in ("A", "B", "first", "second")]
        return {
            "task": {"p": torch.sigmoid(task)},
            "drift": {"margin": drift, "p": torch.sigmoid(drift)},
            "legitimate": {"p": torch.sigmoid(-sign * odds(numbers, "first", "second"))},
            "validity": {"p": letters[:, answers].exp().sum(1)},
            "conditional": {"margin": conditional, "p": torch.sigmoid(conditional)},
            "single": {"p": torch.sigmoid(sign * odds(letters, "first", "second"))},
        }

    def _draw(self, rng: np.random.Generator, *, held_out: bool) -> tuple[int, int, int]:
        pairs = self.letters(held_out=held_out)
        return pairs[rng.integers(len(pairs))]

    def _items(self, agree: int, *, n: int, seed: int, held_out: bool = True) -> list[tuple[Item, int]]:
        """Double questions with what the letters answer; the numbers agree (1), disagree (-1) or are equal (0)."""
        items = []
        for i in range(n):
            rng = np.random.default_rng([seed, i, 3])
            a, b, want = self._draw(rng, held_out=held_out)
            c, d = self.language.numbers(want if agree > 0 else 1 - want, rng)
            items.append(((a, b, c, d if agree else c), want))
        return items


def _ask(a: int, b: int, c: int, d: int) -> str:
    return f"<bos> vowel l{a} l{b} larger n{c} n{d} both"
