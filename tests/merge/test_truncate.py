"""truncate: against numpy on the update multiplied out."""

import numpy as np
import pytest

from despur.core.errors import BadInput
from despur.merge import truncate


@pytest.mark.parametrize(("keep", "which"), [("top", [0, 1]), ("bottom", [2, 3])])
def test_truncation_is_that_of_the_update_multiplied_out(keep, which, adapter, dense):
    one = adapter()
    u, s, vh = np.linalg.svd(dense(one))
    want = (u[:, which] * s[which]) @ vh[which]
    assert np.allclose(dense(truncate(one, rank=2, keep=keep)), want, atol=1e-6)
    other = dense(truncate(one, rank=2, keep="random", seed=1))
    assert np.linalg.matrix_rank(other, tol=1e-6) == 2
    assert np.linalg.norm(other - dense(one)) > np.linalg.norm(dense(truncate(one, rank=2)) - dense(one)) + 1e-3, (
        "the control"
    )
    assert np.allclose(dense(truncate(one, rank=9)), dense(one), atol=1e-6)


def test_no_component_is_refused(adapter):
    with pytest.raises(BadInput, match="at least one component"):
        truncate(adapter(), rank=0)
