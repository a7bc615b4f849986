"""A short section in an adapter's README.md, between marks: written again each time; the rest of the file stays byte for byte."""

import re
from pathlib import Path

from despur.core.disk.files import write_bytes
from despur.core.errors import BadInput
from despur.flows._verify.certificate import Certificate

BEGIN, END = b"<!-- despur:begin -->", b"<!-- despur:end -->"
_SECTION = re.compile(re.escape(BEGIN) + rb"(?:(?!" + re.escape(BEGIN) + rb").)*?" + re.escape(END), re.DOTALL)
_NEW = b"---\nlibrary_name: peft\n---\n"


def write_section(folder: Path, certificate: Certificate) -> None:
    """Put what a certificate says into the model card, in the place of an older section or at the end.

    Raises:
        BadInput: the card cannot be read or written.
    """
    path = (folder / "README.md").resolve()
    section = BEGIN + b"\n" + _text(certificate).encode() + END
    try:
        card = path.read_bytes() if path.exists() else _NEW
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror}. Move it away, then certify again") from error
    old = _SECTION.search(card)
    card = card[: old.start()] + section + card[old.end() :] if old else card + _gap(card) + section + b"\n"
    write_bytes(path, card)


def _gap(card: bytes) -> bytes:
    return b"" if not card or card.endswith(b"\n\n") else b"\n" if card.endswith(b"\n") else b"\n\n"


def _text(c: Certificate) -> str:
    settings = ", ".join(f"{k} {v}" for k, v in c.settings.items() if v is not None)
    lines = [
        "## How it was guarded",
        "",
        f"Trained with despur's guard `{c.guard}`{f' ({settings})' if settings else ''}. {c.promise}",
        "",
    ]
    if c.leak:
        worst, random = (max(m[key] for m in c.leak.values()) for key in ("leak", "random"))
        lines.append(
            f"- {len(c.leak)} guarded modules; the largest leak is {worst:.1e} of a module's update, "
            f"along random directions up to {random:.2f}"
        )
    lines.append(f"- base: fingerprint `{c.base['fingerprint']}`")
    if c.data:
        lines.append(f"- data: `{c.data['name']}`, SHA-256 `{c.data['sha256']}`")
    lines += ["- to check it again: `despur verify BASE ADAPTER`", "", "Not promised:", ""]
    return "\n".join([*lines, *(f"- {line}" for line in c.not_promised)]) + "\n"
