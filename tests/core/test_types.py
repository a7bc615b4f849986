import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from despur.core import EVERYWHERE, Context, Edit, Factor, Report, Site, Subspace
from despur.core.errors import (
    BadInput,
    CannotAttach,
    DespurError,
    MissingExtra,
    NotFitted,
    ShapeMismatch,
    SiteNotFound,
    UnknownName,
    nearest,
)


def test_a_site_is_a_value():
    assert Site() == Site(EVERYWHERE, "out")
    assert len({Site("a"), Site("a"), Site("a", "in")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Site("a").module = "b"


@settings(max_examples=40, deadline=None)
@given(k=st.integers(1, 6), extra=st.integers(0, 6), seed=st.integers(0, 99), scale=st.floats(1e-4, 1e4))
def test_orthonormal_spans_the_directions_and_keeps_their_order_and_sign(k, extra, seed, scale):
    rng = torch.Generator().manual_seed(seed)
    directions = torch.eye(k, k + extra) + 0.2 * torch.rand(k, k + extra, generator=rng)
    factor = Subspace.orthonormal(scale * directions, site=Site("m"), score=1.0)
    assert (factor.rank, factor.width, factor.site, factor.evidence) == (k, k + extra, Site("m"), {"score": 1.0})
    torch.testing.assert_close(factor.read @ factor.write.T, torch.eye(k), atol=1e-6, rtol=0)
    torch.testing.assert_close(factor.decode(factor.encode(directions)), directions, atol=1e-5, rtol=1e-5)
    first = directions[0] / directions[0].norm()
    torch.testing.assert_close(factor.read[0], first, atol=1e-5, rtol=0)
    assert (factor.encode(directions).diagonal() > 0).all(), "row i points where direction i did"


def test_an_oblique_factor_reads_one_way_and_writes_another():
    factor = Subspace(torch.tensor([[1.0, 0, 0]]), torch.tensor([[1.0, 2, 0]]), torch.tensor([1.0, 1, 1]))
    assert isinstance(factor, Factor)
    x = torch.tensor([[3.0, 5, 7]])
    assert factor.encode(x).tolist() == [[2.0]]
    assert factor.decode(factor.encode(x)).tolist() == [[2.0, 4.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(6,), (2, 6), (2, 3, 6), (0, 6)])
def test_coordinates_keep_dtype_and_leading_axes(dtype, shape):
    factor = Subspace.orthonormal(torch.randn(2, 6))
    c = factor.encode(torch.randn(shape).to(dtype))
    assert (c.shape, c.dtype) == ((*shape[:-1], 2), dtype)
    assert factor.decode(c).shape == shape


def test_another_width_is_named():
    factor = Subspace.orthonormal(torch.randn(2, 6), site=Site("model.layers.1"))
    with pytest.raises(ShapeMismatch) as raised:
        factor.encode(torch.ones(3, 7))
    assert str(raised.value) == (
        "encode got x (3, 7); this factor has k=2 directions in width d=6 at model.layers.1. Was it found on another "
        "model?"
    )
    with pytest.raises(ShapeMismatch, match=r"^decode got c \(3,\); this factor has k=2"):
        factor.decode(torch.ones(3))


@pytest.mark.parametrize(
    ("directions", "says"),
    [
        (torch.ones(3, 2), r"directions must be \(k, d\) with 0 < k <= d; got \(3, 2\)"),
        (torch.ones(0, 2), r"directions must be \(k, d\) with 0 < k <= d; got \(0, 2\)"),
        (torch.ones(2, 3), "the 2 directions are not independent; pass fewer"),
        (torch.zeros(1, 3), "directions contain NaN, Inf or a zero row"),
        (torch.full((1, 3), torch.nan), "directions contain NaN, Inf or a zero row"),
    ],
)
def test_directions_that_span_no_subspace_are_refused(directions, says):
    with pytest.raises(ShapeMismatch, match=f"^{says}"):
        Subspace.orthonormal(directions)


def test_an_edit_needs_its_map_and_draws_its_own_numbers():
    with pytest.raises(TypeError, match="abstract"):
        Edit()
    context, before = Context(nn.Linear(1, 1)), torch.random.get_rng_state()
    torch.randn(2, generator=context.rng)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_report_is_json():
    report = Report("drift", 0.5, 0.4, 0.6, 10, spec={"seed": 0})
    assert math.isnan(report.control)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False)) == {
        "name": "drift", "value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "control": None, "unit": "fraction",
        "higher_is_better": True, "spec": {"seed": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "kin"),
    [(NotFitted, ValueError), (SiteNotFound, LookupError), (UnknownName, LookupError), (ShapeMismatch, ValueError), (BadInput, ValueError),
     (MissingExtra, ImportError), (CannotAttach, RuntimeError)],
)  # fmt: skip
def test_every_error_is_despurs_and_pythons(error, kin):
    assert issubclass(error, DespurError)
    assert issubclass(error, kin)


def test_the_nearest_names_are_offered():
    assert nearest("model.layer.12", ["model.layers.12", "lm_head"]) == "; nearest: 'model.layers.12'"
    assert nearest("x", ["lm_head"]) == ""
