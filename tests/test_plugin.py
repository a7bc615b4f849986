"""A package of another author: its guard is listed, compared and proved, and nothing of despur was edited."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin.py"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """An environment in which the example is an installed package."""
    site = tmp_path_factory.mktemp("site")
    shutil.copy(EXAMPLE, site / "still_guard.py")
    about = site / "still_guard-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: still-guard\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[despur.methods]\nstill = still_guard\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}


def despur(env, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "despur", *arguments], env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_is_proved(installed):
    done = despur(installed, "prove", "still-bias", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["proven"]
    assert found["verdict"] == "holds"
    assert found["reports"][0]["control"] == 1.0


@pytest.mark.slow  # of a kind with faster ones
def test_is_listed_and_without_the_package_is_not(installed):
    done = despur(installed, "ls", "guard", "--json")
    assert "still-bias" in {m["name"] for m in json.loads(done.stdout)}
    done = despur(dict(os.environ), "show", "still-bias")
    assert done.returncode == 2
    assert "no method 'still-bias'" in done.stderr


def test_is_twenty_five_lines():
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(lines) <= 25
