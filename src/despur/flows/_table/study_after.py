"""Rows of the tests after training, as `results.json` has them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from despur.flows._table.audit_rows import Row, as_setting
from despur.flows._table.prompts import run_of

AXES = ("task", "drift")  # of a point, in shares of the naive run's


def after_rows(results: Mapping[str, Any], name: str) -> Iterator[Row]:
    """Yield `start`, `release`, `relearn` (steps after the guard), `ladder` (LoRA rank in `index`), `recovery` and `around`.

    Args:
        results: `results.json`.
        name: Name of the study.
    """
    plan = results["plan"]
    for world, guards in results.get("after", {}).items():
        for guard, records in guards.items():
            setting = as_setting(plan["guards"][guard][results["chosen"][world][guard]["setting"]])
            for seed, record in zip(_seeds(plan["report_seeds"], records, results), records, strict=True):
                run = None if seed is None else run_of(name, world, guard, setting, seed)
                about = {"run": run, "base": world, "seed": seed, "guard": guard, "setting": setting, "round": "report"}
                yield from ({**about, **row} for row in _record(record))


def _seeds(seeds: Sequence[int], records: Sequence[Any], results: Mapping[str, Any]) -> Sequence[int | None]:
    """Seeds of the records: the first ones of the report; not known where runs failed, for a failed one has no record."""
    return [None] * len(records) if results["failed"] else list(seeds[: len(records)])


def _record(record: Mapping[str, Any]) -> Iterator[Row]:
    yield from _points("start", [record["start"]])
    for test in ("release", "relearn"):
        yield from _points(test, record[test]["points"], step=record[test]["steps"])
    ladder = record["ladder"]
    yield from _points("ladder", list(ladder.values()), index=[int(rank) for rank in ladder])
    for way in ("recovery", "around"):
        yield from (
            {"axis": f"{way} {k}", "value": record[way][k]} for k in ("push", "base_push", "ratio") if way in record
        )


def _points(test: str, points: Sequence[Sequence[float]], **columns: Sequence[int]) -> Iterator[Row]:
    for i, point in enumerate(points):
        at = {name: values[i] for name, values in columns.items()}
        yield from ({**at, "axis": f"{test} {axis}", "value": v} for axis, v in zip(AXES, point, strict=True))
