"""Rows of an audit's folder: everything in `audit.json` that is a number."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from despur.core import read_json
from despur.core.errors import BadInput
from despur.flows._audit.json_form import SCHEMA
from despur.flows._table.columns import layer_of

Row = dict[str, Any]
FILE = "audit.json"


def audit_rows(folder: Path, name: str) -> Iterator[Row]:
    """Yield the rows of an audit; figures of random subspaces are `control ...`, numbered in `index`.

    Args:
        folder: What `despur audit` wrote.
        name: Name of the run.

    Raises:
        BadInput: `audit.json` is damaged, or of another version.
    """
    path = folder / FILE
    record = read_json(path)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        schema = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise BadInput(f"{str(path)!r} is of schema {schema!r}, where {SCHEMA!r} is needed. Audit the adapter again")
    try:
        rows = list(_rows(record))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(f"{str(path)!r} is damaged ({error!r}). Audit the adapter again") from error
    about = {"run": name, "base": record["arguments"]["base"], "seed": record["arguments"]["seed"]}
    for row in rows:
        yield {**about, **row, "layer": layer_of(row.get("module"))}


def _rows(record: Mapping[str, Any]) -> Iterator[Row]:
    _ = record["arguments"]["base"], record["arguments"]["seed"]
    yield {"axis": "kl", "value": record["change"]}
    if record["p_value"] is not None:
        yield {"axis": "p value", "value": record["p_value"]}
    yield {"axis": "token share", "value": record["token_share"]}
    yield from ({"axis": "evidence", "value": v, "readout": what} for what, v in record["evidence"].items())
    for what, check in record["checks"].items():
        yield from _check(what, check)
    for i, t in enumerate(record["token_use"]):
        yield {"axis": "base token probability", "value": t["before"], "readout": t["token"], "index": i}
        yield {"axis": "token probability", "value": t["after"], "readout": t["token"], "index": i}
    for m in record["modules"]:
        yield {"axis": "factor share", "value": m["share"], "module": m["module"], "readout": m["side"]}
        yield {"axis": "unrelated factor share", "value": m["expected"], "module": m["module"], "readout": m["side"]}
    yield from (
        {"axis": "row score", "value": r["score"], "prompt": r["text"], "index": i}
        for i, r in enumerate(record["rows"])
    )
    for what, s in record["slopes"].items():
        yield {"axis": "loss slope", "value": s["slope"], "readout": what}
        yield {"axis": "loss steepness", "value": s["steepness"], "readout": what}
        yield from list_rows("control loss slope", s["random"], readout=what)
    for at in record["louder"]:
        setting = as_setting({"scale": at["scale"]})
        figures = (
            ("kl", "change"),
            ("token share", "token_share"),
            ("sufficiency", "sufficiency"),
            ("valid share", "valid"),
        )
        for axis, key in figures:
            candidate = record["best"] if axis == "sufficiency" else None
            yield {"axis": axis, "value": at[key], "readout": candidate, "setting": setting}
    for trial in record["coherence"]:
        setting = as_setting({"strength": trial["strength"]})
        yield {"axis": "coherence", "value": trial["coherence"], "setting": setting}
    yield from _weights(record["update"])


def _check(what: str, check: Mapping[str, Any]) -> Iterator[Row]:
    about = {"module": check["site"], "readout": what, "n": check["rows"]}
    low, high = check["interval"]
    yield {"axis": "kl", "value": check["change"], **about}
    yield {"axis": "sufficiency", "value": check["sufficiency"], "low": low, "high": high, **about}
    if check["necessity"] is not None:
        yield {"axis": "necessity", "value": check["necessity"], **about}
    yield {"axis": "activation share", "value": check["share"], **about}
    yield {"axis": "rank", "value": check["rank"], **about}
    yield from list_rows("control sufficiency", check["random_sufficiency"], **about)
    if check["random_sufficiency"]:
        yield {"axis": "control activation share", "value": check["random_share"], **about}


def _weights(update: Mapping[str, Any]) -> Iterator[Row]:
    if not update:  # of an adapter that could not be read
        return
    yield {"axis": "update norm", "value": update["norm"], "n": update["modules"]}
    for side, shared in update["shared"].items():
        yield from list_rows("agreement", shared.get("agreement", ()), readout=side)
        if "control" in shared:
            yield {"axis": "control agreement", "value": shared["control"], "readout": side}
    for module, values in update["spectra"].items():
        yield from list_rows("singular value", values, module=module)


def list_rows(axis: str, values: Sequence[float], **about: Any) -> Iterator[Row]:
    """One row a value, its place in `index`."""
    yield from ({"axis": axis, "value": v, "index": i, **about} for i, v in enumerate(values))


def as_setting(options: Mapping[str, Any]) -> str:
    """Options as the column `setting` has them, in the form of `results.parquet`."""
    return json.dumps(dict(options), sort_keys=True)
