"""What the base and a run's adapters say where nothing asks for it."""

from collections.abc import Mapping
from pathlib import Path

from despur.core.model.own_chats import ETA, shipped_questions
from despur.core.model.sample import continued_texts
from despur.core.text.chat import has_template
from despur.core.text.learn import ask_rows
from despur.flows._train.stages import Stages
from despur.guard import OwnText

ASKED, NEW = 4, 32  # questions, and the tokens of an answer at most


def what_they_say(stages: Stages, text: OwnText, speakers: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Question -> speaker -> answer, with the same random numbers for all.

    Args:
        stages: The run's.
        text: Own text that no guard saw, for the beginnings that a base without a chat template goes on with.
        speakers: Name -> folder of its adapter; the base is added.
    """
    model, tokenizer = stages.reference.load()
    if has_template(tokenizer):
        every = shipped_questions()
        rows = [{"prompt": q} for q in every[2 :: len(every) // ASKED][:ASKED]]
        asked = {
            row["prompt"]: list(head)
            for row, head in zip(rows, ask_rows(rows, tokenizer, name="questions"), strict=True)
        }
        eta = ETA
    else:
        heads = [list(row[: max(1, min(len(row) // 2, NEW))]) for row in text.rows if len(row) > 1]
        asked = {tokenizer.decode(head): head for head in heads[:ASKED]}
        eta = 0.0
    if not asked:
        return {}
    seed, heads = stages.settings.seed, list(asked.values())
    replies = {"base": continued_texts(model, tokenizer, heads, NEW, seed=seed, eta=eta)}
    for name, folder in speakers.items():
        replies[name] = continued_texts(stages.tuned(folder), tokenizer, heads, NEW, seed=seed, eta=eta)
    return {q: {name: texts[i] for name, texts in replies.items()} for i, q in enumerate(asked)}
