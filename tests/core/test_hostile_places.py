"""What lies where despur writes: links, files and folders of others are neither followed, emptied nor written over."""

import os
import stat

import pytest

from despur.core import Store, locked, new_folder, write_json
from despur.core.disk.files import append_line
from despur.core.errors import BadInput


def make(path, text="new", **given):
    with new_folder(path, **given) as draft:
        (draft / "x").write_text(text)


@pytest.fixture
def precious(tmp_path):
    """A folder and a file of the user, and a check that both are as they were."""
    folder, file = tmp_path / "elsewhere/thesis", tmp_path / "elsewhere/bashrc"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/chapter").write_text("years")
    file.write_text("export A=1\n")

    def check():
        assert sorted(p.name for p in folder.rglob("*")) == ["chapter", "deep"]
        assert (folder / "deep/chapter").read_text() == "years"
        assert file.read_text() == "export A=1\n"

    yield folder, file, check
    check()


@pytest.mark.parametrize("name", [".out.draft", ".out.old"])
@pytest.mark.parametrize("kind", ["link", "link of an old one", "dangling", "file", "hard link", "folder"])
def test_what_bears_a_drafts_name_is_left_alone(name, kind, precious, tmp_path):
    folder, file, _ = precious
    if kind == "link of an old one":
        make(tmp_path / "out", "old")
    place = tmp_path / name
    if kind == "file":
        place.write_text("mine")
    elif kind == "hard link":
        os.link(file, place)
    elif kind == "folder":
        place.mkdir()
        (place / "mine").write_text("mine")
    else:
        place.symlink_to(tmp_path / "no" if kind == "dangling" else folder)
    if kind == "folder" and name == ".out.draft":
        make(tmp_path / "out")  # what a killed run left looks just like it
        return
    with pytest.raises(BadInput, match="is in the way, and despur did not write it"):
        make(tmp_path / "out")
    assert os.path.lexists(place)
    assert (tmp_path / "out").exists() == (kind == "link of an old one")


def test_a_draft_with_a_link_inside_is_cleared_without_following_it(precious, tmp_path):
    (tmp_path / ".out.draft/in").mkdir(parents=True)
    (tmp_path / ".out.draft/link").symlink_to(precious[0])
    (tmp_path / ".out.draft/in/link").symlink_to(precious[0])
    make(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["despur.json", "x"]


def test_an_output_that_is_a_link_is_written_where_it_leads(precious, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    for text in ("first", "second"):
        make(tmp_path / "out", text)
        assert (tmp_path / "out").is_symlink()
        assert (tmp_path / "disk/x").read_text() == text
    (tmp_path / "taken").symlink_to(precious[0])
    with pytest.raises(BadInput, match="despur did not write it"):
        make(tmp_path / "taken")
    for name, to in (("dangling", "no"), ("loop", "loop")):
        (tmp_path / name).symlink_to(tmp_path / to)
        with pytest.raises(BadInput, match=r"(leads nowhere|cannot write)"):
            make(tmp_path / name)
    make(tmp_path / "out/../through/deep")  # a parent of the link's target, as the system reads it
    assert (tmp_path / "through/deep/x").exists()


@pytest.mark.parametrize("name", ["/", "..", ".", "a\0b", "n" * 300])
def test_names_that_no_output_can_have(name, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/mine").write_text("mine")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(BadInput):
        make(name)
    assert (tmp_path / "here/mine").read_text() == "mine"


def test_the_folder_one_works_in_keeps_its_place(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for text in ("first", "second"):
        make(".", text)
        assert sorted(os.listdir()) == ["despur.json", "x"]
        assert (tmp_path / "here/x").read_text() == text


def test_a_stage_leads_nowhere_else(precious, tmp_path):
    make(tmp_path / "other run/adapter", "precious")
    run = tmp_path / "run"
    run.mkdir()
    (run / "adapter").symlink_to(tmp_path / "other run/adapter")
    (run / "cells").symlink_to(precious[0])
    for name in ("adapter", "cells/a"):
        with pytest.raises(BadInput, match=r"leads out of .*run"):
            Store(run).step(name, {}, lambda out: None)
    assert (tmp_path / "other run/adapter/x").read_text() == "precious"


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_files_are_replaced_and_never_written_through(link, precious, tmp_path):
    _, file, check = precious
    for name in ("a.json", ".a.json.draft"):
        link(file, tmp_path / name)
    write_json(tmp_path / "a.json", 1)
    assert (tmp_path / "a.json").read_text() == "1\n"
    check()
    link(file, tmp_path / "b.part")
    with pytest.raises(BadInput, match=r"(it is a link|no file of its own)"):
        append_line(tmp_path / "b.part", "x")


def test_half_a_line_is_ended_before_another(tmp_path):
    (tmp_path / "part").write_text('{"a": 1}\n{"b"')
    append_line(tmp_path / "part", "{}")
    append_line(tmp_path / "part", "{}")
    assert (tmp_path / "part").read_text() == '{"a": 1}\n{"b"\n{}\n{}\n'


def test_drafts_of_killed_runs_are_swept_and_young_ones_left(tmp_path):
    old, young, other = (tmp_path / f".a.json.{x}.draft" for x in ("0123abcd", "4567abcd", "my notes"))
    for path in (old, young, other):
        path.write_text("half")
    for path in (old, other):
        os.utime(path, (0, 0))
    write_json(tmp_path / "a.json", 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == [young.name, other.name, "a.json"]


def test_a_file_and_its_folder_reach_the_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    done = []
    fsync, rename = os.fsync, os.replace

    def synced(number):
        status = os.fstat(number)
        done.append("folder" if stat.S_ISDIR(status.st_mode) else f"file of {status.st_size}")
        fsync(number)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), rename(a, b)))
    write_json(tmp_path / "a.json", "ab")
    assert done == ["file of 5", "rename", "folder"]
    with new_folder(tmp_path / "out") as draft:
        done.clear()
        (draft / "in").mkdir()
        (draft / "in/y").write_text("four")
        (draft / "despur.json").write_text("{}")
    assert done[-2:] == ["rename", "folder"]
    assert sorted(done[:-2]) == ["file of 2", "file of 4", "folder", "folder"]


# Claims


def test_a_locked_folder_is_refused_to_others_and_open_to_its_own(tmp_path):
    out = tmp_path / "study"
    with locked(out):
        assert refused_elsewhere(out)
        make(out, "plan")  # its own
        assert refused_elsewhere(out), "and the lock still stands"
        with pytest.raises(BadInput, match="another run is writing"), locked(out):
            pass
    assert not refused_elsewhere(out)
    assert (out / "x").read_text() == "plan"


def refused_elsewhere(out):
    """Whether another process may neither lock a folder nor replace it."""
    child = os.fork()
    if child == 0:
        os.closerange(3, 100)  # a lock is of this process's file, not of the parent's
        from despur.core.disk import lock

        lock._ours.clear()
        code = 0
        for attempt in (lambda: locked(out).__enter__(), lambda: new_folder(out).__enter__()):
            try:
                attempt()
            except BadInput as error:
                code += "another run is writing" in str(error)
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def test_a_lock_leaves_no_empty_folder_and_names_what_is_wrong(tmp_path):
    with locked(tmp_path / "a/b"):
        pass
    assert not (tmp_path / "a/b").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file, where a folder is needed"), locked(tmp_path / "file"):
        pass
    with pytest.raises(BadInput, match="MB free, and at least"), locked(tmp_path / "c", room=2**60):
        pass
    with pytest.raises(BadInput, match="MB free, and at least"):
        make(tmp_path / "d", room=2**60)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_refused_before_the_work(tmp_path):
    tmp_path.chmod(0o555)
    try:
        for taking in (locked, new_folder):
            with pytest.raises(BadInput, match="Permission denied"), taking(tmp_path / "out"):
                pytest.fail("it began")
    finally:
        tmp_path.chmod(0o755)
