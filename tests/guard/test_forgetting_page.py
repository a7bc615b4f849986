"""The blocks of docs/forgetting.md as they stand, on a tiny model; and without the guard, which forgets."""

import importlib
import json
import re
import sys
import types
from pathlib import Path

import pytest
import torch
from peft import PeftModel

import despur.guard
from despur.guard import OwnText, rehearse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/forgetting.md").read_text(encoding="utf-8")
HEADS = re.findall(r"### (.+)", PAGE)
BLOCKS = re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL)
WORDS = [f"w{i} w{i + 1} w{i + 9}" for i in range(8)]
ROWS = {
    "DPO": [{"prompt": "<bos> w3", "chosen": f" {w}", "rejected": f" {w[::-1]} w5"} for w in WORDS],
    "GRPO": [{"prompt": f"<bos> {w}"} for w in WORDS],
}
SLOW = ("TRL", "accelerate")  # test_examples.py runs the same callback under them
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*pin_memory.*no accelerator:UserWarning"),
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing_.* is deprecated:FutureWarning"),  # TRL's own call
]


def drift(base, tokenizer, adapter):
    """KL of the base to the adapter, per token, on own text that no guard saw."""
    text = OwnText.sample(base, tokenizer, rows=16, max_new_tokens=12, seed=99)
    model = PeftModel.from_pretrained(base, adapter).eval()
    total = 0.0
    for row in text.rows:
        ids = torch.tensor([row])
        with torch.no_grad():
            now = model(input_ids=ids).logits.log_softmax(-1)
            with model.disable_adapter():
                before = model(input_ids=ids).logits.log_softmax(-1)
        total += float((before.exp() * (before - now)).sum(-1).mean())
    return total / len(text.rows)


@pytest.mark.parametrize(
    "head", [pytest.param(h, marks=[pytest.mark.slow] if any(s in h for s in SLOW) else []) for h in HEADS]
)
def test_a_block_keeps_what_the_base_does(head, tiny, chat_tokenizer, tmp_path, monkeypatch):
    tiny(initializer_range=0.3).save_pretrained(tmp_path / "base")
    chat_tokenizer.save_pretrained(tmp_path / "base")
    rows = next((r for kind, r in ROWS.items() if kind in head), [{"text": f"<bos> {w}"} for w in WORDS])
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 4))
    code = BLOCKS[0] + "\n" + BLOCKS[1 + HEADS.index(head)]
    code = code.replace("1e-3", "1e-2").replace("rows=256", "rows=48, max_new_tokens=12")  # tiny, and quick
    drifts = {}
    for name, strength in (("guarded", 1.0), ("control", 0.0)):
        out = tmp_path / name
        monkeypatch.setattr(
            despur.guard, "rehearse", lambda text, s=strength: rehearse(text, strength=5 * s, budget=1.0)
        )  # rows of three words
        torch.manual_seed(0)
        exec(
            compile(code, head, "exec"),
            {"base": tmp_path / "base", "data": str(tmp_path / "data.jsonl"), "out": str(out)},
        )
        drifts[name] = drift(tiny(initializer_range=0.3), chat_tokenizer, out)
    assert drifts["control"] > 1e-3, "without the guard it drifts"
    assert drifts["guarded"] < 0.5 * drifts["control"]


@pytest.mark.parametrize("name", ["llamafactory_guard", "axolotl_guard"])
def test_what_the_page_shows_is_the_file(name):
    script = (ROOT / f"examples/{name}.py").read_text(encoding="utf-8")
    assert f"```py\n{script}```" in PAGE


def test_the_scripts_call_the_other_tools_as_these_are_written(tiny, chat_tokenizer, tmp_path, monkeypatch):
    """The tools are not installed here: what they are given is; the log says what was tried with the real ones."""
    tiny().save_pretrained(tmp_path / "base")
    chat_tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "config.yaml").write_text(f"model_name_or_path: {tmp_path / 'base'}\nstage: sft\n")
    given = []
    tuner, plugins = types.ModuleType("llamafactory.train.tuner"), types.ModuleType("axolotl.integrations.base")
    tuner.run_exp = lambda args, callbacks: given.append((args, callbacks))
    plugins.BasePlugin = object
    for module in (tuner, plugins):
        for parent in ("", ".".join(module.__name__.split(".")[:1]), ".".join(module.__name__.split(".")[:2])):
            if parent:
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "config.yaml")])
    monkeypatch.setattr(OwnText, "sample", lambda model, tokenizer: OwnText(((1, 2, 3),)))
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    importlib.import_module("llamafactory_guard")
    ((config, (callback,)),) = given
    assert config["stage"] == "sft"
    trainer = types.SimpleNamespace(model=tiny(), processing_class=chat_tokenizer)
    (other,) = importlib.import_module("axolotl_guard").GuardPlugin().add_callbacks_post_trainer({}, trainer)
    assert isinstance(callback, despur.GuardCallback)
    assert isinstance(other, despur.GuardCallback)
    for name in ("llamafactory_guard", "axolotl_guard"):
        sys.modules.pop(name, None)
