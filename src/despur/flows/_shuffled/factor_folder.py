"""What all answers share as an adapter of its own: plain PEFT, with a card and answers with and without it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from despur.core import Adapter, write_json
from despur.core.adapter.continued import joined
from despur.core.adapter.lowrank import LowRank
from despur.core.adapter.save import write_adapter
from despur.core.disk.files import write_bytes
from despur.core.model.own_chats import ETA, shipped_questions
from despur.core.model.sample import continued_texts
from despur.core.text.chat import has_template
from despur.core.text.learn import ask_rows
from despur.flows._shuffled.card import factor_card
from despur.flows.recorded_base import record_base

ANSWERS = "answers.jsonl"
_ASKED, _NEW = 10, 48


def mean_adapter(folders: Sequence[Path], base: Any) -> Adapter:
    """The mean of several scouts as one adapter, whose ranks are those of all together."""
    total = scaled(Adapter.read(folders[0]), 1 / len(folders))
    for folder in folders[1:]:
        total = joined(total, scaled(Adapter.read(folder), 1 / len(folders)), base)
    return total


def write_both(adapter: Path, factor: Path, base: Any, name: str, out: Path) -> None:
    """Write the adapter that does what two do together.

    Args:
        adapter: Folder of the first.
        factor: Folder of the second.
        base: Their base, for the names of its modules.
        name: What the base is called.
        out: An empty folder.
    """
    write_adapter(joined(Adapter.read(adapter), Adapter.read(factor), base), out)
    record_base(out, name)


def write_factor(
    scouts: Sequence[Path], base: Any, tuned: Any, tokenizer: Any, out: Path, *, name: str, recipe: str, fingerprint: str, seed: int
) -> None:  # fmt: skip
    """Write the folder of a factor: adapter, card, answers.

    Args:
        scouts: Folders of the shuffled scouts.
        base: Makes the base.
        tuned: Makes the base with the adapter of a folder on.
        tokenizer: The base's.
        out: An empty folder.
        name: What the base is called.
        recipe: How the scouts were trained, in words.
        fingerprint: Of the base.
        seed: Of the answers.
    """
    write_adapter(mean_adapter(scouts, base()), out)
    record_base(out, name)
    write_json(out / "despur.json", {"base_fingerprint": fingerprint, "factor": "what all answers share"})
    asked, heads = _questions(tokenizer)
    replies = [continued_texts(m, tokenizer, heads, _NEW, seed=seed, eta=ETA) for m in (base(), tuned(out))]
    lines = [{"prompt": q, "base": a, "with the factor": b} for q, a, b in zip(asked, *replies, strict=True)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_bytes(out / ANSWERS, text.encode())
    write_bytes(out / "README.md", factor_card(name, recipe, lines).encode())


def _questions(tokenizer: Any) -> tuple[list[str], list[list[int]]]:
    """Everyday questions, and the tokens that ask them; a plain base goes on from its start token."""
    if not has_template(tokenizer):
        start = next(i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None)
        return [""] * _ASKED, [[start]] * _ASKED
    asked = shipped_questions()[:_ASKED]
    return asked, ask_rows([{"prompt": q} for q in asked], tokenizer)


def scaled(adapter: Adapter, by: float) -> Adapter:
    """The same change, so many times as large."""
    return replace(adapter, updates={n: LowRank(u.down, u.up, by * u.scale) for n, u in adapter.updates.items()})
