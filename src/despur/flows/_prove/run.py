"""One claim in one form, run here or in a worker, and found again by an interrupted run that goes on."""

import contextlib
import os
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch

from despur.core import Store, digest, find_method, read_json, write_json
from despur.core.claim import FOLDER, Claim, Form, find_claim, sources
from despur.flows._prove.proven import Proven
from despur.flows.progress import Progress, silent

FILE = "proven.json"


def run_claim(method: str, form: Form, seed: int, root: Path | None = None, *, progress: Progress = silent) -> Proven:
    """Run a claim, unless its folder has it as it is now.

    Args:
        method: Name in the catalogue.
        form: Which of its two forms.
        seed: Of everything that is drawn.
        root: Folder of the run; None writes nothing.
        progress: Unused: a claim reports when it ends.

    Returns:
        The verdict with its figures; a claim that raises is an `error`, never an exception.
    """
    room, claim = find_method(method).room, None
    try:
        claim = find_claim(method)
        if root is None:
            return _measured(claim, room, form, seed)
        made = claim  # of the type that a closure can rely on
        spec = {
            "claim": method, "form": form, "seed": seed, "despur": version("despur"), "sources": digest(sources(claim)),
        }  # fmt: skip

        def make(out: Path) -> None:
            with _sharing(root / "shared"):
                write_json(out / FILE, _measured(made, room, form, seed).to_dict())

        return Proven(**read_json(Store(root).step(f"claims/{method}-{form}-{seed}", spec, make) / FILE))
    except Exception as error:  # one claim's fault must not hide the others' verdicts
        return Proven.broken(claim, method, room, form, seed, error)


def _measured(claim: Claim, room: str, form: Form, seed: int) -> Proven:
    torch.set_num_threads(1)
    start = time.monotonic()
    reports = claim.run(seed, whole=form == "statement")
    return Proven.of(claim, room, form, seed, reports, time.monotonic() - start)


@contextlib.contextmanager
def _sharing(folder: Path) -> Iterator[None]:
    """Several claims look at the same runs: what one made, the next finds."""
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(FOLDER, None) if before is None else os.environ.__setitem__(FOLDER, before)
