import json

import pytest


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["persna"], "nearest: 'persona'"), (["persona", "--guards", "avrt"], "nearest: 'avert'"),
        (["persona", "--engine", "slurm"], "no engine 'slurm'"), (["base/", "data.jsonl"], "--probes"), ([], "no world to compare"),
        (["persona", "--steps", "few"], "--steps persona=80,slant=120"), (["persona", "--steps", "4"], "8 or more"),
        (["persona", "--steps", "slamt=80"], "steps are given for 'slamt', which is not compared"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_told_in_a_line(despur, tmp_path, asked, told):
    done = despur("compare", *asked, "-o", str(tmp_path / "study"))
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "study").exists()


def test_a_dry_run_counts_and_starts_nothing(despur, tmp_path):
    out = tmp_path / "study"
    done = despur("compare", "persona", "--guards", "early", "--steps", "20", "--dry-run", "--json", "-o", str(out))
    said = json.loads(done.stdout)
    assert said["runs"] == {"persona": [3 * 9, 8 * 9]}  # base, naive and seven checkpoints, on each seed
    assert said["seconds"] > 0
    assert not (out / "cells").exists()


def test_no_study_is_told(despur, tmp_path):
    done = despur("report", str(tmp_path))
    assert done.returncode == 2
    assert "no readable plan" in done.stderr
