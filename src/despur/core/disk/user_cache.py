"""Where a user's caches are."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where despur keeps what can be made again: `$XDG_CACHE_HOME/despur`, or the system's own place for caches.

    Example:
        >>> cache_folder().name
        'despur'
    """
    if sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Caches"
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "despur"
