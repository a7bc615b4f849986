"""For every test and doctest: fixed seeds, one thread, no home, no network; `np`, `torch`, `tmp_path` in examples."""

import atexit
import contextlib
import gc
import ipaddress
import os
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Where `despur fetch` keeps bases, looked up in the user's home before that is another; tests marked `real` read them.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("DESPUR_BASES", str(_CACHE / "despur" / "bases"))
# Read when transformers and its kin are imported, hence here and not in a fixture. What tests, workers and processes that they
# kill leave in the folder for temporary files goes with the home; pytest's own folders stay where they are, for a look.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
# beside the home of the process that hands tests out, not in it: the path of a socket, as Ray's, has 107 characters at most
_HOME = tempfile.TemporaryDirectory(
    prefix="despur-home-", dir=os.environ["PYTEST_DEBUG_TEMPROOT"], ignore_cleanup_errors=True
)
atexit.register(_HOME.cleanup)
for _left in Path(_HOME.name).parent.glob("despur-home-*"):  # of test runs that were killed themselves
    with contextlib.suppress(OSError):
        if time.time() - _left.stat().st_mtime > 24 * 60 * 60:
            shutil.rmtree(_left)
tempfile.tempdir = os.environ["TMPDIR"] = _HOME.name
os.environ |= {"HOME": f"{_HOME.name}/home", "HF_HOME": f"{_HOME.name}/hf", "MPLCONFIGDIR": f"{_HOME.name}/mpl"}
Path(os.environ["HOME"]).mkdir()
os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "MPLBACKEND": "agg"}


def pytest_sessionstart(session: pytest.Session) -> None:
    """Import what all tests need, but not in the process that hands them out to workers, which wait for it."""
    if "PYTEST_XDIST_WORKER" in os.environ or not session.config.getoption("numprocesses", None):
        import peft  # noqa: F401


class NetworkIsOff(RuntimeError):
    """A test tried to leave this machine."""


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Allow loopback only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", _guarded_lookup(socket.getaddrinfo))
        yield


@pytest.fixture(scope="module", autouse=True)
def collected() -> None:
    """Leave out of later collections what is here already: libraries fill the heap, and accelerate collects it all at each run's start."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same random state, on one thread."""
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def in_docstrings(doctest_namespace: dict[str, Any], tmp_path: Path) -> None:
    """Give examples what they need not import."""
    import numpy as np
    import torch

    doctest_namespace |= {"np": np, "torch": torch, "tmp_path": tmp_path}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a device, or a fetched base, where there is none."""
    if item.get_closest_marker("real") and not (Path(os.environ["DESPUR_BASES"]) / "smollm2" / "config.json").is_file():
        pytest.skip("base 'smollm2' is not here: make real")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")


def _guarded(connect: Any) -> Any:
    def only_here(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            raise NetworkIsOff(f"a test tried to reach {address!r}; no test may download anything")
        return connect(self, address)

    return only_here


def _guarded_lookup(lookup: Any) -> Any:
    def only_here(host: Any, *args: Any, **options: Any) -> Any:
        if not _is_here(host):
            raise NetworkIsOff(f"a test tried to look {host!r} up; no test may download anything")
        return lookup(host, *args, **options)

    return only_here


def _is_here(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
