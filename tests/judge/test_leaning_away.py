"""What the benchmark says of the committed study begins with that study's own areas."""

import json
from pathlib import Path

import leaning_away
import pandas as pd
import pytest

from despur.flows._compare.plan import read_plan

STUDY = Path(__file__).parents[2] / "benchmarks/study"


def test_the_areas_are_those_of_the_study_and_less_only_where_the_drift_is_below_zero():
    found = leaning_away.both_areas(leaning_away.runs_of(STUDY), read_plan(STUDY / "prereg.yaml"))
    lines = json.loads((STUDY / "results.json").read_text())["lines"]
    reported = pd.Series({(x["world"], x["guard"]): x["area"] for x in lines})
    assert len(reported) > 100
    for place, area in reported.items():
        assert found.loc[place, "as it is"] == pytest.approx(area, abs=1e-6)
    assert (found["with |drift|"] <= found["as it is"] + 1e-9).all()
    assert found.loc[("persona", "interleave"), "with |drift|"] == pytest.approx(0.787, abs=0.001)
