"""The leading singular vectors, found without a full decomposition, are those of the full one."""

import pytest
import torch

from despur.find import _leading
from despur.find._leading import TOLERANCE, leading


def rows(n: int, d: int, *, planted: float = 0.0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(n, d, generator=rng, dtype=dtype)
    x[:, 3] += planted
    return x


@pytest.fixture(autouse=True)
def never_dense(monkeypatch):
    """Falling back on the full decomposition would hide what is tested here."""
    monkeypatch.setattr(_leading, "_dense", None)


@pytest.mark.parametrize(("n", "d"), [(300, 900), (900, 300), (600, 600)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_vectors_are_those_of_the_full_decomposition(n, d, dtype):
    x = rows(n, d, planted=3.0, dtype=dtype)
    values, vectors = leading(x, 8)
    _, s, vh = torch.linalg.svd(x.double(), full_matrices=False)
    torch.testing.assert_close(values, s[:8] ** 2, atol=0, rtol=TOLERANCE)
    assert abs(vectors[0] @ vh[0]) > 1 - 1e-9, "what stands out is exact"
    residual = vectors @ x.double().T @ x.double() - values[:, None] * vectors
    assert torch.all(residual.norm(dim=1) <= 1.01 * TOLERANCE * values)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(8, dtype=torch.float64), atol=1e-8, rtol=0)


def test_it_is_the_same_at_every_call():
    for x in (rows(400, 500), torch.eye(300, 400), rows(6, 400).repeat(60, 1)):  # the last two end in closed subspaces
        assert all(torch.equal(a, b) for a, b in zip(leading(x, 8), leading(x, 8), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_of_few_dimensions_do_not_stop_it(dtype):
    few = rows(6, 400, dtype=dtype) * torch.tensor([6.0, 5, 4, 3, 2, 1], dtype=dtype)[:, None]
    values, vectors = leading(few.repeat(60, 1), 8)
    _, s, vh = torch.linalg.svd(few.double(), full_matrices=False)
    torch.testing.assert_close(values[:6], 60 * s**2, atol=1e-6 * float(60 * s[0] ** 2), rtol=0)
    assert values[6:].abs().max() <= 1e-6 * values[0]
    assert (vectors[:6] * vh).sum(1).abs().min() > 1 - 1e-6
    assert torch.allclose(leading(torch.eye(300, 400, dtype=dtype), 3)[0], torch.ones(3, dtype=torch.float64))


def test_small_stacks_are_decomposed_outright(monkeypatch):
    monkeypatch.undo()
    values, vectors = leading(rows(5, 400), 8)
    assert values.shape == (5,)
    assert vectors.shape == (5, 400)
    flipped = leading(-rows(5, 400), 8)[1]
    torch.testing.assert_close(vectors, flipped)


def test_rows_of_nothing_have_no_value(monkeypatch):
    monkeypatch.undo()
    values, vectors = leading(torch.zeros(300, 400), 3)
    assert values.tolist() == [0, 0, 0]
    assert vectors.shape == (3, 400)


def test_what_does_not_settle_is_decomposed_in_full(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(_leading, "_RESTARTS", 1)
    x = rows(300, 400)
    s = torch.linalg.svdvals(x.double())
    torch.testing.assert_close(leading(x, 4)[0], s[:4] ** 2)
