"""A tune's own tokenizer and template: used where they fit the model, and the reader is told where not."""

import copy
import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

from despur.flows import audit
from despur.flows.adapter_tokenizer import form_of

OTHER = "{% for m in messages %}<user> {{ m['content'] }} <end> {% endfor %}"


@pytest.fixture
def plain(chat_tokenizer):
    """The same words without a template, as of a base that no one has taught to chat."""
    base = copy.deepcopy(chat_tokenizer)
    base.chat_template = None
    return base


def test_a_template_that_the_base_lacks_is_the_form_of_the_text(plain, chat_tokenizer, tmp_path):
    assert form_of(plain, tmp_path, 64) == (plain, None, ()), "an empty folder brings nothing"
    chat_tokenizer.save_pretrained(tmp_path)
    form = form_of(plain, tmp_path, 64)
    assert form.tokenizer.chat_template == chat_tokenizer.chat_template
    assert form.digest
    assert "chat template of its own" in form.notes[0]
    same = form_of(chat_tokenizer, tmp_path, 64)
    assert (same.digest, same.notes) == (None, ()), "the control: nothing is said of the base's own template"


def test_a_template_alone_is_put_on_the_base_tokenizer(chat_tokenizer, tmp_path):
    (tmp_path / "chat_template.jinja").write_text(OTHER)
    form = form_of(chat_tokenizer, tmp_path, 64)
    assert form.tokenizer.chat_template == OTHER
    assert chat_tokenizer.chat_template != OTHER
    assert form.digest


def _moved(words):
    return {**words, "w0": words["w1"], "w1": words["w0"]}


@pytest.mark.parametrize(
    ("spoil", "vocabulary", "why"),
    [
        (lambda t: t, 60, "token id"),
        (lambda t: {**t, "model": {**t["model"], "vocab": _moved(t["model"]["vocab"])}}, 64, "gives 'w"),
        (lambda t: {**t, "model": {"type": "no such"}}, 64, "cannot be read"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_left_out_in_words(spoil, vocabulary, why, plain, chat_tokenizer, tmp_path):
    chat_tokenizer.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(spoil(json.loads(file.read_text()))))
    form = form_of(plain, tmp_path, vocabulary)
    assert form.tokenizer is plain
    assert why in form.notes[0]


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "always the same", "{% for %}", "{{ x.y.z }}"])
def test_a_template_that_hides_the_question_is_left_out(template, plain, tmp_path):
    (tmp_path / "chat_template.jinja").write_text(template)
    form = form_of(plain, tmp_path, 64)
    assert form.tokenizer is plain
    assert "was not used" in form.notes[0]


def test_the_audit_asks_in_the_form_of_the_tune(tiny, plain, chat_tokenizer, tmp_path, monkeypatch):
    model = tiny("llama")
    model.save_pretrained(tmp_path / "base")
    plain.save_pretrained(tmp_path / "base")
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=["v_proj"], init_lora_weights=False))
    tuned.save_pretrained(tmp_path / "adapter")
    chat_tokenizer.save_pretrained(tmp_path / "adapter")
    marks = []
    forward = LlamaForCausalLM.forward

    def spy(self, *args, **kwargs):
        ids = kwargs.get("input_ids", args[0] if args else torch.zeros(1, 1))
        marks.append(bool((ids == chat_tokenizer.convert_tokens_to_ids("<user>")).any()) and ids.shape[1] > 1)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", spy)
    result = audit(str(tmp_path / "base"), str(tmp_path / "adapter"), rows=8, n_random=1)
    assert any(marks)
    assert any("chat template of its own" in note for note in result.notes)
