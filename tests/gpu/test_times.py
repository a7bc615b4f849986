"""The timing of guards, in small and on a CPU: it runs, and every guard has its line."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks/gpu.py"
SMALL = "--device cpu --width 64 --layers 2 --vocabulary 128 --rows 2 --tokens 8 --own-rows 2 --rounds 1 --steps 2"


def test_every_guard_is_timed_beside_a_plain_step():
    done = subprocess.run([sys.executable, SCRIPT, *SMALL.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^\| (\w+) \| ([\d.]+) \([\d.]+, [\d.]+\) \| ([\d.]+) \| - \|$", done.stdout, re.MULTILINE)
    assert [name for name, *_ in lines] == ["plain", "avert", "rehearse", "hold", "grasp"]
    assert all(float(milliseconds) > 0 and float(ratio) > 0 for _, milliseconds, ratio in lines)
    assert lines[0][2] == "1.00"
