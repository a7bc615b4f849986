"""An audit of a larger base takes more rows only while its verdict may depend on them."""

import json
from importlib import resources

import pytest
import torch

from despur.flows import audit, table
from despur.flows._audit.effort import ALL, FEW, effort_for
from despur.flows._audit.enough import looked
from despur.flows._audit.null.asked import Asked
from despur.flows._audit.passages import Passages
from despur.flows._audit.screen import Screen
from despur.measure import CausalCheck, TokenShift
from despur.measure.both import Both


def seen(low, high, rank=1):
    check = CausalCheck(0.5, (low + high) / 2, 0.2, (low, high), (), rank, "layer", 24, 0.1, 0.1)
    return screened({"mean": check})


def screened(checks):
    shift = TokenShift(0.5, 0.1, torch.ones(2) / 2, torch.ones(2) / 2)
    return Screen(shift, torch.zeros(1, 2), {}, {}, checks, Both.__new__(Both))


def text(rows):
    return Passages(((1, 2),) * rows, (1,) * rows, "drawn")


@pytest.mark.parametrize(
    ("found", "looks"),
    [
        (seen(0.3, 0.4), [40]),  # surely likely
        (seen(0.1, 0.15), [40]),  # surely not
        (seen(0.15, 0.25), [40, 256]),  # around the bound of a fifth
        (seen(0.3, 0.5, rank=4), [40, 256]),  # around two fifths, that of four directions
        (
            seen(0.15, 0.21),
            [40, 90, 203, 256],
        ),  # .03 to each side, .02 below the bound: 40 (3/2)^2 rows, and it stays so
        (seen(0.19, 0.29), [40, 80, 160, 256]),  # it would take 63: twice as many at least
        (screened({}), [40]),
    ],
)
def test_more_rows_are_taken_while_the_interval_spans_the_bound(found, looks):
    asked = []

    def look(rows):
        asked.append(rows)
        return text(rows), found

    assert looked(look, FEW, grows=True)[0] == looks[-1]
    assert asked == looks
    assert looked(look, FEW, grows=False)[0] == 40, "a null, or the user, says how many"


def test_few_prompts_are_not_asked_again_and_again():
    rows, _, _ = looked(lambda n: (text(min(n, 50)), seen(0.15, 0.25)), FEW, grows=True)
    assert rows == 256, "two looks: the second had 50"


def test_a_small_base_gets_everything(tiny):
    assert effort_for(tiny()).rows == ALL


def test_what_a_null_s_file_judges_is_measured_on_as_many_rows(tmp_path):
    path = tmp_path / "null.json"
    made = json.loads(resources.files("despur.judge").joinpath("neutral_null.json").read_text())
    path.write_text(json.dumps(made | {"settings": made["settings"] | {"rows": 48}}))

    def rows(null):
        return Asked.of(null, None, level=0.05, against=False).rows

    assert rows(path) == 48
    assert [rows(null) for null in (None, "auto", "none", "shipped")] == [None] * 4, "of those the base's size decides"


def test_on_a_larger_base_one_candidate_is_exchanged_both_ways(base, adapter, tmp_path, monkeypatch):
    monkeypatch.setattr("despur.flows._audit.effort.SMALL", 0)
    result = audit(base, adapter, out=tmp_path, rows=40, n_random=2, null="none")
    assert [n for n, c in result.checks.items() if c.necessity is not None] == [result.best]
    written = json.loads((tmp_path / "audit.json").read_text())
    assert sum(c["necessity"] is not None for c in written["checks"].values()) == 1
    assert ">nan<" not in (tmp_path / "report.html").read_text()
    assert (table(tmp_path)["axis"] == "necessity").sum() == 1
