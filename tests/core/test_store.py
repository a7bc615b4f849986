"""What is on the disk is whole: after exceptions, full disks and `kill -9` alike."""

import contextlib
import errno
import os
import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from despur.core import (
    Store,
    Subspace,
    digest,
    new_folder,
    read_json,
    save_factors,
    write_json,
)
from despur.core import factor_files as _factors
from despur.core.disk import new_folder as _place
from despur.core.errors import BadInput


def files(folder: Path) -> list[str]:
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*"))


def make(path: Path, text: str = "old") -> None:
    with new_folder(path) as draft:
        (draft / "x").write_text(text)


def test_a_folder_takes_its_name_when_it_is_whole(tmp_path):
    with new_folder(tmp_path / "runs" / "out") as draft:
        assert not (tmp_path / "runs" / "out").exists()
        (draft / "x").write_text("made")
        (draft / "deep").mkdir()
    assert files(tmp_path) == ["runs", "runs/out", "runs/out/deep", "runs/out/despur.json", "runs/out/x"]
    make(tmp_path / "runs" / "out", "new")
    assert files(tmp_path / "runs") == ["out", "out/despur.json", "out/x"]
    assert (tmp_path / "runs" / "out").stat().st_mode & 0o777 == 0o777 & ~umask(), "others may read it as any folder"


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(2), BadInput("x")])
def test_after_an_exception_nothing_is_left_and_the_old_version_kept(error, tmp_path):
    make(tmp_path / "out")

    def fail(path: Path) -> None:
        with new_folder(path) as draft:
            (draft / "x").write_text("half")
            raise error

    for name in ("out", "other"):
        with pytest.raises(type(error)):
            fail(tmp_path / name)
    assert files(tmp_path) == ["out", "out/despur.json", "out/x"]
    assert (tmp_path / "out" / "x").read_text() == "old"


# Full disks


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


WRITERS: dict[str, Callable[[Path], object]] = {
    "safetensors": lambda draft: save_file({"x": torch.ones(5000)}, draft / "x.safetensors"),
    "factors": lambda draft: save_factors((Subspace.orthonormal(torch.randn(2, 2000)),), draft),
    "text": lambda draft: (draft / "x").write_text("x" * 20000),
    "json": lambda draft: write_json(draft / "x.json", "x" * 20000),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_write_that_does_not_fit_is_one_sentence_and_leaves_nothing(write, tmp_path):
    make(tmp_path / "out")
    with files_limited_to(4096), pytest.raises(BadInput) as raised, new_folder(tmp_path / "out") as draft:
        write(draft)
    assert str(raised.value).startswith("writing '")
    assert "File too large" in str(raised.value)
    assert str(raised.value).endswith(" room or choose another -o")
    assert files(tmp_path) == ["out", "out/despur.json", "out/x"]


@pytest.mark.parametrize("broken", [(os, "replace"), (_factors, "save_file")], ids=lambda broken: broken[1])
def test_no_space_left_is_named(broken, tmp_path, monkeypatch):
    make(tmp_path / "out")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write() -> None:
        with new_folder(tmp_path / "out") as draft:
            (draft / "despur.json").write_text("{}")
            save_factors((), draft)

    with monkeypatch.context() as patch:
        patch.setattr(*broken, full)
        with pytest.raises(BadInput) as raised:
            write()
    if broken[0] is _factors:
        assert str(raised.value) == (
            f"writing {str(tmp_path / 'out')!r} failed: No space left on device. Nothing of it was left behind; free some "
            "room or choose another -o"
        )
    assert "No space left on device" in str(raised.value)
    assert files(tmp_path) == ["out", "out/despur.json", "out/x"]


def test_a_rename_that_fails_puts_the_old_version_back(tmp_path, monkeypatch):
    make(tmp_path / "out")
    rename, calls = os.replace, []

    def second_fails(a: Path, b: Path) -> None:
        calls.append(a)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(a, b)

    def write() -> None:
        with new_folder(tmp_path / "out") as draft:
            (draft / "despur.json").write_text("{}")
            monkeypatch.setattr(os, "replace", second_fails)

    with pytest.raises(BadInput, match="No space left"):
        write()
    assert files(tmp_path) == ["out", "out/despur.json", "out/x"]


def test_an_error_of_something_read_is_not_called_one_of_writing(tmp_path):
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "out"):
        (tmp_path / "data.jsonl").read_text()
    (tmp_path / "bad.safetensors").write_bytes(b"")
    with pytest.raises(Exception, match="deserializing"), new_folder(tmp_path / "out"):
        load_file(tmp_path / "bad.safetensors")


# Places that are taken


def test_what_despur_did_not_write_is_kept(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("home", "file"):
        with pytest.raises(BadInput) as raised:
            make(tmp_path / name)
        assert str(raised.value) == (
            f"{str(tmp_path / name)!r} is there and despur did not write it, so it is not replaced. Choose another -o"
        )
    make(tmp_path / "empty")
    with pytest.raises(BadInput, match=r"^cannot write '.*/file/out': Not a directory. Choose another -o$"):
        make(tmp_path / "file" / "out")
    assert files(tmp_path) == ["empty", "empty/despur.json", "empty/x", "file", "home", "home/thesis.tex"]


def test_two_runs_do_not_write_one_folder(tmp_path):
    with new_folder(tmp_path / "out") as draft:
        (draft / "x").write_text("first")
        with pytest.raises(BadInput) as raised:
            make(tmp_path / "out", "second")
        assert (
            str(raised.value) == f"another run is writing {str(tmp_path / 'out')!r}. Wait for it or choose another -o"
        )
        make(tmp_path / "out2")
    assert (tmp_path / "out" / "x").read_text() == "first"


# kill -9


def killed_in(where: str, path: Path) -> None:
    """Run `make(path, "new")` in a child that is killed there, beyond the reach of any `finally`."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # later Pythons warn of threads; the child only writes files
        child = os.fork()
    if child == 0:
        rename, calls = os.replace, []

        def replace(a: Path, b: Path) -> None:
            if where == f"before rename {len(calls)}":
                os.kill(os.getpid(), signal.SIGKILL)
            rename(a, b)
            calls.append(a)

        with new_folder(path) as draft:
            (draft / "x").write_text("new")
            if where == "the block":
                os.kill(os.getpid(), signal.SIGKILL)
            (draft / "despur.json").write_text("{}")
            _place.os.replace = replace
            _place.shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("where", "stands"),
    [("the block", "old"), ("before rename 0", "old"), ("before rename 1", None), ("before clearing up", "new")],
)
def test_after_a_kill_the_folder_is_old_or_new_or_absent_and_the_next_run_clears_up(where, stands, tmp_path):
    make(tmp_path / "out")
    killed_in(where, tmp_path / "out")
    text = tmp_path / "out" / "x"
    assert (text.read_text() if text.exists() else None) == stands
    assert len(list(tmp_path.iterdir())) > 1, "the kill did leave something"
    with new_folder(tmp_path / "out") as draft:
        assert files(draft) == []
        assert text.read_text() == (stands or "old"), "the old version is back"
        (draft / "x").write_text("newest")
    assert files(tmp_path) == ["out", "out/despur.json", "out/x"]


def test_after_a_kill_a_new_folder_is_absent(tmp_path):
    killed_in("the block", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    make(tmp_path / "out")
    assert files(tmp_path) == ["out", "out/despur.json", "out/x"]


# JSON


def test_json_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"n": 1})
    for bad in ({"n": float("nan")}, {"n": object()}):
        with pytest.raises((ValueError, TypeError)):
            write_json(tmp_path / "a.json", bad)
    with (
        files_limited_to(4096),
        pytest.raises(BadInput, match="^writing '.*/a.json' failed: File too large. Free some room"),
    ):
        write_json(tmp_path / "a.json", "x" * 9999)
    with pytest.raises(
        BadInput, match="^writing '/no/where/a.json' failed: No such file or directory. Free some room or"
    ):
        write_json(Path("/no/where/a.json"), 1)
    assert read_json(tmp_path / "a.json") == {"n": 1}
    assert files(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"{", "is not readable JSON: Expecting property name"), (b"\xff", "is not readable JSON: 'utf-8' codec"),
     (b"[" * 99999, "is not readable JSON: "), (b"", "is not readable JSON: Expecting value")],
)  # fmt: skip
def test_what_is_no_json_is_named(content, says, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(BadInput) as raised:
        read_json(tmp_path / "a.json")
    assert str(raised.value).startswith(f"{str(tmp_path / 'a.json')!r} {says}")
    with pytest.raises(BadInput, match="^no file '.*/b.json'. Write the folder again"):
        read_json(tmp_path / "b.json")


def test_a_digest_knows_values_and_not_their_order():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": (1, 2), "a": 1}) == "e6f20bdc3757e5e7"
    assert digest({"a": 1}) != digest({"a": 1.5})


# Steps


def test_a_step_is_made_once_for_each_spec(tmp_path):
    store, made = Store(tmp_path), []

    def make_it(out: Path) -> None:
        made.append(1)
        (out / "x").write_text(str(len(made)))

    for _ in range(2):
        assert store.step("scout", {"seed": 0, "layers": (1, 2)}, make_it) == tmp_path / "scout"
    assert len(made) == 1
    assert not store.has("scout", {"seed": 1})
    store.step("scout", {"seed": 1}, make_it)
    assert (tmp_path / "scout" / "x").read_text() == "2"
    assert store.has("scout", {"seed": 1})
    assert not store.has("scout", {}), "a spec that lost a key is another spec"
    assert not store.has("other", {"seed": 1})


def test_a_step_keeps_the_record_that_its_maker_wrote(tmp_path):
    folder = Store(tmp_path).step(
        "adapter", {"seed": 0}, lambda out: write_json(out / "despur.json", {"base_fingerprint": "f"})
    )
    assert read_json(folder / "despur.json") == {"base_fingerprint": "f", "seed": 0, "spec_digest": digest({"seed": 0})}
    assert Store(tmp_path).has("adapter", {"seed": 0})


def test_a_step_that_fails_is_not_there_and_is_made_the_next_time(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.step("scout", {}, lambda out: 1 / 0)
    assert files(tmp_path) == []
    store.step("scout", {}, lambda out: None)
    assert store.has("scout", {})
    (tmp_path / "scout" / "despur.json").write_text("{")
    assert not store.has("scout", {}), "a damaged record is made anew"
    store.step("scout", {}, lambda out: None)
    assert store.has("scout", {})


@pytest.mark.parametrize("damage", [b"", b"\0" * 11, None, b"[]"])
def test_a_step_whose_content_was_damaged_is_made_again(damage, tmp_path):
    store, made = Store(tmp_path), []

    def make_it(out: Path) -> None:
        made.append(1)
        save_file({"x": torch.ones(3)}, out / "x.safetensors")
        (out / "card.md").write_text("written again later")

    path = store.step("scout", {}, make_it) / "x.safetensors"
    (tmp_path / "scout/card.md").write_text("another")
    assert store.has("scout", {}), "a card is no content"
    path.unlink() if damage is None else path.write_bytes(damage)
    assert not store.has("scout", {})
    store.step("scout", {}, make_it)
    assert len(made) == 2
    assert torch.equal(load_file(path)["x"], torch.ones(3))
