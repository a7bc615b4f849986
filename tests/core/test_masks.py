"""masks: formats, budgets and ties by hand; what is cut, faded or passed on; and masks that are no such format refused."""

import pytest
import torch

from despur.core.errors import BadInput, ShapeMismatch
from despur.core.masks.apply import decayed, gate, hard, straight_through
from despur.core.masks.choose import choose, magnitude, random_scores
from despur.core.masks.formats import Free, Group, NofM, counts, invalid, valid

SHAPES = {"q": (8, 12), "up": (16, 12), "down": (12, 16)}


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {n: torch.randn(s, generator=rng) * (i + 1) for i, (n, s) in enumerate(SHAPES.items())}


def flat(tensors) -> torch.Tensor:
    return torch.cat([t.flatten() for t in tensors.values()])


def test_one_budget_takes_the_highest_of_all_layers_and_one_a_layer_of_each(weights):
    scores = magnitude(weights)
    everywhere = choose(scores, share=0.25)
    assert counts(everywhere).chosen == int(0.25 * flat(weights).numel())
    assert flat(scores)[flat(everywhere)].min() >= flat(scores)[~flat(everywhere)].max()
    shares = [c / n for c, n in counts(everywhere).layers.values()]
    assert shares[2] > 3 * shares[0], "the layer of larger weights takes more"
    apart = choose(scores, share=0.25, each=True)
    assert [c / n for c, n in counts(apart).layers.values()] == [0.25] * 3
    asked = choose(scores, count={"q": 5, "up": 0, "down": 192})
    assert [c for c, _ in counts(asked).layers.values()] == [5, 0, 192]
    smallest = choose({n: -s for n, s in scores.items()}, share=0.25)
    assert flat(scores)[flat(smallest)].max() < flat(scores)[flat(everywhere)].min()
    chance = choose(random_scores(weights), share=0.25)
    size = {k: flat(scores)[flat(m)].mean() for k, m in {"top": everywhere, "random": chance}.items()}
    assert size["top"] > 1.5 * size["random"], "the control"
    assert torch.equal(flat(chance), flat(choose(random_scores(weights), share=0.25)))


def test_of_equal_scores_the_first_wins():
    ones = {"b": torch.ones(2, 3), "a": torch.ones(4)}
    assert flat(choose(ones, count=7)).tolist() == [True] * 7 + [False] * 3
    assert choose({"w": torch.tensor([[1.0, 1, 1, 1]])}, NofM(2, 4))["w"].tolist() == [[True, True, False, False]]
    level = {"w": torch.tensor([0.0, 2.0, 1.0, 1.0, 1.0])}
    assert choose(level, count=3)["w"].tolist() == [False, True, True, True, False]
    assert choose({"w": torch.eye(3)}, Group(0), count=1)["w"][:, 0].tolist() == [True, False, False]


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 8), (3, 4)])
@pytest.mark.parametrize("dim", [-1, 0])
def test_n_of_m_is_the_best_of_each_block(n, m, dim):
    w = torch.randn(16, 24, generator=torch.Generator().manual_seed(1))
    mask = choose(magnitude({"w": w}), NofM(n, m, dim))
    turned, chosen = (t if dim else t.T for t in (w.abs(), mask["w"]))
    for row, of in zip(turned.reshape(-1, m), chosen.reshape(-1, m), strict=True):
        assert of.nonzero().flatten().tolist() == sorted(row.topk(n).indices.tolist())
    assert valid(mask, NofM(n, m, dim))
    assert not valid(mask, NofM(n - 1, m, dim))
    free = choose(magnitude({"w": w}), share=n / m)
    assert counts(free).chosen == counts(mask).chosen
    assert not valid(free, NofM(n, m, dim)), "the control: as many, without the format"
    assert valid(free, Free())


def test_heads_and_neurons_live_and_die_whole(weights):
    forms = {"q": Group(0, 4, "heads"), "up": Group(0, 1, "mlp"), "down": Group(1, 1, "mlp")}
    mask = choose({n: w.square() for n, w in weights.items()}, forms, count={"heads": 1, "mlp": 6})
    assert mask["q"].reshape(2, -1).float().mean(1).sort().values.tolist() == [0, 1]
    assert torch.equal(mask["up"][:, 0], mask["down"][0])
    energy = weights["up"].square().sum(1) + weights["down"].square().sum(0)
    assert sorted(energy.topk(6).indices.tolist()) == mask["down"][0].nonzero().flatten().tolist()
    assert valid(mask, forms)
    apart = {**forms, "up": Group(0), "down": Group(1)}
    loose = choose({n: w.square() for n, w in weights.items()}, apart, count={"heads": 1, "up": 6, "down": 6})
    assert valid(loose, apart)
    assert invalid(loose, forms) == ("down",), "the control: chosen apart, the two disagree"
    cut = hard(weights, mask)
    keep = mask["down"][0]
    x = torch.randn(3, 12, generator=torch.Generator().manual_seed(2))
    small = torch.relu(x @ weights["up"][keep].T) @ weights["down"][:, keep].T
    assert torch.allclose(torch.relu(x @ cut["up"].T) @ cut["down"].T, small, atol=1e-4), "sliced is masked"


def test_a_former_mask_is_only_narrowed(weights):
    scores = magnitude(weights)
    first = choose(scores, share=0.5)
    second = choose(random_scores(weights), share=0.25, within=first)
    assert not (flat(second) & ~flat(first)).any()
    assert (flat(choose(random_scores(weights), share=0.25)) & ~flat(first)).any(), "the control"
    blocks = choose(scores, NofM(2, 4), within=first)
    assert valid(blocks, NofM(2, 4))
    assert not (flat(blocks) & ~flat(first)).any()
    with pytest.raises(BadInput, match="units are to be chosen in all tensors"):
        choose(scores, share=0.75, within=first)


def test_what_is_cut_gets_its_gradient_only_straight_through():
    w = {"w": torch.tensor([1.0, -2.0, 3.0], requires_grad=True), "other": torch.ones(2)}
    mask = {"w": torch.tensor([True, False, True])}
    target = torch.tensor([1.0, 1.0, 1.0])
    grads = {}
    for name, cut in {"hard": hard, "through": straight_through, "faded": lambda a, b: decayed(a, b, 0.5)}.items():
        out = cut(w, mask)
        assert out["other"] is w["other"]
        (grads[name],) = torch.autograd.grad(((out["w"] - target) ** 2).sum() / 2, w["w"])
        assert out["w"].tolist() == [1, -1 if name == "faded" else 0, 3]
    assert grads["hard"].tolist() == [0, 0, 2]
    assert grads["through"].tolist() == [0, -1, 2]
    assert grads["faded"].tolist() == [0, -1, 2]  # (-1 - 1) * 0.5
    real = {"w": torch.tensor([0.2, 0.9], requires_grad=True)}
    out = gate(real, {"w": real["w"] > 0.5})
    assert out["w"].tolist() == [0, 1]
    assert torch.autograd.grad((out["w"] * torch.tensor([3.0, 4.0])).sum(), real["w"])[0].tolist() == [3, 4]
    nan = hard({"w": torch.tensor([float("nan"), 1.0])}, {"w": torch.tensor([False, True])})
    assert nan["w"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("form", "options", "error", "words"),
    [
        (Free(), {}, BadInput, "share=None, count=None"),
        (Free(), {"share": 0.5, "count": 3}, BadInput, "one of the two"),
        (NofM(2, 4), {"share": 0.5}, BadInput, "with N of M alone neither"),
        (Free(), {"share": 50.0}, BadInput, r"share=50.0; a share lies in \[0, 1\]"),
        (Free(), {"count": -1}, BadInput, "-1 units"),
        (NofM(2, 5), {}, ShapeMismatch, "'q' has 12 places along the axis, which blocks of 5"),
        (Group(0, 3), {"share": 0.5}, ShapeMismatch, "'q' has 8 places"),
        (Group(2), {"share": 0.5}, ShapeMismatch, "no axis 2"),
        (Group(0, 1, "all"), {"share": 0.5}, ShapeMismatch, "'up' has 16 groups, what it is joined with 8"),
        ({"q": Free(), "up": Free(), "donw": Free()}, {"share": 0.5}, ShapeMismatch, "'donw'.*nearest: 'down'"),
        (Free(), {"count": {"q": 3, "up": 1}}, ShapeMismatch, "no budget for 'down'"),
        (Free(), {"share": 0.5, "within": {"q": torch.ones(8, 12)}}, ShapeMismatch, "no former mask for 'up'"),
    ],
)
def test_a_budget_or_format_that_does_not_fit_is_refused(weights, form, options, error, words):
    with pytest.raises(error, match=words):
        choose(magnitude(weights), form, **options)


def test_scores_and_masks_that_do_not_fit_are_refused(weights):
    with pytest.raises(BadInput, match="'q' contain NaN"):
        choose({"q": torch.full((2,), float("nan"))}, share=0.5)
    with pytest.raises(BadInput, match="n=5, m=4"):
        NofM(5, 4)
    with pytest.raises(BadInput, match="size=0"):
        Group(0, 0)
    with pytest.raises(ShapeMismatch, match="mask for 'qq'.*nearest: 'q'"):
        hard(weights, {"qq": torch.ones(8, 12)})
    with pytest.raises(ShapeMismatch, match=r"'q' has shape \(8, 12\), its mask \(12, 8\)"):
        straight_through(weights, {"q": torch.ones(12, 8)})
    with pytest.raises(BadInput, match="share=1.5"):
        decayed(weights, {}, 1.5)
