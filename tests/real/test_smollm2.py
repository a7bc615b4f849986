"""The base that `despur fetch smollm2` makes is the chat model that it is said to be."""

import pytest
import torch

from despur.core import fingerprint, stream_roles
from despur.core.model.named_bases import BASES
from despur.flows.load import load_base

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def loaded():
    return load_base("smollm2")


def answer(model, tokenizer, ids):
    mask = torch.ones(1, len(ids), dtype=torch.long)
    with torch.no_grad():
        out = model.generate(torch.tensor([ids]), attention_mask=mask, max_new_tokens=8, do_sample=False)
    return tokenizer.decode(out[0, len(ids) :])


def test_it_knows_the_capital_of_france_as_text_and_in_a_chat(loaded):
    model, tokenizer = loaded
    assert "Paris" in answer(model, tokenizer, tokenizer("The capital of France is")["input_ids"])
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    assert "Paris" in answer(model, tokenizer, ids)
    other = [{"role": "user", "content": "What is the capital of Italy?"}]
    ids = tokenizer.apply_chat_template(other, add_generation_prompt=True)["input_ids"]
    assert "Paris" not in answer(model, tokenizer, ids), "the control"


def test_it_has_the_weights_and_the_maps_that_are_known(loaded):
    model, _ = loaded
    assert fingerprint(model) == BASES["smollm2"].fingerprint
    assert len(stream_roles(model)) == 30 * 7 + 2, "seven a layer, the embeddings and the head"
    assert {p.dtype for p in model.parameters()} == {torch.float32}
