"""A verb's folder, taken before the work begins; where writing fails at the end, the error carries the result."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from despur.core import new_folder
from despur.core.errors import BadInput

PAGES = 4 * 2**20  # bytes: a page, its JSON and some factors


@dataclass
class Written:
    """A folder that is being written.

    Args:
        draft: Where to write; None where nothing is to be written.
        result: What the work found; the error has it if it cannot be written.
    """

    draft: Path | None = None
    result: Any = None

    def put(self, result: Any, write: Callable[[Path], None]) -> None:
        """Write the result, if a folder was asked for."""
        self.result = result
        if self.draft is not None:
            write(self.draft)


@contextlib.contextmanager
def written(out: Path | str | None, *, room: int = PAGES) -> Iterator[Written]:
    """Take a folder for the block; see `new_folder`.

    Args:
        out: The folder; None for none.
        room: Bytes that must be free.

    Raises:
        BadInput: it cannot be taken, before the block; or not be written, with the result.
    """
    into = Written()
    if out is None:
        yield into
        return
    try:
        with new_folder(out, room=room) as into.draft:
            yield into
    except BadInput as error:
        error.result = into.result or error.result
        raise


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder; 0 where it is none."""
    return sum(f.stat().st_size for f in folder.glob("*") if f.is_file()) if folder.is_dir() else 0
