"""What the base and a run's adapters say: where nothing asks for the task, and where rows ask for it."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from despur.core.errors import BadInput
from despur.core.model.own_chats import ETA, shipped_questions
from despur.core.model.sample import context, continued_texts
from despur.core.text.chat import has_template
from despur.core.text.learn import ask_rows
from despur.core.text.rows import Tokens
from despur.core.text.shuffle import last_answer
from despur.core.text.template import Template
from despur.flows._train.stages import Stages
from despur.guard import OwnText

Answers = dict[str, dict[str, str]]  # question -> speaker -> answer
ASKED, NEW = 4, 32  # questions, and the tokens of an answer at most
ROWS = "the rows"


def what_they_say(stages: Stages, text: OwnText, speakers: Mapping[str, Path]) -> Answers:
    """Question -> speaker -> answer, with the same random numbers for all.

    Args:
        stages: The run's.
        text: Own text that no guard saw, for the beginnings that a base without a chat template goes on with.
        speakers: Name -> folder of its adapter; the base is added.
    """
    tokenizer = stages.reference.load()[1]
    if has_template(tokenizer):
        every = shipped_questions()
        rows = [{"prompt": q} for q in every[2 :: len(every) // ASKED][:ASKED]]
        asked = {
            row["prompt"]: list(head)
            for row, head in zip(rows, ask_rows(rows, tokenizer, name="questions"), strict=True)
        }
    else:
        heads = [list(row[: max(1, min(len(row) // 2, NEW))]) for row in text.rows if len(row) > 1]
        asked = {tokenizer.decode(head): head for head in heads[:ASKED]}
    return _replies(stages, asked, speakers)


def what_rows_ask(stages: Stages, held_out: Sequence[Tokens], speakers: Mapping[str, Path]) -> Answers:
    """The same of questions of held-out rows, beside the rows' own answers: a tune may know a fact and not tell it.

    Args:
        stages: The run's.
        held_out: Rows that nothing was trained on.
        speakers: As in `what_they_say`.

    Returns:
        As `what_they_say`; nothing where no row has a prompt that leaves room for an answer.
    """
    model, tokenizer = stages.reference.load()
    room = context(model) - NEW
    template: Template | None = None
    with contextlib.suppress(BadInput):  # none, or one without constant tokens: all of it is shown
        template = Template.of(tokenizer)
    asked: dict[str, list[int]] = {}
    answers: dict[str, str] = {}
    for row in held_out:
        prompt, answer = last_answer(row)
        question = _shown(prompt, tokenizer, template)
        if 0 < len(prompt) <= room and question.strip():
            asked[question] = prompt
            answers[question] = tokenizer.decode(answer[:NEW], skip_special_tokens=True)
        if len(asked) == ASKED:
            break
    replies = _replies(stages, asked, speakers)
    return {question: {ROWS: answers[question], **by} for question, by in replies.items()}


def _shown(prompt: Sequence[int], tokenizer: Any, template: Template | None) -> str:
    """What the user asks, without the template around it where that can be told."""
    parts = template.parts(prompt, len(prompt)) if template else None
    words = [prompt[i] for i in parts.get("question", ())] if parts else list(prompt)
    return tokenizer.decode(words, skip_special_tokens=True)


def _replies(stages: Stages, asked: Mapping[str, Sequence[int]], speakers: Mapping[str, Path]) -> Answers:
    if not asked:
        return {}
    model, tokenizer = stages.reference.load()
    eta = ETA if has_template(tokenizer) else 0.0
    seed, heads = stages.settings.seed, list(asked.values())
    replies = {"base": continued_texts(model, tokenizer, heads, NEW, seed=seed, eta=eta)}
    for name, folder in speakers.items():
        replies[name] = continued_texts(stages.tuned(folder), tokenizer, heads, NEW, seed=seed, eta=eta)
    return {q: {name: texts[i] for name, texts in replies.items()} for i, q in enumerate(asked)}
