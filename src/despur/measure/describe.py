"""What a factor means: tokens that it promotes, training rows that push along it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core import Anatomy, NormGain, Subspace, record
from despur.core.errors import BadInput
from despur.core.model.states import evaluating
from despur.core.text.rows import Tokens, batches, pad_rows
from despur.measure.continuations import check_shift


class RowScores(NamedTuple):
    """How far training rows push along a shift.

    Args:
        scores: One a row: the adapter's change on its answer, in multiples of the shift.
        largest: Indices of the rows that push most, the strongest first.
        smallest: Indices of those that push least or the other way, the weakest first.
    """

    scores: Tensor
    largest: tuple[int, ...]
    smallest: tuple[int, ...]


@torch.no_grad()
def promoted(
    tuned: Any, tokenizer: Any, shift: Float[Tensor, " d"], *, k: int = 12, roles: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Read a shift through the final norm and the unembedding: the tokens that it promotes and suppresses.

    Args:
        tuned: PEFT model, or any causal language model.
        tokenizer: Its tokenizer.
        shift: A vector of the residual stream.
        k: Tokens of each kind.
        roles: For architectures that are not in the table; see `stream_roles`.

    Example:
        >>> # promoted(peft_model, tokenizer, mean_shift(peft_model, rows, factor))["promoted"]
    """
    anatomy = Anatomy.of(tuned, roles)
    norm = anatomy.modules[anatomy.final_norm] if anatomy.final_norm is not None else None
    direction = NormGain.of(norm, len(shift)).show(shift[None].float().cpu())[0]
    weight = anatomy.model.get_output_embeddings().weight.float().cpu()
    scores = (weight - weight.mean(0)) @ direction
    k = min(k, len(scores))
    return {
        "promoted": [tokenizer.decode([i]) for i in scores.topk(k).indices.tolist()],
        "suppressed": [tokenizer.decode([i]) for i in (-scores).topk(k).indices.tolist()],
    }


@torch.no_grad()
def rows_along(
    tuned: Any, rows: Sequence[Tokens], factor: Subspace, shift: Float[Tensor, " d"], *, k: int = 8, batch: int = 16
) -> RowScores:
    """Score training rows by how far the adapter moves the stream along a shift where their answers are predicted.

        score = mean over the answer's tokens of (adapter - base) . shift / |shift|²

    Args:
        tuned: PEFT model; its base is the model with the adapter off.
        rows: Token rows with labels; the positions that predict a labelled token count, the very first aside.
        factor: Its site names one layer.
        shift: What to project on; a score of 1 is a change as large as it.
        k: Rows of each kind.
        batch: Rows in one forward pass.

    Raises:
        BadInput: no adapter to switch off, no rows, a row without an answer, or a shift of zero.
        ShapeMismatch: a shift of another width than the factor.

    Example:
        >>> # [data[i] for i in rows_along(peft_model, tokens, factor, shift).largest]
    """
    check_shift(tuned, factor, shift)
    if not rows:
        raise BadInput("there are no rows to score. Give the rows that the adapter was trained on")
    scores = torch.zeros(len(rows))
    device = next(tuned.parameters()).device
    with evaluating(tuned), record(tuned, [factor.site]) as seen:
        for ids, mask, chosen in batches([r["input_ids"] for r in rows], size=batch, pad=0):
            given = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
            tuned(**given)
            moved = seen[factor.site].float()
            with tuned.disable_adapter():
                tuned(**given)
            along = ((moved - seen[factor.site].float()) @ shift.to(moved)).cpu() / shift.cpu().float().square().sum()
            labels, _ = pad_rows([rows[i]["labels"] for i in chosen], -100)
            predicts = torch.zeros_like(mask, dtype=torch.bool)
            predicts[:, :-1] = (labels != -100)[:, 1:]
            several = predicts.sum(1) > 1
            predicts[several, 0] = False  # many models put a massive activation there
            if not predicts.any(1).all():
                row = chosen[int((~predicts.any(1)).nonzero()[0])]
                raise BadInput(f"row {row + 1} has no answer token that is predicted. Leave such rows out")
            scores[torch.tensor(chosen)] = (along * predicts).sum(1) / predicts.sum(1)
    order = scores.argsort(descending=True, stable=True).tolist()
    return RowScores(scores, tuple(order[:k]), tuple(order[::-1][:k]))
