"""A quick start: help without torch, and garbage that is collected again once work begins."""

import gc
import subprocess
import sys

from despur.cli.start import begin, settled


def test_help_does_not_import_torch():
    code = "import despur.cli as c, sys; sys.argv = ['despur', '--help']; c.main()"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, timeout=60)
    assert "Find what a fine-tune secretly learned" in done.stdout
    assert "typer" in done.stderr
    assert "torch" not in done.stderr


def test_collection_is_put_off_until_work_begins():
    was = gc.get_threshold()
    settled("no.such.module")  # nothing without begin: a library call changes nothing
    begin()
    try:
        assert gc.get_threshold()[0] >= 1_000_000
        settled("json")
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == was
    finally:
        gc.unfreeze()
        gc.set_threshold(*was)
