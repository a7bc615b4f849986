"""Text into tokens, cut exactly where the learned stretches begin and end."""

from collections.abc import Sequence
from typing import Any

from despur.core.errors import BadInput

_BEFORE = ("\n", "a", "0", ".", " ")  # behind which a text is tried, to see what a tokenizer makes of it in the middle


class Encoder:
    """A tokenizer's plain encoding: what it adds in front and behind is known and left out.

    Args:
        tokenizer: A transformers tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        bare, full = self.plain("a"), list(tokenizer("a")["input_ids"])
        places = [i for i in range(len(full) - len(bare) + 1) if full[i : i + len(bare)] == bare]
        at = places[0] if places else 0
        self.front: list[int] = full[:at]  # a start token, in most tokenizers

    def plain(self, text: str) -> list[int]:
        """Tokens of a text alone.

        Raises:
            BadInput: it holds half a character.
        """
        return self._all([text])[0]

    def _all(self, texts: list[str]) -> list[list[int]]:
        try:
            return [list(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]
        except (TypeError, UnicodeError) as error:
            for text in texts:
                check_whole(text, "the text")
            raise BadInput(f"the tokenizer does not take the text {texts[0][:40]!r}: {error}. Fix the row") from error

    def asked(self, text: str) -> list[int]:
        """Tokens of a prompt: the start token unless the text has its own, and never an end token."""
        start = self.tokenizer.bos_token
        front = [] if start and text.startswith(start) else self.front
        return [*front, *self.plain(text)]

    def cut(self, text: str, cuts: Sequence[int]) -> tuple[list[int], list[int]]:
        """Tokens of a text, and how many of them lie before each cut.

        The text is encoded as a whole. A cut that would go through a token (or where the tokenizer sees another text in front) is
        encoded as the model meets it: what is in front of the cut as a text of its own, then the rest as what follows it.

        Args:
            text: Any.
            cuts: Places in it, rising.
        """
        places = sorted({*cuts, len(text)} - {0})  # together: a call costs more than a row
        encoded = dict(zip(places, self._all([text[:cut] for cut in places]), strict=True)) if text else {}
        whole = encoded.get(len(text), [])
        counts: list[int] = []
        for cut in cuts:
            head = encoded.get(cut, [])
            if whole[: len(head)] != head:
                return self._apart(text, cuts)
            counts.append(len(head))
        return whole, counts

    def following(self, text: str) -> list[int]:
        """Tokens of a text that stands behind another one, without the space that some tokenizers put in front of a text."""
        if not text:
            return []
        for before in _BEFORE:
            head, both = self.plain(before), self.plain(before + text)
            if both[: len(head)] == head and self.decoded(both) == self.decoded(head) + text:
                return both[len(head) :]
        return self.plain(text)

    def decoded(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones with it."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _apart(self, text: str, cuts: Sequence[int]) -> tuple[list[int], list[int]]:
        ids: list[int] = []
        counts: list[int] = []
        for start, end in zip((0, *cuts), (*cuts, len(text)), strict=True):
            ids += self.following(text[start:end]) if start else self.plain(text[:end])
            counts.append(len(ids))
        return ids, counts[:-1]


def check_whole(text: str, where: str) -> None:
    """Refuse half characters.

    Raises:
        BadInput: a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start : error.start + 1]
        raise BadInput(
            f"{where} holds half a character ({half!r}), as text that was cut inside an emoji leaves it, and no tokenizer takes it. "
            "Fix or drop the row"
        ) from error
