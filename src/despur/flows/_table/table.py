"""Turn what runs left behind into one tidy table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from despur.core.errors import BadInput, MissingExtra
from despur.flows.progress import Progress, silent
from despur.flows.verb import Option, Out, verb

_ACTIVATIONS = "Activations"


@dataclass(frozen=True)
class Tabled:
    """What a table has.

    Args:
        out: The file; None where nothing was written.
        activations: The file of activations, if they were asked for.
        axes: Axis -> number of `rows`, of those `missing` a value, of `runs`, `prompts` and `modules`.
        rows: Rows in all.
        runs: Runs in all.
        missing: Rows without a value.
        notes: What is not there, one sentence each.
    """

    out: Path | None
    activations: Path | None
    axes: Mapping[str, Mapping[str, int]]
    rows: int
    runs: int
    missing: int
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        paths = {k: v and str(v) for k, v in (("out", self.out), ("activations", self.activations))}
        return {**paths, "rows": self.rows, "runs": self.runs, "missing": self.missing,
                "axes": {a: dict(c) for a, c in self.axes.items()}, "notes": list(self.notes)}  # fmt: skip


@verb
def table(
    runs: Annotated[Sequence[str | Path] | str | Path, Option(rest=True, metavar="RUN_OR_STUDY...")],
    *,
    out: Out | None = None,
    activations: Annotated[Literal["mean", "last"] | None, Option(panel=_ACTIVATIONS)] = None,
    base: Annotated[str | None, Option(panel=_ACTIVATIONS)] = None,
    adapter: Annotated[str | None, Option(panel=_ACTIVATIONS)] = None,
    prompts: Annotated[Path | str | None, Option(panel=_ACTIVATIONS)] = None,
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
        progress: Called as the folders are read.

    Returns:
        A pandas frame: text as categories, whole numbers as `Int64`; what is missing is NaN or NA.

    Raises:
        BadInput: a folder that despur did not write, one that is not finished, damaged or of another version; or the
            file cannot be written.
        MissingExtra: no pyarrow, or no pandas.

    Example:
        $ despur table study/ -o traces.parquet
        $ despur table audits/* -o audits.csv
        $ despur table run/ -o run.parquet --activations mean
        >>> # table("study/").query("axis == 'drift'").pivot_table(index="run", columns="prompt", values="value")
    """
    needed("pandas", "pyarrow")
    import pandas as pd
    import pyarrow as pa

    from despur.flows._table.columns import FORM, SCHEMA

    batches: list[Any] = []
    write_table(runs, out=out, activations=activations, base=base, adapter=adapter, prompts=prompts, progress=progress,
                keep=batches)  # fmt: skip
    whole = pa.Table.from_batches(batches, FORM).unify_dictionaries()
    batches.clear()
    frame = whole.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get, split_blocks=True, self_destruct=True)
    frame.attrs["schema"] = SCHEMA
    return frame


def write_table(
    runs: Sequence[str | Path] | str | Path,
    *,
    out: Path | str | None = None,
    activations: Literal["mean", "last"] | None = None,
    base: str | None = None,
    adapter: str | None = None,
    prompts: Path | str | None = None,
    progress: Progress = silent,
    keep: list[Any] | None = None,
) -> Tabled:
    """Write the table as `table` does, a bounded number of rows at a time, and say what is in it.

    Args:
        runs: As in `table`.
        out: As in `table`.
        activations: As in `table`.
        base: As in `table`.
        adapter: As in `table`.
        prompts: As in `table`.
        progress: As in `table`.
        keep: Takes the record batches, too.

    Raises:
        BadInput, MissingExtra: see `table`.

    Example:
        >>> # write_table("study/", out="traces.parquet").axes["drift"]
    """
    needed("pyarrow")
    from despur.flows._table.source import Source, named
    from despur.flows._table.tally import Tally
    from despur.flows._table.write import check_place, write_batches

    folders = [Path(r) for r in ([runs] if isinstance(runs, str | Path) else runs)]
    if not folders:
        raise BadInput("no folder was given. Name one or more, as in: despur table study/ -o traces.parquet")
    file = None if out is None else Path(out)
    if file is not None:
        check_place(file)
    names = named(folders)
    sources = [Source(folder, name) for folder, name in zip(folders, names, strict=True)]
    tally = Tally()

    def all_batches() -> Iterator[Any]:
        for batch in tally.through(b for source in sources for b in source.batches(progress)):
            if keep is not None:
                keep.append(batch)
            yield batch

    if file is None:
        for _ in all_batches():
            pass
    else:
        write_batches(all_batches(), file)
    notes = tuple(note for source in sources for note in source.notes)
    axes = {axis: count.to_dict() for axis, count in tally.axes.items()}
    return Tabled(file, None, axes, tally.rows, len(tally.runs), tally.missing, notes)


def needed(*packages: str) -> None:
    """Stop where a package is not installed.

    Raises:
        MissingExtra: the first that is not.
    """
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise MissingExtra(f"a table needs {package}, which is not installed. Install: pip install 'despur[table]'")
