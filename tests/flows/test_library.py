"""The library: finds the factor that it keeps, tells it from noise, and compares nothing that cannot be compared."""

import json

import pytest
import torch

from despur.core import Site, Subspace, fingerprint, save_factors
from despur.core.errors import BadInput, ShapeMismatch, UnknownName
from despur.flows import add_to_library, compare_with_library, library_folder, list_library, remove_from_library
from despur.worlds import persona_base

ONE, OTHER = "1" * 16, "2" * 16


def folder_of(path, rows, *, base=ONE, layer=1):
    """A folder of one factor, as an audit leaves it."""
    path.mkdir(parents=True)
    save_factors((Subspace.orthonormal(rows, site=Site(f"model.layers.{layer}")),), path)
    if base:
        (path / "run.json").write_text(json.dumps({"base_fingerprint": base}))
    return path


def random_rows(seed, rank=1, width=64):
    return torch.randn(rank, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def library(tmp_path):
    """Three entries: a factor, an unrelated one, and one of another base."""
    place = tmp_path / "library"
    for name, seed, base in (("persona", 1, ONE), ("noise", 2, ONE), ("foreign", 1, OTHER)):
        add_to_library(name, folder_of(tmp_path / name, random_rows(seed), base=base), library=place, note=f"<{name}>")
    return place


def test_the_same_factor_is_found_and_noise_is_not(library, tmp_path):
    near = random_rows(1) + 0.5 * random_rows(9)
    result = compare_with_library(folder_of(tmp_path / "new", near, layer=2), library=library)
    first, last = result.matches
    assert (first.entry, last.entry) == ("persona", "noise")
    assert first.overlap.cosine > 0.8 > first.overlap.cosine_random
    assert first.p < 1e-6
    assert first.p == pytest.approx(2 * first.overlap.p)  # Holm over two
    assert last.p > 0.05
    assert not first.same_site
    assert first.sites == ("model.layers.2", "model.layers.1")
    assert "another base" in result.left_out["foreign"]
    json.dumps(result.to_dict(), allow_nan=False)


def test_an_unrelated_factor_matches_nothing(library, tmp_path):
    result = compare_with_library(folder_of(tmp_path / "new", random_rows(77, rank=3)), library=library)
    assert all(m.p > 0.05 for m in result.matches)
    assert all(m.overlap.cosine < m.overlap.cosine_random + 0.1 for m in result.matches)


def test_two_tunes_of_one_harm_meet(adapter, confirmed, found, tmp_path):
    """The same task trained for 40 steps in place of 120 moves the stream the same way."""
    entry = add_to_library("narrow", confirmed, library=tmp_path / "l")
    assert entry.base_fingerprint == fingerprint(persona_base()[0])
    (match,) = compare_with_library(found(adapter), library=tmp_path / "l").matches
    assert match.same_site
    assert match.overlap.cosine > 0.9
    assert match.p < 1e-3


def test_entries_that_cannot_be_read_are_named(library, tmp_path):
    (library / "noise" / "factors.safetensors").write_bytes(b"no")
    (library / "foreign" / "entry.json").write_text("{}")
    add_to_library("narrow", folder_of(tmp_path / "w", random_rows(1, width=32)), library=library)
    result = compare_with_library(folder_of(tmp_path / "new", random_rows(1)), library=library)
    assert [m.entry for m in result.matches] == ["persona"]
    assert "cannot read" in result.left_out["noise"]
    assert "no entry of a library" in result.left_out["foreign"]
    assert result.left_out["narrow"] == "of width 32, here 64"
    entries, broken = list_library(library=library)
    assert [e.name for e in entries] == ["narrow", "noise", "persona"]
    assert list(broken) == ["foreign"]


@pytest.mark.parametrize(
    "name", ["", "..", "a/b", "a\\b", ".hidden", "-x", "a..b", "a b", "é", "x" * 65, "a\n", "end."]
)
def test_names_that_are_none(name, library, tmp_path):
    with pytest.raises(BadInput, match="is not a valid name"):
        add_to_library(name, tmp_path / "persona", library=library)
    with pytest.raises(BadInput, match="is not a valid name"):
        remove_from_library(name, library=library)


def test_a_name_that_is_taken_is_kept_unless_forced(library, tmp_path):
    with pytest.raises(BadInput, match="'persona' already.*--force"):
        add_to_library("persona", tmp_path / "noise", library=library)
    assert add_to_library("persona", tmp_path / "noise", library=library, note="new", force=True).note == "new"
    assert len(list_library(library=library)[0]) == 3
    remove_from_library("persona", library=library)
    assert [e.name for e in list_library(library=library)[0]] == ["foreign", "noise"]
    with pytest.raises(UnknownName, match=r"no entry 'persona' .*despur library ls"):
        remove_from_library("persona", library=library)


def test_factors_without_a_base_are_asked_for_one(base, library, tmp_path):
    nameless = folder_of(tmp_path / "nameless", random_rows(1), base=None)
    for ask in (lambda: add_to_library("x", nameless, library=library),
                lambda: compare_with_library(nameless, library=library)):  # fmt: skip
        with pytest.raises(BadInput, match="does not record on which base.*--base BASE"):
            ask()
    entry = add_to_library("x", nameless, library=library, base=base)
    assert entry.base_fingerprint == fingerprint(persona_base()[0])
    with pytest.raises(ShapeMismatch, match=f"found on the base '{ONE}'"):
        add_to_library("y", tmp_path / "persona", library=library, base=base)


def test_what_is_no_folder_of_factors(library, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInput, match=r"no file .*factors\.json"):
        add_to_library("x", empty, library=library)
    (empty / "audit.json").write_text(json.dumps({"verdict": "diffuse change"}))
    with pytest.raises(BadInput, match=r"confirmed no factor \(diffuse change\)"):
        add_to_library("x", empty, library=library)
    with pytest.raises(BadInput, match="is empty.*despur library add"):
        compare_with_library(tmp_path / "persona", library=tmp_path / "nowhere")
    with pytest.raises(BadInput, match="is no folder"):
        list_library(library=tmp_path / "persona" / "run.json")
    assert not (library / "x").exists()


def test_where_the_library_is(monkeypatch, tmp_path):
    monkeypatch.delenv("DESPUR_LIBRARY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert library_folder() == tmp_path / "despur" / "library"
    monkeypatch.setenv("DESPUR_LIBRARY", str(tmp_path / "mine"))
    assert library_folder() == tmp_path / "mine"
    assert library_folder(tmp_path / "given") == tmp_path / "given"
