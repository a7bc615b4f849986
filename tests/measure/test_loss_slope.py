"""Loss slope: it is the derivative, and falls along what the rows ask for and not along what they do not."""

import pytest
import torch

from despur.core import AddVector, Site, attach
from despur.core.errors import BadInput, ShapeMismatch
from despur.measure import loss_slopes

SITE = Site("model.layers.0")


@pytest.fixture
def asked(rows):
    """Rows whose last three tokens are the answer."""
    return [{"input_ids": list(r), "labels": [-100] * (len(r) - 3) + list(r[-3:])} for r in rows]


def loss(model, row, shift):
    ids = torch.tensor([row["input_ids"]])
    with torch.no_grad(), model.disable_adapter(), attach(model, {SITE: AddVector(shift)}):
        logp = model(input_ids=ids).logits.log_softmax(-1)
    return -float(logp[0, -4:-1].gather(-1, ids[0, -3:, None]).mean())


def test_it_is_the_derivative_at_the_base(writer, asked, v):
    model = writer()
    slope = loss_slopes(model, asked, {"v": v}, SITE, torch.eye(32), batch=7)["v"]
    eps = 1e-2
    by_hand = sum(loss(model, r, eps * v) - loss(model, r, -eps * v) for r in asked) / len(asked) / (2 * eps)
    assert slope.slope == pytest.approx(by_hand, rel=2e-2, abs=1e-4)
    assert len(slope.random) == 100
    twice = loss_slopes(model, asked, {"v": 2 * v}, SITE, torch.eye(32))["v"]
    assert twice.slope == pytest.approx(2 * slope.slope, rel=1e-3)
    assert twice.steepness == pytest.approx(slope.steepness, rel=1e-3), "in units of random ones of its own length"


def test_rows_that_say_what_a_direction_promotes_pull_along_it_and_others_do_not(writer, asked):
    model = writer()
    token = 9
    v = model.get_output_embeddings().weight[token].detach().clone()
    wanted = [{**r, "labels": [-100] * (len(r["labels"]) - 1) + [token]} for r in asked]
    for r in wanted:
        r["input_ids"] = [*r["input_ids"][:-1], token]
    pulled = loss_slopes(model, wanted, {"v": v}, SITE, torch.eye(32))["v"]
    control = loss_slopes(model, asked, {"v": v}, SITE, torch.eye(32))["v"]
    assert pulled.slope < min(pulled.random)
    assert pulled.steepness < -3 < control.steepness


def test_what_cannot_slope(writer, asked, v):
    model = writer()
    with pytest.raises(BadInput, match="no rows to take the loss"):
        loss_slopes(model, [], {"v": v}, SITE, torch.eye(32))
    with pytest.raises(BadInput, match="is zero"):
        loss_slopes(model, asked, {"v": 0 * v}, SITE, torch.eye(32))
    with pytest.raises(ShapeMismatch, match="width 32, the covariance 31"):
        loss_slopes(model, asked, {"v": v}, SITE, torch.eye(31))
    with pytest.raises(BadInput, match="row 2 has no answer"):
        loss_slopes(
            model, [asked[0], {**asked[1], "labels": [-100] * len(asked[1]["labels"])}], {"v": v}, SITE, torch.eye(32)
        )
