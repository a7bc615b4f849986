"""Directions of activation differences: planted ones come back, turn with the data, and do not mind its order."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from despur.core import Site
from despur.core.errors import BadInput
from despur.find import DifferencePCA, MeanDifference, from_activations

WIDTH = 16
FINDERS = {
    "mean": MeanDifference(), "pca": DifferencePCA(rank=2), "pca, centred": DifferencePCA(rank=2, center=True),
}  # fmt: skip


@pytest.fixture
def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a large spread along the first axis, a shift along the second, some noise; and classes."""
    rng = np.random.default_rng(0)
    rows = 0.3 * rng.normal(size=(400, WIDTH))
    rows[:, 0] += 4 * rng.normal(size=400)
    rows[:, 1] += 2
    classes = rng.integers(2, size=400)
    rows[:, 2] += 3 * classes
    return rows, classes, np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0]


def axis(factor, i: int = 0) -> int:
    assert factor.read[i].abs().max() > 0.97
    return int(factor.read[i].abs().argmax())


def test_each_finds_what_it_is_for(planted):
    rows, classes, _ = planted
    rows[:, 0] -= rows[:, 0].mean()
    assert axis(MeanDifference().fit(rows, classes).factors_[0]) == 2
    assert axis(MeanDifference().fit(rows[classes == 0]).factors_[0]) == 1
    rows[:, 2] = 0
    plain, centred = (DifferencePCA(rank=2, center=c).fit(rows).factors_[0] for c in (False, True))
    assert (axis(plain), axis(plain, 1)) == (0, 1), "the mean shift is part of what is found"
    assert axis(centred) == 0
    assert abs(float(centred.read[1][1])) < 0.9, "centred, it is not"
    assert plain.evidence["share"][0] > plain.evidence["share"][1] > 0.1


@pytest.mark.parametrize("finder", FINDERS.values(), ids=FINDERS)
@pytest.mark.parametrize("labelled", [True, False])
def test_it_turns_with_the_data_and_does_not_mind_their_order(finder, labelled, planted):
    rows, classes, frame = planted
    y = classes if labelled else None
    plain = finder.fit(rows, y).factors_[0]
    turned = finder.fit(rows @ frame, y).factors_[0]
    assert np.allclose(np.abs(turned.read.numpy() @ (plain.read.numpy() @ frame).T), np.eye(plain.rank), atol=1e-4)
    order = np.random.default_rng(1).permutation(len(rows))
    mixed = finder.fit(rows[order], None if y is None else y[order]).factors_[0]
    assert np.allclose(np.abs((mixed.read @ plain.read.T).numpy()), np.eye(plain.rank), atol=1e-4)
    assert np.allclose(finder.inverse_transform(finder.transform(rows)).shape, rows.shape)


def test_where_there_is_no_direction_it_says_so():
    with pytest.raises(BadInput, match="means coincide"):
        MeanDifference().fit(np.array([[1.0, 0], [1, 0], [1, 0], [1, 0]]), np.array([0, 1, 0, 1]))
    with pytest.raises(BadInput, match="span 1 directions, rank=2"):
        DifferencePCA(rank=2).fit(np.outer(np.arange(1, 5), [1.0, 2]))


@pytest.mark.parametrize("how", ["pca", "mean"])
def test_from_activations_sees_what_the_adapter_adds(how, writer, rows, v):
    sites = [Site("model.layers.0"), Site("model.layers.1")]
    factors = from_activations(writer(), rows, sites, how=how)
    assert [f.site for f in factors] == sites
    assert abs(factors[0].read[0] @ v) > 0.9999, "behind layer 0 the two differ along v only"
    with pytest.raises(BadInput):  # before the layer that the adapter changes there is nothing to see
        from_activations(writer(layer=1), rows, sites[:1], how=how)
    assert factors[0].evidence["rows"] == len(rows)


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
    with pytest.raises(BadInput, match="rank=1 was asked|coincide"):
        from_activations(writer(by=0.0), rows, [Site("model.layers.0")])


def test_activations_that_are_not_finite_are_refused(writer, rows):
    model = writer()
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if "lora_B" in n).fill_(float("nan"))
    with pytest.raises(BadInput, match="hold NaN or Inf"):
        from_activations(model, rows, [Site("model.layers.0")])


def test_finders_are_imported_when_they_are_asked_for():
    code = "import despur.find, sys; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, "scikit-learn takes a second"
