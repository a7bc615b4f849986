"""Digests of how text becomes tokens: of the tokenizer by what it does, of the chat template by its text."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from despur.core.errors import BadInput
from despur.flows.own_tokenizer import TEMPLATE as FILE
from despur.flows.own_tokenizer import Unreadable, has_vocabulary, own_tokenizer

TOKENIZER, TEMPLATE = "tokenizer", "chat template"
_STEPS = (3, 104_729)
# spaces, line ends, digits, accents in two forms, other scripts and signs of several bytes: where normalisers differ
_PROBE = "  Two  spaces,\n\ttabs\r\nand 12345.6 café cafe\u0301 İΣς 日本語 नमस्ते 👩‍👩‍👧 ﬁ ½ don't <b>x</b>\n\n"


def text_digests(folder: Path, base: Any) -> dict[str, str | None] | None:
    """Digest how text is given to an adapter: by the tokenizer and template in its folder, or else by the base's.

    Args:
        folder: The adapter's.
        base: The base's tokenizer; None where it is not at hand.

    Returns:
        SHA-256 of the tokenizer and of the chat template (None where there is none); None where no tokenizer is at hand.

    Raises:
        BadInput: the tokenizer in the folder cannot be read.
    """
    used = _used(folder, base)
    return None if used is None else digests_of(used, getattr(base, "chat_template", None))


def digests_of(tokenizer: Any, template: Any = None) -> dict[str, str | None]:
    """SHA-256 of a tokenizer and of its chat template.

    Args:
        tokenizer: The tokenizer.
        template: The chat template where it has none of its own.
    """
    template = tokenizer.chat_template or template
    text = template if isinstance(template, str) or template is None else json.dumps(template, sort_keys=True)
    return {TOKENIZER: _does(tokenizer), TEMPLATE: None if text is None else hashlib.sha256(text.encode()).hexdigest()}


def other_texts(found: Mapping[str, str | None], certified: Mapping[str, str | None]) -> dict[str, str]:
    """Part -> what is wrong with it, "" where it is the one certified."""
    wrong: dict[str, str] = {}
    for part in (TOKENIZER, TEMPLATE):
        now, then = found.get(part), certified.get(part)
        wrong[part] = "" if now == then else f"the {part} has the digest {_short(now)}, certified is {_short(then)}"
    return wrong


def _short(digest: str | None) -> str:
    return "none" if digest is None else f"{digest[:16]}…"


def _used(folder: Path, base: Any) -> Any:
    try:
        own = own_tokenizer(folder, base)
    except Unreadable as error:
        if not has_vocabulary(folder):
            raise BadInput(f"{str(folder / FILE)!r} cannot be read ({error}). Copy or save it again") from error
        raise BadInput(
            f"the tokenizer in {str(folder)!r} cannot be read ({error}), so what text the adapter was trained on is unknown. Copy "
            "or save it again"
        ) from error
    return base if own is None else own


def _does(tokenizer: Any) -> str:
    """SHA-256 of ids: of the vocabulary, of each token's text alone and between others, of a probe, of what ends a text.

    Files are not compared: each version of transformers writes them in its own way. Padding is no part of a text.
    """
    vocabulary = sorted((str(token), int(i)) for token, i in tokenizer.get_vocab().items())
    alone: list[str] = tokenizer.batch_decode([[i] for _, i in vocabulary])
    mixed = [alone[i * step % len(alone)] for step in _STEPS for i in range(len(alone))]  # what merges first shows here
    joined = ["".join(mixed[i : i + 256]) for i in range(0, len(mixed), 256)]
    plain = tokenizer([*alone, *joined, _PROBE], add_special_tokens=False, padding=False, truncation=False)["input_ids"]
    whole = tokenizer(_PROBE, padding=False, truncation=False)["input_ids"]
    ends = [tokenizer.bos_token_id, tokenizer.eos_token_id]
    return hashlib.sha256(json.dumps([vocabulary, plain, whole, ends]).encode()).hexdigest()
