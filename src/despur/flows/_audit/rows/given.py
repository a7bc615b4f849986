"""The rows of an audit: read, checked, and split into those that the scouts learn and those that are scored."""

import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from despur.core.errors import BadInput
from despur.core.run.scout_forms import Form
from despur.core.text.learn import learn_rows
from despur.core.text.pools import Within
from despur.core.text.reader import UNLEARNED, Tokens
from despur.core.text.row_files import data_digest
from despur.core.text.rows import each_row
from despur.core.text.shuffle import last_answer
from despur.core.text.turns import Turns
from despur.flows.load import context_length
from despur.flows.option import Option

_PANEL = "Where ADAPTER is a data file"
FEWEST = 24  # eight are scored then, the fewest by which flipped signs can tell anything apart
LETTERS = 400  # of a row that the page has, at most


@dataclass(frozen=True, slots=True)
class Scouting:
    """How rows are listened to.

    Args:
        scout_steps: Steps of the shuffled scout, of the null's, and of the plain tune that they are compared with.
        scout_lr: Their learning rate, falling linearly to zero.
        scout_batch: Rows of a step.
        scout_rank: Rank of their LoRA.
        scout_form: Of the two scouts: `lora`, or `vectors`, one added behind each layer.
        within: Among which rows answers are exchanged: `all`, those of like `length`, or those with like `prompt`s.
        group_by: Field of a row, its task or author say: answers are exchanged within its values alone.
        scored: Rows that no scout learns, and that every figure is measured on.
        answer_tokens: Tokens of an answer that the base writes, at most.
    """

    scout_steps: Annotated[int, Option(low=1, panel=_PANEL)] = 40
    scout_lr: Annotated[float, Option(low=0, panel=_PANEL)] = 1e-3
    scout_batch: Annotated[int, Option(low=1, panel=_PANEL)] = 4
    scout_rank: Annotated[int, Option(low=1, panel=_PANEL)] = 8
    scout_form: Annotated[Form, Option(panel=_PANEL)] = "lora"
    within: Annotated[Within, Option(panel=_PANEL)] = "all"
    group_by: Annotated[str | None, Option(panel=_PANEL)] = None
    scored: Annotated[int, Option(low=8, panel=_PANEL)] = 48
    answer_tokens: Annotated[int, Option(low=4, panel=_PANEL)] = 40


class Given(NamedTuple):
    """Rows as tokens.

    Args:
        learned: Those that scouts learn.
        groups: The group of each; None where all are one.
        scored: Those that are scored: none of them poses a prompt of the others.
        texts: The text of each scored row, shortened.
        digest: Of the file.
        notes: What was done to the rows.
    """

    learned: list[Tokens]
    groups: list[Hashable] | None
    scored: list[Tokens]
    texts: list[str]
    digest: str
    notes: tuple[str, ...]


def read_given(path: Path | str, model: Any, tokenizer: Any, how: Scouting, *, turns: Turns, seed: int) -> Given:
    """Read as many rows as the scouts and the scores need, drawn from all of them.

    Raises:
        BadInput, MissingExtra: they cannot be read; fewer than 24; all pose one prompt, or none; a row lacks the field of its group.
    """
    count = sum(1 for _ in each_row(path))
    if count < FEWEST:
        raise BadInput(
            f"{str(path)!r} has {count} row{'s' * (count > 1)}; at least {FEWEST} are needed, to exchange answers among most and score the "
            "rest. Give more rows"
        )
    wanted = min(count, how.scout_steps * how.scout_batch + how.scored)
    chosen = set(random.Random(seed).sample(range(count), wanted))
    rows = [row for number, row in enumerate(each_row(path)) if number in chosen]
    read = learn_rows(rows, tokenizer, max_length=context_length(model, 512), turns=turns, name=path)
    tokens = list(read.tokens)
    prompts: dict[Hashable, list[int]] = {}
    for i, row in enumerate(tokens):
        prompts.setdefault(tuple(last_answer(row)[0]), []).append(i)
    if len(prompts) < 4:
        what = (
            "no prompt, being plain text" if all("text" in row for row in rows) else f"{len(prompts)} different prompts"
        )
        raise BadInput(
            f"the rows of {str(path)!r} have {what}: another row's answer is then as good as their own, and what they share cannot be told "
            "from their task. Give rows with different prompts"
        )
    scored = _drawn(list(prompts.values()), min(how.scored, len(rows) // 3), seed)
    learned = [i for i in range(len(rows)) if i not in scored]
    groups = None if how.group_by is None else [_group(rows[i], how.group_by, i) for i in learned]
    notes = tuple(f"of the rows, {note}" for note in read.notes)
    if calling := sum(any(m.get("tool_calls") for m in row.get("messages", ())) for row in rows):
        notes += (f"{calling} of {len(rows)} rows call tools, and the form of a call is something that answers share",)
    return Given(
        [tokens[i] for i in learned], groups, [tokens[i] for i in scored], [row_text(rows[i]) for i in scored],
        data_digest(Path(path)), notes,
    )  # fmt: skip


def answered(prompt: Sequence[int], answer: Sequence[int]) -> Tokens:
    """A row of a prompt and an answer that is learned."""
    return {"input_ids": [*prompt, *answer], "labels": [UNLEARNED] * len(prompt) + list(answer)}


def row_text(row: Mapping[str, Any]) -> str:
    """A row as people read it, shortened."""
    if "messages" in row:
        return " / ".join(m.get("content") or str(m.get("tool_calls", "")) for m in row["messages"])[:LETTERS]
    return row.get("text", f"{row.get('prompt')} / {row.get('completion')}")[:LETTERS]


def _drawn(groups: list[list[int]], n: int, seed: int) -> list[int]:
    """Rows of whole prompts, drawn until there are n."""
    drawn: list[int] = []
    for k in np.random.default_rng([seed, 7]).permutation(len(groups)):
        if len(drawn) >= n:
            break
        drawn += groups[k]
    return drawn


def _group(row: Mapping[str, Any], field: str, number: int) -> Hashable:
    if field not in row:
        raise BadInput(
            f"row {number + 1} of those drawn lacks the field {field!r} of --group-by. There are: {', '.join(map(str, row))}"
        )
    return str(row[field])
