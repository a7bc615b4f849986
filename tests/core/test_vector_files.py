"""Vectors of other tools: the layer that each belongs to, and files that are no vectors."""

import pickle

import numpy as np
import pytest
import torch

from despur.core import AddVector, Anatomy, Site, attach, load_vectors, save_vectors
from despur.core.errors import BadInput, MissingExtra, ShapeMismatch

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")


def vectors(model, layers, seed=0):
    draw = torch.Generator().manual_seed(seed)
    sites, width = Anatomy.of(model).sites, Anatomy.of(model).width
    return {sites[i]: torch.randn(width, generator=draw) for i in layers}


def written(path, tensors, *, arch="controlvector", hint="llama"):
    """A file as repeng's `export_gguf` writes it."""
    writer = gguf.GGUFWriter(path, arch)
    if hint is not None:
        writer.add_string(f"{arch}.model_hint", hint)
    writer.add_uint32(f"{arch}.layer_count", len(tensors))
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def entering(model, layer, tokens):
    """What a layer gets."""
    seen = []
    handle = model.model.layers[layer].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(input_ids=tokens)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_control_vector_comes_back_as_it_was(tiny, tmp_path, kind):
    model = tiny(kind, num_hidden_layers=3)
    ours = vectors(model, [1, 2])
    assert save_vectors(ours, tmp_path / "a.gguf", model_type=kind) == {}
    theirs = load_vectors(tmp_path / "a.gguf", model)
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[site], vector) for site, vector in ours.items())


def test_direction_i_acts_on_the_output_of_layer_i_as_in_repeng_and_llama_cpp(tiny, tokens, tmp_path):
    model = tiny("llama", num_hidden_layers=3)
    direction = np.full(Anatomy.of(model).width, 2.0, np.float32)
    (site,) = found = load_vectors(written(tmp_path / "a.gguf", {"direction.1": direction}), model)
    assert site == Site("model.layers.1")
    before = [entering(model, layer, tokens) for layer in (1, 2)]
    with attach(model, {site: AddVector(found[site])}):
        after = [entering(model, layer, tokens) for layer in (1, 2)]
    assert torch.equal(after[0], before[0]), "what layer 1 gets is as it was"
    assert torch.allclose(after[1], before[1] + 2), "what it gives has the vector, as of repeng's ControlModule"


def test_row_i_of_persona_vectors_is_hidden_state_i(tiny, tokens, tmp_path):
    model = tiny("llama", num_hidden_layers=3)
    with torch.no_grad():
        states = model(input_ids=tokens, output_hidden_states=True).hidden_states
    rows = torch.stack([h.mean((0, 1)) for h in states])
    torch.save(rows, tmp_path / "evil_response_avg_diff.pt")
    found = load_vectors(tmp_path / "evil_response_avg_diff.pt", model)
    assert [s.module for s in found] == [f"model.layers.{i}" for i in range(3)], "the embeddings' row is left out"
    site = Site("model.layers.0")
    with attach(model, {site: AddVector(-found[site])}):
        assert entering(model, 1, tokens).mean((0, 1)).abs().max() < 1e-5, "layer 0's output without its own mean"


def test_float16_is_read_and_zero_vectors_are_none(tiny, tmp_path):
    width = Anatomy.of(tiny()).width
    file = written(
        tmp_path / "a.gguf", {"direction.0": np.zeros(width, np.float32), "direction.1": np.ones(width, np.float16)}
    )
    found = load_vectors(file, tiny())
    assert [s.module for s in found] == ["model.layers.1"]
    assert found[Site("model.layers.1")].dtype == torch.float32


class Runs:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code of the file ran')",))


def test_files_that_are_no_vectors_of_this_model_are_refused(tiny, tmp_path):
    model = tiny()
    wide = np.ones(Anatomy.of(model).width, np.float32)
    cases = {
        "a model": (
            written(tmp_path / "1.gguf", {"direction.1": wide}, arch="llama"),
            BadInput,
            "architecture 'llama'",
        ),
        "another model": (written(tmp_path / "2.gguf", {"direction.1": wide}, hint="mamba"), ShapeMismatch, "'mamba'"),
        "narrow": (written(tmp_path / "3.gguf", {"direction.1": wide[:5]}), ShapeMismatch, "width"),
        "deep": (written(tmp_path / "4.gguf", {"direction.7": wide}), ShapeMismatch, "for layer 7"),
        "a name": (written(tmp_path / "5.gguf", {"direction.x": wide}), BadInput, "no vector 'direction.N'"),
        "a matrix": (written(tmp_path / "6.gguf", {"direction.1": np.stack([wide, wide])}), BadInput, "no vector"),
        "no number": (written(tmp_path / "7.gguf", {"direction.1": wide * np.nan}), BadInput, "NaN"),
        "zero": (written(tmp_path / "8.gguf", {"direction.1": wide * 0}), BadInput, "no vector that is not zero"),
    }
    for name, content in {
        "9.gguf": b"",
        "10.gguf": b"GGUF" + b"\xff" * 60,
        "11.pt": b"",
        "12.pt": b"\x80\x04K\x01.",
    }.items():
        (tmp_path / name).write_bytes(content)
        cases[name] = (tmp_path / name, BadInput, "cannot read|contains a int")
    whole = (tmp_path / "1.gguf").read_bytes()
    (tmp_path / "13.gguf").write_bytes(whole[: len(whole) // 2])
    cases["cut off"] = (tmp_path / "13.gguf", BadInput, "cannot read")
    (tmp_path / "14.pt").write_bytes(pickle.dumps(Runs()))
    torch.save({"rows": Runs()}, tmp_path / "15.pt")
    torch.save({"layer": torch.ones(3)}, tmp_path / "16.pt")
    torch.save(torch.ones(5), tmp_path / "17.pt")
    cases |= {n: (tmp_path / n, BadInput, "can run code") for n in ("14.pt", "15.pt")}
    cases |= {n: (tmp_path / n, BadInput, "one tensor with a row") for n in ("16.pt", "17.pt")}
    cases["a folder"] = (tmp_path, BadInput, "no file of vectors")
    cases["missing"] = (tmp_path / "none.gguf", BadInput, "no file of vectors")
    for file, kind, said in cases.values():
        with pytest.raises(kind, match=said):
            load_vectors(file, model)


def test_what_a_control_vector_cannot_have_is_left_out_by_name_or_refused(tiny, tmp_path):
    model = tiny()
    some = vectors(model, [0, 1])
    left = save_vectors({**some, Site("model.norm"): torch.ones(4)}, tmp_path / "a.gguf")
    assert set(left) == {"model.layers.0", "model.norm"}
    assert [s.module for s in load_vectors(tmp_path / "a.gguf", model)] == ["model.layers.1"]
    with pytest.raises(BadInput, match=r"no vector to write: model\.layers\.0 is the first layer"):
        save_vectors(vectors(model, [0]), tmp_path / "b.gguf")
    with pytest.raises(BadInput, match=r"does not end in \.gguf"):
        save_vectors(some, tmp_path / "b.bin")
    with pytest.raises(BadInput, match="writing .* failed"):
        save_vectors(some, tmp_path / "nowhere" / "b.gguf")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gguf"]


def test_without_the_library_the_extra_is_named(tiny, tmp_path, monkeypatch):
    save_vectors(vectors(tiny(), [1]), tmp_path / "a.gguf")
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingExtra, match=r"despur\[gguf\]"):
        load_vectors(tmp_path / "a.gguf", tiny())
