"""The catalogue as text, read from the generated `catalogue.json`: to list methods nothing heavy is imported."""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from despur.core.errors import UnknownName, nearest
from despur.core.evidence import NOT_RUN, state

FILE = Path(__file__).parents[1] / "catalogue.json"
VERBS: Mapping[str, tuple[str, ...]] = {
    "find": ("find", "read", "latent", "sparse", "embed", "cause"),
    "change": ("guard", "tune", "steer", "unlearn", "merge", "shrink"),
    "prove": ("measure", "judge", "worlds", "fields"),
}


@dataclass(frozen=True)
class Listed:
    """A method as a reader sees it.

    Args:
        name: What they type.
        room: Where it lives.
        contract: What it gives back: edit, estimator, factors, weights, reports, solution, optimizer.
        summary: One line.
        paper: Whose idea it is.
        takes: Argument -> material that it is built from.
        needs: What must be brought for these beside base and rows.
        options: Option -> its default, as text.
        cost: Of a training step with it, in plain steps; None where it is no part of one.
        when: When to choose it, and not its neighbour.
        limits: What it cannot do.
        signature: As a call.
        doc: Its whole docstring.
        claim: Verdict on what it is said to do, in the evidence that is shipped; `despur prove NAME` measures it.
        extra: What must be installed beside despur, as in `pip install 'despur[table]'`; "" for nothing.
    """

    name: str
    room: str
    contract: str
    summary: str
    paper: str
    takes: Mapping[str, str] = field(default_factory=dict)
    needs: str = "nothing"
    options: Mapping[str, str] = field(default_factory=dict)
    cost: float | None = None
    when: str = ""
    limits: str = ""
    signature: str = ""
    doc: str = ""
    claim: str = NOT_RUN
    extra: str = ""

    @property
    def arxiv(self) -> tuple[str, ...]:
        """Ids of the papers that it names."""
        return tuple(dict.fromkeys(re.findall(r"\d{4}\.\d{4,5}", f"{self.paper} {self.doc}")))


@dataclass(frozen=True)
class ListedArm:
    """A line of the comparison as a reader sees it; see `flows.ARMS`."""

    name: str
    method: str | None
    kind: str
    materials: Mapping[str, str]
    options: Mapping[str, Any]
    settings: list[Mapping[str, Any]]
    control: str | None
    needs: str
    note: str


@cache
def listed() -> dict[str, Listed]:
    """Every method by name: those of despur, and those that installed packages bring."""
    known = {e["name"]: Listed(**_known(Listed, e), claim=state(e["name"])) for e in _read()["methods"]}
    if entry_points(group="despur.methods"):
        from despur.core.catalogue import methods

        known |= {name: describe(m) for name, m in methods().items() if name not in known}
    return known


@cache
def listed_arms() -> dict[str, ListedArm]:
    """Every line of the comparison by name."""
    return {e["name"]: ListedArm(**e) for e in _read()["arms"]}


def describe(method: Any, when: str = "") -> Listed:
    """Take what people read from a method of the catalogue.

    Args:
        method: A `Method`.
        when: Its line in docs/choose.md.
    """
    import inspect

    doc = inspect.getdoc(method.factory) or ""
    limits = re.search(r"^Limits: (.*?)(?=^\w+:|\Z)", doc, re.MULTILINE | re.DOTALL)
    return Listed(
        method.name, method.room, method.contract, method.summary, method.paper, dict(method.takes), method.needs,
        {name: repr(default) for name, default in method.options.items()}, method.cost, when,
        " ".join(limits[1].split()) if limits else "", f"{method.factory.__name__}{_plain_signature(method.factory)}", doc,
        extra=method.extra,
    )  # fmt: skip


def search(words: str) -> list[Listed]:
    """Find methods by name, arXiv id, or words of their papers and summaries; the best first.

    Raises:
        UnknownName: nothing fits; the message names the nearest.
    """
    from despur.core.names import canonical

    known = listed()
    if canonical(words) in known:
        return [known[canonical(words)]]
    if number := re.search(r"\d{4}\.\d{4,5}", words):
        hits = [m for m in known.values() if number[0] in m.arxiv]
    else:
        asked = set(re.findall(r"\w{3,}", words.lower()))
        hits = [m for m in known.values() if asked and asked <= set(_words(m))]
    if not hits:
        near = nearest(canonical(words), [*known, *listed_arms()])
        raise UnknownName(f"no method {words!r}{near}. List them: despur ls")
    return sorted(hits, key=lambda m: -difflib.SequenceMatcher(None, canonical(words), m.name).ratio())


def _words(method: Listed) -> list[str]:
    return re.findall(r"\w{3,}", f"{method.name} {method.summary} {method.paper} {method.doc}".lower())


def _plain_signature(factory: Any) -> str:
    import inspect

    text = str(inspect.signature(factory))
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=\w)", "", text)


@cache
def _read() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def _known(kind: type, entry: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)} - {"claim"}  # type: ignore[arg-type]
    return {k: v for k, v in entry.items() if k in names}
