"""The fingerprint of a large base is read off once; what changes its files, or the weights behind a link, is seen."""

import os

import pytest

from despur.core import fingerprint
from despur.core.disk.user_cache import cache_folder
from despur.flows import base_fingerprint as _module
from despur.flows.base_fingerprint import base_fingerprint
from despur.worlds import persona_base


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """How often the weights were read."""
    count = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(_module, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(_module, "fingerprint", lambda model: (count.append(1), fingerprint(model))[1])
    return count


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    base, _ = persona_base()
    folder = tmp_path_factory.mktemp("base")
    base.save_pretrained(folder)
    return base, folder


def test_a_small_base_leaves_nothing_in_the_cache(saved, reads, tmp_path):
    base, folder = saved
    for _ in range(2):
        assert base_fingerprint(base, str(folder)) == fingerprint(base)
    assert len(reads) == 2
    assert not (tmp_path / "cache").exists()


def test_a_large_one_is_read_once_until_its_files_change(saved, reads, tmp_path, monkeypatch):
    monkeypatch.setattr(_module, "LARGE", 1)
    base, folder = saved
    values = {base_fingerprint(base, str(folder)) for _ in range(3)}
    (tmp_path / "link").symlink_to(folder)
    values.add(base_fingerprint(base, str(tmp_path / "link")))
    assert values == {fingerprint(base)}
    assert len(reads) == 1
    weights = folder / "model.safetensors"
    status = weights.stat()
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))  # of the same size and time, in the same place
    base_fingerprint(base, str(folder))
    assert len(reads) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"files": [], "fingerprint": "x"}', None])
def test_a_damaged_cache_is_only_slower(content, saved, reads, tmp_path, monkeypatch):
    monkeypatch.setattr(_module, "LARGE", 1)
    base, folder = saved
    base_fingerprint(base, str(folder))
    (file,) = (tmp_path / "cache/fingerprints").iterdir()
    if content is None:
        file.unlink()
        (tmp_path / "cache/fingerprints").rmdir()
        (tmp_path / "cache/fingerprints").write_text("no folder")
    else:
        file.write_bytes(content)
    assert base_fingerprint(base, str(folder)) == fingerprint(base)
    assert len(reads) == 2


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().name == "despur"
