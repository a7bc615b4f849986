"""The timing of guards and verbs, in small and on a CPU: it runs, and each has its line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/gpu.py"


@pytest.mark.slow
def test_every_guard_and_verb_is_timed():
    done = subprocess.run([sys.executable, SCRIPT, "--quick"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^\| (\w+) \| ([\d.]+) \([\d.]+, [\d.]+\) \| ([\d.]+) \| - \|$", done.stdout, re.MULTILINE)
    assert [name for name, *_ in lines] == ["plain", "avert", "rehearse", "hold", "grasp"]
    assert all(float(milliseconds) > 0 and float(ratio) > 0 for _, milliseconds, ratio in lines)
    assert lines[0][2] == "1.00"
    verbs = re.findall(r"^\| (audit|calibrate) \| cpu \| [\d.]+ \| ([\d.]+) \|$", done.stdout, re.MULTILINE)
    assert [name for name, _ in verbs] == ["audit", "calibrate"]
    assert all(float(change) > 0 for _, change in verbs)
