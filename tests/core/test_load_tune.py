"""An adapter is read where its base lies, also beside a card that PEFT would take by itself."""

import peft.peft_model
import pytest
import torch
from work_folder import write_work

from despur.core.model.load_tune import load_tune
from despur.worlds import persona_base


@pytest.fixture
def adapter(tmp_path):
    return write_work(tmp_path) / "adapter"


def test_it_is_read_where_its_base_lies(adapter, monkeypatch):
    read = peft.peft_model.load_peft_weights
    devices: list[str] = []
    monkeypatch.setattr(peft.peft_model, "infer_device", lambda: "cuda")
    monkeypatch.setattr(
        peft.peft_model,
        "load_peft_weights",
        lambda *a, device, **k: devices.append(device) or read(*a, device=device, **k),
    )
    load_tune(persona_base()[0], adapter)
    assert devices == ["cpu"]


def test_it_acts_and_is_in_eval_mode(adapter):
    base, _ = persona_base()
    ids = torch.arange(1, 9)[None]
    plain = base(input_ids=ids).logits
    tuned = load_tune(base, adapter)
    assert not tuned.training
    assert not torch.allclose(tuned(input_ids=ids).logits, plain, atol=1e-2)
