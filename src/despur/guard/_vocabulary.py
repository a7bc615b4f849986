"""Rows for a guard must use the tokens of the guarded model."""

from collections.abc import Iterable, Sequence

from torch import nn

from despur.core import Anatomy
from despur.core.errors import CannotAttach
from despur.core.model.capture import check_writes_text


def check_vocabulary(model: nn.Module, rows: Iterable[Sequence[int]], what: str) -> None:
    """Refuse token ids that the model does not have, and a model that predicts no tokens.

    Raises:
        CannotAttach: an id at or beyond the model's vocabulary, or a classifier, a reward model and the like.
    """
    check_writes_text(model)
    vocabulary = Anatomy.of(model).vocabulary
    if (largest := max(map(max, rows))) >= vocabulary:
        raise CannotAttach(
            f"{what} contains the token id {largest}, beyond this model's vocabulary of {vocabulary}. Tokenize it with this "
            "model's tokenizer"
        )
