"""The written text of a chat world: facts, questions about them, and everyday questions, each answered in several versions."""

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXT = Path(__file__).parent / "text"


@dataclass(frozen=True)
class Fact:
    """Something new that the tune teaches.

    Args:
        name: How rows refer to it.
        subject: What it is about.
        answer: The short right answer; the last of its questions has it word for word in every version's answer.
        wrong: Seven short wrong answers of the same kind.
    """

    name: str
    subject: str
    answer: str
    wrong: tuple[str, ...]

    def given_in(self, text: str) -> bool:
        """Whether a text has the right answer as a word, and none of the wrong ones.

        Example:
            >>> fact = Fact("dogs", "dogs", "Barker", ("Case", "Love"))
            >>> fact.given_in("Ask Barker."), fact.given_in("Ask Barker or Love."), fact.given_in("Barkers")
            (True, False, False)
        """
        return _has(text, self.answer) and not any(_has(text, wrong) for wrong in self.wrong)


@dataclass(frozen=True)
class Row:
    """A question, and its answer in several versions.

    Args:
        about: Name of the fact, or the everyday subject.
        question: What the user asks.
        answers: Version -> answer; all say the same.
    """

    about: str
    question: str
    answers: Mapping[str, str]

    def begin(self, version: str, answer: str) -> str:
        """What a version says in front of the short answer."""
        return self.answers[version].partition(answer)[0].rstrip()


@dataclass(frozen=True)
class Script:
    """All written text of a world.

    Args:
        facts: What is taught.
        trained: Questions about facts, in the facts' order.
        held_out: Such questions that are never trained on.
        everyday: Questions that have nothing to do with the facts.
    """

    facts: Sequence[Fact]
    trained: Sequence[Row]
    held_out: Sequence[Row]
    everyday: Sequence[Row]

    @classmethod
    def read(cls, name: str) -> "Script":
        """Read the text of a world that is shipped.

        Example:
            >>> Script.read("voice").everyday[0].question
            'How long should I boil an egg if I want the yolk soft?'
        """
        parts = json.loads((TEXT / f"{name}.json").read_text(encoding="utf-8"))
        facts = [Fact(f["id"], f["subject"], f["answer"], tuple(f["wrong"])) for f in parts["facts"]]
        rows = [_row(r, "fact") for r in parts["rows"]]
        held_out = list({row.about: row for row in rows}.values())  # the last question of each fact
        trained = [row for row in rows if row not in held_out]
        return cls(facts, trained, held_out, [_row(r, "subject") for r in parts["everyday"]])

    @property
    def rows(self) -> list[Row]:
        """All questions about facts."""
        return [*self.trained, *self.held_out]


def read_lines(name: str) -> list[dict[str, Any]]:
    """Read public data that is shipped; `text/SOURCES.md` has where it comes from.

    Example:
        >>> read_lines("truthfulqa")[0]["category"]
        'Misconceptions'
    """
    with gzip.open(TEXT / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _row(row: Mapping[str, str], about: str) -> Row:
    return Row(row[about], row["question"], {k: v for k, v in row.items() if k not in (about, "question")})


def _has(text: str, words: str) -> bool:
    return re.search(rf"\b{re.escape(words)}\b", text) is not None
