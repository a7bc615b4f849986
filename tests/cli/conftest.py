"""The command line in a process of its own."""

import subprocess
import sys
from collections.abc import Callable

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def despur() -> Run:
    """Run `despur` with arguments: `despur("ls", "guard").returncode`."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "from despur.cli import main; main()"
        return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)

    return run
