"""Where a base lies on this machine: in a folder, in a GGUF file, or under its name."""

from pathlib import Path

from despur.core.model.named_bases import BASES, base_folder


def base_place(name: str) -> Path | None:
    """Find what a user calls a base: a path goes first, then the names that `despur fetch` lists.

    Args:
        name: Folder, GGUF file, name or hub id.

    Returns:
        The folder or file; None for what is neither here nor known by name: a hub id, or a mistake.

    Raises:
        BadInput: it is known by name, and was not fetched yet.

    Example:
        >>> base_place("owner/name") is None
        True
    """
    place = Path(name)
    if place.exists():
        return place
    return base_folder(name) if name in BASES else None
