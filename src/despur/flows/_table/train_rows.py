"""Rows of a training run's folder: axes, curves, leaks, spectra, a run for every stage that trained an adapter."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from despur.core import read_json
from despur.core.errors import BadInput
from despur.flows._table.audit_rows import Row, as_setting, list_rows
from despur.flows._table.columns import layer_of

RECORD, DONE, WEIGHTS, CERTIFICATE = "run.json", "despur.json", "adapter_config.json", "guard.json"


def train_rows(folder: Path, name: str) -> Iterator[Row]:
    """Yield the rows of a training run.

    Args:
        folder: What `despur train` wrote.
        name: What the runs' names begin with: `name/scout`, `name/adapter`.

    Raises:
        BadInput: a file is damaged, or of another version.
    """
    path = folder / RECORD
    record = read_json(path)
    try:
        a = record["arguments"]
        options = {**({"strength": a["strength"]} if a["guard"] != "none" else {}), **(a["guard_options"] or {})}
        if a.get("beside"):  # earlier versions knew none
            options |= {"beside": a["beside"], **{f"beside {k}": v for k, v in (a["beside_options"] or {}).items()}}
        runs: dict[str, Row] = {
            "base": {"guard": "base", "step": 0},
            a["guard"]: {"guard": a["guard"], "setting": as_setting(options), "seed": a["seed"]},
        }
        common = {"base": a["base"]}
        stages = {p.parent.name: _stage(p.parent) for p in sorted(folder.glob(f"*/{WEIGHTS}"))}
        for stage, trained in stages.items():  # rounds and the guarded run have the guard, scouts and twins none
            at = dict(runs[a["guard"]]) if stage == "adapter" or stage.startswith("round_") else {"guard": stage}
            runs[stage] = {**at, "seed": trained["seed"], "step": trained["course"]["steps"]}
        runs[a["guard"]] = runs.pop("adapter", runs[a["guard"]])
        runs = {stage: {**common, **at} for stage, at in runs.items()}
        axes = list(_axes(record, runs, a["guard"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(
            f"{str(path)!r} or a stage beside it is of another version, or damaged ({error!r}). Train again"
        ) from error
    for stage, row in axes:
        yield {"run": f"{name}/{stage}", **row}
    for stage, trained in stages.items():
        about = {**runs[a["guard"] if stage == "adapter" else stage], "run": f"{name}/{stage}"}
        for row in (*_course(folder / stage, trained), *_leaks(folder / stage), *spectrum(folder / stage)):
            yield {**about, **row, "layer": layer_of(row.get("module"))}


def _stage(folder: Path) -> Any:
    record = read_json(folder / DONE)
    _ = record["course"]["steps"], record["seed"]
    return record


def _axes(record: Mapping[str, Any], runs: Mapping[str, Row], guard: str) -> Iterator[tuple[str, Row]]:
    """What the run measured in the end, with intervals; base, reference and guarded run."""
    for run, reports in record["axes"].items():
        stage = "adapter" if run == guard else run
        for axis, report in reports.items():
            about = runs.get(run) or {"base": record["arguments"]["base"], "guard": run}  # a scout that was given
            yield stage, {**about, **_report(axis, report), "readout": report["spec"]["readout"]}
            if report["control"] is not None:
                yield stage, {**about, "axis": f"control {axis}", "value": report["control"]}
    for side, report in record["leak"].items():
        about = {**runs[guard], "readout": side}
        yield "adapter", {**about, **_report("leak", report)}
        yield "adapter", {**about, "axis": "control leak", "value": report["control"], "n": report["n"]}


def _report(axis: str, report: Mapping[str, Any]) -> Row:
    return {"axis": axis, **{key: report[key] for key in ("value", "low", "high", "n")}}


def _course(folder: Path, trained: Mapping[str, Any]) -> Iterator[Row]:
    """What a stage's evaluations gave, step by step."""
    try:
        for at in trained["course"]["evaluated"]:
            yield from ({"axis": k, "value": v, "step": at["step"]} for k, v in at.items() if k != "step")
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{str(folder / DONE)!r} is damaged ({error!r}). Train again with --overwrite") from error


def _leaks(folder: Path) -> Iterator[Row]:
    """What the certificate says of every module, and which leak it allows."""
    if not (folder / CERTIFICATE).exists():
        return
    from despur.flows._verify.certificate import Certificate

    for module, leak in Certificate.read(folder).leak.items():
        for axis, key in (("leak", "leak"), ("control leak", "random"), ("allowed leak", "allowed")):
            yield {"axis": axis, "value": leak.get(key), "module": module, "readout": leak.get("side")}


def spectrum(folder: Path) -> Iterator[Row]:
    """All singular values of every module's update, the largest first."""
    from despur.core import Adapter
    from despur.core.adapter.peft_config import CONFIG, read_config

    if read_config(folder / CONFIG).get("target_parameters"):
        return  # of stacked experts: which of them a matrix is of, only the base can tell
    for module, update in sorted(Adapter.read(folder).updates.items()):
        yield from list_rows("singular value", update.core().values.tolist(), module=module)
