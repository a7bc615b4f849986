"""What few directions carry in many tunes of one base, on the same text: the base is run once for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from despur.core import Site, Subspace, record
from despur.core.model.capture import fitting_batch, from_starts
from despur.core.model.chosen_logits import log_probs_at
from despur.core.model.states import check_switchable, evaluating
from despur.core.text.rows import batches
from despur.measure._exchange import exchanged_log_probs, layers_up_to
from despur.measure.tokens import TokenShift


class _Part(NamedTuple):
    """A batch, its counted positions, and what the base makes of it: log-probabilities there (n, v), and the stream."""

    ids: Tensor
    mask: Tensor
    where: Tensor
    base: Tensor
    stream: Tensor


@dataclass(frozen=True)
class BaseRuns:
    """What a base makes of some text, in memory: 4 bytes a token of the vocabulary and counted position.

    Args:
        site: The layer at which coordinates are exchanged.
        parts: The text in batches.
    """

    site: Site
    parts: tuple[_Part, ...]

    @classmethod
    @torch.no_grad()
    def of(
        cls, base: Any, rows: Sequence[Sequence[int]], site: Site, *, starts: Sequence[int] | None = None
    ) -> "BaseRuns":
        """Run the base.

        Args:
            base: The base, nothing on top.
            rows: Token rows.
            site: A layer.
            starts: First position of each row that counts.
        """
        device, parts = next(base.parameters()).device, list[_Part]()
        with evaluating(base), record(base, [site]) as seen:
            for ids, mask, chosen in batches(rows, size=fitting_batch(base, rows, starts), pad=0):
                ids, mask = ids.to(device), mask.to(device)
                where = mask.bool() & from_starts(mask, chosen, starts)
                log_probs = log_probs_at(base, ids, mask, where)
                parts.append(_Part(ids, mask, where, log_probs, seen[site]))
        return cls(site, tuple(parts))

    @torch.no_grad()
    def compare(self, tuned: Any, factors: Mapping[str, Subspace]) -> tuple[TokenShift, dict[str, float]]:
        """Measure a tune: how it uses tokens, and the share of its change that each factor's coordinates carry.

        The same figures as `token_shift` and the sufficiencies of `causal_checks`, for one forward pass of the tune, and of the base
        one a factor, from the site on.

        Args:
            tuned: The base with a tune on.
            factors: By name, all at the site of these runs.

        Example:
            >>> # BaseRuns.of(base, rows, site).compare(peft_model, {"mean": factor})[1]["mean"]
        """
        check_switchable(tuned, "the comparison with the base")
        names, change, count = list(factors), 0.0, 0
        left, sums = [0.0] * len(names), list[Tensor]()
        wide = torch.float32 if next(tuned.parameters()).device.type == "mps" else torch.float64
        with evaluating(tuned):
            layers = layers_up_to(tuned, self.site)
            for part in self.parts:
                with record(tuned, [self.site]) as seen:
                    after = log_probs_at(tuned, part.ids, part.mask, part.where)
                change += float((after.exp() * (after - part.base)).sum())
                count += len(after)
                sums.append(torch.stack([part.base.to(wide).exp().sum(0), after.to(wide).exp().sum(0)]).cpu())
                with tuned.disable_adapter():
                    made = exchanged_log_probs(
                        tuned, (part.ids, part.mask, part.where), self.site, layers, (part.stream, seen[self.site]),
                        list(factors.values()),
                    )  # fmt: skip
                    for places, log_probs in made:
                        for (i,), one in zip(places, log_probs, strict=True):
                            left[i] += float((after.exp() * (after - one)).sum())
        before, after = torch.stack(sums).sum(0) / count
        marginal = float((after * (after.clamp(min=1e-300) / before.clamp(min=1e-300)).log()).sum())
        shift = TokenShift(change / count, max(marginal, 0.0), before.float(), after.float())
        return shift, {name: 1 - x / change if change > 0 else 0.0 for name, x in zip(names, left, strict=True)}
