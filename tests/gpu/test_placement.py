"""On a CUDA device: a model is there where it was asked for, and only there; figures are those of a CPU."""

import pytest
import torch
from work_folder import write_work

from despur.core.model import capture
from despur.flows import Placement, Settings, audit, train
from despur.flows.load import load_base

pytestmark = pytest.mark.gpu
SMALL = {"rows": 32, "tokens": 6, "n_random": 4}


@pytest.fixture
def work(tmp_path):
    return write_work(tmp_path)


def used() -> int:
    return torch.cuda.max_memory_allocated()


@pytest.fixture(autouse=True)
def from_zero():
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_base_lies_where_it_was_asked_for(device, work):
    model, _ = load_base(str(work / "base"), Placement(device))
    assert {p.device.type for p in model.parameters()} == {device}


def test_an_audit_is_computed_there_and_finds_what_it_finds_on_a_cpu(work):
    before, found = used(), {}
    for device in ("cpu", "cuda"):
        found[device] = audit(
            str(work / "base"), str(work / "adapter"), placement=Placement(device, "float32"), **SMALL
        )
        assert (used() > before) == (device == "cuda")
    one, other = found["cpu"], found["cuda"]
    assert other.change == pytest.approx(one.change, rel=0.2), "other samples, the same adapter"
    assert one.record["base_fingerprint"] == other.record["base_fingerprint"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_run_is_trained_there(device, work):
    before = used()
    settings = Settings(steps=2, batch=4, rank=2)
    run = train(
        str(work / "base"), work / "data.jsonl", out=work / device, settings=settings, scout_steps=2, own_rows=16, own_tokens=8,
        guard="avert", placement=Placement(device),
    )  # fmt: skip
    assert run.adapter.exists()
    assert (used() > before) == (device == "cuda")


def test_batches_are_as_large_as_the_free_memory_allows(work, monkeypatch):
    rows = [[1, 9, 8, 9]] * 4096
    model, _ = load_base(str(work / "base"), Placement("cuda"))
    free = torch.cuda.mem_get_info()
    sizes = {}
    for share in (1, 10_000):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, share=share: (free[0] // share, free[1]))
        sizes[share] = capture.fitting_batch(model, rows)
    assert sizes[1] > sizes[10_000] >= 1
