"""The claim of `a-gem`."""

import torch
from torch import Tensor

from despur.claims.planted import HALVED_IN_WORDS, areas
from despur.claims.tiny_runs import fresh_lora, move, rows_of
from despur.core import Context, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.guard import a_gem as guard


@claim(
    method="a-gem",
    says="no step raises the loss on the text to first order, and at least half of the task is learned without the drift",
    control=f"the constraint of another text; {HALVED_IN_WORDS}",
    margin=0.1,
)
def a_gem(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """What is left of a gradient's conflict with the text; then the task without the drift."""
    if whole:
        return areas(seed, "a-gem", {"strength": 1.0})
    model = move(fresh_lora(seed), seed).eval()
    texts = [OwnText((tuple(rows_of(s, n=1, length=6)[0].tolist()),)) for s in (seed, seed + 1)]
    of_text, task = (_gradient(model, torch.tensor(ids)) for ids in (texts[0].rows, rows_of(seed + 2, n=1).tolist()))
    size = _dot(of_text, of_text)
    against = {n: task[n] - (_dot(task, of_text) / size + 1) * of_text[n] for n in task}
    left: list[float] = []
    for text in texts:
        edit = guard(text, rows_per_step=1)
        edit.bind(model)
        left.append(abs(_dot(dict(edit(against, Context(model))), of_text)) / abs(_dot(against, of_text)))
    return (compared("conflict with the text that is left", left[0], control=left[1], bound=1e-3, margin=0.3,
                     higher_is_better=False),)  # fmt: skip


def _gradient(model: torch.nn.Module, ids: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    model(input_ids=ids, labels=ids).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def _dot(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return sum(float((one[n] * other[n]).sum()) for n in one)
