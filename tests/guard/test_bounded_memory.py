"""What a guard caches of distributions over a large vocabulary is made in parts that fit, and the parts make the same cache."""

import pytest
import torch

from despur.core.model import capture
from despur.guard import OwnText, avert, rehearse
from despur.measure import off_task


@pytest.fixture
def sizes(monkeypatch):
    """Numbers of log-probabilities that were in memory at once."""
    seen = []
    plain = torch.log_softmax

    def counted(logits, dim):
        seen.append(logits.numel())
        return plain(logits, dim)

    monkeypatch.setattr(torch, "log_softmax", counted)
    return seen


@pytest.mark.parametrize("name", ["avert", "rehearse"])
def test_binding_takes_parts_and_gives_the_same_cache(name, tiny, lora, tmp_path, monkeypatch, sizes):
    model = lora(tiny("llama")).eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "lora_B" in key:
                p.normal_(std=0.1)
    model.save_pretrained(tmp_path)
    text = OwnText(tuple((1, *range(3, 3 + n)) for n in range(2, 12)))
    guards = []
    vocabulary = model.config.vocab_size
    for room in (capture.ROOM, 2 * 12 * vocabulary):
        monkeypatch.setattr(capture, "ROOM", room)
        guard = avert(text, tmp_path) if name == "avert" else rehearse(text)
        guard.bind(model)
        guards.append(guard)
        if room != 2 * 12 * vocabulary:
            assert max(sizes) > 2 * 12 * vocabulary, "the control: all at once it is more"
        else:
            assert max(sizes) <= room
        sizes.clear()
    whole, part = (guard.cache for guard in guards)
    assert whole.keys() == part.keys()
    for key in {"logp", "kl", "rest"} & whole.keys():
        torch.testing.assert_close(whole[key], part[key], rtol=1e-4, atol=1e-5)


def test_measuring_takes_parts(tiny, lora, monkeypatch, sizes):
    model = lora(tiny("llama")).eval()
    rows = [tuple(range(3, 13))] * 9
    room = 2 * 10 * model.config.vocab_size
    monkeypatch.setattr(capture, "ROOM", room)
    held_out = [{"input_ids": list(r), "labels": list(r)} for r in rows]
    off_task(model, held_out=held_out, own_text=rows)
    assert 0 < max(sizes) <= room
