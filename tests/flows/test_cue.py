"""The cue world's arms: the shortcut is there, the guard delays it, random directions do not."""

import numpy as np
import pytest

from despur.core.errors import UnknownName
from despur.flows._compare.cue import CUE_ARMS, CUE_CONTROLS, deepest, run_cue


def test_an_unknown_arm_is_told(tmp_path):
    with pytest.raises(UnknownName, match="no arm 'grsp'"):
        run_cue(tmp_path, "grsp", 0)


@pytest.mark.slow  # four runs and their curves
def test_a_curve_is_kept_and_the_guard_shares_its_scouts_with_its_controls(tmp_path):
    curves = {arm: run_cue(tmp_path, arm, 0, steps=10, scouts=1) for arm in CUE_ARMS[:3]}
    assert all(set(curve) == {"10"} for curve in curves.values())
    made = {f.name: f.stat().st_mtime_ns for f in (tmp_path / "cue-0").iterdir()}
    assert len(made) == 5, "naive, one scout, its directions, grasp and a control"
    assert run_cue(tmp_path, "grasp", 0, steps=10, scouts=1) == curves["grasp"]
    assert made == {f.name: f.stat().st_mtime_ns for f in (tmp_path / "cue-0").iterdir()}


@pytest.mark.slow  # eight runs of 200 steps
def test_grasp_holds_the_shortcut_where_the_plain_run_takes_it_and_random_directions_do_not(tmp_path):
    curves = {arm: run_cue(tmp_path, arm, 16) for arm in CUE_ARMS}
    step = deepest(curves["naive"])
    assert curves["naive"][step]["aligned"] > 0.9
    at = {arm: curve[step]["conflict"] for arm, curve in curves.items()}
    assert at["naive"] < 0.1, "the harm is there"
    assert at["grasp"] > at["naive"] + 0.3
    assert abs(np.median([at[arm] for arm in CUE_CONTROLS]) - at["naive"]) < 0.1
    assert curves["grasp"][step]["legitimate"] > 0.85, "the lowest of ten seeds; their mean is .98"
