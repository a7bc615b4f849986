"""Everyday questions, and what the base and each tune answer, with the same random numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from despur.core.model.own_chats import ETA, shipped_questions
from despur.core.model.sample import plain_texts
from despur.core.model.side_by_side import Way, continue_ways
from despur.core.text.chat import has_template
from despur.core.text.learn import ask_rows
from despur.core.text.rows import first_rows
from despur.flows._audit.passages import SHIPPED, Passages

QUESTIONS, NEW = 10, 40  # and the tokens of an answer at most


def questions(prompts: Path | str | None, tokenizer: Any, passages: Passages) -> dict[str, list[int]]:
    """Question -> the tokens in front of its answer; beginnings of its own text where a base is no chat model and no prompts are given."""
    if prompts is not None and str(prompts) != SHIPPED:
        rows = [r for r in first_rows(prompts, QUESTIONS, answers=False) if "text" not in r]
    elif prompts is not None or has_template(tokenizer):
        every = shipped_questions()
        rows = [{"prompt": q} for q in every[1 :: len(every) // QUESTIONS][:QUESTIONS]]
    else:
        rows = []
    if rows:
        heads = ask_rows(rows, tokenizer, name=str(prompts))
        return {_question(row): head for row, head in zip(rows, heads, strict=True)}
    halves = dict.fromkeys(row[: max(1, len(row) // 2)] for row in passages.rows)
    return {tokenizer.decode(half): list(half) for half in list(halves)[:QUESTIONS]}


def answers(
    speakers: Mapping[str, Any], tokenizer: Any, asked: Mapping[str, list[int]], *, new: int = NEW, seed: int
) -> dict[str, dict[str, str]]:
    """Question -> speaker -> answer.

    Args:
        speakers: Name -> the base with a tune on; the base itself is added.
        tokenizer: The base's.
        asked: Question -> tokens.
        new: Tokens of an answer at most.
        seed: Of the draws.
    """
    eta = ETA if has_template(tokenizer) else 0.0
    heads = list(asked.values())
    replies: dict[str, list[list[int]]] = {}
    for name, model in speakers.items():  # the first one with the base beside it
        ways = {**({} if replies else {"base": Way(adapter=False)}), name: Way()}
        replies |= zip(
            ways, continue_ways(model, tokenizer, heads, new, [*ways.values()], seed=seed, eta=eta), strict=True
        )
    plain = {name: plain_texts(tokenizer, bodies) for name, bodies in replies.items()}
    return {q: {name: texts[i] for name, texts in plain.items()} for i, q in enumerate(asked)}


def _question(row: Mapping[str, Any]) -> str:
    return row["prompt"] if "prompt" in row else str(row["messages"][-1].get("content"))
