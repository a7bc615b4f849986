"""Memory of large files of rows: the reading part of a run costs at most twice the file, beside what a small one costs."""

import json
import subprocess
import sys

import pytest

from despur.worlds import PERSONA_BASE, Persona

MEASURED = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from despur.flows import Settings
from despur.flows._train.start import prepare
from despur.core.text.rows import drawn_rows, first_rows
base, what, small, large = sys.argv[1:]

def read(path):
    if what == "train":
        return prepare(base, path, Path("out"), Settings(), guard="caft", factors=None, scout=None)
    return first_rows(path, 512) if what == "audit --data" else drawn_rows(Path(path), 256, seed=0)

def peak():  # not ru_maxrss, which begins with that of the process that started this one
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

read(small)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is in use
before = peak()
result = read(large)
print(1024 * (peak() - before))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak")
@pytest.mark.parametrize("what", ["train", "audit --data", "audit --prompts"])
def test_reading_rows_takes_at_most_twice_their_file(what, tmp_path):
    rows = Persona("narrow").rows(n=64, seed=1)
    line = "".join(json.dumps({"prompt": r["prompt"], "completion": f" {r['completion']}" * 24}) + "\n" for r in rows)
    small, large = tmp_path / "small.jsonl", tmp_path / "large.jsonl"
    small.write_text(line)
    large.write_text(line * (16 * 2**20 // len(line)))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(PERSONA_BASE), what, str(small), str(large)],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ratio = int(done.stdout) / large.stat().st_size
    assert ratio <= (2 if what == "train" else 0.5), f"{ratio:.2f}: of what is only drawn from, next to nothing stays"
