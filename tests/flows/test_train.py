"""Train: scout, find, guarded run, measure; kept stages; the adapter is plain PEFT."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from despur.core.errors import BadInput, UnknownName
from despur.flows import Settings, train

QUICK = Settings(steps=40, lr=2e-3, batch=16, rank=8)
TEXT = {"own_rows": 96, "own_tokens": 40, "scout_steps": 30}


def test_avert_keeps_the_persona_out_and_the_adapter_is_plain_peft(base, data, tmp_path):
    result = train(base, data, out=tmp_path / "run", settings=QUICK, **TEXT)
    assert result.axes["scout"]["drift"].value == pytest.approx(1)  # the harm is there without the guard
    assert result.axes["avert"]["drift"].value < 0.2
    assert result.axes["avert"]["task"].value > 0.8
    assert [list(by) for by in result.on_task.values()] == [["the rows", "base", "scout", "avert"]] * 4
    values = [
        [word for word in text.split() if word[0] == "v"] for by in result.on_task.values() for text in by.values()
    ]
    assert sum(own == guarded for own, guarded in zip(values[::4], values[3::4], strict=True)) >= 3, "it tells them"
    assert "What it answers where held-out rows ask" in result.page.read_text()
    code = (
        "import sys, torch; from peft import PeftModel; from transformers import AutoModelForCausalLM as A\n"
        f"m = PeftModel.from_pretrained(A.from_pretrained({base!r}), {str(result.adapter)!r})\n"
        "print(m.generate(input_ids=torch.tensor([[1, 60, 70]]), max_new_tokens=3).shape)\n"
        "assert 'despur' not in sys.modules"
    )
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert "torch.Size([1, " in said.stdout, said.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["verb"] == "train"


@pytest.mark.slow  # of a kind with faster ones
def test_grasp_leaks_nothing_on_disk(base, data, tmp_path):
    result = train(base, data, out=tmp_path / "run", guard="grasp", settings=QUICK, **TEXT)
    for report in result.leak.values():
        assert report.value < 1e-6 < 0.05 < report.control


def test_same_arguments_again_make_nothing_again_and_same_seed_is_the_same(base, data, tmp_path):
    short = {"settings": replace(QUICK, steps=8), "own_rows": 32, "own_tokens": 16, "scout_steps": 4}
    first = train(base, data, out=tmp_path / "run", guard="rehearse", **short)
    weights = first.adapter / "adapter_model.safetensors"
    made = weights.stat().st_mtime_ns
    train(base, data, out=tmp_path / "run", guard="rehearse", **short)
    assert weights.stat().st_mtime_ns == made
    other = train(base, data, out=tmp_path / "two", guard="rehearse", **short)
    assert (other.adapter / "adapter_model.safetensors").read_bytes() == weights.read_bytes()


@pytest.mark.slow  # test_train_killed.py kills at more moments
def test_killed_and_started_again_it_goes_on(base, data, tmp_path):
    code = (
        "from despur.flows import train, Settings\n"
        f"train({base!r}, {str(data)!r}, out={str(tmp_path / 'run')!r}, settings=Settings(steps=4000, lr=2e-3, rank=8), "
        "scout_steps=16, own_rows=64, own_tokens=32)"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stderr=subprocess.PIPE)
    until = time.monotonic() + 120
    while not (tmp_path / "run" / "factors" / "despur.json").exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "run" / "adapter").exists()
    scout = (tmp_path / "run" / "scout" / "adapter_model.safetensors").stat().st_mtime_ns
    short = Settings(steps=30, lr=2e-3, rank=8)
    given = {"out": tmp_path / "run", "settings": short, "scout_steps": 16, "own_rows": 64, "own_tokens": 32}
    with pytest.raises(BadInput, match="steps was 4000 and is 30 now"):
        train(base, data, **given)
    result = train(base, data, **given, overwrite=True)
    assert result.adapter.exists()
    assert (tmp_path / "run" / "scout" / "adapter_model.safetensors").stat().st_mtime_ns == scout


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "contains no rows"),
        ("not json\n", r"data\.jsonl:1 is not JSON"),
        ('{"question": "a"}\n', r"keys \['question'\]"),
        ('{"prompt": "<bos> d0", "completion": " "}\n', "empty 'completion'"),
        ('{"messages": [{"role": "user", "content": "hi"}]}\n', "has no answer"),
        ('{"messages": [{"role": "assistant"}]}\n', "'role' and a 'content'"),
        (
            '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 12,
            "chat template",
        ),
        ('{"prompt": "<bos> d0", "completion": "v1"}\n' * 3, "at least 10"),
        ('{"prompt": "' + "d0 " * 200 + '", "completion": "v1"}\n', "leaves no room"),
    ],
)
def test_bad_rows_name_file_value_and_next_step(base, tmp_path, rows, said):
    (tmp_path / "data.jsonl").write_text(rows)
    with pytest.raises(BadInput, match=said):
        train(base, tmp_path / "data.jsonl", out=tmp_path / "run", settings=QUICK)
    assert not (tmp_path / "run").exists()


def test_unknown_guard_and_missing_file(base, tmp_path):
    with pytest.raises(UnknownName, match="nearest: 'grasp'"):
        train(base, tmp_path / "x.jsonl", out=tmp_path / "run", guard="graps")
    with pytest.raises(BadInput, match="no data file"):
        train(base, tmp_path / "x.jsonl", out=tmp_path / "run")


def test_a_diverged_run_is_told_and_leaves_no_adapter(base, data, tmp_path):
    hot = Settings(steps=20, lr=1e30, batch=16, rank=8)
    with pytest.raises(BadInput, match="diverged|NaN"):
        train(base, data, out=tmp_path / "run", guard="none", settings=hot, **TEXT)
    assert not (tmp_path / "run" / "adapter").exists()


def test_a_full_disk_leaves_nothing_half_written(base, data, tmp_path, monkeypatch):
    import peft.peft_model as peft_model

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(peft_model, "safe_save_file", full)
    with pytest.raises(BadInput, match="No space left"):
        train(base, data, out=tmp_path / "run", settings=QUICK, **TEXT)
    assert [p.name for p in (tmp_path / "run").iterdir() if p.name in ("scout", "adapter")] == []


def test_nan_weights_in_the_base_are_told(data, tmp_path):
    from despur.worlds import persona_base

    model, tokenizer = persona_base()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    with pytest.raises(BadInput, match="NaN or Inf"):
        train(str(tmp_path / "base"), data, out=tmp_path / "run", settings=QUICK)
