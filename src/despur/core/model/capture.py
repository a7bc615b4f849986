"""What a model computes on token rows: activations as plain matrices, log-probabilities."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from despur.core.errors import CannotAttach
from despur.core.model.anatomy import Anatomy
from despur.core.model.attach import record
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.states import bare, evaluating
from despur.core.text.rows import Tokens, batches, pad_rows
from despur.core.types import Site

_TOKENS = 2**13  # of one pass, where few of its positions count
ROOM = 2**24  # log-probabilities in memory at once: 64 MB a copy in float32
_SHARE = 64  # of a CUDA device's free bytes, one log-probability: four copies of four bytes in a quarter of them
_MOST = 16 * ROOM  # on a card, where other workers may be as well


def _room(model: nn.Module) -> int:
    device = next(model.parameters()).device
    if device.type != "cuda":
        return ROOM
    return min(torch.cuda.mem_get_info(device)[0] // _SHARE, _MOST)


def fitting_batch(model: nn.Module, rows: Sequence[Sequence[int]], starts: Sequence[int] | None = None) -> int:
    """Rows whose next-token distributions, from a start on where one is given, fit into memory beside each other."""
    longest = max(map(len, rows), default=1)
    counted = max((len(r) - s for r, s in zip(rows, starts, strict=True)), default=1) if starts else longest
    room = _room(model) // (Anatomy.of(model).vocabulary * max(1, counted))
    return max(1, min(len(rows), room, max(room * counted, _TOKENS) // longest))


def fitting_positions(model: nn.Module) -> int:
    """Positions whose next-token distributions fit into memory beside each other."""
    return max(1, _room(model) // Anatomy.of(model).vocabulary)


@torch.no_grad()
def capture(
    model: nn.Module,
    rows: Sequence[Sequence[int]],
    sites: Sequence[Site],
    *,
    batch: int = 32,
    drop_first: int = 1,
    starts: Sequence[int] | None = None,
) -> tuple[dict[Site, Float[Tensor, "n d"]], Int[Tensor, " n"]]:
    """Stream vectors at some sites for every token of every row, one line a token.

    Args:
        model: A causal language model.
        rows: Token ids.
        sites: Where to look.
        batch: Rows in one forward pass.
        drop_first: Positions left out at the start of each row: the first carries massive activations
            in many models and would dominate every list of directions.
        starts: First position of each row that counts; 0 where left out.

    Returns:
        Per site (n, d) in float32 on the CPU, and the row each line came from (n,), for bootstraps.
    """
    parts_at: dict[Site, list[Tensor]] = {site: [] for site in sites}
    last = last_layer(model, sites)
    owners: list[Tensor] = []
    device = next(model.parameters()).device
    with evaluating(model), record(model, sites) as seen:
        for ids, mask, chosen in batches(rows, size=batch, pad=0):
            with stopped_behind(last):
                model(input_ids=ids.to(device), attention_mask=mask.to(device))
            keep = mask.bool() & from_starts(mask, chosen, starts)
            keep[:, :drop_first] = False
            owners.append(torch.tensor(chosen)[:, None].expand_as(mask)[keep])
            for site in sites:
                parts_at[site].append(seen[site].float().cpu()[keep])
    return {site: torch.cat(parts) for site, parts in parts_at.items()}, torch.cat(owners)


class _Enough(Exception):
    """What was looked for has passed: the layers behind it need not be run."""


def last_layer(model: nn.Module, sites: Sequence[Site]) -> nn.Module | None:
    """The last of some layers; None where a site is no layer, or layers are not known."""
    anatomy = Anatomy.of(model)
    if not sites or not anatomy.is_tabled or any(site not in anatomy.sites for site in sites):
        return None
    return anatomy.modules[anatomy.layers[max(anatomy.sites.index(site) for site in sites)]]


@contextlib.contextmanager
def stopped_behind(layer: nn.Module | None) -> Iterator[None]:
    """Let a forward pass end behind a layer, and the block go on; None lets it run to its end."""

    def stop(*_: object) -> None:
        raise _Enough

    hook = None if layer is None else layer.register_forward_hook(stop)  # behind the recorder's own
    try:
        with contextlib.suppress(_Enough):
            yield
    finally:
        if hook is not None:
            hook.remove()


def log_probs(model: nn.Module, ids: Int[Tensor, "b t"], mask: Int[Tensor, "b t"]) -> Float[Tensor, "b t v"]:
    """Log-probabilities of the next token at every position, in float32."""
    return torch.log_softmax(model(input_ids=ids, attention_mask=mask).logits.float(), -1)


def token_log_probs(model: nn.Module, ids: Int[Tensor, "b t"], mask: Int[Tensor, "b t"]) -> Float[Tensor, "b s"]:
    """Log-probability of each row's own tokens but the first, s = t - 1; what follows a row's end is not masked."""
    return log_probs(model, ids, mask)[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)


@torch.no_grad()
def check_writes_text(model: Any) -> None:
    """Refuse a model that predicts no next token: a classifier, a reward model, one without a head.

    Raises:
        CannotAttach: it is none that writes text.
    """
    inside = bare(model)
    head = getattr(inside, "get_output_embeddings", None)
    if callable(head) and head() is not None:
        return
    ids = torch.zeros(1, 2, dtype=torch.long, device=next(model.parameters()).device)
    try:
        with evaluating(model):
            logits = getattr(model(input_ids=ids, attention_mask=torch.ones_like(ids)), "logits", None)
    except Exception:  # whatever it needs beside tokens, a language model does not
        logits = None
    if logits is None or logits.ndim != 3 or logits.shape[-1] < Anatomy.of(model).vocabulary:
        raise CannotAttach(
            f"{type(inside).__name__} predicts no next token, so there is no text of its own to guard: it is a classifier, a reward "
            "model, or has no head. Guard the language model that it is made from, or take a guard of weights (grasp, l2_sp)"
        )


@torch.no_grad()
def label_log_probs(model: nn.Module, rows: Sequence[Tokens], *, batch: int = 16) -> tuple[Tensor, Tensor]:
    """Log-probability of each row's labelled tokens, summed, and their number; both (rows,).

    Args:
        model: A causal language model.
        rows: Token ids, and labels that are -100 at tokens that do not count.
        batch: Rows of one forward pass at most.
    """
    device = next(model.parameters()).device
    ids = [r["input_ids"] for r in rows]
    sums, counts = torch.zeros(len(rows)), torch.zeros(len(rows))
    for some, mask, chosen in batches(ids, size=min(batch, fitting_batch(model, ids)), pad=0):
        wanted = pad_rows([rows[i]["labels"] for i in chosen], -100)[0].roll(-1, 1)
        wanted[:, -1] = -100  # what follows a row's last token nobody knows
        where = wanted != -100
        logp = log_probs_at(model, some.to(device), mask.to(device), where.to(device))
        found = torch.zeros(where.shape)
        found[where] = logp.gather(-1, wanted[where].to(device)[:, None]).squeeze(-1).cpu()
        sums[torch.tensor(chosen)], counts[torch.tensor(chosen)] = found.sum(1), where.sum(1).float()
    return sums, counts


def mean_log_probs(model: nn.Module, rows: Sequence[Tokens], *, batch: int = 16) -> Float[Tensor, " rows"]:
    """Mean log-probability of each row's labelled tokens, 0 for a row without any; arguments as in `label_log_probs`."""
    sums, counts = label_log_probs(model, rows, batch=batch)
    return sums / counts.clamp(min=1)


def from_starts(mask: Int[Tensor, "b t"], chosen: Sequence[int], starts: Sequence[int] | None) -> Bool[Tensor, "b t"]:
    """Which positions lie at or behind the start of their row.

    Args:
        mask: Of the batch.
        chosen: Which rows are in the batch.
        starts: Of all rows; None keeps everything.
    """
    if starts is None:
        return torch.ones_like(mask, dtype=torch.bool)
    first = torch.tensor([starts[i] for i in chosen], device=mask.device)
    return torch.arange(mask.shape[1], device=mask.device) >= first[:, None]
