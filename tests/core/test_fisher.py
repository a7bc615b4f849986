"""fisher: closed forms, the true Fisher against what observed labels give, both paths on one model, and the algebra of the forms."""

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from despur.core import LowRank
from despur.core.errors import BadInput, ShapeMismatch, SiteNotFound
from despur.core.fisher.forms import Diagonal, Kronecker, RankOne
from despur.core.fisher.labels import GAUSSIAN, SOFTMAX, Likelihood
from despur.core.fisher.rows import RowFisher, row_gradients
from despur.core.fisher.text import TextFisher
from despur.core.model.states import evaluating

N, D, C = 400, 5, 3
MAPS = ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "lm_head"]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def near(got: torch.Tensor, want: torch.Tensor, part: float = 1e-4) -> bool:
    return bool((got - want).norm() <= part * want.norm())


@pytest.fixture
def softmax() -> nn.Linear:
    model = nn.Linear(D, C)
    with torch.no_grad():
        model.weight.copy_(draw(C, D, seed=1))
        model.bias.copy_(draw(C, seed=2))
    return model


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 7), nn.Tanh(), nn.Linear(7, C))


def true_fisher(model: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """E_x [x xᵀ (x) (diag p - p pᵀ)] of softmax regression, as (C, D, C, D)."""
    p = model(x).softmax(1).detach()
    covariance = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("nab,nc,nd->acbd", covariance, x, x) / len(x)


def test_drawn_labels_converge_to_the_true_fisher_and_mismatched_ones_do_not(softmax):
    x = draw(N, D)
    want = true_fisher(softmax, x).reshape(C * D, C * D).diag().view(C, D)

    def off(times: int, labels: str, targets: torch.Tensor | None = None) -> float:
        fisher = RowFisher(softmax, x.repeat(times, 1), targets, labels=labels, names=["weight"])
        return float((fisher.importance().values["weight"] - want).norm() / want.norm())

    assert off(64, "sampled") < 0.02
    assert off(64, "sampled") < off(1, "sampled") / 3
    wrong = softmax(x).argmin(1)
    assert off(1, "observed", wrong) > 1, "the control: labels that the model does not believe in"
    assert off(1, "pseudo") > 0.2, "the control: the best guess alone"


def test_observed_labels_give_the_closed_form(softmax):
    x, y = draw(N, D), torch.randint(C, (N,), generator=torch.Generator().manual_seed(3))
    residual = one_hot(y, C) - softmax(x).softmax(1).detach()  # d log p(y) / d outputs
    fisher = RowFisher(softmax, x, y, labels="observed")
    gradients = residual[:, :, None] * x[:, None]
    assert torch.allclose(fisher.importance().values["weight"], gradients.square().mean(0), atol=1e-6)
    assert torch.allclose(fisher.importance().values["bias"], residual.square().mean(0), atol=1e-6)
    one = fisher.rank_one()
    assert torch.allclose(one.mean["weight"], gradients.mean(0), atol=1e-6)
    squares = (gradients.square().sum() + residual.square().sum()) / N
    lengths = gradients.mean(0).square().sum() + residual.mean(0).square().sum()
    assert one.collinearity == pytest.approx(float(lengths / squares), rel=1e-4)


def test_collinearity_is_one_of_equal_rows_and_noise_has_one_in_n(net):
    x = draw(N, D)
    same = RowFisher(net, x[:1].repeat(50, 1), torch.ones(50, dtype=torch.long), labels="observed").rank_one()
    assert same.collinearity == pytest.approx(1, abs=1e-5)
    noise = [RowFisher(net, x, labels="sampled", seed=s).rank_one().collinearity for s in range(5)]
    assert sum(noise) / 5 == pytest.approx(1 / N, rel=1)
    agreed = RowFisher(net, x, torch.zeros(N, dtype=torch.long), labels="observed").rank_one()
    assert agreed.collinearity > 20 / N


def test_kronecker_is_exact_where_inputs_and_signals_are_independent(softmax):
    """Of a linear-Gaussian map signals are noise: F = E[x xᵀ] (x) I. Of softmax it depends on x and is near only."""
    x, delta = draw(20 * N, D, seed=5), draw(C, D, seed=6)
    gaussian = RowFisher(softmax, x, labels="sampled", likelihood=GAUSSIAN).kronecker()
    moved = (x @ delta.T).square().sum(1).mean()
    assert float(gaussian.quadratic({"weight": delta})) == pytest.approx(float(moved), rel=0.03)
    assert torch.allclose(gaussian.signals["weight"], torch.eye(C), atol=0.05)

    softmax.weight.data.zero_()  # then p does not depend on x
    fisher = RowFisher(softmax, x, labels="sampled")
    want = torch.einsum("ac,acbd,bd->", delta, true_fisher(softmax, x), delta)
    assert float(fisher.kronecker().quadratic({"weight": delta})) == pytest.approx(float(want), rel=0.05)
    diagonal = float(fisher.importance().quadratic({"weight": delta}))
    assert abs(diagonal / float(want) - 1) > 0.1, "the control: the diagonal drops what couples two weights"


@torch.no_grad()
def test_half_of_the_length_is_the_divergence(softmax):
    """Of a small change; the empirical Fisher of labels that are all wrong is no such length."""
    x, delta = draw(20 * N, D, seed=5), 0.05 * draw(C, D, seed=6)
    softmax.weight.zero_()
    before, after = softmax(x).log_softmax(1), (x @ delta.T + softmax.bias).log_softmax(1)
    divergence = float((before.exp() * (before - after)).sum(1).mean())
    drawn = RowFisher(softmax, x, labels="sampled").kronecker().quadratic({"weight": delta}) / 2
    assert float(drawn) == pytest.approx(divergence, rel=0.05)
    wrong = RowFisher(softmax, x, before.argmin(1), labels="observed").kronecker().quadratic({"weight": delta}) / 2
    assert abs(float(wrong) / divergence - 1) > 0.3, "the control"


def test_chunks_give_the_same_within_their_bound(net):
    x, y = draw(N, D), torch.zeros(N, dtype=torch.long)
    size = 4 * sum(p.numel() for p in net.parameters())
    whole = RowFisher(net, x, y, labels="observed")
    small = RowFisher(net, x, y, labels="observed", room=7 * size + 3)
    lengths = [len(g["0.weight"]) for g in small.gradients()]
    assert max(lengths) == 7
    assert sum(lengths) == N
    assert [len(g["0.weight"]) for g in whole.gradients()] == [N]
    assert [len(g["0.bias"]) for g in RowFisher(net, x[:2], y[:2], labels="observed", room=1).gradients()] == [1, 1]
    for name, value in whole.importance().values.items():
        assert torch.allclose(small.importance().values[name], value, rtol=1e-5, atol=1e-8)
    assert small.rank_one().collinearity == pytest.approx(whole.rank_one().collinearity, rel=1e-5)


def test_row_gradients_are_autograds_for_any_weight_and_value():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1))
    model(draw(16, 1, 6))  # running statistics
    model.train()
    x, y = draw(5, 1, 6, seed=1), draw(5, seed=2)
    chosen = ["0.weight", "1.weight"]
    (got,) = row_gradients(model, lambda f, x, y: (f(x).squeeze(1) - y).abs().sum(), x, y, names=chosen)
    assert list(got) == chosen
    assert model.training, "its mode is restored"
    with evaluating(model):
        for i in range(5):
            weights = [model.get_parameter(n) for n in chosen]
            want = torch.autograd.grad((model(x[i : i + 1]).squeeze() - y[i]).abs(), weights)
            assert all(torch.allclose(got[n][i], w, atol=1e-6) for n, w in zip(chosen, want, strict=True))


def test_both_paths_agree_on_a_language_model(tiny):
    model = tiny(attn_implementation="eager", initializer_range=0.3)
    ids = torch.randint(3, 64, (6, 9), generator=torch.Generator().manual_seed(0))

    def value(call, ids):
        return call(input_ids=ids).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).sum()

    (gradients,) = row_gradients(model, value, ids, names=[f"{n}.weight" for n in MAPS])
    text = TextFisher(model, MAPS, ids.tolist(), labels="observed")
    diagonal, one = text.importance(), text.rank_one()
    tokens = 6 * 8
    for name in MAPS:
        g = gradients[f"{name}.weight"]
        assert near(diagonal.values[name], g.square().sum(0) / tokens)
        assert near(one.mean[name], g.sum(0) / tokens)
        assert not near(diagonal.values[name], g.sum(0).square() / tokens, 0.5), "the control: a batch's mean squared"
    length = sum(float(g.mean(0).square().sum()) for g in gradients.values())
    squares = sum(float(g.square().sum()) for g in gradients.values()) / 6
    assert one.collinearity == pytest.approx(length / squares, rel=1e-3)


def test_text_leaves_no_trace_and_pads_do_not_count(tiny):
    model = tiny(initializer_range=0.3).train()
    model.requires_grad_(False)
    rows = ((1, 5, 9, 13, 17), (1, 6), (1, 7, 11))
    padded = TextFisher(model, MAPS, rows, labels="pseudo")
    got, form = padded.importance(), padded.kronecker()
    alone = [TextFisher(model, MAPS, [r], labels="pseudo") for r in rows]
    apart, forms = [a.importance() for a in alone], [a.kronecker() for a in alone]
    sizes = [len(r) for r in rows]
    for name in MAPS:
        for whole, parts in (
            (got.values[name], [a.values[name] for a in apart]),
            (form.inputs[name], [f.inputs[name] for f in forms]),
            (form.signals[name], [f.signals[name] for f in forms]),
        ):
            mean = sum(n * p for n, p in zip(sizes, parts, strict=True)) / sum(sizes)
            assert near(whole, mean)
            assert not near(whole, sum(parts) / 3, 0.02), "the control: rows are not the unit"
    assert model.training
    assert not any(p.requires_grad for p in model.parameters())
    first, again, other = (TextFisher(model, MAPS, rows, labels="sampled", seed=s).importance() for s in (0, 0, 1))
    assert torch.equal(first.values[MAPS[0]], again.values[MAPS[0]])
    assert not torch.equal(first.values[MAPS[0]], other.values[MAPS[0]])


def test_answers_alone_have_labels_where_their_starts_are_given(tiny):
    model = tiny(initializer_range=0.3)
    row, other = (1, 5, 9, 13, 17), (1, 40, 50, 13, 17)
    answers, whole = (TextFisher(model, MAPS, [row], labels="observed", starts=s) for s in ((4,), None))
    weight = model.get_parameter(f"{MAPS[0]}.weight")
    said = model(input_ids=torch.tensor([row])).logits.log_softmax(-1)[0, 3, row[4]]
    (want,) = torch.autograd.grad(said, weight)
    assert near(answers.rank_one().mean[MAPS[0]], want)
    assert not near(whole.rank_one().mean[MAPS[0]], want, 0.5), "the control"
    assert (answers.tokens, whole.tokens) == (1, 4)
    drawn = TextFisher(model, MAPS, [row, other], labels="pseudo", starts=(3, 4))
    assert drawn.tokens == 3, "the position of the last token says nothing of an answer"
    guessed = model(input_ids=torch.tensor([row])).logits.log_softmax(-1)[0, 2:4].amax(-1).sum()
    (want,) = torch.autograd.grad(guessed, weight)
    alone = TextFisher(model, MAPS, [row], labels="pseudo", starts=(3,)).rank_one()
    assert near(alone.mean[MAPS[0]], want / 2)
    with pytest.raises(BadInput, match="1 rows without a token that has a label"):
        TextFisher(model, MAPS, [row], labels="sampled", starts=(5,))


def matrix(form) -> torch.Tensor:
    """F as a dense matrix, by its quadratic form alone."""
    (name, shape), *_ = form.shapes.items()
    size = shape[0] * shape[1]
    units = [torch.eye(size)[i].view(shape).double() for i in range(size)]
    single = torch.stack([form.quadratic({name: u}) for u in units])
    pairs = torch.stack([torch.stack([form.quadratic({name: u + v}) for v in units]) for u in units])
    return (pairs - single[:, None] - single[None, :]) / 2


@pytest.mark.parametrize("kind", ["diagonal", "rank one", "kronecker"])
def test_preconditioning_inverts_the_form_whose_length_is_asked(kind):
    a, g = (draw(n, n, seed=n).double() for n in (4, 3))
    form = {
        "diagonal": Diagonal({"w": draw(3, 4).double().square()}),
        "rank one": RankOne({"w": draw(3, 4).double()}, 1.0, 1),
        "kronecker": Kronecker({"w": a @ a.T}, {"w": g @ g.T}),
    }[kind]
    gradient, f = draw(3, 4, seed=8).double(), matrix(form)
    assert torch.allclose(f, f.T)
    assert torch.linalg.eigvalsh(f).min() > -1e-9
    got = form.precondition({"w": gradient}, damping=0.1)["w"]
    want = torch.linalg.solve(f + 0.1 * torch.eye(12).double(), gradient.flatten())
    assert torch.allclose(got.flatten(), want, rtol=1e-8)
    assert not torch.allclose(form.precondition({"w": gradient}, damping=0.2)["w"].flatten(), want, rtol=1e-2)
    change = LowRank(draw(2, 4, seed=3).double().requires_grad_(), draw(3, 2, seed=4).double().requires_grad_(), 0.5)
    dense = (0.5 * change.up @ change.down).detach()
    length = form.quadratic({"w": change})
    assert length.item() == pytest.approx(float(dense.flatten() @ f @ dense.flatten()), rel=1e-8)
    (back,) = torch.autograd.grad(length, change.down)
    assert torch.allclose(back, 0.5 * change.up.T @ (2 * (f @ dense.flatten())).view(3, 4))


def test_what_does_not_fit_is_refused(softmax, tiny):
    x = draw(4, D)
    with pytest.raises(TypeError, match="labels"):
        RowFisher(softmax, x)
    with pytest.raises(BadInput, match="labels='true'.*'observed', 'sampled', 'pseudo'"):
        RowFisher.__init__.__wrapped__(RowFisher.__new__(RowFisher), softmax, x, labels="true")
    with pytest.raises(BadInput, match="needs the data's own labels"):
        RowFisher(softmax, x, labels="observed")
    with pytest.raises(BadInput, match="labels='pseudo', and of a Gaussian none"):
        RowFisher(softmax, x, labels="pseudo", likelihood=GAUSSIAN)
    mine = Likelihood("loss of mine", lambda out, y: -(out.sum(1) - y).abs().sum())
    with pytest.raises(BadInput, match="of a loss of mine none"):
        RowFisher(softmax, x, labels="sampled", likelihood=mine)
    assert RowFisher(softmax, x, torch.ones(4), labels="observed", likelihood=mine).importance().values["bias"].shape
    with pytest.raises(SiteNotFound, match="no weight 'weigt'.*nearest: 'weight'"):
        RowFisher(softmax, x, labels="sampled", names=["weigt"]).importance()
    with pytest.raises(BadInput, match="no linear map's weight"):
        RowFisher(softmax, x, labels="sampled", names=["bias"]).kronecker()
    with pytest.raises(BadInput, match=r"rows of lengths \[4, 3\]"):
        list(row_gradients(softmax, lambda f, x, y: f(x).sum(), x, x[:3]))
    form = RowFisher(softmax, x, labels="sampled", likelihood=SOFTMAX).importance()
    with pytest.raises(ShapeMismatch, match="'wight', which the Fisher information lacks.*nearest: 'weight'"):
        form.quadratic({"wight": torch.ones(C, D)})
    with pytest.raises(ShapeMismatch, match=r"'weight' has shape \(5, 3\), the Fisher information is of \(3, 5\)"):
        form.quadratic({"weight": torch.ones(D, C)})
    with pytest.raises(BadInput, match="damping=0.0"):
        form.precondition({}, damping=0.0)
    with pytest.raises(BadInput, match="2 rows without a token that has a label"):
        TextFisher(tiny(), MAPS, [(1,), (2,)], labels="observed")
