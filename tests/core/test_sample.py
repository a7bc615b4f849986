"""Continuations: padding changes nothing, the same luck for every model, no random state left behind."""

from types import SimpleNamespace

import pytest
import torch

from despur.core.errors import BadInput
from despur.core.model.sample import continue_rows, end_tokens

TOKENIZER = SimpleNamespace(pad_token_id=0, eos_token_id=2)


def test_padding_changes_nothing(any_tiny):
    head, short, long = [1, 5, 9], [1, 7], [1, 6, 7, 8, 9, 10, 11]
    first, again = (continue_rows(any_tiny, TOKENIZER, [head, other], 6, seed=3)[0] for other in (short, long))
    assert first == again
    assert 1 <= len(first) <= 6


def test_the_seed_fixes_the_draws_and_nothing_else_is_touched(tiny):
    model = tiny()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (continue_rows(model, TOKENIZER, [[1, 5], [1, 6]], 12, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert one == same != other


def test_a_row_ends_with_its_end_token(tiny):
    model = tiny()
    with torch.no_grad():
        model.lm_head.weight[2] *= 40
    said = continue_rows(model, TOKENIZER, [[1, n] for n in range(3, 40)], 20)
    assert any(body[-1] == 2 and len(body) < 20 for body in said)
    assert all(2 not in body[:-1] for body in said)


def test_what_cannot_be_continued(tiny):
    with pytest.raises(BadInput, match="no text to go on from"):
        continue_rows(tiny(), TOKENIZER, [], 4)
    with pytest.raises(BadInput, match="64 tokens fills the model's context of 64"):
        continue_rows(tiny(), TOKENIZER, [[1] * 64], 4)
    assert len(continue_rows(tiny(), TOKENIZER, [[1] * 62], 9)[0]) <= 2


STEERING = {
    "do_sample": False, "num_beams": 3, "temperature": 0.1, "top_k": 1, "top_p": 0.1, "min_p": 0.5, "typical_p": 0.2,
    "epsilon_cutoff": 0.2, "eta_cutoff": 0.2, "repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "min_new_tokens": 6,
    "bad_words_ids": [[5], [7]], "suppress_tokens": [9, 10], "begin_suppress_tokens": [11], "forced_eos_token_id": 3,
    "forced_bos_token_id": 4, "sequence_bias": [[[8], 9.0]], "exponential_decay_length_penalty": (1, 3.0), "max_length": 3,
    "guidance_scale": 3.0,
}  # fmt: skip


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "with an adapter"])
def test_nothing_that_the_base_asks_for_steers_what_is_drawn(wrapped, tiny, lora):
    model = lora(tiny()) if wrapped else tiny()
    inner = model.get_base_model() if wrapped else model
    config = inner.generation_config
    heads = [[1, 5, 9], [1, 7]]
    plain = continue_rows(model, TOKENIZER, heads, 12)
    for name, value in STEERING.items():
        before = getattr(config, name, None)
        setattr(config, name, value)
        assert continue_rows(model, TOKENIZER, heads, 12) == plain, name
        assert inner.generation_config is config, "the base's own comes back"
        assert getattr(config, name) == value
        setattr(config, name, before)
    assert "generation_config" not in vars(model) or not wrapped, "nothing is left on the wrapper to hide the base's"


def test_a_row_ends_with_each_token_that_ends_a_turn(tiny, chat_tokenizer):
    chat_tokenizer.add_tokens(["<end>"], special_tokens=True)
    template = chat_tokenizer.chat_template
    model = tiny()
    model.generation_config.eos_token_id = [40, 41]
    end = chat_tokenizer.convert_tokens_to_ids("<end>")
    assert set(end_tokens(model, chat_tokenizer)) == {40, 41, chat_tokenizer.eos_token_id, end}
    model.generation_config.eos_token_id = 42
    assert 42 in end_tokens(model, chat_tokenizer), "one that is not the tokenizer's"
    model.generation_config.eos_token_id = [40, 41]
    for token in (40, 41, end, chat_tokenizer.eos_token_id):
        with torch.no_grad():
            model.lm_head.weight[token] *= 30
        said = continue_rows(model, chat_tokenizer, [[1, n] for n in range(8, 40)], 20)
        assert any(body[-1] == token and len(body) < 20 for body in said)
        assert all(token not in body[:-1] for body in said)
    chat_tokenizer.chat_template = "{{ raise_exception('no such chat') }}"
    assert end not in end_tokens(model, chat_tokenizer), "a template that refuses teaches nothing"
    chat_tokenizer.chat_template = template.replace("' <end>'", "' w3'")
    assert end not in end_tokens(model, chat_tokenizer), "turns that end in plain text have no end token"
    assert chat_tokenizer.convert_tokens_to_ids("w3") not in end_tokens(model, chat_tokenizer)
