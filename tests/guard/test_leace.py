"""leace: no linear reader finds the concept afterwards, and nothing that does so moves the stream less."""

import numpy as np
import pytest
import torch
from leak import random_factor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from despur import guarded
from despur.core import Site, Subspace, record
from despur.core.errors import BadInput
from despur.core.model.capture import capture
from despur.guard import leace, linear_concept

LAYER = Site("model.layers.0")


def clouds(classes: int = 2, n: int = 1200, d: int = 16, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes with other means in one skew, far from round cloud."""
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=draw) * torch.logspace(-1, 1, d)
    labels = torch.arange(n) % classes
    means = torch.randn(classes, d, generator=draw)
    return (torch.randn(n, d, generator=draw) + 0.7 * means[labels]) @ mixing + 3, labels


def without(x: torch.Tensor, factor: Subspace) -> torch.Tensor:
    return x - factor.decode(factor.encode(x))


def found(x: torch.Tensor, labels: torch.Tensor) -> float:
    """Nats that a linear probe knows of the (equally frequent) label, on what it was fitted on."""
    scaled = ((x - x.mean(0)) / x.std(0)).double().numpy()
    probe = LogisticRegression(C=1e3, max_iter=5000).fit(scaled, labels)
    return np.log(len(labels.unique())) - log_loss(labels, probe.predict_proba(scaled))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_linear_probe_finds_nothing_and_finds_it_behind_a_random_projection(classes):
    x, labels = clouds(classes)
    factor = linear_concept(x, labels)
    assert factor.rank == classes - 1
    assert torch.allclose(factor.read @ factor.write.T, torch.eye(factor.rank), atol=1e-4)
    assert found(x, labels) > 0.1
    assert abs(found(without(x, factor), labels)) < 1e-4
    assert found(without(x, random_factor(rank=factor.rank, width=16)), labels) > 0.1, "the control"


def test_moves_the_stream_less_than_projecting_the_means_difference_out():
    x, labels = clouds()
    difference = x[labels == 1].mean(0) - x[labels == 0].mean(0)
    means = Subspace.orthonormal(difference[None])
    means = Subspace(means.read, means.write, x.mean(0))
    assert abs(found(without(x, means), labels)) < 1e-4, "that would do it, too"
    ours, theirs = ((without(x, f) - x).square().sum(1).mean().item() for f in (linear_concept(x, labels), means))
    assert ours < 0.7 * theirs
    rng = np.random.default_rng(0)  # every projection along another direction that takes all of the difference out
    for _ in range(50):
        w = torch.from_numpy(rng.normal(size=16)).float()
        other = Subspace(w[None] / (w @ difference), difference[None], x.mean(0))
        assert (without(x, other) - x).square().sum(1).mean().item() >= ours


def test_in_training_the_stream_no_longer_tells_the_texts_apart(tiny, lora):
    draw = torch.Generator().manual_seed(1)
    rows = torch.randint(3, 64, (60, 4), generator=draw).tolist()
    rows = [[1, 40 + i % 2, *row] for i, row in enumerate(rows)]  # the second token is the concept
    model = lora(tiny())
    stream, owner = capture(model, rows, [LAYER], drop_first=1)
    labels = owner % 2
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with guarded(model.train(), optimizer, leace(stream, labels)), record(model, [LAYER]) as seen:
        model(input_ids=torch.tensor(rows), labels=torch.tensor(rows))
    now, which = seen[LAYER][:, 1:].detach(), torch.arange(60) % 2
    gap, was = (
        (a[which == 1].mean((0, 1)) - a[which == 0].mean((0, 1))).norm() for a in (now, model_stream(model, rows))
    )
    assert gap < 1e-3 * was


def model_stream(model, rows) -> torch.Tensor:
    with torch.no_grad(), record(model, [LAYER]) as seen:
        model.eval()(input_ids=torch.tensor(rows))
    return seen[LAYER][:, 1:]


def test_says_what_it_lacks():
    x, labels = clouds()
    with pytest.raises(BadInput, match="10 lines in width 16"):
        linear_concept(x[:10], labels[:10])
    with pytest.raises(BadInput, match="all labels are the same"):
        linear_concept(x, torch.zeros_like(labels))
