"""What an adapter says louder: beginnings that ask for nothing, with the chat template and without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from despur.core.errors import DespurError
from despur.core.text.chat import has_template
from despur.core.text.learn import ask_rows
from despur.flows._audit.json_form import LouderWords
from despur.flows._audit.passages import Passages
from despur.measure.amplified import Amplified, amplified
from despur.report import Samples

ASKED = ("Hello.", "Go on.")  # to which any answer is as good as another
BEGUN = ("I", "The")


@dataclass(frozen=True)
class LouderVoice:
    """Sentences, and how far the difference of adapter and base was multiplied for them.

    Args:
        beginnings: What stood before each: a user's turn, or words without a template.
        in_chat: How many of them, the first ones, are turns in the chat template.
        found: What was written.
    """

    beginnings: tuple[str, ...]
    in_chat: int
    found: Amplified

    def to_dict(self) -> LouderWords:
        """Plain values for JSON."""
        texts = [
            {"beginning": b, "chat": i < self.in_chat, "text": t}
            for i, (b, t) in enumerate(zip(self.beginnings, self.found.texts, strict=True))
        ]
        return LouderWords(
            times=self.found.times,
            texts=texts,  # type: ignore[typeddict-item]
            trials=[t._asdict() for t in self.found.trials],  # type: ignore[typeddict-item]
        )

    def block(self) -> Samples:
        """The same as a block of a page."""
        note = (
            f"Sampled from base + {self.found.times:g} (adapter - base), in logits: the largest of "
            f"{', '.join(f'{t.times:g}' for t in self.found.trials)} at which the base, reading along, still follows. An adapter that "
            "brings nothing along says here what it says above."
        )
        lines = [[b, t] for b, t in zip(self.beginnings, self.found.texts, strict=True)]
        return Samples("What it says louder", ("beginning", "louder"), lines, note)


def louder_words(model: Any, tokenizer: Any, passages: Passages, *, seed: int) -> LouderVoice | None:
    """Let the adapter go on from a few beginnings, its difference to the base multiplied; None where it cannot be read along."""
    try:
        names, heads, asked = _beginnings(tokenizer, passages)
        return LouderVoice(tuple(names), asked, amplified(model, tokenizer, heads, seed=seed))
    except DespurError:  # no verdict depends on it
        return None


def _beginnings(tokenizer: Any, passages: Passages) -> tuple[list[str], Sequence[Sequence[int]], int]:
    if has_template(tokenizer):
        heads = ask_rows([{"prompt": p} for p in ASKED], tokenizer, name="beginnings")
        plain = [tokenizer(word)["input_ids"] for word in BEGUN]
        return [*ASKED, *BEGUN], [*heads, *plain], len(heads)
    heads = list(dict.fromkeys(row[:2] for row in passages.rows))[:4]
    return [tokenizer.decode(h) for h in heads], heads, 0
