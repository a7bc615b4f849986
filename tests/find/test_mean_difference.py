"""Directions of activation differences: planted ones come back, turn with the data, and do not mind its order."""

import numpy as np
import pytest

from despur.core.errors import BadInput
from despur.find import DifferencePCA, MeanDifference

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


def test_it_points_from_the_lower_class_to_the_higher(planted):
    rows, classes, _ = planted
    (factor,) = MeanDifference().fit(rows, classes).factors_
    assert factor.read[0, 2] > 0.9
    (factor,) = MeanDifference().fit(rows, 1 - classes).factors_
    assert factor.read[0, 2] < -0.9
