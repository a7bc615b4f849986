"""The page of architectures is what the models show today."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_page_of_architectures_is_up_to_date():
    done = subprocess.run(
        [sys.executable, "docs/architectures.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
