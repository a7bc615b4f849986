"""The claim of `avert`."""

import tempfile
from pathlib import Path

from despur.claims.planted import areas
from despur.claims.tiny_runs import fresh_lora, move, penalty, rows_of
from despur.core import Report
from despur.core.adapter.scout import Scout
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.own_text import OwnText
from despur.guard import avert as guard


@claim(
    method="avert",
    says="holding back only what the scout changed off-task, a run learns more of the task without the drift than a run that is stopped "
    "early, in one world, and than with the scout's change on other words, in the other",
    control="the plain run stopped at a quarter of its steps; the scout's change on other words",
    margin=0.1,
)
def avert(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """The penalty at the scout itself beside that of the permuted scout; then the task without the drift."""
    if whole:
        at = {"strength": 1.0}
        early = areas(seed, "avert", at, against="early", at={"share": 0.25}, worlds=("persona",), bound=None)
        return (*early, *areas(seed, "avert", at, against="avert-permuted", worlds=("slant",), bound=None))
    text = OwnText(tuple(tuple(r) for r in rows_of(seed, n=4).tolist()))
    model = fresh_lora()
    with tempfile.TemporaryDirectory() as folder:
        move(fresh_lora(), seed).save_pretrained(Path(folder) / "scout", save_embedding_layers=False)
        scout = Path(folder) / "scout"
        edits = [guard(text, Scout(scout, permuted=draw), keep=0.0) for draw in (None, 0)]
        for edit in edits:
            edit.bind(model)
    at_base = [penalty(edit, model) for edit in edits]
    at_scout = [penalty(edit, move(fresh_lora(), seed).eval()) for edit in edits]
    return (
        compared("penalty at the scout, in penalties of the scout's whole change", at_scout[0] / at_scout[0],
                 control=at_scout[1] / at_scout[0], n=len(text.rows), margin=0.3),
        compared("penalty at the base, in the same unit", at_base[0] / at_scout[0], control=at_scout[0] / at_scout[0],
                 n=len(text.rows), bound=1e-3, margin=0.9, higher_is_better=False),
    )  # fmt: skip
