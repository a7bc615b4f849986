"""What an adapter does to text, beside the directions that are judged: for the page and for `audit.json`."""

from pathlib import Path
from typing import Any

from despur.flows._audit.conversation import answers, questions
from despur.flows._audit.louder_words import louder_words
from despur.flows._audit.passages import Passages
from despur.flows._audit.patch import patched
from despur.flows._audit.screen import Screen


def behaviour(
    model: Any, tokenizer: Any, seen: Screen, passages: Passages, prompts: Path | str | None, *, seed: int
) -> dict[str, Any]:
    """Fields of an `Audit`: answers, sentences, tokens used more and less, and where in a chat the change sits.

    Args:
        model: The tuned model.
        tokenizer: Its tokenizer.
        seen: What the verdict is based on.
        passages: Off-task text.
        prompts: As the user gave them.
        seed: Of the draws.
    """
    return {
        "token_share": seen.tokens.share,
        "token_use": tuple((tokenizer.decode([i]), a, b) for i, a, b in seen.tokens.most(20)),
        "answers": answers({"adapter": model}, tokenizer, questions(prompts, tokenizer, passages), seed=seed),
        "louder_words": louder_words(model, tokenizer, passages, seed=seed),
        "patch": patched(model, tokenizer, passages, seed=seed),
    }
