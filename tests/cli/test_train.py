"""`despur train` killed and resumed as a user does it; what cannot be resumed is told."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from despur.cli.app import app
from despur.core.errors import BadInput
from despur.worlds import PERSONA_BASE, Persona

QUICK = (
    "--steps",
    "40",
    "--scout-steps",
    "4",
    "--own-rows",
    "16",
    "--own-tokens",
    "8",
    "--rank",
    "4",
    "--save-every",
    "3",
)


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in Persona("narrow").rows(n=60, seed=1)))
    return str(path)


@pytest.mark.slow  # test_train_killed.py kills at more moments, in Python
def test_killed_by_the_system_and_resumed_with_one_argument(despur, rows, tmp_path):
    code = "from despur.cli import main; main()"
    start = [sys.executable, "-c", code, "train", str(PERSONA_BASE), rows, "-o", str(tmp_path / "run"), *QUICK]
    process = subprocess.Popen(start, stderr=subprocess.PIPE)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("run/.checkpoints/adapter-*/checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "run/adapter").exists()
    done = despur("train", "--resume", str(tmp_path / "run"), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert any(note.startswith("adapter was interrupted, and went on from step ") for note in said["notes"])
    assert (said["arguments"]["steps"], said["arguments"]["save_every"]) == (40, 3)
    other = despur("train", "--resume", str(tmp_path / "run"), "--steps", "50")
    assert other.returncode == 2
    assert "steps was 40 and is 50 now" in other.stderr
    assert other.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--resume", "nowhere"], "--resume 'nowhere': no config.yaml there"),
        (["--resume", "{run}", "-o", "other"], "goes on in its own folder"),
        (["--resume", "{run}", "--config", "{run}/config.yaml"], "goes on in its own folder"),
    ],
    ids=["nothing there", "another folder", "another config"],
)
def test_what_cannot_be_resumed(arguments, said, tmp_path):
    (tmp_path / "config.yaml").write_text("base: b\ndata: d\n")
    done = CliRunner().invoke(app, ["train", *(a.format(run=tmp_path) for a in arguments)])
    assert isinstance(done.exception, BadInput), done.output
    assert said in str(done.exception)


def test_help_tells_how_to_go_on():
    said = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "160"}).output
    assert all(word in said for word in ("--resume", "--overwrite", "--save-every", "--eval-every", "--patience"))
    assert "despur train --resume run/" in said
