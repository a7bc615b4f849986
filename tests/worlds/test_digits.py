"""Nets learn the digits, each loop option does what it says, and wrong arguments are refused."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from despur.core.errors import BadInput, DespurError, UnknownName
from despur.worlds import (
    NETS,
    DigitRows,
    Digits,
    accuracy,
    corrupt,
    digit_net,
    few_shots,
    forget_class,
    forget_rows,
    noisy_labels,
    row_losses,
    stamped,
    train_net,
    trained_net,
)


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_the_parts_are_disjoint_stratified_and_the_same_for_a_seed(world):
    parts = (world.train, world.validation, world.test)
    assert sorted(torch.cat([p.number for p in parts]).tolist()) == list(range(1797))
    for part in parts:
        assert (part.y.bincount() / len(part) - 0.1).abs().max() < 0.01
        assert part.x.dtype == torch.float32
        assert (part.x.min(), part.x.max()) == (0, 1)
    assert torch.equal(Digits().test.number, world.test.number)
    assert not torch.equal(Digits(seed=1).test.number, world.test.number)


@pytest.mark.parametrize("kind", NETS)
def test_a_net_learns_the_digits_and_shuffled_labels_teach_it_nothing(kind, world, nets):
    assert accuracy(nets[kind], world.test) >= 0.95
    order = torch.randperm(len(world.train), generator=torch.Generator().manual_seed(0))
    shuffled = trained_net(kind, replace(world.train, y=world.train.y[order]), steps=100)
    assert accuracy(shuffled, world.test) < 0.25


def test_a_seed_gives_the_same_net_bit_for_bit_and_leaves_the_drawing_of_others_alone(world, nets):
    before = torch.get_rng_state()
    assert same(trained_net("mlp", world.train), nets["mlp"])
    assert torch.equal(torch.get_rng_state(), before)
    assert not same(trained_net("mlp", world.train, seed=1), nets["mlp"])
    assert not same(train_net(digit_net("mlp"), world.train, seed=1), nets["mlp"]), "the order alone"


def test_weights_optimizer_loss_and_penalty_do_what_they_say(world):
    def trained(**how) -> torch.nn.Module:
        return trained_net("mlp", world.train, steps=30, **how)

    def sgd(lr: float):
        return lambda params: torch.optim.SGD(params, lr=lr)

    ones = torch.ones(len(world.train))
    assert same(trained(weights=ones), trained())
    assert same(trained(weights=2 * ones, optimizer=sgd(0.05)), trained(optimizer=sgd(0.1)))
    ignored = trained(weights=(world.train.y != 3).float())
    assert accuracy(ignored, world.test.of_class(3)) == 0
    assert accuracy(trained(), world.test.of_class(3)) > 0.5
    squared = trained(loss=lambda logits, y: (logits - torch.eye(10)[y]).square().sum(1))
    assert row_losses(squared, world.test, lambda logits, y: logits.square().sum(1)).mean() < 2, "logits near 0 and 1"

    def size(net):
        return sum(p.square().sum() for p in net.parameters())

    assert size(trained(penalty=lambda net: 0.1 * size(net))) < 0.5 * size(trained())


@pytest.mark.parametrize("kind", NETS)
def test_gradients_of_single_rows_come_by_vmap(kind, world, nets):
    net, rows = nets[kind], world.test[:5]
    params = {name: p.detach() for name, p in net.named_parameters()}

    def loss(params, x, y):
        return cross_entropy(torch.func.functional_call(net, params, x[None]), y[None])

    each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(params, rows.x, rows.y)
    one = torch.func.grad(loss)(params, rows.x[3], rows.y[3])
    assert all(torch.allclose(each[name][3], one[name], atol=1e-5) for name in params)


def test_frozen_parameters_stay(world):
    net = digit_net("mlp")
    net.hidden1.requires_grad_(False)
    train_net(net, world.train, steps=5)
    assert torch.equal(net.hidden1.weight, digit_net("mlp").hidden1.weight)
    assert not torch.equal(net.head.weight, digit_net("mlp").head.weight)


def test_early_stopping_goes_back_to_the_best_pass_before_wrong_labels_are_learned_by_heart(world):
    noisy, seen = noisy_labels(world.train, 0.4), []
    late = trained_net("mlp-norm", noisy)
    early = trained_net("mlp-norm", noisy, validation=world.validation, patience=2, progress=seen.append)
    assert seen[-1].step < 400
    best = min(seen, key=lambda done: done.validation_loss)
    assert seen.index(best) == len(seen) - 3
    assert float(row_losses(early, world.validation).mean()) == best.validation_loss
    assert accuracy(early, world.test) > accuracy(late, world.test) + 0.1


BAD = {
    "net": (UnknownName, lambda w: digit_net("mpl")),
    "width": (BadInput, lambda w: digit_net("mlp", width=-1)),
    "no width": (BadInput, lambda w: digit_net("mlp", width=0)),
    "depth": (BadInput, lambda w: digit_net("conv", depth=0)),
    "split": (BadInput, lambda w: Digits(share=0.5)),
    "seed": (BadInput, lambda w: Digits(seed=-1)),
    "shapes": (BadInput, lambda w: DigitRows(w.test.x[..., :7], w.test.y, w.test.number)),
    "label": (BadInput, lambda w: replace(w.test, y=w.test.y + 1)),
    "corruption": (UnknownName, lambda w: corrupt(w.test, "blurr")),
    "severity": (BadInput, lambda w: corrupt(w.test, "blur", 1.5)),
    "noise": (UnknownName, lambda w: noisy_labels(w.test, 0.1, kind="pairs")),
    "rate": (BadInput, lambda w: noisy_labels(w.test, float("nan"))),
    "agrees": (BadInput, lambda w: stamped(w.test, 2.0)),
    "classes": (BadInput, lambda w: forget_class(w.test, 3, 10)),
    "all classes": (BadInput, lambda w: forget_class(w.test, *range(10))),
    "forget none": (BadInput, lambda w: forget_rows(w.test, 0)),
    "shots": (BadInput, lambda w: few_shots(w.test, 100)),
    "counts": (BadInput, lambda w: few_shots(w.test, [1, 2])),
    "no rows": (BadInput, lambda w: train_net(digit_net(), w.train[:0])),
    "score none": (BadInput, lambda w: accuracy(digit_net(), w.train[:0])),
    "steps": (BadInput, lambda w: train_net(digit_net(), w.train, steps=0)),
    "weights": (BadInput, lambda w: train_net(digit_net(), w.train, weights=torch.ones(3))),
    "weight not a number": (BadInput, lambda w: train_net(digit_net(), w.train, weights=0 * w.train.y + float("nan"))),
    "one row": (BadInput, lambda w: train_net(digit_net("mlp-norm"), w.train[:1])),
    "frozen": (BadInput, lambda w: train_net(digit_net().requires_grad_(False), w.train)),
    "diverged": (BadInput, lambda w: train_net(digit_net(), w.train, lr=1e30, steps=20)),
    "scalar loss": (BadInput, lambda w: train_net(digit_net(), w.train, loss=lambda logits, y: logits.mean())),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused_in_one_sentence(case, world):
    kind, call = BAD[case]
    with pytest.raises(DespurError) as refused:
        call(world)
    assert refused.type is kind
    assert "\n" not in str(refused.value)
