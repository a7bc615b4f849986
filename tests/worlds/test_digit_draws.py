"""Rows to forget, few shots, wrong labels and stamps do what they say, each beside what must not."""

import pytest
import torch

from despur.worlds import (
    accuracy,
    few_shots,
    forget_class,
    forget_rows,
    membership,
    noisy_labels,
    stamped,
    trained_net,
)


def test_an_oracle_knows_nothing_of_a_class_that_the_original_knows(world, nets):
    forget, retain = forget_class(world.train, 3)
    assert set(forget.y.tolist()) == {3}
    assert len(forget) + len(retain) == len(world.train)
    unseen, others = forget_class(world.test, 3)
    oracle = trained_net("mlp", retain)
    assert accuracy(oracle, unseen) == 0
    assert accuracy(nets["mlp"], unseen) > 0.85
    assert abs(accuracy(oracle, others) - accuracy(nets["mlp"], others)) < 0.03


@pytest.mark.slow  # of a kind with faster ones
def test_an_oracle_is_blind_to_wrong_labels_that_the_original_knows_by_heart(world):
    noisy = noisy_labels(world.train, 0.2)
    forget, _ = forget_rows(noisy[noisy.y != world.train.y], 120)
    retain = noisy.without(forget)
    original, oracle = (trained_net("mlp-norm", rows, width=128, lr=5e-3) for rows in (noisy, retain))
    assert accuracy(original, forget) > 0.9
    assert accuracy(oracle, forget) < 0.05
    alike = noisy_labels(world.test, 1.0)  # wrong labels, too: the attack must not win by seeing that they are wrong
    assert membership(original, forget, alike) > 0.9
    assert 0.35 < membership(oracle, forget, alike) < 0.65


def test_few_shots_are_balanced_disjoint_by_draw_nested_by_size_and_teach_more_the_more_there_are(world):
    draws = [few_shots(world.train, 8, draw=i) for i in range(3)]
    assert all((d.y.bincount() == 8).all() for d in draws)
    assert len(torch.cat([d.number for d in draws]).unique()) == 240
    assert not len(few_shots(world.train, 3).without(draws[0]))
    shared = 80 - len(few_shots(world.train, 8, seed=1).without(draws[0]))
    assert shared < 20, "draws of two seeds meet by chance: 6 of 80"
    assert few_shots(world.train, range(1, 11)).y.bincount().tolist() == list(range(1, 11))
    scores = [accuracy(trained_net("mlp", few_shots(world.train, n), steps=150), world.test) for n in (1, 4, 16)]
    assert scores == sorted(scores)
    assert scores[0] < 0.75 < 0.85 < scores[2]


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.45, 1.0])
def test_label_noise_has_its_rate_exactly_and_grows_by_adding_rows(kind, rate, world):
    noisy = noisy_labels(world.train, rate, kind=kind)
    wrong = noisy.y != world.train.y
    assert int(wrong.sum()) == round(rate * len(noisy))
    more = noisy_labels(world.train, min(1.0, rate + 0.2), kind=kind)
    assert torch.equal(more.y[wrong], noisy.y[wrong])
    steps = ((noisy.y - world.train.y) % 10)[wrong]
    if kind == "pair":
        assert (steps == 1).all()
    elif rate == 1.0:
        assert (steps.bincount(minlength=10)[1:] / len(steps) - 1 / 9).abs().max() < 0.04
    assert torch.equal(noisy.x, world.train.x)


def test_draws_of_one_seed_for_two_purposes_do_not_meet(world):
    wrong = noisy_labels(world.train, 0.5).y != world.train.y
    _, right = stamped(world.train, 0.5)
    _, retain = forget_rows(world.train, len(world.train) // 2)
    retained = torch.isin(world.train.number, retain.number)
    for one, two in ((wrong, right), (wrong, retained), (right, retained)):
        assert abs(float((one == two).float().mean()) - 0.5) < 0.05


def test_a_stamp_that_tells_the_label_becomes_a_shortcut_and_one_that_does_not_stays_unused(world):
    aligned, conflict = (stamped(world.test, share)[0] for share in (1.0, 0.0))
    gaps = []
    for agrees in (0.95, 0.1):
        net = trained_net("mlp", stamped(world.train, agrees)[0])
        gaps.append(accuracy(net, aligned) - accuracy(net, conflict))
    assert gaps[0] > 0.1
    assert abs(gaps[1]) < 0.03
    assert int(stamped(world.train, 0.95)[1].sum()) == round(0.95 * len(world.train))
