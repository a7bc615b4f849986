"""A base that is known by name lies where the user says, or in the user's cache; where it is not, the error says how to get it."""

import pytest

from despur.core.errors import BadInput, UnknownName
from despur.core.model.named_bases import BASES, base_folder, same_folder


def test_it_lies_where_the_user_says_or_else_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("DESPUR_BASES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own, given = (tmp_path / place / "smollm2" for place in ("cache/despur/bases", "given"))
    for folder in (own, given):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    assert base_folder("smollm2") == own
    monkeypatch.setenv("DESPUR_BASES", str(tmp_path / "given"))
    assert base_folder("smollm2") == given


@pytest.mark.parametrize("half", [False, True], ids=["nothing", "an empty folder"])
def test_one_that_is_not_there_is_an_error_that_names_the_command(half, tmp_path, monkeypatch):
    monkeypatch.setenv("DESPUR_BASES", str(tmp_path))
    if half:
        (tmp_path / "smollm2").mkdir()
    with pytest.raises(BadInput, match=r"base 'smollm2' is not in .*Fetch it: despur fetch smollm2"):
        base_folder("smollm2")


def test_a_name_and_the_folder_that_it_stands_for_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("DESPUR_BASES", str(tmp_path))
    assert not same_folder("smollm2", tmp_path / "smollm2"), "nothing is there yet"
    (tmp_path / "smollm2").mkdir()
    (tmp_path / "link").symlink_to("smollm2")
    assert same_folder("smollm2", tmp_path / "smollm2")
    assert same_folder(str(tmp_path / "link"), "smollm2")
    assert not same_folder("smollm2", tmp_path)
    assert not same_folder("smollm2", None)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="nearest: 'smollm2'"):
        base_folder("smolm2")


def test_each_states_its_digest_and_licence():
    for base in BASES.values():
        assert len(bytes.fromhex(base.sha256)) == 32
        assert base.licence
        assert base.source.startswith("https://")
