"""Turn what runs left behind into one tidy table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from despur.flows._table.write_table import How, make_table, require
from despur.flows.option import Option
from despur.flows.placement import Where
from despur.flows.progress import Progress, silent
from despur.flows.verb import Out, verb

_ACTIVATIONS = "Activations"


@verb
def table(
    runs: Annotated[Sequence[str | Path] | str | Path, Option(rest=True, metavar="RUN_OR_STUDY")],
    *,
    out: Out | None = None,
    activations: Annotated[How | None, Option(panel=_ACTIVATIONS)] = None,
    base: Annotated[str | None, Option(panel=_ACTIVATIONS)] = None,
    adapter: Annotated[str | None, Option(panel=_ACTIVATIONS)] = None,
    prompts: Annotated[Path | str | None, Option(panel=_ACTIVATIONS)] = None,
    device: Where = "auto",
    progress: Progress = silent,
) -> Any:
    """Make one tidy table of what audits, training runs and studies left behind.

    One row a figure, with the run, guard, setting, seed, step, layer, module and prompt that it is of; spectra of adapters
    among them. What is missing stays missing, and a planned run that is not there keeps its rows. The same folder gives
    the same bytes. The columns are in docs/table.md.

    Args:
        runs: Folders of `audit`, `train` or `compare`, one or several.
        out: File of the table, `.parquet` or `.csv`; rows are only counted if left out.
        activations: Also write what base and adapter compute at every layer, per prompt, its `mean` over tokens or its
            `last` one, as safetensors beside the table; of one audit or training run.
        base: Base of the activations; that of the run if left out.
        adapter: Adapter of the activations; that of the run if left out.
        prompts: Prompts of the activations, as in `despur audit`; the run's own text if left out.
        device: Where the activations are computed; the CPU if left at `auto`.
        progress: Called as the folders are read.

    Returns:
        A pandas frame: text as categories, whole numbers as `Int64`; what is missing is NaN or NA.

    Raises:
        BadInput: a folder that despur did not write, one that is not finished, damaged or of another version; or the
            file cannot be written, or another run writes it.
        MissingExtra: no pyarrow, or no pandas.

    Example:
        $ despur table study/ -o traces.parquet
        $ despur table audits/* -o audits.csv
        $ despur table run/ -o run.parquet --activations mean
        >>> # table("study/").query("axis == 'drift'").pivot_table(index="run", columns="prompt", values="value")
    """
    require("pandas", "pyarrow")
    import pandas as pd
    import pyarrow as pa

    from despur.flows._table.columns import FORM, SCHEMA

    batches: list[Any] = []
    make_table(runs, out, activations, (base, adapter, prompts), progress, batches, device=device)
    whole = pa.Table.from_batches(batches, FORM).unify_dictionaries()
    batches.clear()
    frame = whole.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get, split_blocks=True, self_destruct=True)
    frame.attrs["schema"] = SCHEMA
    return frame
