"""Write the table, a bounded number of rows at a time, and say what is in it."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from despur.core import locked
from despur.core.disk.files import draft_of
from despur.core.errors import BadInput, MissingExtra
from despur.flows.placement import Where
from despur.flows.progress import Progress, silent
from despur.flows.verb import verb

How = Literal["mean", "last"]
Options = tuple[str | None, str | None, Path | str | None]  # base, adapter and prompts of activations
_NOW = "as in: despur table run/ -o run.parquet --activations mean"


@dataclass(frozen=True)
class TableSummary:
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
def write_table(
    runs: Sequence[str | Path] | str | Path,
    *,
    out: Path | str | None = None,
    activations: How | None = None,
    base: str | None = None,
    adapter: str | None = None,
    prompts: Path | str | None = None,
    device: Where = "auto",
    progress: Progress = silent,
) -> TableSummary:
    """Write the table as `table` does, a bounded number of rows at a time, and say what is in it.

    Args:
        runs: As in `table`.
        out: As in `table`.
        activations: As in `table`.
        base: As in `table`.
        adapter: As in `table`.
        prompts: As in `table`.
        device: As in `table`.
        progress: As in `table`.

    Raises:
        BadInput, MissingExtra: see `table`.

    Example:
        >>> # write_table("study/", out="traces.parquet").axes["drift"]
    """
    return make_table(runs, out, activations, (base, adapter, prompts), progress, device=device)


def make_table(
    runs: Sequence[str | Path] | str | Path, out: Path | str | None, activations: How | None, options: Options,
    progress: Progress, keep: list[Any] | None = None, *, device: Where = "auto",
) -> TableSummary:  # fmt: skip
    """Write the table; `keep` takes its record batches, too."""
    require("pyarrow")
    from despur.flows._table.columns import batches_of
    from despur.flows._table.source import Source, short_names
    from despur.flows._table.table_file import check_place, write_batches
    from despur.flows._table.tally import Tally

    folders = [Path(r) for r in ([runs] if isinstance(runs, str | Path) else runs)]
    if not folders:
        raise BadInput("no folder was given. Name one or more, as in: despur table study/ -o traces.parquet")
    file = None if out is None else Path(out)
    if file is not None:
        check_place(file)
    names = short_names(folders)
    sources = [Source(folder, name) for folder, name in zip(folders, names, strict=True)]
    tally, more = Tally(), list[Mapping[str, Any]]()

    def all_batches() -> Iterator[Any]:
        each = (b for source in sources for b in source.batches(progress))
        for batch in tally.through(itertools.chain(each, batches_of(more))):
            if keep is not None:
                keep.append(batch)
            yield batch

    with nullcontext() if file is None else locked(file, file=True):
        vectors = _place_of_vectors(activations, file, sources, options)
        try:
            if vectors and activations:
                from despur.flows._table.activations import Request, write_activations

                asked = Request(sources[0].folder, sources[0].kind, activations, *options, device=device)
                about = sources[0].about()
                more += [{**about, **row} for row in write_activations(asked, vectors[0], progress)]
            if file is None:
                for _ in all_batches():
                    pass
            else:
                write_batches(all_batches(), file, beside=vectors)
        finally:
            if vectors:
                with suppress(OSError):
                    vectors[0].unlink(missing_ok=True)
    notes = tuple(note for source in sources for note in source.notes)
    axes = {axis: count.to_dict() for axis, count in tally.axes.items()}
    return TableSummary(file, vectors and vectors[1], axes, tally.rows, len(tally.runs), tally.missing, notes)


def _place_of_vectors(
    how: How | None, file: Path | None, sources: Sequence[Any], options: Options
) -> tuple[Path, Path] | None:
    """Where activations are written, and which name they get at the end; None where they are not asked for."""
    if how is None:
        if any(options):
            raise BadInput(
                f"base, adapter and prompts are those of activations, which were not asked for. Add them, {_NOW}"
            )
        return None
    if file is None:
        raise BadInput(f"activations are written beside the table, and no file was named. Name one, {_NOW}")
    if len(sources) != 1 or sources[0].kind == "compare":
        what = f"{len(sources)} folders" if len(sources) != 1 else "a study, which keeps no adapter of its runs,"
        raise BadInput(f"activations are of one audit or training run, and {what} came. Give one, {_NOW}")
    from despur.flows._table.activations import is_activations

    final = file.with_suffix(".safetensors")
    if final.exists() and not is_activations(final):
        raise BadInput(
            f"{str(final)!r} is there and has no activations that despur wrote, so it is not replaced. Choose another -o"
        )
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        return draft_of(final), final
    except OSError as error:
        raise BadInput(f"cannot write {str(final)!r}: {error.strerror}. Choose another -o") from error


def require(*packages: str) -> None:
    """Stop where a package is not installed.

    Raises:
        MissingExtra: the first that is not.
    """
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise MissingExtra(f"a table needs {package}, which is not installed. Install: pip install 'despur[table]'")
