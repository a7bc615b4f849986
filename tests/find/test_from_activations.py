"""from_activations: what an adapter adds to the stream, site by site."""

import subprocess
import sys

import pytest
import torch

from despur.core import Site
from despur.core.errors import BadInput
from despur.find import from_activations
from despur.find.from_activations import activation_differences, factor_of


@pytest.mark.parametrize("how", ["pca", "mean"])
def test_from_activations_sees_what_the_adapter_adds(how, writer, rows, v):
    sites = [Site("model.layers.0"), Site("model.layers.1")]
    factors = from_activations(writer(), rows, sites, how=how)
    assert [f.site for f in factors] == sites
    assert abs(factors[0].read[0] @ v) > 0.9999, "behind layer 0 the two differ along v only"
    with pytest.raises(BadInput):  # before the layer that the adapter changes there is nothing to see
        from_activations(writer(layer=1), rows, sites[:1], how=how)
    assert factors[0].evidence["rows"] == len(rows)
    behind = from_activations(writer(layer=1), rows, sites, how=how, rank=3)
    assert [f.site for f in behind] == sites[1:], "where nothing moves there is no factor"
    assert behind[0].rank == 1, "one map of rank 1 moves its own layer in one direction"


def test_a_stream_that_is_left_alone_in_one_coordinate_has_its_factor(writer, rows):
    model = writer()
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if "lora_B" in n)[3] = 0
    (factor,) = from_activations(model, rows, [Site("model.layers.0")])
    assert float(factor.read[0, 3]) == pytest.approx(0, abs=1e-6)


def test_the_first_position_does_not_count(writer, rows):
    model, site = writer(), [Site("model.layers.1")]
    plain = from_activations(model, rows, site, rank=3)[0]
    other = from_activations(model, [[2, *r[1:]] for r in rows], site, rank=3)[0]
    n = sum(len(r) - 1 for r in rows)
    assert plain.evidence["n"] == n
    assert not torch.equal(plain.read, other.read), "it is still read by the others"


def test_it_needs_an_adapter_that_does_something(tiny, writer, rows):
    with pytest.raises(BadInput, match="needs a PEFT model"):
        from_activations(tiny(), rows, [Site("model.layers.0")])
    with pytest.raises(BadInput, match="moves the stream at none of 1 sites"):
        from_activations(writer(by=0.0), rows, [Site("model.layers.0")])


def test_activations_that_are_not_finite_are_refused(writer, rows):
    model = writer()
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if "lora_B" in n).fill_(float("nan"))
    with pytest.raises(BadInput, match="contain NaN or Inf"):
        from_activations(model, rows, [Site("model.layers.0")])


@pytest.mark.slow  # of a kind with faster ones
def test_finders_are_imported_when_they_are_asked_for():
    code = "import despur.find, sys; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, "scikit-learn takes a second"


def test_one_number_that_is_not_finite_is_refused_too():
    moved = torch.eye(4)
    moved[2, 1] = float("inf")
    with pytest.raises(BadInput, match="contain NaN or Inf"):
        factor_of(moved, Site("model.layers.0"))


def test_the_mean_is_the_mean_and_the_component_is_not():
    moved = torch.tensor([[1.0, 9], [1, -9], [1, 9], [1, -9]])
    mean, component = (factor_of(moved, Site("model.layers.0"), how=how).read[0].abs() for how in ("mean", "pca"))
    assert mean.tolist() == pytest.approx([1, 0], abs=1e-6)
    assert component[1] > 0.99


def test_starts_count_for_both_the_adapter_and_the_base(writer, rows):
    site = Site("model.layers.1")
    whole = activation_differences(writer(), rows[:1], [site])[site]
    tail = activation_differences(writer(), rows[:1], [site], starts=[3])[site]
    assert 0 < len(tail) < len(whole)
    assert torch.equal(tail, whole[-len(tail) :])
