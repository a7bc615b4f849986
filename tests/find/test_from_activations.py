"""from_activations: what an adapter adds to the stream, site by site."""

import subprocess
import sys

import pytest
import torch

from despur.core import Site
from despur.core.errors import BadInput
from despur.find import from_activations


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


def test_finders_are_imported_when_they_are_asked_for():
    code = "import despur.find, sys; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, "scikit-learn takes a second"
