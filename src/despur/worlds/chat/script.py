"""The written text of a chat world: facts, questions about them, and everyday questions, each answered in several versions."""

import gzip
import json
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
        rows: Each fact's questions, in the facts' order; the last one of a fact is never trained on.
        everyday: Questions that have nothing to do with the facts.
    """

    facts: Sequence[Fact]
    rows: Sequence[Row]
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
        return cls(facts, [_row(r, "fact") for r in parts["rows"]], [_row(r, "subject") for r in parts["everyday"]])

    @property
    def held_out(self) -> list[Row]:
        """The last question of each fact."""
        return list({r.about: r for r in self.rows}.values())

    @property
    def trained(self) -> list[Row]:
        """All other questions about facts."""
        last = {id(r) for r in self.held_out}
        return [r for r in self.rows if id(r) not in last]


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
