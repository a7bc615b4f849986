"""An adapter that a run went on with: the first part of each certified update, of which nothing is promised."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from despur.core import Adapter
from despur.core.adapter.adapter import plain_adapter
from despur.core.adapter.continued import split
from despur.core.adapter.peft_folder import Opened, open_folder
from despur.core.errors import BadInput
from despur.flows._verify.certificate import part_digest, tensors_digest

_SAME = 1e-5  # of an update: a scale that is no power of two rounds the stored factor


@dataclass(frozen=True)
class Begun:
    """A certified adapter in two parts.

    Args:
        rest: What was added, which the guard acted on.
        record: What the certificate says of the start.
    """

    rest: Adapter
    record: Mapping[str, Any]

    @classmethod
    def of(cls, opened: Opened, start: Path) -> "Begun":
        """Take an adapter apart by the one that it went on with.

        Raises:
            BadInput: one of the two is no plain LoRA, or the adapter does not begin with the start's updates.
        """
        begin = open_folder(start)
        first = plain_adapter(begin).updates
        ranks = {name: len(update.down) for name, update in first.items()}
        part, rest = split(plain_adapter(opened), ranks)
        for name, update in first.items():
            ours = part.updates[name]
            theirs = update.scale * update.up.double() @ update.down.double()
            if not torch.allclose(
                ours.scale * ours.up.double() @ ours.down.double(), theirs, atol=_SAME * float(theirs.abs().max())
            ):
                raise BadInput(
                    f"{name!r} in {str(opened.folder)!r} does not begin with the update of {str(start)!r}. "
                    "Give the adapter that it went on with"
                )
        return cls(
            rest,
            {"name": start.name, "weights": tensors_digest(begin.tensors), "ranks": ranks, "part": part_digest(part)},
        )


def parts_as_certified(adapter: Adapter, start: Mapping[str, Any]) -> tuple[Adapter, str]:
    """Take an adapter apart by its certificate.

    Returns:
        What was added, and "" or what is wrong with the start.
    """
    part, rest = split(adapter, start["ranks"])
    digest = part_digest(part)
    if digest == start["part"]:
        return rest, ""
    return rest, f"the adapter that it went on with has the digest {digest[:16]}…, certified is {start['part'][:16]}…"
