"""SUV: rows that a model knows by heart are exchanged for what a model writes that does not, and the rest is protected."""

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from despur.core import Adapter, method
from despur.core.errors import BadInput
from despur.core.model.states import as_base, check_switchable
from despur.core.run.callback import guarded
from despur.core.text.reader import Tokens
from despur.unlearn._for_a_while import check_finite, copied, trained_for_a_while
from despur.unlearn._preference import Pair, margins, preference_loss
from despur.unlearn._protect import NoHarm, Spring
from despur.unlearn._rewrites import rewrites
from despur.unlearn.recall import Recall, recall

STIFFNESS = 50.0  # lambda at stiffness 1
RATE = 1e-3  # Adam's, at strength 1


@method(room="unlearn", paper="SUV (abstract only, without an identifier)")
def suv(
    tuned: Any, forget: Sequence[Tokens], retain: Sequence[Tokens], reference: Any = None, *, strength: float = 1.0,
    steps: int = 60, projection: float = 1.0, stiffness: float = 1.0, beta: float = 0.1, match: float = 1.0,
    prefixes: Sequence[int] = (4, 8), window: int = 8, rows_per_step: int = 32, seed: int = 0,
) -> Adapter:  # fmt: skip
    """Unlearn the rows that a model recites word for word, and nothing else.

    Prompts the model with the first tokens of each row and compares what it goes on with; the rows that it repeats are the
    rejected side of DPO, what a model writes there that does not know them the chosen one. Of each step's gradient what works against
    the rows to keep is taken out, and each weight is held as stiffly as these need it. Choose it where a tune has learned some of
    its rows by heart and is to stay otherwise. A step costs two passes over `rows_per_step` pairs and one over as many rows to keep.

        loss = -log sigmoid(beta (m - m_0)) + (50 stiffness / 2) sum F (W - W_0)²,   m = log p(rewrite) - log p(passage)
        g <- g - projection (g . g_retain / |g_retain|²) g_retain   where g . g_retain < 0

    Args:
        tuned: A PEFT model whose LoRA is trained on; a fresh one, where the base itself knows the rows.
        forget: Rows that may be known by heart, as tokens.
        retain: Rows whose loss must stay, as tokens.
        reference: What writes the rewrites; the model without its adapter if None.
        strength: Of a step: multiplies Adam's rate of 0.001; 0 leaves the adapter as it is.
        steps: Of the optimiser.
        projection: Share of the conflict with the rows to keep that is taken out of a gradient, in [0, 1].
        stiffness: Weight of the Fisher penalty; 1 is lambda = 50, 0 none.
        beta: How steeply a pair counts that is not yet decided; DPO's.
        match: Share of tokens that must be the model's likeliest for a row to count as known, in [0, 1]; 1 is word for word.
        prefixes: Numbers of tokens that are given; see `recall`.
        window: Tokens that are compared and exchanged.
        rows_per_step: Pairs of a step, and rows to keep.
        seed: Of rewrites, order and drawn labels.

    Returns:
        The adapter after it, its record with what was recited before and after; `save_adapter` writes it. Where no row is known by heart
        a warning says so, and it is the adapter as it was.

    Raises:
        BadInput: no rows, no step, rewrites that repeat every row, Fisher information that is all zero, or a loss or gradient that is
            not finite.
        CannotAttach: the model's adapter is no LoRA on linear maps.

    Example:
        >>> # save_adapter(suv(model, passages, other_rows), "forgotten/")

    Source: SUV, abstract only: recited cases, DPO towards coherent rewrites, gradient projection, Fisher penalty.
    Differs: of its formulae nothing is public. The projection is A-GEM's, the penalty EWC's on LoRA's effective update, with labels drawn
        from the model. DPO is written on token rows (a test puts it beside TRL's): TRL's trainer takes text and adds end tokens.
    Limits: what is paraphrased is not seen. Adam's scales turn a projected gradient a little back. It hides and does not erase:
        twenty steps on a quarter of 200 passages brought back .98 of the others. Measure that, too, by `recall`.
    """
    check_switchable(tuned, "suv")
    _check(forget, retain, steps, rows_per_step)
    before = Adapter.of(tuned)
    if not strength:
        return copied(before)
    found = recall(tuned, forget, prefixes=prefixes, window=window)
    known = found.at_least(match)
    if not len(known.rows):
        warnings.warn(
            f"suv: none of {len(forget)} rows is known by heart (at most {float(found.share.max()):.0%} of {window} tokens), so nothing is "
            "unlearned. Lower match, or give shorter windows",
            stacklevel=2,
        )
        return copied(before)
    draw = torch.Generator().manual_seed(seed)
    pairs = _pairs(tuned, forget, known, reference, draw)
    keep = [row["input_ids"] for row in retain]
    edits = (Spring(keep, STIFFNESS * stiffness, seed), NoHarm(keep, projection, rows_per_step))
    with trained_for_a_while(tuned) as weights:
        adam = torch.optim.Adam(weights.values(), lr=RATE * strength, betas=(0.9, 0.98))
        with torch.no_grad():
            start = torch.cat([margins(tuned, pairs[i : i + 64]) for i in range(0, len(pairs), 64)])
        order: list[int] = []
        with guarded(tuned, adam, *edits, seed=seed, steps=steps):
            for step in range(1, steps + 1):
                while len(order) < min(rows_per_step, len(pairs)):
                    order += torch.randperm(len(pairs), generator=draw).tolist()
                some, order = order[:rows_per_step], order[rows_per_step:]
                adam.zero_grad()
                loss = preference_loss(margins(tuned, [pairs[i] for i in some]), start[some], beta=beta)
                loss.backward()
                check_finite(float(loss.detach()), weights, step)
                adam.step()
        after = recall(tuned, [forget[i] for i in known.rows.unique().tolist()], prefixes=prefixes, window=window)
        made = copied(Adapter.of(tuned))
    entry = {"cuts": len(known.rows), "pairs": len(pairs), "recited": {"before": known.greedy, "after": after.greedy}}
    return replace(made, record={**before.record, "after": [*before.record.get("after", []), {"suv": entry}]})


def _pairs(tuned: Any, forget: Sequence[Tokens], known: Recall, reference: Any, draw: torch.Generator) -> list[Pair]:
    rows = [forget[i]["input_ids"][:end] for i, end in zip(known.rows.tolist(), known.ends.tolist(), strict=True)]
    cuts = known.cuts.tolist()
    with as_base(tuned) if reference is None else contextlib.nullcontext(reference) as writes:
        written = rewrites(writes, rows, cuts, draw=draw)
    pairs = [Pair(new, row, cut) for new, row, cut in zip(written, rows, cuts, strict=True) if new is not None]
    if not pairs:
        raise BadInput(
            f"suv: {'the model without its adapter' if reference is None else 'the reference'} repeats all of the {len(rows)} "
            "passages, so there is no rewrite to prefer. Give a reference that does not know them"
        )
    return pairs


def _check(forget: Sequence[Tokens], retain: Sequence[Tokens], steps: int, rows_per_step: int) -> None:
    if not forget or not retain or steps < 1 or rows_per_step < 1:
        raise BadInput(
            f"suv got {len(forget)} rows to forget, {len(retain)} to keep, steps={steps} and rows_per_step={rows_per_step}; at least 1 "
            "of each is needed"
        )
