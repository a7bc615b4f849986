"""The one place that writes to the terminal: text of models and strangers appears there, and never acts on it."""

import codecs
import contextlib
import io
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderHook
from rich.segment import Segment
from rich.text import Text

from despur.core.visible import visible

# for terminals and files of few signs: what people read in place of a sign
_PLAIN = {
    "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "←": "<-", "±": "+/-", "×": "x", "²": "^2", "⟨": "<", "⟩": ">", "•": "*",
    "≥": ">=", "≤": "<=", "≈": "~", "“": '"', "”": '"', "ᵀ": "^T", "Σ": "sum",
}  # fmt: skip


def _in_few_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost), error.end


codecs.register_error("despur", _in_few_signs)


_COLOURS = re.compile(r"(\x1b\[[0-7;]*m|\r)")  # and the return of the carriage, for progress bars


class Harmless(io.TextIOBase):
    """A stream of text in which control characters are named, but for colours; libraries that print, or warn, get this one.

    Args:
        raw: The stream behind it, for what has been made harmless piece by piece.
    """

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write text."""
        self.raw.write("".join(p if i % 2 else visible(p) for i, p in enumerate(_COLOURS.split(text))))
        return len(text)

    def flush(self) -> None:
        """Hand on what is waiting."""
        self.raw.flush()

    def isatty(self) -> bool:
        """Whether a terminal is behind it."""
        return self.raw.isatty()

    def fileno(self) -> int:
        """Number of the file behind it."""
        return self.raw.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream behind it."""
        return self.raw.encoding or "utf-8"  # text in memory has none

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """Of the stream behind it."""
        return self.raw.errors

    @property
    def buffer(self) -> Any:
        """Bytes of the stream behind it."""
        return self.raw.buffer


@contextlib.contextmanager
def harmless_streams() -> Iterator[None]:
    """Let nothing that is printed in the block act on the terminal, or fail for signs that its encoding lacks."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="despur")
    sys.stdout, sys.stderr = (Harmless(s) if s is not None else s for s in before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Visible:
    """A renderable whose text has no control characters; those that rich itself adds are in its styles."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.inner, options):
            text = segment.text if segment.control else visible(segment.text)
            yield segment if text is segment.text else Segment(text, segment.style, segment.control)


class _Hook(RenderHook):
    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [_Visible(r) for r in renderables]


class Terminal(Console):
    """A console that takes strings as they are: no markup, no emoji codes, no colours of numbers, no control characters."""

    def __init__(self, **more: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **more)
        self.push_render_hook(_Hook())

    @property
    def file(self) -> Any:
        """The stream behind `Harmless`: what is written here is harmless, and its colours must pass."""
        stream: Any = super().file
        return stream.raw if isinstance(stream, Harmless) else stream

    @file.setter
    def file(self, new_file: Any) -> None:
        self._file = new_file


out_console = Terminal()
progress_console = Terminal(stderr=True)


def say(text: str, style: str | None = None) -> None:
    """Print a line as it is, with no breaks where the terminal ends."""
    out_console.print(Text(visible(text)), style=style, soft_wrap=True)  # Text alone drops some signs


def say_parts(parts: Iterable[str | tuple[str, str]]) -> None:
    """Print a line of parts; of a pair the second is its style."""
    pieces = [visible(p) if isinstance(p, str) else (visible(p[0]), p[1]) for p in parts]
    out_console.print(Text.assemble(*pieces), soft_wrap=True)


def say_error(text: str) -> None:
    """Print a line on standard error; ends of lines in it are named."""
    progress_console.print(Text(visible(text, one_line=True)), soft_wrap=True)


def say_plain(text: str) -> None:
    """Print text without any layout: JSON."""
    stream: Any = sys.stdout
    stream.write(text + "\n")
    stream.flush()
