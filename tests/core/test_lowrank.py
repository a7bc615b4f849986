import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from despur.core import LowRank

SIZES = st.integers(1, 12)


def drawn(d_out: int, d_in: int, r: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> LowRank:
    rng = torch.Generator().manual_seed(seed)
    down = torch.randn(r, d_in, generator=rng, dtype=torch.float64).to(dtype)
    up = torch.randn(d_out, r, generator=rng, dtype=torch.float64).to(dtype)
    return LowRank(down, up, scale=-1.7)


def dense(update: LowRank) -> torch.Tensor:
    return update.scale * update.up.double() @ update.down.double()


@settings(max_examples=60, deadline=None)
@given(d_out=SIZES, d_in=SIZES, r=SIZES, zeroed=st.integers(0, 3), seed=st.integers(0, 99))
def test_svd_and_norms_equal_the_dense_ones(d_out, d_in, r, zeroed, seed):
    update = drawn(d_out, d_in, r, seed)
    update.up[:, :zeroed] = 0  # rank-deficient, all zero, and r above both widths are among the draws
    whole = dense(update)
    u, s, vh = update.svd()
    k = min(d_out, d_in, r)
    assert (u.shape, s.shape, vh.shape) == ((d_out, k), (k,), (k, d_in))
    torch.testing.assert_close(u * s @ vh, whole, atol=1e-12, rtol=0)
    torch.testing.assert_close(s, torch.linalg.svdvals(whole)[:k], atol=1e-12, rtol=0)
    eye = torch.eye(k, dtype=torch.float64)
    torch.testing.assert_close(u.T @ u, eye, atol=1e-12, rtol=0)
    torch.testing.assert_close(vh @ vh.T, eye, atol=1e-12, rtol=0)
    torch.testing.assert_close(update.writes().T @ update.writes(), whole @ whole.T, atol=1e-10, rtol=0)
    torch.testing.assert_close(update.reads().T @ update.reads(), whole.T @ whole, atol=1e-10, rtol=0)
    basis = torch.linalg.qr(torch.randn(d_in, min(2, d_in), dtype=torch.float64)).Q.T
    assert update.norm() == pytest.approx(float(whole.norm()), rel=1e-12)
    assert update.read_norm(basis) == pytest.approx(float((whole @ basis.T).norm()), rel=1e-10)
    basis = torch.linalg.qr(torch.randn(d_out, min(2, d_out), dtype=torch.float64)).Q.T
    assert update.write_norm(basis) == pytest.approx(float((basis @ whole).norm()), rel=1e-10)


@settings(max_examples=60, deadline=None)
@given(d_out=SIZES, d_in=SIZES, r=SIZES, zeroed=st.integers(0, 3), seed=st.integers(0, 99))
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_core_has_the_dense_spectrum_and_makes_its_rows(dtype, digits, d_out, d_in, r, zeroed, seed):
    update = drawn(d_out, d_in, r, seed, dtype)
    update.up[:, :zeroed] = 0
    whole = dense(update)
    core = update.core()
    size = digits * float(update.up.double().norm() * update.down.double().norm()) + digits
    k = min(d_out, d_in, r)
    torch.testing.assert_close(core.values, torch.linalg.svdvals(whole)[:k], atol=size, rtol=0)
    assert core.values.dtype == torch.float64
    for rows, gram in ((update.reads(core), whole.T @ whole), (update.writes(core), whole @ whole.T)):
        assert rows.dtype == dtype
        exact = rows.double()
        torch.testing.assert_close(exact.T @ exact, gram, atol=10 * size * float(whole.norm() + 1), rtol=0)
        off = exact @ exact.T - torch.diag(core.values**2)
        assert off.abs().max() <= 10 * size * float(whole.norm() + 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_factors_lose_nothing_further(dtype):
    update = drawn(40, 30, 4, dtype=dtype)
    u, s, vh = update.svd()
    assert {u.dtype, s.dtype, vh.dtype} == {torch.float32}
    torch.testing.assert_close((u * s @ vh).double(), dense(update), atol=1e-5, rtol=1e-5)
    assert update.norm() == pytest.approx(float(dense(update).norm()), rel=1e-12)


def test_what_was_projected_away_reads_and_writes_as_zero():
    update = drawn(64, 48, 8)
    basis = torch.linalg.qr(torch.randn(48, 3, dtype=torch.float64)).Q.T
    blocked = LowRank(update.down - update.down @ basis.T @ basis, update.up, update.scale)
    assert blocked.read_norm(basis) < 1e-14 * update.norm()
    tiny = LowRank(blocked.down + 1e-10 * basis[:1].expand(8, -1), update.up, update.scale)
    exact = 1e-10 * abs(update.scale) * float(update.up.sum(1).norm())
    assert tiny.read_norm(basis) == pytest.approx(exact, rel=1e-4), "ten digits down, and still a figure"
    basis = torch.linalg.qr(torch.randn(64, 3, dtype=torch.float64)).Q.T
    blocked = LowRank(update.down, update.up - basis.T @ (basis @ update.up), update.scale)
    assert blocked.write_norm(basis) < 1e-14 * update.norm()


def test_no_update_at_all_is_zero():
    update = LowRank(torch.randn(2, 5), torch.zeros(4, 2))
    assert update.norm() == update.read_norm(torch.eye(5)) == update.write_norm(torch.eye(4)) == 0
    assert not update.svd()[1].any()


def test_trainable_factors_are_read_without_their_graph():
    update = LowRank(torch.randn(2, 5, requires_grad=True), torch.randn(4, 2, requires_grad=True))
    assert not update.svd()[0].requires_grad
    assert not update.reads().requires_grad
