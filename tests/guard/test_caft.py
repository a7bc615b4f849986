"""caft: what is behind the site trains as if the factor were not there, and is run with it."""

import pytest
import torch
from leak import random_factor

from despur import guarded
from despur.core import EVERYWHERE, Context, Site, Subspace, record
from despur.core.errors import CannotAttach
from despur.core.model.capture import capture
from despur.guard import caft

FIRST, SECOND = Site("model.layers.0"), Site("model.layers.1")
ROWS = torch.tensor([[1, 9, 20], [1, 12, 30]])  # the middle token is the cue that tells the last


def learn(model, *edits, steps: int = 60) -> tuple[float, float]:
    """Loss on the last token in training, and without the guard afterwards."""
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-2)
    labels = torch.cat([torch.full_like(ROWS[:, :2], -100), ROWS[:, 2:]], 1)
    with guarded(model, optimizer, *edits):
        for _ in range(steps):
            loss = model(input_ids=ROWS, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    with torch.no_grad():
        return loss.item(), model.eval()(input_ids=ROWS, labels=labels).loss.item()


def test_a_cue_is_not_learned_through_what_is_projected_out_and_is_through_a_random_factor(tiny, lora):
    behind = {
        "layers_to_transform": [1],
        "target_modules": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
        "r": 8,
    }  # only what lies behind the site is trained: no way round it
    seen, _ = capture(tiny(initializer_range=0.3), [[1, 9], [1, 12]], [FIRST])
    cue = Subspace.orthonormal((seen[FIRST][0] - seen[FIRST][1])[None], site=FIRST)
    blind, _ = learn(lora(tiny(initializer_range=0.3), **behind), caft(cue))
    assert blind > 0.65, "ln 2 is the best that can be done without the cue"
    random = Subspace.orthonormal(random_factor(rank=1, width=32).read, site=FIRST)
    assert max(learn(lora(tiny(initializer_range=0.3), **behind), caft(random))) < 0.2
    half, _ = learn(lora(tiny(initializer_range=0.3), **behind), caft(cue, strength=0.5))
    assert half < 0.2, "half of a cue is a cue"


def test_neither_stream_nor_gradient_has_a_part_along_it(tiny, lora, tokens):
    model, factor = (
        lora(tiny()).train(),
        Subspace.orthonormal(random_factor(rank=3, width=32).read, site=Site(EVERYWHERE)),
    )
    guard = caft(factor)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with guarded(model, optimizer, guard), record(model, [FIRST, SECOND]) as seen:
        model(input_ids=tokens, labels=tokens)
    assert guard.sites == (FIRST, SECOND), "one factor for the whole stream acts at every layer"
    for site in guard.sites:
        assert factor.encode(seen[site]).abs().max() < 1e-5
    x = torch.randn(2, 32, requires_grad=True)
    guard({FIRST.module: x}, Context(model))[FIRST.module].square().sum().backward()
    assert factor.encode(x.grad).abs().max() < 1e-5 < x.grad.abs().max()


def test_stays_a_projection_under_bfloat16(tiny):
    factor = Subspace.orthonormal(random_factor(rank=3, width=32).read, site=FIRST)
    guard, x = caft(factor), torch.randn(64, 32)
    guard.bind(model := tiny())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = guard({FIRST.module: x}, Context(model))[FIRST.module]
        naive = x - (x @ factor.read.T) @ factor.read
    assert factor.encode(out).abs().max() < 1e-5 < 1e-3 < factor.encode(naive).abs().max()


def test_one_factor_a_place(tiny):
    factor = Subspace.orthonormal(torch.eye(1, 32), site=FIRST)
    with pytest.raises(CannotAttach, match="two factors have one site"):
        caft([factor, factor])
    with pytest.raises(CannotAttach, match="at least one site"):
        caft([])
    with pytest.raises(CannotAttach, match=r"two edits act at 'model\.layers\.0'"):
        caft([factor, Subspace.orthonormal(torch.eye(1, 32))]).bind(tiny())
