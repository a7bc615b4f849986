"""Corruptions are what their names say, cost accuracy the more the more severe, and batch norm undoes some."""

import pytest
import torch
from scipy import ndimage

from despur.core.errors import BadInput
from despur.worlds import CORRUPTIONS, accuracy, corrupt, digit_net, renormalized

SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)


def dot(world, row: int, column: int):
    """Rows with one bright pixel."""
    rows = world.test
    x = torch.zeros_like(rows.x)
    x[:, 0, row, column] = 1
    return type(rows)(x, rows.y, rows.number)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_accuracy_falls_with_severity_and_nothing_is_bit_for_bit_nothing(kind, world, nets):
    assert torch.equal(corrupt(world.test, kind, 0.0).x, world.test.x)
    curve = [
        sum(
            accuracy(net, corrupt(world.test, kind, s, seed=seed))
            for net in (nets["mlp"], nets["mlp-norm"])
            for seed in (0, 1)
        )
        / 4
        for s in SEVERITIES
    ]
    assert curve == sorted(curve, reverse=True)
    assert curve[0] > 0.95
    assert curve[2] < curve[0] - 0.05
    assert curve[-1] < 0.35


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_what_is_drawn_for_a_row_is_its_own_and_the_seed_s(kind, world):
    rows = world.test
    whole, part = corrupt(rows, kind), corrupt(rows[100:140], kind)
    assert torch.allclose(whole.x[100:140], part.x, atol=1e-6), "not the rows beside it"
    assert torch.equal(whole.x, corrupt(rows, kind).x)
    assert torch.equal(whole.x, corrupt(rows, kind, seed=1).x) == (kind in ("blur", "contrast", "rotate"))
    assert (whole.x.min() >= 0, whole.x.max() <= 1) == (True, True)


def test_blur_and_rotation_are_scipy_s(world):
    x = world.test.x[:, 0].numpy()
    blurred = ndimage.gaussian_filter(x, 0.6, axes=(1, 2), mode="constant", truncate=12)
    assert torch.allclose(corrupt(world.test, "blur", 0.4).x[:, 0], torch.from_numpy(blurred), atol=1e-5)
    for sign, near in ((1, True), (-1, False)):
        turned = ndimage.rotate(x, sign * 30, axes=(1, 2), reshape=False, order=1, mode="grid-constant")
        assert torch.allclose(corrupt(world.test, "rotate", 0.5).x[:, 0], torch.from_numpy(turned), atol=1e-4) == near


def test_a_shift_moves_by_its_pixels_each_row_its_own_way(world):
    x = corrupt(dot(world, 4, 4), "shift", 1.0).x[:, 0]
    place = torch.arange(8.0)
    center = torch.stack([(x.sum(2) * place).sum(1), (x.sum(1) * place).sum(1)], 1) / x.sum((1, 2))[:, None]
    moves = center - 4
    assert torch.allclose(moves.norm(dim=1), torch.full((len(x),), 2.0), atol=1e-4)
    assert moves.mean(0).abs().max() < 0.2, "in all directions"


def test_noise_has_its_deviation_and_contrast_its_range(world):
    middle = type(world.test)(torch.full_like(world.test.x, 0.5), world.test.y, world.test.number)
    assert float(corrupt(middle, "noise", 0.1).x.std()) == pytest.approx(0.1, rel=0.02)
    x = corrupt(world.test, "contrast", 0.5).x
    assert (float(x.min()), float(x.max())) == pytest.approx((0.225, 0.775))


def test_statistics_of_the_shifted_rows_restore_a_net_with_batch_norm_and_no_other(world, nets):
    gray = corrupt(world.test, "contrast", 0.75)
    seen = corrupt(world.validation, "contrast", 0.75)  # other rows, no labels
    before = accuracy(nets["mlp-norm"], gray)
    assert before < 0.5
    assert accuracy(renormalized(nets["mlp-norm"], seen), gray) > 0.95
    assert accuracy(nets["mlp-norm"], gray) == before, "a copy was changed"
    assert accuracy(renormalized(nets["mlp"], seen), gray) == accuracy(nets["mlp"], gray) < 0.5
    noise = type(seen)(torch.rand_like(seen.x), seen.y, seen.number)
    assert accuracy(renormalized(nets["mlp-norm"], noise), gray) < 0.9, "not statistics of anything"


def test_statistics_need_two_rows(world):
    with pytest.raises(BadInput, match="two or more"):
        renormalized(digit_net("mlp-norm"), world.test[:1])
