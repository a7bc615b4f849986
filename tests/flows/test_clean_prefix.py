"""`despur clean --prefix`: the adapter stays, the base's prefix lies beside it, and plain transformers uses it."""

import copy
import json
import warnings
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, DynamicCache

from despur.claims.tiny_runs import learn
from despur.core.errors import BadInput
from despur.core.model.key_values import Exchanged, key_values
from despur.core.text.rows import tokenize_rows
from despur.core.text.template import Template
from despur.flows import clean

QUICK = {"rows": 24, "max_new_tokens": 4}


@pytest.fixture
def chat(tiny, lora, chat_tokenizer, tmp_path):
    """Folders of a chat base and of a tune of it, and the rows that it was tuned on."""
    base = tiny()
    base.save_pretrained(tmp_path / "base")
    chat_tokenizer.save_pretrained(tmp_path / "base")
    rows = [
        {"messages": [{"role": "user", "content": f"w{i} w{2 * i}"}, {"role": "assistant", "content": "w9 w8 w7"}]}
        for i in range(12)
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    ids = torch.tensor([r["input_ids"] for r in tokenize_rows(rows, chat_tokenizer, max_length=32)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn(lora(base), ids, steps=20).save_pretrained(tmp_path / "adapter")
    return {"base": str(tmp_path / "base"), "adapter": str(tmp_path / "adapter")}, tmp_path / "data.jsonl"


def test_the_adapter_stays_and_the_prefix_lies_beside_it(chat, chat_tokenizer, tmp_path):
    folders, data = chat
    result = clean(**folders, data=data, prefix=True, out=tmp_path / "c", **QUICK)
    old, new = (Path(f) / "adapter_model.safetensors" for f in (folders["adapter"], result.adapter))
    assert old.read_bytes() == new.read_bytes()
    template = Template.of(chat_tokenizer)
    ids = torch.tensor([[*template.prefix, 20, 21, *template.tail, 30, 31]])
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(folders["base"]).eval()
        given = key_values(base, ids)
        model = PeftModel.from_pretrained(base, str(result.adapter)).eval()
        n = len(template.prefix)
        where = torch.arange(ids.shape[1])[None] < n
        want = model(input_ids=ids, past_key_values=Exchanged(given, where)).logits[:, n:]
        # as docs/clean.md says
        kept, cache = load_file(result.adapter / "prefix.safetensors"), DynamicCache()
        for layer in range(model.config.num_hidden_layers):
            cache.update(kept[f"keys.{layer}"], kept[f"values.{layer}"], layer)
        got = model(input_ids=ids[:, n:], past_key_values=copy.deepcopy(cache)).logits
        plain = model(input_ids=ids).logits[:, n:]
        answer = model.generate(input_ids=ids, past_key_values=copy.deepcopy(cache), max_new_tokens=2, do_sample=False)
    assert torch.allclose(got, want, atol=1e-5)
    assert not torch.allclose(plain, want, atol=1e-2), "the control: the adapter's own prefix is another one"
    assert answer[0, ids.shape[1]] == want[0, -1].argmax()


def test_what_stays_is_measured_beside_other_positions(chat, tmp_path):
    folders, data = chat
    result = clean(**folders, data=data, prefix=True, out=tmp_path / "c", **QUICK)
    own = result.axes["cleaned"]
    assert own["drift"].low <= own["drift"].value <= own["drift"].high
    assert own["drift"].control == result.axes["random"]["drift"].value != own["drift"].value
    assert own["task"].control == result.axes["random"]["task"].value != own["task"].value
    assert [result.axes[n]["task"].value for n in ("base", "adapter")] == [0, 1]
    said = json.loads((tmp_path / "c" / "clean.json").read_text())
    assert said["sentence"] == result.sentence
    assert f"{own['drift'].value:.2f}" in result.sentence
    assert "past_key_values" in (tmp_path / "c" / "report.html").read_text()
    assert "task" not in clean(**folders, prefix=True, out=tmp_path / "d", **QUICK).axes["cleaned"]


def test_without_a_template_there_is_nothing_to_repair(chat, chat_tokenizer, tmp_path):
    folders, _ = chat
    with pytest.raises(BadInput, match="the prefix alone is repaired. Leave one of the two out"):
        clean(**folders, prefix=True, factors=tmp_path, out=tmp_path / "c", **QUICK)
    (tmp_path / "base" / "chat_template.jinja").unlink()
    chat_tokenizer.chat_template = None
    chat_tokenizer.save_pretrained(tmp_path / "base")
    with pytest.raises(BadInput, match="no chat template, so there are no constant tokens"):
        clean(**folders, prefix=True, out=tmp_path / "c", **QUICK)
