"""Rows of a study's folder: every prompt's value, means of every run, runs that are missing, tests after training."""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from despur.core import read_json
from despur.core.errors import BadInput
from despur.flows._table.columns import batches_of
from despur.flows._table.parquet_file import ParquetFile
from despur.flows._table.prompts import Axes, prompt_batches, run_of
from despur.flows._table.study_after import after_rows
from despur.flows.progress import Progress

MEANS, PROMPTS, RESULTS, PLAN = "results.parquet", "prompts.parquet", "results.json", "prereg.yaml"
HALVES = ("validation", "report")
NEEDED = ("task", "drift", "legitimate", "validity")  # axes of a world of which no run is there
RUN = ("world", "guard", "setting", "seed", "steps", "round")
Row = dict[str, Any]
Key = tuple[str, str, str, int]  # world, guard, setting as JSON, seed


class StudyFolder:
    """What `despur compare` wrote and judged; of an unfinished study, what `despur report` found there.

    Args:
        folder: The study.
        name: What its runs' names begin with.

    Raises:
        BadInput: it was not judged yet, has no run, is damaged, or of another version.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        again = f"Write it again: despur report {folder}"
        if lacking := [f for f in (MEANS, PROMPTS, RESULTS) if not (folder / f).exists()]:
            raise BadInput(f"the study in {str(folder)!r} has no {lacking[0]}: it was not judged yet. Judge what is there: "
                           f"despur report {folder}")  # fmt: skip
        empty = f"the study in {str(folder)!r} has no finished run. Go on with it: despur compare -o {folder}"
        self.means = ParquetFile(
            folder / MEANS, (*RUN, "half", "axis", "readout", "n", "mean", "seconds"), empty=empty, again=again
        )
        self.prompts = ParquetFile(folder / PROMPTS, (*RUN, "axis", "readout", "values"), empty=empty, again=again)
        self.results = read_json(folder / RESULTS)
        self.axes = Axes()
        self._done: dict[Key, str] = {}  # run -> its round
        self._scored: dict[str, list[tuple[str, str]]] = {}  # world -> axis and half of its means
        try:
            self.planned = self._plan()
            self.after = list(after_rows(self.results, name))
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise BadInput(
                f"{str(folder / RESULTS)!r} is of another version, or damaged ({error!r}). {again}"
            ) from error

    @property
    def notes(self) -> list[str]:
        """How many planned runs are missing, and which one first; known once the means were read."""
        if not self.missing:
            return []
        first = run_of(self.name, *self.missing[0])
        return [
            f"{len(self.missing)} of {len(self.planned)} planned runs are missing, {first} among them; their means are empty"
        ]

    def batches(self, progress: Progress) -> Iterator[Any]:
        """All rows, in the order of the files: prompts, means, runs that are missing, tests after training."""
        yield from prompt_batches(self.prompts, self.name, self.axes, progress)
        yield from batches_of(self._means())
        yield from batches_of(self._absent())
        yield from batches_of(self.after)

    def _means(self) -> Iterator[Row]:
        for batch in self.means.batches(2**14):
            for r in batch.to_pylist():
                key = (r["world"], r["guard"], r["setting"], r["seed"])
                about = {**_about(self.name, key), "step": r["steps"], "round": r["round"]}
                if key not in self._done:
                    self._done[key] = r["round"]
                    yield {**about, "axis": "seconds", "value": r["seconds"]}
                axis = f"mean {self.axes.name(r['world'], r['axis'], r['readout'])}"
                scored = self._scored.setdefault(r["world"], [])
                if (axis, r["half"]) not in scored:
                    scored.append((axis, r["half"]))
                yield {
                    **about,
                    "axis": axis,
                    "value": r["mean"],
                    "n": r["n"],
                    "readout": r["readout"],
                    "half": r["half"],
                }

    @cached_property
    def missing(self) -> list[Key]:
        """Planned runs that are not there, in the plan's order; known once the means were read."""
        return [key for key in self.planned if key not in self._done]

    def _absent(self) -> Iterator[Row]:
        """A run that failed or was never run is not dropped: its means are there, without values."""
        otherwise = [(f"mean {axis}", half) for axis, half in product(NEEDED, HALVES)]
        for key in self.missing:
            step, which = self.planned[key]
            about = {**_about(self.name, key), "step": step, "round": which, "n": 0}
            yield from ({**about, "axis": a, "half": half} for a, half in self._scored.get(key[0], otherwise))

    def _plan(self) -> dict[Key, tuple[int, str]]:
        """Every run that the plan wants, less the settings that the tuning round left out on the report seeds."""
        plan, chosen = self.results["plan"], self.results["chosen"]
        planned: dict[Key, tuple[int, str]] = {}
        for which in ("tuning", "report"):
            for world, seed in product(plan["worlds"], plan[f"{which}_seeds"]):
                for guard, settings in plan["guards"].items():
                    without = chosen[world][guard]["without"] if which == "report" else ()
                    for setting in (s for i, s in enumerate(settings) if i not in without):
                        key = (world, guard, json.dumps(setting, sort_keys=True), seed)
                        planned[key] = plan["steps"][world], which
        return planned


def _about(name: str, key: Key) -> Mapping[str, Any]:
    world, guard, setting, seed = key
    return {"run": run_of(name, *key), "base": world, "guard": guard, "setting": setting, "seed": seed}
