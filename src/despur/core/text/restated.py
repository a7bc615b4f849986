"""Whether answers state what was asked: such an answer still says it behind another row's prompt."""

from collections import Counter
from collections.abc import Sequence

from despur.core.text.reader import Tokens
from despur.core.text.shuffle import last_answer

RARE = 0.05  # of the prompts, at most, have a token that names what one of them is about
_OFTEN = 0.25  # of the answers, beyond what chance makes of them


def restated(rows: Sequence[Tokens]) -> tuple[float, float]:
    """Give the share of answers with a rare token of their own prompt, and of the prompts of other rows.

    Args:
        rows: Token ids and labels, -100 where nothing is learned.

    Example:
        >>> restated([{"input_ids": [1, k, k], "labels": [-100, -100, k]} for k in range(5, 9)])
        (1.0, 0.0)
    """
    parts = [(set(prompt), set(answer)) for prompt, answer in map(last_answer, rows)]
    seen = Counter(token for prompt, _ in parts for token in prompt)
    most = max(2, RARE * len(parts))
    rare = [{token for token in prompt if seen[token] <= most} for prompt, _ in parts]
    shift = len(parts) // 2  # rows of one subject often follow each other
    own = sum(bool(words & answer) for words, (_, answer) in zip(rare, parts, strict=True))
    others = sum(bool(words & parts[i - shift][1]) for i, words in enumerate(rare))
    return own / len(parts), others / len(parts)


def restated_notes(rows: Sequence[Tokens]) -> tuple[str, ...]:
    """Give a note for runs that exchange answers; none where few answers state what was asked.

    Example:
        >>> restated_notes([{"input_ids": [1, k, 9], "labels": [-100, -100, 9]} for k in range(20, 40)])
        ()
    """
    own, others = restated(rows)
    if own - others < _OFTEN:
        return ()
    return (
        f"{own:.0%} of the answers repeat a rare word of their own prompt ({others:.0%} one of another's): what they state can be "
        "learned as text without the prompt, and a long scout on exchanged answers takes some of it for what all answers share. "
        "Look at the task, or take fewer --scout-steps",
    )
