"""Folders that cannot be renamed get their new content inside, whole or not at all, and a kill at any moment leaves a way on."""

import contextlib
import os
import signal
import subprocess
import warnings

import pytest

from despur.core import new_folder
from despur.core.disk import in_place
from despur.core.disk import new_folder as _place
from despur.core.errors import BadInput


def make(path, text="new"):
    with new_folder(path) as draft:
        for name in ("x", "y"):
            (draft / name).write_text(text)
        (draft / "deep").mkdir()
        (draft / "deep/z").write_text(text)


def content(path):
    """`despur.json` and what one version wrote, as one word; "mixed" where it is of two."""
    files = sorted(str(f.relative_to(path)) for f in path.rglob("*") if f.is_file())
    if not files:
        return "empty"
    texts = {(path / f).read_text() for f in files if f != "despur.json"}
    return texts.pop() if files == ["deep/z", "despur.json", "x", "y"] and len(texts) == 1 else f"mixed: {files}"


@pytest.fixture
def stays(monkeypatch):
    monkeypatch.setattr(_place, "must_stay", lambda folder: True)


def test_the_content_is_exchanged_and_the_folder_is_the_same(stays, tmp_path):
    (tmp_path / "out/lost+found").mkdir(parents=True)
    (tmp_path / "out/lost+found").rmdir()
    (tmp_path / "out").mkdir(exist_ok=True)
    inode = (tmp_path / "out").stat().st_ino
    for text in ("first", "second"):
        make(tmp_path / "out", text)
        assert content(tmp_path / "out") == text
    assert (tmp_path / "out").stat().st_ino == inode
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out") as draft:
        (draft / "x").write_text(str(1 / 0))
    assert content(tmp_path / "out") == "second"


def test_what_despur_did_not_write_is_left(stays, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BadInput, match="despur did not write it"):
        make(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "mine").unlink()
    (tmp_path / ".despur.draft").symlink_to("/")
    with pytest.raises(BadInput, match="is in the way"):
        make(tmp_path)


MOVES = 4 + 1 + 4  # out, the whole draft, in


@pytest.mark.parametrize("first", [True, False], ids=["a first version", "a second version"])
@pytest.mark.parametrize("moment", range(MOVES + 2))
def test_killed_between_any_two_renames_it_is_old_or_new(moment, first, stays, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    if not first:
        make(out, "old")
    assert kill_in_exchange(out, moment) == (moment <= (5 if first else MOVES))
    seen = []
    with contextlib.suppress(ZeroDivisionError), new_folder(out):
        seen.append(content(out))
        seen.append(1 / 0)
    assert seen == ["new" if moment > (0 if first else 4) else "empty" if first else "old"], "one of the two, whole"
    assert content(out) == seen[0]
    make(out, "newest")
    assert content(out) == "newest"
    assert sorted(p.name for p in out.iterdir()) == ["deep", "despur.json", "x", "y"]


def kill_in_exchange(out, moment):
    """Write "new" in a child that dies before its rename number `moment`, or before clearing up; whether it died."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        rename, remove, calls = os.replace, os.rmdir, []

        def replace(a, b):
            if len(calls) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(a, b)
            calls.append(a)

        def rmdir(a, **given):
            if len(calls) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            remove(a, **given)

        with new_folder(out) as draft:
            for name in ("x", "y"):
                (draft / name).write_text("new")
            (draft / "deep").mkdir()
            (draft / "deep/z").write_text("new")
            (draft / "despur.json").write_text("{}")
            in_place.os.replace, in_place.os.rmdir = replace, rmdir
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def mounted(folder, *options):
    return subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode == 0


@pytest.mark.parametrize("kind", ["tmpfs", "bind", "bind unseen"])
def test_mount_points(kind, tmp_path, monkeypatch):
    out, behind = tmp_path / "out", tmp_path / "behind"
    out.mkdir()
    behind.mkdir()
    options = ("-t", "tmpfs", "tmpfs") if kind == "tmpfs" else ("--bind", str(behind))
    if not mounted(out, *options):
        pytest.skip("cannot mount here")
    try:
        assert in_place.must_stay(out)
        if kind == "bind unseen":
            monkeypatch.setattr(_place, "must_stay", lambda folder: False)
        for text in ("first", "second"):
            make(out, text)
            assert content(out) == text
    finally:
        subprocess.run(["umount", str(out)], check=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["behind", "out"]
