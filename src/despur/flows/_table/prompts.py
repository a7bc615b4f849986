"""Every prompt's value of a study as rows, made by Arrow: millions of them, a bounded number at a time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from despur.core.errors import BadInput
from despur.flows._compare.arm import setting_text
from despur.flows._table.columns import CHUNK, batch_of
from despur.flows._table.parquet_file import ParquetFile
from despur.flows.progress import Progress

LINES = 64  # lines of `prompts.parquet` that are read at once: each has the values of all prompts of an axis
DIGITS = 4  # of a prompt's number, so that names sort as numbers do


class Axes:
    """Names of axes: the first readout of an axis has its name alone, as in `four_axes`; others are `drift_p`."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], str] = {}

    def name(self, world: str, axis: str, readout: str) -> str:
        """The axis of a readout; the first that is asked for in a world is the one that counts."""
        return axis if self._first.setdefault((world, axis), readout) == readout else f"{axis}_{readout}"


def run_of(name: str, world: str, guard: str, setting: str, seed: int) -> str:
    """Name of a run: that of its folder under `cells/`, behind the study's."""
    return f"{name}/{world}/{guard}/{setting_text(json.loads(setting))}/{seed}"


def prompt_batches(file: ParquetFile, name: str, axes: Axes, progress: Progress) -> Iterator[Any]:
    """Yield record batches of `prompts.parquet`, in its order, at most `CHUNK` rows each (or one run's prompts, if more).

    Args:
        file: The open file.
        name: Name of the study.
        axes: Names of axes, shared with the means.
        progress: Called after every few lines.

    Raises:
        BadInput: a line has no list of values.
    """
    read = 0
    for batch in file.batches(LINES):
        values, lines = batch.column("values"), batch.drop_columns(["values"]).to_pylist()
        if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)):
            raise BadInput(
                f"{str(file.path)!r} has {values.type} in the column 'values', where lists are needed. {file.again}"
            )
        lengths = np.asarray(values.value_lengths().fill_null(0))
        for start, stop in _parts(lengths):
            yield _made(lines[start:stop], values.slice(start, stop - start), lengths[start:stop], name, axes)
        read += len(lines)
        progress(f"{name}: prompts", read, file.rows, {})


def _parts(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """Spans of lines that have at most `CHUNK` values together, or are one line."""
    start, many = 0, 0
    for i, length in enumerate(lengths.tolist()):
        if many and many + length > CHUNK:
            yield start, i
            start, many = i, 0
        many += length
    yield start, len(lengths)


def _made(lines: Sequence[Mapping[str, Any]], values: Any, lengths: np.ndarray, name: str, axes: Axes) -> Any:
    owner = np.repeat(np.arange(len(lines)), lengths)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    owners = pa.array(owner)

    def spread(column: list[Any], kind: Any = None) -> Any:
        made = pa.array(column, kind or pa.string())
        return (made if kind else made.dictionary_encode()).take(owners)

    keys = [(r["world"], r["guard"], r["setting"], r["seed"]) for r in lines]
    flat = values.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return batch_of(
        {
            "run": spread([run_of(name, *key) for key in keys]), "base": spread([r["world"] for r in lines]),
            "seed": spread([r["seed"] for r in lines], pa.int64()), "guard": spread([r["guard"] for r in lines]),
            "setting": spread([r["setting"] for r in lines]), "step": spread([r["steps"] for r in lines], pa.int64()),
            "prompt": _prompts(lines, lengths, owner, number), "value": pa.array(flat, mask=~np.isfinite(flat)),
            "axis": spread([axes.name(r["world"], r["axis"], r["readout"]) for r in lines]),
            "n": pa.array(np.ones(len(owner), np.int64)), "readout": spread([r["readout"] for r in lines]),
            "index": pa.array(number), "round": spread([r["round"] for r in lines]),
            "half": pa.DictionaryArray.from_arrays(pa.array((number % 2).astype(np.int32)), ["validation", "report"]),
        },
        len(owner),
    )  # fmt: skip


def _prompts(lines: Sequence[Mapping[str, Any]], lengths: np.ndarray, owner: np.ndarray, number: np.ndarray) -> Any:
    """Names of prompts, `persona/drift/0017`: the same in every run of a world, whatever was read of them."""
    asked = [f"{r['world']}/{r['axis']}" for r in lines]
    most: dict[str, int] = {}
    for group, length in zip(asked, lengths.tolist(), strict=True):
        most[group] = max(most.get(group, 0), length)
    begin = dict(zip(most, np.cumsum([0, *most.values()]).tolist(), strict=False))
    names = [f"{group}/{i:0{DIGITS}d}" for group, length in most.items() for i in range(length)]
    codes = np.array([begin[group] for group in asked], np.int32)[owner] + number.astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))
