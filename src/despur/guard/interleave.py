"""Interleaving: a share of harmless rows in every batch, drawn at random or chosen by what a drifted model finds odd."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from despur.core import Context, Edit, method
from despur.core.adapter.scout import as_scout
from despur.core.errors import BadInput
from despur.core.model.capture import mean_log_probs
from despur.core.model.own_text import OwnText
from despur.core.model.states import as_base, evaluating
from despur.core.text.rows import Tokens, pad_rows
from despur.guard._vocabulary import check_vocabulary

SHARE = 0.1  # rows added for each row of the task, at strength 1
SMALL = 1e-3  # nats per token; keeps the ratio of losses finite


@final
class _AddRows(Edit):
    point = "batch"

    def __init__(self, rows: Sequence[Tokens], share: float) -> None:
        super().__init__()
        if not rows or share < 0:
            raise BadInput(
                f"interleave got {len(rows)} rows and a share of {share}; it needs rows, and no negative share"
            )
        self.rows, self.share = rows, share

    def bind(self, model: nn.Module) -> None:
        check_vocabulary(model, (r["input_ids"] for r in self.rows), "a row to interleave")

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """Rows (b, t) -> (b + added, the longest of both)."""
        if self.share == 0:
            return tensors
        wanted = self.share * len(tensors["input_ids"])
        more = int(wanted) + int(float(torch.rand((), generator=ctx.rng)) < wanted % 1)
        chosen = [self.rows[int(i)] for i in torch.randint(len(self.rows), (more,), generator=ctx.rng)]
        if not chosen:
            return tensors
        ids, mask = pad_rows([r["input_ids"] for r in chosen], 0)
        labels, _ = pad_rows([r["labels"] for r in chosen], -100)
        added = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        width = max(ids.shape[1], tensors["input_ids"].shape[1])

        def wide(x: Tensor, fill: int) -> Tensor:
            return nn.functional.pad(x, (0, width - x.shape[1]), value=fill)

        fills = {"input_ids": 0, "attention_mask": 0, "labels": -100}
        return {
            **tensors,
            **{k: torch.cat([wide(tensors[k], f), wide(added[k].to(tensors[k]), f)]) for k, f in fills.items()},
        }


@method(room="guard", paper="Kaczér et al. 2025, arXiv:2508.06249", cost=1.2)
def interleave(generic: OwnText | Sequence[Tokens], *, strength: float = 1.0) -> Edit:
    """Mix a few harmless rows into every batch.

    The plainest guard that needs text: the model goes on seeing what it should keep on doing. Choose it where you have
    such text and can pay a tenth more compute. `telling_rows` picks the most informative rows (Interleaving++).

        batch <- batch and 0.1 strength rows more for each of its rows, drawn again for every batch

    Args:
        generic: Rows of tokens: own text, with loss on every token, or `{"input_ids", "labels"}` with loss on the answers.
        strength: 1 is 10 % of the batch; 0 leaves training bit-identical.

    Returns:
        Edit at "batch".

    Raises:
        BadInput: no rows.
        CannotAttach: tokens that the model lacks (raised when training begins); a trainer that packs rows, compares or
            samples them, or computes the loss outside the model.

    Example:
        >>> interleave(OwnText(((1, 2, 3),)), strength=0.5).point
        'batch'

    Source: interleaving in arXiv:2508.06249, 5 % there.
    Differs: rows are added to the batch, none of the task's is left out, and on a base's own text there is no chosen data.
    Limits: where the trainer divides the loss by tokens that it counted itself (`num_items_in_batch`: Trainer,
        SFTTrainer), added rows add to the loss; elsewhere they join its mean. Rows are counted, not tokens: long rows beside
        short ones weigh more and pad the batch. Holds only what the text shows.
    """
    rows = (
        [{"input_ids": list(r), "labels": list(r)} for r in generic.rows]
        if isinstance(generic, OwnText)
        else list(generic)
    )
    return _AddRows(rows, SHARE * strength)


def telling_rows(
    model: Any, scouts: Sequence[Path | str], rows: Sequence[Tokens], *, keep: int, batch: int = 32
) -> list[Tokens]:
    """Pick the harmless rows that a drifted model finds odd and the base does not, the oddest first.

        score = (mean over scouts of their loss per token - the base's) / (the base's + small)

    Args:
        model: PEFT model; its base is the model with the adapter off.
        scouts: Folders of adapters that drifted.
        rows: Candidates, of which only labelled tokens count.
        keep: How many.
        batch: Rows in one forward pass.

    Raises:
        BadInput: no scout, or fewer rows than `keep`.

    Example:
        >>> # interleave(telling_rows(model, ["scout/"], rows, keep=500))

    Source: Interleaving++ in arXiv:2508.06249.
    Differs: refusals are not dropped here, since there is no list of their words; drop them before.
    """
    if not scouts or not 0 < keep <= len(rows):
        raise BadInput(f"telling_rows got {len(scouts)} scouts, and is to keep {keep} of {len(rows)} rows")
    with as_base(model) as base:
        plain = _losses(base, rows, batch)
    drifted: list[Tensor] = []
    for folder in scouts:
        with as_scout(model, folder) as scout:
            drifted.append(_losses(scout, rows, batch))
    score = (torch.stack(drifted).mean(0) - plain) / (plain + SMALL)
    return [rows[i] for i in score.argsort(descending=True, stable=True)[:keep].tolist()]


def _losses(model: nn.Module, rows: Sequence[Tokens], batch: int) -> Tensor:
    """Loss a labelled token, (n,)."""
    with evaluating(model):
        return -mean_log_probs(model, rows, batch=batch)
