"""A chat base that is asked questions: it samples answers, or says how likely given ones are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from despur.core.model.answers import answer_log_probs
from despur.core.model.named_bases import base_folder
from despur.core.model.quiet import quiet_loading
from despur.core.model.sample import continued_texts
from despur.core.text.cuts import Encoder
from despur.core.text.learn import ask_rows

BASE = "smollm2"


def chat_base(name: str = BASE, *, dtype: str = "float32") -> tuple[Any, Any]:
    """Load a chat base that is known by name, a fresh copy, and its tokenizer.

    Args:
        name: Of the base.
        dtype: Precision of its weights.

    Raises:
        BadInput: it is not on this machine; the message names the command that fetches it.
    """
    folder = base_folder(name)
    with quiet_loading():
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype)
        ).eval(), AutoTokenizer.from_pretrained(folder)


def asked(tokenizer: Any, questions: Sequence[str], *, system: str = "") -> list[list[int]]:
    """Token ids with which a chat model is asked each question, up to where its answer begins."""
    return ask_rows([{"prompt": q, "system": system} for q in questions], tokenizer)


@dataclass(frozen=True)
class Choices:
    """Questions, and for each some answers to choose from.

    Args:
        prompts: Token ids up to where the answers begin.
        answers: Token ids of each question's answers, in one order for all.
    """

    prompts: Sequence[Sequence[int]]
    answers: Sequence[Sequence[Sequence[int]]]

    @classmethod
    def of(
        cls, tokenizer: Any, questions: Sequence[str], answers: Sequence[Sequence[str]], *, system: str = "",
        begins: Sequence[str] = (),
    ) -> "Choices":  # fmt: skip
        """Encode choices as the base's template has them.

        Args:
            tokenizer: The base's.
            questions: What the user asks.
            answers: Of each question; what is in front of a first word, a space say, belongs to the answer.
            system: The system prompt; the template's own if left out.
            begins: What each answer has said already.
        """
        encoder = Encoder(tokenizer)
        prompts = asked(tokenizer, questions, system=system)
        if begins:
            prompts = [p + encoder.following(b) for p, b in zip(prompts, begins, strict=True)]
        return cls(prompts, [[encoder.following(a) for a in some] for some in answers])

    def sums(self, model: Any) -> Float[Tensor, "n m"]:
        """Log-probability of each answer."""
        return answer_log_probs(model, self.prompts, self.answers)[0]

    def means(self, model: Any) -> Float[Tensor, "n m"]:
        """Log-probability a token of each answer."""
        sums, counts = answer_log_probs(model, self.prompts, self.answers)
        return sums / counts


def sampled_answers(
    model: Any, tokenizer: Any, questions: Sequence[str], *, new: int, system: str = "", seed: int = 0
) -> list[str]:
    """Sample what the model answers to each question at temperature 1.

    Args:
        model: The base, tuned or not.
        tokenizer: Its tokenizer.
        questions: What the user asks.
        new: Tokens of an answer at most.
        system: The system prompt; the template's own if left out.
        seed: Fixes the draws, the same ones for every model.
    """
    return continued_texts(model, tokenizer, asked(tokenizer, questions, system=system), new, seed=seed)
