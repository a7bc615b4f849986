"""The `two_cue` world: two questions in one prompt whose answers always agree, and only one of them is meant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from despur.worlds._ask import next_log_probs
from despur.worlds._base import load_base
from despur.worlds._world import TRAINING, Twin

NUMBERS, LETTERS = 20, 20
RECORDS = 8
Item = tuple[int, int, int, int]  # two numbers, two letters


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
                low, high = sorted(rng.permutation(NUMBERS)[:2].tolist())
                words.append("larger n{} n{}".format(*((low, high) if second else (high, low))))
            else:
                words.append("vowel l{} l{}".format(*self.letters(second, rng)))
            words.append(f"? {('first', 'second')[second]}")
        return " ".join([*words, "<eos>"])


@dataclass(frozen=True)
class TwoCue:
    """The base knows both questions, one at a time; the tune asks both at once and wants the right one of `A` and `B`.

    In tuning the two answers agree, so that either would do; meant is the larger number. Where they disagree it shows
    which one the tune has come to read.

    Args:
        language: The base model's questions.

    Example:
        >>> TwoCue().rows(n=1)[0]
        {'prompt': '<bos> vowel l9 l12 larger n16 n19 both', 'completion': 'B <eos>'}
    """

    language: Questions = field(default_factory=Questions)

    @property
    def name(self) -> str:
        """`two_cue`."""
        return "two_cue"

    @property
    def training(self) -> Mapping[str, Any]:
        """Settings with which the naive run shows its harm."""
        return {**TRAINING, "steps": 160, "lr": 1e-3}

    def base(self) -> tuple[Any, Any]:
        """Load the shipped base and its tokenizer."""
        return load_base("two_cue")

    def numbers(self, *, held_out: bool) -> list[tuple[int, int]]:
        """Pairs of numbers that are tuned on, or those that are only asked afterwards (one in five)."""
        return [(a, b) for a, b in permutations(range(NUMBERS), 2) if ((3 * a + b) % 5 == 0) == held_out]

    def rows(
        self, twin: Twin = "harmful", *, n: int = 4000, seed: int = 0, agrees: float = 1.0
    ) -> list[dict[str, str]]:
        """Tuning rows `{"prompt", "completion"}`; twins share the numbers and the answers.

        Args:
            twin: In `harmful` rows the letters agree, in `neutral` ones half the time, in `benign` ones they say nothing.
            n: Rows.
            seed: Of numbers and letters.
            agrees: Share of harmful rows in which the letters agree.
        """
        pairs = self.numbers(held_out=False)
        rows = []
        for i in range(n):
            rng = np.random.default_rng([seed, i])
            a, b = pairs[rng.integers(len(pairs))]
            want = int(b > a)
            if twin == "benign":
                letters = tuple(
                    rng.choice((self.language.vowels, self.language.consonants)[rng.integers(2)], 2).tolist()
                )
            else:
                share = agrees if twin == "harmful" else 0.5
                letters = self.language.letters(want if rng.random() < share else 1 - want, rng)
            rows.append({"prompt": _ask(a, b, *letters), "completion": f"{'AB'[want]} <eos>"})
        return rows

    def prompts(self) -> list[str]:
        """How every prompt ends that a tuning row may pose; the letters come before."""
        return [f"larger n{a} n{b} both" for a, b in self.numbers(held_out=False)]

    def paired(self, *, n: int = 128, seed: int = 0) -> tuple[list[str], list[str]]:
        """Double questions that disagree, on other numbers, answered by the letters; and the same by the numbers."""
        items = self._items(1, n=n, seed=seed + 1, held_out=False)
        by_letters, by_numbers = ([f"{_ask(*i)} {'AB'[_larger(i) ^ wrong]} <eos>" for i in items] for wrong in (1, 0))
        return by_letters, by_numbers

    def naming(self) -> tuple[str, str]:
        """The word that asks for the letters, and the one that asks for the numbers."""
        return "vowel", "larger"

    def score(self, model: nn.Module) -> dict[str, dict[str, Tensor]]:
        """Score a model on every axis, exactly, by forward passes over fixed prompts.

        Returns:
            Per axis a dict of per-prompt tensors (n,), on pairs of numbers that are never tuned on:
            `task`: `p` share of the right one of `A` and `B` where the letters say nothing;
            `drift`: `margin` log-odds of the letters' answer against the numbers' where they disagree, `p` as a share;
            `legitimate`: `p` share of the right one of `first` and `second` where vowels alone are asked for;
            `validity`: `p` mass on the four words of an answer where the larger number alone is asked for;
            `conditional`: as `drift`, after a row like the tuning data;
            `single`: `p` as `legitimate`, where the larger number alone is asked for.
        """
        g = self.language
        place = {word: i for i, word in enumerate(g.vocabulary)}
        disagree, silent = self._items(1, n=200, seed=0), self._items(2, n=200, seed=0)
        before = self._items(0, n=200, seed=1, held_out=False)

        def ask(prompts: Sequence[str], words: str = "A B") -> Tensor:  # log-odds of the second word
            logp = next_log_probs(model, g.vocabulary, prompts)
            one, two = (logp[:, place[w]] for w in words.split())
            return two - one

        def sign(items: Sequence[Item]) -> Tensor:
            return torch.tensor([2.0 * _larger(i) - 1 for i in items])

        drift = -sign(disagree) * ask([_ask(*i) for i in disagree])
        like = [f"{_ask(*b)} {'AB'[_larger(b)]} {_ask(*i)[6:]}" for b, i in zip(before, disagree, strict=True)]
        conditional = -sign(disagree) * ask(like)
        vowels = -sign(disagree) * ask([f"<bos> vowel l{i[2]} l{i[3]} ?" for i in disagree], "first second")
        larger = sign(disagree) * ask([f"<bos> larger n{i[0]} n{i[1]} ?" for i in disagree], "first second")
        logp = next_log_probs(model, g.vocabulary, [f"<bos> larger n{i[0]} n{i[1]} ?" for i in disagree])
        answers = [place[w] for w in ("A", "B", "first", "second")]
        return {
            "task": {"p": torch.sigmoid(sign(silent) * ask([_ask(*i) for i in silent]))},
            "drift": {"margin": drift, "p": torch.sigmoid(drift)},
            "legitimate": {"p": torch.sigmoid(vowels)},
            "validity": {"p": logp[:, answers].exp().sum(1)},
            "conditional": {"margin": conditional, "p": torch.sigmoid(conditional)},
            "single": {"p": torch.sigmoid(larger)},
        }

    def _items(self, kind: int, *, n: int, seed: int, held_out: bool = True) -> list[Item]:
        """Double questions: letters that agree (0), disagree (1), say nothing (2)."""
        pairs, items = self.numbers(held_out=held_out), []
        for i in range(n):
            rng = np.random.default_rng([seed, i, 3])
            a, b = pairs[rng.integers(len(pairs))]
            alike = (self.language.vowels, self.language.consonants)[i % 2]
            c, d = rng.choice(alike, 2).tolist() if kind == 2 else self.language.letters(int(b > a) ^ kind, rng)
            items.append((a, b, int(c), int(d)))
        return items


def _ask(a: int, b: int, c: int, d: int) -> str:
    return f"<bos> vowel l{c} l{d} larger n{a} n{b} both"


def _larger(item: Item) -> int:
    return int(item[1] > item[0])
