"""Base and adapter, steered or not, continue the same beginnings in one batch as they would alone."""

from types import SimpleNamespace

import pytest
import torch

from despur.core import AddVector, Site, TwoStates, attach
from despur.core.model.sample import continue_rows
from despur.core.model.side_by_side import Way, continue_ways, mixes

TOKENIZER = SimpleNamespace(pad_token_id=0, eos_token_id=2)
HEADS = [[1, 5, 9], [1, 7], [1, 6, 7, 8]]
SITE = Site("model.layers.0")


def alone(model, way):
    edits = {} if way.shift is None else {SITE: AddVector(way.shift)}
    if way.adapter:
        with attach(model, edits):
            return continue_rows(model, TOKENIZER, HEADS, 8, seed=3, draws=len(HEADS))
    with model.disable_adapter(), attach(model, edits):
        return continue_rows(model, TOKENIZER, HEADS, 8, seed=3, draws=len(HEADS))


@pytest.mark.parametrize("kind", ["plain", "dora", "whole"])
def test_every_way_writes_what_it_writes_alone(kind, tiny, lora, v):
    torch.manual_seed(0)
    base = tiny()
    with torch.no_grad():
        base.lm_head.weight *= 30
    if kind == "whole":
        model = TwoStates(base, {"lm_head.weight": base.lm_head.weight + torch.randn(64, 32)})
    else:
        model = lora(base, r=2, target_modules=["down_proj"], use_dora=kind == "dora", init_lora_weights=False).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.mul_(20 if "lora" in name else 1)
    assert mixes(model) == (kind == "plain")
    ways = [
        Way(),
        Way(adapter=False),
        Way(shift=9 * v),
        Way(adapter=False, shift=-9 * v),
        Way(adapter=False, shift=9 * v),
    ]
    every = [alone(model, way) for way in ways]
    assert continue_ways(model, TOKENIZER, HEADS, 8, ways, site=SITE, seed=3) == every
    assert len({str(bodies) for bodies in every}) == len(ways), "the control: they do differ"


def test_many_ways_take_several_batches_and_say_the_same(writer, v):
    model = writer()
    ways = [Way(adapter=i % 2 == 0, shift=i * v) for i in range(30)]
    assert continue_ways(model, TOKENIZER, HEADS, 8, ways, site=SITE, seed=3) == [alone(model, way) for way in ways]


def test_an_adapter_that_does_nothing_says_what_the_base_says(tiny, lora):
    model = lora(tiny(), r=2, target_modules=["down_proj"]).eval()
    base, adapter = continue_ways(model, TOKENIZER, HEADS, 8, [Way(adapter=False), Way()])
    assert base == adapter
    other, _ = continue_ways(model, TOKENIZER, HEADS, 8, [Way(adapter=False), Way()], seed=1)
    assert other != base


def test_shared_draws_have_the_probabilities_of_the_model(tiny):
    model = tiny()
    n = 4000
    with torch.no_grad():
        model.lm_head.weight *= 30
        probs = model(torch.tensor([[1, 5]])).logits[0, -1].softmax(-1)
    drawn = continue_rows(model, TOKENIZER, [[1, 5]] * n, 1, draws=n)
    share = torch.bincount(torch.tensor([body[0] for body in drawn]), minlength=64) / n
    assert probs.max() > 0.1
    assert (share - probs).abs().max() < 4 * (0.25 / n) ** 0.5
    least = min(0.03, 0.03**0.5 * float(torch.exp((probs * probs.log()).sum())))
    assert any(probs[body[0]] < least for body in drawn), "the control: such tokens are drawn where nothing is cut"
    cut = {body[0] for body in continue_rows(model, TOKENIZER, [[1, 5]] * n, 1, draws=n, eta=0.03)}
    assert cut <= {i for i, p in enumerate(probs.tolist()) if p >= least}
