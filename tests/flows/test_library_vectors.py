"""The library takes other tools' vectors of layers, and gives control vectors back."""

import pytest
import torch

from despur.core import Site, load_factors, load_vectors, save_vectors
from despur.core.errors import BadInput, UnknownName
from despur.flows import add_to_library, compare_with_library, export_from_library
from despur.flows._library.factor_folder import read_factors
from despur.worlds import PERSONA_BASE, persona_base

pytest.importorskip("gguf", reason="the extra gguf is not installed")


@pytest.fixture
def vectors(tmp_path):
    draw = torch.Generator().manual_seed(0)
    made = {Site(f"model.layers.{i}"): 3 * torch.randn(64, generator=draw) for i in (1, 3)}
    save_vectors(made, tmp_path / "happy.gguf", model_type="llama")
    return made


def test_a_control_vector_goes_in_and_comes_out_with_its_length_and_sign(vectors, tmp_path):
    entry = add_to_library("happy", tmp_path / "happy.gguf", library=tmp_path / "lib", base=str(PERSONA_BASE))
    assert entry.sites == ("model.layers.1", "model.layers.3")
    for factor in load_factors(tmp_path / "lib" / "happy"):
        assert torch.allclose(factor.read[0], vectors[factor.site] / vectors[factor.site].norm(), atol=1e-6)
    done = export_from_library("happy", tmp_path / "back.gguf", library=tmp_path / "lib", base=PERSONA_BASE)
    assert (done.layers, done.left_out) == (entry.sites, {})
    back = load_vectors(tmp_path / "back.gguf", persona_base()[0])
    assert back.keys() == vectors.keys()
    assert all(torch.allclose(back[s], v, atol=1e-5) for s, v in vectors.items())
    found = compare_with_library(tmp_path / "back.gguf", library=tmp_path / "lib", base=str(PERSONA_BASE))
    same = [m.overlap.cosine for m in found.matches if m.same_site]
    other = [m.overlap.cosine for m in found.matches if not m.same_site]
    assert min(same) > 0.999 > 0.6 > max(other), "the control: another layer's vector is another direction"


def test_a_file_names_no_base_so_it_must_be_named_or_there(vectors, tmp_path):
    with pytest.raises(BadInput, match="Name it: --base BASE"):
        add_to_library("happy", tmp_path / "happy.gguf", library=tmp_path / "lib")
    model = persona_base()[0]
    found = read_factors(tmp_path / "happy.gguf", model=model)
    assert [f.site for f in found.factors] == list(vectors)
    assert found.base_fingerprint is None


def test_what_is_not_in_the_library_is_not_exported(tmp_path):
    for name in ("none", "../lib", "/etc"):
        with pytest.raises(UnknownName, match="no entry"):
            export_from_library(name, tmp_path / "a.gguf", library=tmp_path / "lib")
    assert not list(tmp_path.iterdir())
