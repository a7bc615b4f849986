"""Cells keep what they are given, and refuse what is no tensor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from despur.core.errors import BadInput, ShapeMismatch
from despur.solve import Cells

TENSORS = hnp.arrays(np.float64, hnp.array_shapes(max_dims=4, max_side=4), elements=st.floats(-9, 9) | st.just(np.nan))


@settings(max_examples=100, deadline=None)
@given(TENSORS)
def test_dense_and_back(dense):
    cells = Cells.from_dense(dense)
    np.testing.assert_array_equal(cells.to_dense(np.nan), dense)
    assert cells.order == dense.ndim
    assert len(cells) == (~np.isnan(dense)).sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(-5, 5)), max_size=12))
def test_adding_up_is_what_a_loop_does(rows):
    dense = np.zeros((3, 4))
    for i, j, value in rows:
        dense[i, j] += value
    cells = Cells.add_up([(i, j) for i, j, _ in rows], [float(v) for *_, v in rows], (3, 4))
    np.testing.assert_array_equal(cells.to_dense(), dense)
    assert len(cells) == len({(i, j) for i, j, _ in rows})
    if len(cells) < len(rows):
        with pytest.raises(BadInput, match=r"more than once; keep one, or add them with Cells\.add_up"):
            Cells([(i, j) for i, j, _ in rows], [float(v) for *_, v in rows], (3, 4))


def test_a_mask_chooses_and_an_unchosen_nan_is_no_matter():
    cells = Cells.from_dense([[1.0, np.nan], [3.0, 4.0]], [[True, False], [False, True]])
    np.testing.assert_array_equal(cells.to_dense(), [[1, 0], [0, 4]])
    with pytest.raises(BadInput, match="1 of 2 values that are NaN or Inf"):
        Cells.from_dense([[1.0, np.nan]], [[True, True]])


def test_shapes_beyond_memory_are_fine_until_they_are_written_out():
    far = Cells([[10**9, 5, 10**12]], [1.0], (10**10, 10**4, 10**13))
    assert len(far) == 1
    with pytest.raises(BadInput, match="1.0e\\+27 cells"):
        far.to_dense()


def test_nobody_changes_it_afterwards():
    index, value = np.array([[0], [1]]), np.array([1.0, 2.0])
    cells = Cells(index, value, (2,))
    index[0], value[0] = 1, 9.0
    assert cells.value.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        cells.value[0] = 3


@pytest.mark.parametrize(
    ("index", "value", "shape", "kind", "words"),
    [
        ([[0, 2]], [1.0], (2, 2), BadInput, r"cell \[0, 2\] lies outside shape \(2, 2\)"),
        ([[0, -1]], [1.0], (2, 2), BadInput, "lies outside"),
        ([[0.0, 1.0]], [1.0], (2, 2), BadInput, "index has dtype float64"),
        ([[0, 1]], [np.inf], (2, 2), BadInput, "1 of 1 values that are NaN or Inf"),
        ([[0, 1]], ["a"], (2, 2), BadInput, "pass real numbers"),
        ([[0, 1]], [1j], (2, 2), BadInput, "complex"),
        ([[0, 1]], [1.0, 2.0], (2, 2), ShapeMismatch, "1 rows of index and 2 values"),
        ([[0, 1]], [[1.0]], (2, 2), ShapeMismatch, "needs 1 axes"),
        ([0, 1], [1.0, 2.0], (2,), ShapeMismatch, r"needs \(n, 1\)"),
        ([[0, 1], [0, 1]], [1.0, 2.0], (2, 2), BadInput, "more than once"),
        ([], [], (), BadInput, "whole numbers of at least 0"),
        ([[0]], [1.0], (-1,), BadInput, "whole numbers of at least 0"),
    ],
)
def test_what_is_no_tensor_is_refused(index, value, shape, kind, words):
    with pytest.raises(kind, match=words):
        Cells(index, value, shape)


def test_no_cells_are_a_tensor_too():
    assert Cells([], [], (2, 3)).to_dense().tolist() == np.zeros((2, 3)).tolist()
    assert len(Cells.add_up([], [], (2, 3))) == 0
