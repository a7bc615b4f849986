"""What a study was given in memory: it lies in the study's folder, under a name that its content makes, and so is found again."""

from pathlib import Path
from typing import Any, TypeGuard

from despur.core import digest, fingerprint
from despur.core.disk.files import write_bytes
from despur.core.errors import BadInput
from despur.core.text.row_files import data_digest
from despur.flows._compare.own import read_data, read_probes
from despur.flows._verify.text_digests import digests_of
from despur.flows.in_memory import save
from despur.flows.stand_in import StandIn

_STUDY = "$STUDY"  # in place of the study's folder, which may be moved
_FOLDER = "own"
_PASSING = (
    "_name_or_path",
    "transformers_version",
    "use_cache",
)  # in a configuration, and no part of what a model does


def kept(part: str, given: Path | str) -> str:
    """Name what is in memory after its content; a path or a name is given back as text.

    Args:
        part: `base`, `data` or `probes`.
        given: The path, the name, or what stands for a model or rows in memory.

    Raises:
        BadInput: rows that cannot be used, or a base that is quantised.
    """
    if not _in_memory(given):
        return str(given)
    if part == "base":
        name = f"{part}-{_of_base(given.model, given.tokenizer)}"
    else:
        (read_data if part == "data" else read_probes)(given.model, f"{part} in memory")
        name = f"{part}-{data_digest(given.model)[:16]}.jsonl"
    return StandIn(f"{_STUDY}/{_FOLDER}/{name}", given.label, given.model, given.tokenizer)


def keep(given: str, study: Path) -> None:
    """Write what `kept` named into the folder of a study, where workers, and whoever goes on with it, find it.

    Raises:
        BadInput: the base cannot be written.
    """
    if not _in_memory(given):
        return
    path = Path(place(given, study))
    path.parent.mkdir(exist_ok=True)
    if isinstance(given.model, bytes):
        write_bytes(path, given.model)
    else:
        save(given.model, path)
        save(given.tokenizer, path)


def place(given: str, study: Path) -> str:
    """Where it lies, as a path that can be read.

    Example:
        >>> place("base/", Path("study")), place("$STUDY/own/data-07.jsonl", Path("study"))
        ('base/', 'study/own/data-07.jsonl')
    """
    first, _, rest = given.partition("/")
    return str(study / rest) if first == _STUDY else given


def _in_memory(given: Path | str) -> TypeGuard[StandIn]:
    return isinstance(given, StandIn) and given.model is not None


def _of_base(model: Any, tokenizer: Any) -> str:
    """Digest of the weights, of what else makes a model's outputs, and of how text becomes tokens."""
    for thing, needed in ((model, "base"), (tokenizer, "tokenizer")):
        if not hasattr(thing, "save_pretrained"):
            raise BadInput(f"the {needed} in memory is of type {type(thing).__name__}; one of transformers is needed")
    if getattr(model, "hf_quantizer", None) is not None:
        raise BadInput(
            "the base in memory is quantised, and a study saves its base in whole precision. Give the folder or the name that it "
            "was loaded from"
        )
    config = {k: v for k, v in model.config.to_diff_dict().items() if k not in _PASSING}
    return digest([fingerprint(model), config, digests_of(tokenizer)])
