"""A model's folder of safetensors as a state, read one tensor at a time, and a state written as such a folder."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_state_dict_into_shards_factory
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from despur.core.adapter.peft_config import read_config, reason, short_repr
from despur.core.disk.files import write_json
from despur.core.disk.new_folder import new_folder
from despur.core.errors import BadInput
from despur.core.state.tensors import Form, State, Tensors, check_alike

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
ROOM = 2**28  # bytes of tensors that are in memory to be written together


@contextmanager
def open_state(folder: Path | str) -> Iterator[State]:
    """Open a model's folder; its tensors are read when asked for, while the block runs.

    Args:
        folder: With `model.safetensors`, or its shards and their index.

    Raises:
        BadInput: files that are missing or damaged.

    Example:
        >>> _ = write_state({"w": torch.ones(2)}, tmp_path / "model")
        >>> with open_state(tmp_path / "model") as state:
        ...     state["w"]
        tensor([1., 1.])
    """
    files = _files(Path(folder))
    with ExitStack() as stack:
        opened = {path: stack.enter_context(_open(path)) for path in dict.fromkeys(files.values())}
        forms = {name: _form(opened[path], name, path) for name, path in files.items()}
        yield State(forms, lambda name: opened[files[name]].get_tensor(name), repr(str(folder)))


def write_state(state: Tensors, folder: Path | str, *, like: Tensors | None = None, room: int = ROOM) -> Path:
    """Write a state as a folder of safetensors that transformers reads; no more than a shard is ever in memory.

    Args:
        state: What to write, computed tensor by tensor.
        folder: Where; an older one that despur wrote is replaced.
        like: A state whose dtypes the tensors get; None leaves them as they are.
        room: Bytes of a shard; a larger tensor has a shard of its own.

    Returns:
        The folder.

    Raises:
        BadInput: no tensors, or the folder cannot be written.
        ShapeMismatch: `like` is of another model.
    """
    given = State.of(state)
    if not given:
        raise BadInput(f"there are no tensors to write to {str(folder)!r}. Give a state with at least one")
    if like is not None:
        check_alike(given, State.of(like))
    dtypes = {n: form.dtype for n, form in (given if like is None else State.of(like)).forms.items()}
    forms = {n: Form(form.shape, dtypes[n]) for n, form in given.forms.items()}
    plan = split_state_dict_into_shards_factory(
        forms,
        get_storage_size=lambda form: form.bytes,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=room,
    )
    with new_folder(folder) as draft:
        for file, names in plan.filename_to_tensors.items():
            save_file({n: _plain(given[n], dtypes[n]) for n in names}, draft / file, metadata={"format": "pt"})
        if plan.is_sharded:
            write_json(draft / _INDEX, {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename})
    return Path(folder)


def _plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy of its own: tensors that share memory are refused by safetensors."""
    return tensor.detach().to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)


def _form(file: Any, name: str, path: Path) -> Form:
    try:
        part = file.get_slice(name)
        shape = tuple(part.get_shape())
        return Form(shape, (part[:0] if shape else file.get_tensor(name)).dtype)
    except Exception as error:  # a dtype that torch lacks ends in half a dozen kinds
        raise BadInput(f"cannot read {short_repr(name)} in {str(path)!r}: {reason(error)}. Save it again") from error


def _files(folder: Path) -> dict[str, Path]:
    """Tensor name to its file; every name of the index is found in its shard."""
    index = folder / _INDEX
    if not index.exists():
        single = folder / _SINGLE
        if not single.is_file():
            raise BadInput(
                f"no {_SINGLE} and no {_INDEX} in {str(folder)!r}: the folder is incomplete, or its weights are pickled. Copy it again, or "
                "load it once with transformers and save_pretrained it"
            )
        with _open(single) as file:
            return dict.fromkeys(file.keys(), single)
    table = read_config(index, largest=64 * 2**20).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise BadInput(
            f"{str(index)!r} has weight_map={short_repr(table)}, where a table of shards is needed. Copy or save the model again"
        )
    files: dict[str, Path] = {}
    for shard in sorted(set(map(str, table.values()))):
        if not re.fullmatch(r"[\w.-]+\.safetensors", shard):
            raise BadInput(
                f"{str(index)!r} names the shard {short_repr(shard)}, which is not a file of this folder. Save the model again"
            )
        if not (folder / shard).is_file():
            raise BadInput(
                f"{str(index)!r} names the shard {shard!r}, which is not there. Copy or save the model again"
            )
        with _open(folder / shard) as file:
            files |= dict.fromkeys(file.keys(), folder / shard)
    for name, shard in table.items():
        if files.get(name) != folder / str(shard):
            raise BadInput(
                f"{str(index)!r} lists {short_repr(name)} in {short_repr(shard)}, which does not contain it. Copy or save the model again"
            )
    return files


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError, ValueError) as error:
        raise BadInput(f"cannot read {str(path)!r}: {reason(error)}. Copy or save the model again") from error
