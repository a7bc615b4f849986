"""The four axes without any labels: what can be measured on data and base alone."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from despur.core import AddVector, Subspace, attach
from despur.core.model.capture import fitting_positions, from_starts, mean_log_probs
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.states import check_switchable, evaluating
from despur.core.text.rows import Tokens, pad_rows, parts


@torch.no_grad()
def off_task(
    model: nn.Module,
    *,
    held_out: Sequence[Tokens],
    own_text: Sequence[Sequence[int]],
    starts: Sequence[int] | None = None,
    factor: Subspace | None = None,
    shift: Tensor | None = None,
    batch: int = 16,
) -> dict[str, dict[str, Tensor]]:
    """Score a PEFT model on a user's own work, without a probe for the factor.

    Args:
        model: Model with its adapter on; its base is the model with the adapter off.
        held_out: Rows of the data that were not trained on.
        own_text: Fresh text of the base's own, not the rows that a guard was trained with.
        starts: Tokens in front of each row's answer, where the model is not measured; the first one alone if left out.
        factor: Found at one layer; None leaves out `legitimate`.
        shift: (d,) the mean change along the factor, added to the stream to ask how the model responds.
        batch: Rows in one forward pass at most.

    Returns:
        Axis -> readout -> one value a row, for `four_axes`:
        `task.logp` of the answers per token; `drift.kl` KL(model || base) on own text per token;
        `legitimate.response` KL(model with the factor added || model), how strongly the model still answers to
        the factor; `validity.likelihood` of the base's own text, per token (geometric mean).

    Raises:
        BadInput: no adapter to switch off.

    Example:
        >>> # off_task(peft_model, held_out=tokens[-50:], own_text=fresh.rows)["drift"]["kl"].mean()
    """
    check_switchable(model, "off_task")
    device = next(model.parameters()).device
    scores: dict[str, dict[str, Tensor]] = {"task": {}, "drift": {"kl": torch.zeros(len(own_text))}}
    if factor is not None and shift is not None:
        scores["legitimate"] = {"response": torch.zeros(len(own_text))}
    scores["validity"] = {"likelihood": torch.zeros(len(own_text))}
    with evaluating(model):
        scores["task"]["logp"] = mean_log_probs(model, held_out, batch=batch)
        firsts = [
            max(0, s - 1) for s in starts or [1] * len(own_text)
        ]  # what stands there predicts the answer's first token
        sizes, room = [len(r) - f for r, f in zip(own_text, firsts, strict=True)], fitting_positions(model)
        alike = sorted(range(len(own_text)), key=lambda i: len(own_text[i]))
        for chosen in parts(alike, [max(s, room // batch) for s in sizes], room):
            ids, mask = pad_rows([own_text[i] for i in chosen], 0)
            where = mask.bool() & from_starts(mask, chosen, firsts)
            call = ids.to(device), mask.to(device), where.to(device)
            now = log_probs_at(model, *call)
            with model.disable_adapter():  # type: ignore[operator]
                base = log_probs_at(model, *call)
            scores["drift"]["kl"][chosen] = _row_means((now.exp() * (now - base)).sum(-1), where)
            following = ids.roll(-1, 1)[where].to(now.device)
            known = where & mask.roll(-1, 1).bool()  # of a row's last token nobody knows what follows
            known[:, -1] = False
            token_logp = now.gather(-1, following[:, None]).squeeze(-1)[known[where].to(now.device)]
            scores["validity"]["likelihood"][chosen] = _row_means(token_logp, known).exp()
            if factor is not None and shift is not None:
                with attach(model, {factor.site: AddVector(shift)}):
                    moved = log_probs_at(model, *call)
                scores["legitimate"]["response"][chosen] = _row_means((moved.exp() * (moved - now)).sum(-1), where)
    return scores


def _row_means(values: Float[Tensor, " n"], where: Bool[Tensor, "b t"]) -> Float[Tensor, " b"]:
    """Mean of each row's values, which stand where it says."""
    grid = torch.zeros(where.shape)
    grid[where] = values.cpu()
    return grid.sum(1) / where.sum(1).clamp(min=1)
