"""subtract_weights: what two tunes differ in, taken away."""

import numpy as np
import pytest

from despur.core import Adapter
from despur.core.errors import ShapeMismatch
from despur.merge import subtract_weights

NAME = "model.layers.1.mlp.up_proj"


def test_what_was_added_by_a_bad_tune_is_taken_away(adapter, dense):
    one, bad, good = (adapter(seed) for seed in range(3))
    want = dense(one) - 0.7 * (dense(bad) - dense(good))
    assert np.allclose(dense(subtract_weights(one, bad, good, strength=0.7)), want, atol=1e-6)
    assert not np.allclose(dense(subtract_weights(one, good, bad, strength=0.7)), want, atol=1e-3), "the control"
    assert subtract_weights(one, bad, good, strength=0.0) is one
    with pytest.raises(ShapeMismatch, match="lm_head"):
        subtract_weights(one, Adapter({"lm_head": one.updates[NAME]}), good)
