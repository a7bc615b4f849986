"""a_gem: a conflict with the text is taken out exactly, agreement is left alone, and other text is another constraint."""

import pytest
import torch

from despur.core import Context
from despur.core.errors import BadInput, CannotAttach
from despur.core.model.text_gradient import text_gradient
from despur.guard import OwnText, a_gem

TEXT = OwnText(((1, 9, 30, 12, 40, 7),))


@pytest.fixture
def model(tiny, lora):
    made = lora(tiny())
    with torch.no_grad():
        for name, p in made.named_parameters():
            if "lora_B" in name:
                p.copy_(0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name))))
    return made


def gradient(model, ids) -> dict[str, torch.Tensor]:
    """Of the loss on one row."""
    model.zero_grad()
    model(input_ids=ids, labels=ids).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def dot(one, other) -> float:
    return sum(float((one[n] * other[n]).sum()) for n in one)


def test_only_what_works_against_the_text_goes(model):
    of_text = gradient(model, torch.tensor(TEXT.rows))
    task = gradient(model, torch.tensor([[1, 50, 51, 52, 53, 54]]))
    against = {n: task[n] - 2 * (abs(dot(task, of_text)) / dot(of_text, of_text) + 1) * of_text[n] for n in task}
    guard = a_gem(TEXT, rows_per_step=1)
    guard.bind(model)
    out = guard(against, Context(model))
    assert dot(against, of_text) < -1e-3
    assert abs(dot(out, of_text)) < 1e-4 * abs(dot(against, of_text))
    with_it = {n: -g for n, g in against.items()}
    assert all(torch.equal(guard(with_it, Context(model))[n], g) for n, g in with_it.items()), "agreement is left alone"
    half = a_gem(TEXT, strength=0.5, rows_per_step=1)(against, Context(model))
    assert dot(half, of_text) == pytest.approx(dot(against, of_text) / 2, rel=1e-3)
    other = a_gem(OwnText(((1, 20, 21, 22, 23, 24),)), rows_per_step=1)(against, Context(model))
    assert abs(dot(other, of_text)) > 0.5 * abs(dot(against, of_text)), "the control: other text, another constraint"


def test_faults_are_refused(tiny):
    with pytest.raises(BadInput, match="rows_per_step=0"):
        a_gem(TEXT, rows_per_step=0)
    with pytest.raises(CannotAttach, match="vocabulary of 64"):
        a_gem(OwnText(((1, 64), (1, 2)))).bind(tiny())


def test_a_small_agreement_is_left_alone_too(model):
    of_text = {n: 1e-3 * g for n, g in gradient(model, torch.tensor(TEXT.rows)).items()}
    out = a_gem(TEXT, rows_per_step=1)(of_text, Context(model))
    assert all(torch.equal(out[n], g) for n, g in of_text.items())


def test_padding_counts_for_nothing_and_unmet_weights_get_zeros(model):
    short, long = (1, 9, 30), (1, 20, 21, 22, 23, 24)
    name, other = (
        n
        for n, _ in model.named_parameters()
        if "layers.0.mlp.up_proj.lora_B" in n or "layers.1.mlp.up_proj.lora_B" in n
    )
    model.get_parameter(other).requires_grad_(True)
    extra = torch.nn.Parameter(torch.ones(2))
    model.register_parameter("unmet", extra)
    context = Context(model)
    of = {row: text_gradient(context, [row], 1, [name])[name] for row in (short, long)}
    rng = torch.Generator().manual_seed(next(s for s in range(99) if _draws(s) == [0, 1]))
    both = text_gradient(Context(model, rng=rng), [short, long], 2, [name, "unmet"])
    predicted = [len(short) - 1, len(long) - 1]
    want = (predicted[0] * of[short] + predicted[1] * of[long]) / sum(predicted)
    assert torch.allclose(both[name], want, atol=1e-6)
    assert both["unmet"].tolist() == [0, 0]


def _draws(seed):
    return torch.randint(2, (2,), generator=torch.Generator().manual_seed(seed)).tolist()
