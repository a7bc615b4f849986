"""discount: learn only what the shuffled scout, which heard what all answers share, leaves unexplained."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from despur.core import Context, Edit, Site, find_module, method, record
from despur.core.adapter.scout import Scout, Scouts, as_scout
from despur.core.errors import BadInput, CannotAttach, SiteNotFound
from despur.core.model.anatomy import Anatomy
from despur.core.model.chosen_logits import logits_at
from despur.core.model.states import as_base
from despur.core.text.rows import Tokens, batches
from despur.guard._heads import head_name, words_site
from despur.guard._offsets import Offsets
from despur.guard._vocabulary import check_vocabulary

_BATCH = 16  # rows of one pass while offsets are made


@final
class _Discount(Edit):
    """Adds what the scouts do to the head's input, made once for every row, while training computes its loss."""

    point = "activation"

    def __init__(self, rows: Sequence[Tokens], scouts: Sequence[Scout], strength: float, until: float) -> None:
        super().__init__()
        if not 0 < until <= 1:
            raise BadInput(f"until={until:g}; it is a share of the run's steps, above 0 and at most 1")
        self.rows, self.scouts, self.strength, self.until = rows, scouts, strength, until
        self.head, self.words = Site(), Site()
        self.offsets = Offsets((), 0)
        self.reading: Tensor | None = None

    def bind(self, model: nn.Module) -> None:
        """Find where tokens come in and where the head reads, and compute every row's offsets."""
        check_vocabulary(model, [row["input_ids"] for row in self.rows], "a row")
        head = head_name(model, "discount")
        self.head, self.words = _before(model, head), words_site(model, "discount")
        for what, name in (("head", head), ("embedding", self.words.module)):
            if any(p.requires_grad for p in find_module(model, name).parameters()):
                raise CannotAttach(
                    f"the {what} {name!r} is trained, and discount adds the scout's change in front of it. Leave it out of the adapter's "
                    "targets"
                )
        self.sites, self.offsets, self.reading = (self.words, self.head), Offsets((), 0), None
        if self.strength == 0:
            return
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            one = torch.ones(1, 1, dtype=torch.long)
            self.offsets = Offsets(self.rows, self._read(model, one, one).shape[-1])
            for scout in self.scouts:
                with as_scout(model, scout.folder) as on:
                    self._hear(on, _turn(scout, self.offsets.width))

    def _hear(self, model: Any, turn: Callable[[Tensor], Tensor]) -> None:
        """Add a scout's share of the offsets; the model has it switched on."""
        rows = list(self.offsets)
        for ids, mask, chosen in batches(rows, size=_BATCH, pad=0):
            with as_base(model) as base:
                before = self._read(base, ids, mask)
            changes = turn(self._read(model, ids, mask) - before) / len(self.scouts)
            for i, change in zip(chosen, changes, strict=True):
                self.offsets.add(rows[i], change[: len(rows[i])])

    def _read(self, model: Any, ids: Tensor, mask: Tensor) -> Float[Tensor, "b t d"]:
        """What the head reads."""
        device = next(model.parameters()).device
        none = torch.zeros_like(mask, dtype=torch.bool)  # of the logits is needed
        with record(model, [self.head]) as seen:
            logits_at(model, ids.to(device), mask.to(device), none)
        return seen[self.head].float().cpu()

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """Note the tokens that come in; add their offsets (b, t, d) where the head reads."""
        if self.strength == 0 or ctx.step >= self.until * ctx.steps > 0:
            return tensors
        if self.words.module in tensors:
            self.reading = tensors[self.words.module]
        if self.head.module not in tensors or self.reading is None:
            return tensors
        stream, ids = tensors[self.head.module], self.reading
        if stream.shape[:2] != ids.shape:
            raise CannotAttach(
                f"the head reads {tuple(stream.shape[:2])} positions of a batch of {tuple(ids.shape)}, so discount cannot tell which. "
                "Let the trainer compute the logits of every token (no logits_to_keep, no packing), or take absorb"
            )
        added = torch.stack([self._offset(row) for row in ids.tolist()]).to(stream.device)
        return {**tensors, self.head.module: (stream + self.strength * added).to(stream.dtype)}

    def _offset(self, row: list[int]) -> Float[Tensor, "t d"]:
        """The offsets of a row of the batch, zero where it is padded."""
        start, end = self._inside(row)
        return nn.functional.pad(self.offsets[tuple(row[start:end])], (0, 0, start, len(row) - end))

    def _inside(self, row: list[int]) -> tuple[int, int]:
        """Where the row that is known lies between its padding, which may be on either side."""
        end = len(row)
        while end and tuple(row[:end]) not in self.offsets and row[end - 1] == row[-1]:
            end -= 1
        if tuple(row[:end]) in self.offsets:
            return 0, end
        start = 0
        while start < len(row) and tuple(row[start:]) not in self.offsets and row[start] == row[0]:
            start += 1
        if tuple(row[start:]) in self.offsets:
            return start, len(row)
        raise CannotAttach(
            f"a row of {len(row)} tokens in the batch is none of the {len(self.offsets)} that discount was given. Give it the rows as the "
            "trainer tokenizes them: no packing, no padding_free, the same max_length, no other data set. Or take absorb, which needs no "
            "rows"
        )


@method(room="guard", paper="despur 2026, docs/log/discount-voice.md", cost=1.4)
def discount(rows: Sequence[Tokens], shuffled: Scouts, *, strength: float = 1.0, until: float = 1.0) -> Edit:
    """Learn only what the shuffled scout leaves unexplained.

    The shuffled scout was trained on the same rows with every prompt given another row's answer: it cannot know the task, and
    learned what all answers share, a voice, a slant, a style. While training, its change of the logits is added to the
    model's own; what it explains carries no gradient, and nothing of it is left in the adapter. Choose it where the data hold
    the factor constant, which `grasp` cannot see; where the factor depends on the prompt, it is the other way round. Steps cost
    what plain ones do; the offsets take two forward passes over the rows for each scout, once, and 2 d bytes for each learned token,
    in a temporary file (`TMPDIR`) where that is more than 64 MB.

        loss = cross-entropy of softmax(z + strength (z_scout - z_base))
        z + strength (z_scout - z_base) = W (h + strength (h_scout - h_base))     W the head, h what it reads

    Args:
        rows: The training rows as tokens, as the trainer gives them to the model.
        shuffled: The shuffled scout, by its adapter's folder, or several, whose mean is taken; see `shuffled_rows`.
        strength: Share of the scout's change that is discounted; 0 leaves training bit-identical.
        until: Share of the run's steps after which nothing is discounted any more. What all answers share is then learned, too, and a
            guard beside it must keep it to where the task is asked for.

    Returns:
        Edit at "activation", at what the head reads (the last norm's output) and, to know the rows, at the embedding's input.

    Raises:
        BadInput: `until` is no share.
        CannotAttach: a model whose head or embedding is not a module of its own, or is trained; tokens that it lacks; a scout
            that changes the head; no room for the offsets (all raised when training begins); a batch with other rows, or packed
            ones (raised there).

    Example:
        >>> discount([{"input_ids": [1, 2], "labels": [-100, 2]}], "shuffled/").point
        'activation'

    Source: despur's own; the same difference of logits while decoding is proxy tuning, arXiv:2401.08565, and a limited learner in a product
        of experts is arXiv:2012.01300.
    Differs: the scout needs no label and no data of the trait, and is gone after training; logits are added at the head's input, exactly
        where the head is linear, in front of a soft cap where there is one.
    Limits: sees only what all answers share. A format or a brevity that is wanted is constant, too, and is discounted, and so is that an
        answer names what was asked for: facts are known, and not told (docs/log/discount-voice.md). A task that is itself constant
        cannot be told from the factor.
    """
    return _Discount(rows, Scout.each(shuffled), strength, until)


def _turn(scout: Scout, width: int) -> Callable[[Tensor], Tensor]:
    """Of a permuted scout, a rotation of the stream: as large a change, of other words."""
    if scout.permuted is None:
        return lambda change: change
    draw = torch.randn(width, width, generator=torch.Generator().manual_seed(scout.permuted))
    rotation = torch.linalg.qr(draw)[0]
    return lambda change: change @ rotation


def _before(model: Any, head: str) -> Site:
    """What the head reads: where a norm gives it, there, since fused losses take the head's weight and never call the head."""
    try:
        norm = Anatomy.of(model).final_norm
    except SiteNotFound:
        norm = None
    return Site(head, "in") if norm is None else Site(norm, "out")
