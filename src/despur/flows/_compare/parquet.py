"""Results in long form, for your own analysis: means of every run, and every prompt's value."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from despur.core.disk.files import new_file
from despur.core.errors import MissingExtra
from despur.flows._compare.cell import Cell, is_done, seconds
from despur.flows.scores import load_scores
from despur.judge import half

HALVES = ("validation", "report")


def write_tables(cells: Iterable[Cell], out: Path, *, tuning: Iterable[int] = ()) -> None:
    """Write `results.parquet`, one line per run, axis, readout and half; `prompts.parquet`, one line per run and readout.

    Args:
        cells: Runs; unfinished ones are skipped.
        out: Folder of the study.
        tuning: Seeds that settings were chosen on.

    Raises:
        MissingExtra: no pyarrow.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra(
            "results are written as parquet, and pyarrow is not installed. Install: pip install 'despur[compare]'"
        ) from error
    means: list[dict[str, Any]] = []
    prompts: list[dict[str, Any]] = []
    for cell in (c for c in cells if is_done(out, c)):
        scores = load_scores(out / cell.folder)
        run = {
            "world": cell.world, "guard": cell.arm, "setting": json.dumps(dict(cell.setting), sort_keys=True),
            "seed": cell.seed, "steps": cell.steps, "round": "tuning" if cell.seed in tuning else "report",
        }  # fmt: skip
        for which in HALVES:
            means += [
                {**run, "half": which, "axis": axis, "readout": readout, "n": len(t), "mean": float(t.double().mean()),
                 "seconds": seconds(out, cell)}
                for axis, readouts in half(scores, which).items() for readout, t in readouts.items()
            ]  # fmt: skip
        # half precision: three digits of a log-prob margin are all that a reader needs, and the file stays small
        prompts += [
            {**run, "axis": axis, "readout": readout, "values": t.numpy().astype(np.float16)}
            for axis, readouts in scores.items() for readout, t in list(readouts.items())[:1]
        ]  # fmt: skip
    for name, rows in (("results", means), ("prompts", prompts)):
        with new_file(out / f"{name}.parquet") as file:
            pq.write_table(pa.Table.from_pylist(rows), file, compression="zstd", write_page_checksum=True)
