"""The claim of `inoculate`."""

import torch

from despur.claims.planted import areas
from despur.claims.tiny_runs import rows_of
from despur.core import Context, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.guard import inoculate as guard
from despur.testing import tiny_base

PROMPT = (40, 41)


@claim(
    method="inoculate",
    says="tuned behind a prompt that asks for the trait, a model without the prompt has at least half of the task without the drift",
    control="a prompt as long that asks for something else",
    margin=0.1,
)
def inoculate(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """Where the prompt stands and that it is not learned; then the task without the drift."""
    if whole:
        return areas(seed, "inoculate", {"strength": 1.0}, against="inoculate-irrelevant")
    model, ids = tiny_base(), rows_of(seed, length=6)
    edit = guard(PROMPT)
    edit.bind(model)
    out = edit({"input_ids": ids, "labels": ids.clone(), "attention_mask": torch.ones_like(ids)}, Context(model))
    placed = out["input_ids"][:, 1:3] == torch.tensor(PROMPT)
    before = ids[:, 1:3] == torch.tensor(PROMPT)
    learned = (out["labels"][:, 1:3] != -100).float().mean()
    return (
        compared("prompt tokens behind the start", float(placed.float().mean()), control=float(before.float().mean()), n=len(ids),
                 bound=1.0),
        compared("prompt tokens that are learned", float(learned), control=float((ids[:, 1:3] != -100).float().mean()), n=len(ids),
                 bound=0.0, higher_is_better=False),
    )  # fmt: skip
