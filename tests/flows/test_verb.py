"""An option is written once: types, bounds, help and record of a verb come from its signature and docstring."""

import json
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from despur.core.errors import BadInput, UnknownName
from despur.flows import Settings, clean, replay, train
from despur.flows.option import Option
from despur.flows.verb import Out, call_arguments, parameters_of, recorded, verb


@dataclass(frozen=True)
class Oven:
    """How it is baked.

    Args:
        heat: Degrees.
    """

    heat: Annotated[int, Option(low=50)] = 180


@verb
def bake(
    dough: Path | str,
    tins: Annotated[Sequence[str], Option(rest=True)] = (),
    *,
    out: Out,
    oven: Oven | None = None,
    share: Annotated[float | None, Option(low=0, high=1)] = None,
    kind: Literal["bread", "cake"] = "bread",
    quiet: Annotated[bool, Option(recorded=False)] = False,
    progress: object = None,
):
    """Bake.

    Args:
        dough: What is baked,
            on two lines.
        tins: Where.
        out: Folder.
        oven: How.
        share: Of the dough.
        kind: What it becomes.
        quiet: No bell.
        progress: Called at every minute.
    """
    return recorded(bake, locals())


def test_a_signature_gives_every_option_but_progress():
    found = {p.name: p for p in parameters_of(bake)}
    assert list(found) == ["dough", "tins", "out", "heat", "share", "kind", "quiet"]
    assert found["dough"].help == "What is baked, on two lines."
    assert (found["heat"].help, found["heat"].default, found["heat"].part) == ("Degrees.", 180, ("oven", Oven))
    assert (found["dough"].kind, found["tins"].kind, found["share"].kind) == (str, list, float)
    assert found["kind"].option.choices == ("bread", "cake")
    assert found["out"].default is MISSING


def test_the_record_is_plain_and_flat_and_calls_the_verb_again():
    made = bake(Path("d"), ("a", "b"), out=Path("o"), oven=Oven(90))
    assert made == {"dough": "d", "tins": ["a", "b"], "heat": 90, "share": None, "kind": "bread"}
    assert json.loads(json.dumps(made)) == made
    again = call_arguments(bake, {**made, "out": "elsewhere"}, "run.json")
    assert again["oven"] == Oven(90)
    assert bake(**again) == made


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"share": 1.5}, BadInput, r"^share=1.5; 0 to 1 is needed$"),
        ({"share": float("nan")}, BadInput, "share=nan"),
        ({"oven": Oven(10)}, BadInput, "heat=10; at least 50 is needed. Leave it out for 180"),
        ({"kind": "cak"}, UnknownName, "no kind 'cak'; nearest: 'cake'. There are: bread, cake"),
    ],
)
def test_bounds_hold_for_callers_from_python(given, error, said):
    with pytest.raises(error, match=said):
        bake("d", out="o", **given)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: train("b", "d", out="o", settings=Settings(steps=0)), "steps=0; at least 1"),
        (lambda: train("b", "d", out="o", own_rows=2), "own_rows=2; at least 8"),
        (lambda: clean("b", "a", out="o", rows=1), "rows=1; at least 4"),
    ],
)
def test_bounds_of_the_verbs_hold_before_anything_is_read(call, said):
    with pytest.raises(BadInput, match=said):
        call()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ([], "records no run"),
        ({"verb": "remove_from_library", "arguments": {"name": "x"}}, "there are demo, audit, calibrate, clean, train, absorb, compare"),
        ({"verb": "audit", "arguments": {"base": "b", "adapter": "a", "colour": 1}}, "has 'colour', which this version does not"),
        ({"verb": "audit", "arguments": {"base": "b"}}, "lacks 'adapter'"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_run_again_is_refused(record, said, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(BadInput, match=said):
        replay(tmp_path / "run.json", out=tmp_path / "again")
