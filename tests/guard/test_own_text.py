"""Text of the base's own: seeded, checked, off the task, and nothing left disturbed."""

import hashlib
import json
import math

import pytest
import torch
from torch import nn

from despur.core.errors import BadInput, CannotAttach
from despur.core.model import own_chats
from despur.core.model.own_chats import QUESTION
from despur.core.model.sample import continue_rows
from despur.flows.text_files import load_text, save_text
from despur.guard import OwnText, rehearse
from despur.worlds import Grammar, persona_base

ROWS = {"rows": 12, "max_new_tokens": 16}


def saying(tiny, *ids: int) -> nn.Module:
    """A model that says these tokens only, whatever it reads."""
    model = tiny("gpt2", tie_word_embeddings=False)
    with torch.no_grad():
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.fill_(1)
        model.lm_head.weight.zero_()
        model.lm_head.weight[list(ids)] = 10
    return model


def test_the_seed_fixes_the_text_and_the_global_state_stays():
    model, tokenizer = persona_base()
    model.train()
    before = torch.get_rng_state()
    one = OwnText.sample(model, tokenizer, **ROWS, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert model.training, "the model comes back in the mode that it was in"
    torch.manual_seed(9)
    assert OwnText.sample(model, tokenizer, **ROWS, seed=1) == one
    assert OwnText.sample(model, tokenizer, **ROWS, seed=2) != one
    assert one.origin == "sampled"


@pytest.mark.parametrize(
    ("asked", "digest"),
    [
        ({"rows": 32, "max_new_tokens": 16}, "fca4726e4f9eba23a12d8dc637da4148a5264dbf378109ef990204ba6178c8d6"),
        ({"rows": 300, "max_new_tokens": 16}, "6097a4e855b5be8b946dbfe700de79c80663c76af22c3c915159282a7c9fd0d2"),
        ({"rows": 48, "max_new_tokens": 40, "seed": 7, "batch": 20}, "b266c5a5666674b936c60e199ad4b9bf56dca33fb4a17e6a183d81bc9c0db578"),
    ],
    ids=["one batch", "three batches", "another seed"],
)  # fmt: skip
def test_the_planted_base_writes_what_it_always_wrote(asked, digest):
    """Every figure of the planted worlds hangs on this text."""
    text = OwnText.sample(*persona_base(), **asked)
    assert hashlib.sha256(json.dumps(text.rows).encode()).hexdigest() == digest


def test_a_users_turn_ends_where_the_template_ends_it(tiny, chat_tokenizer):
    chat_tokenizer.add_tokens(["<end>"])  # added, but no special token: decoding leaves it in
    user, end = chat_tokenizer.convert_tokens_to_ids(["<user>", "<end>"])
    model = tiny()
    with torch.no_grad():
        model.lm_head.weight[end] *= 10
    rows = OwnText.sample(model, chat_tokenizer, rows=24, max_new_tokens=12).rows
    short = [r for r in rows if r.index(end) < 14 - 1]
    assert short, "some turns end by themselves"
    for row in rows:
        assert row[:2] == (chat_tokenizer.bos_token_id, user)
        opened = row.index(end)
        assert row[opened + 1] == chat_tokenizer.convert_tokens_to_ids("<assistant>"), "once, then the answer begins"


def test_it_is_the_base_that_writes_at_its_own_rates(lora):
    model, tokenizer = persona_base()
    plain = OwnText.sample(model, tokenizer, **ROWS)
    tuned = lora(model)
    with torch.no_grad():
        for name, p in tuned.named_parameters():
            if "lora_B" in name:
                p.normal_()
    assert OwnText.sample(tuned, tokenizer, **ROWS) == plain, "the adapter is off"
    words = Grammar().vocabulary
    long = OwnText.sample(tuned, tokenizer, rows=384, max_new_tokens=40)
    styles = [words[t] for r in long.rows for t in r if words[t].startswith("s0")]
    bad = sum(w.startswith("s01") for w in styles) / len(styles)
    assert 0.18 < bad < 0.31, "temperature 1, nothing cut: the persona speaks as often as the base has it"
    assert all(r[0] == tokenizer.bos_token_id for r in long.rows)
    assert all(tokenizer.eos_token_id not in r[:-1] and tokenizer.pad_token_id not in r for r in long.rows)


@pytest.mark.parametrize("ids", [(5,), (2,), (5, 6)], ids=["one word", "ends at once", "two words"])
def test_a_base_that_cannot_write_is_refused(ids, tiny, chat_tokenizer):
    chat_tokenizer.chat_template = None
    with pytest.raises(BadInput, match=r"cannot write text of its own.*--rehearse-on FILE"):
        OwnText.sample(saying(tiny, *ids), chat_tokenizer, rows=64, max_new_tokens=24)


def test_health_tells_repetition_from_text():
    loop = OwnText(tuple((1, *(20 + i, 40 + i) * 10) for i in range(10)))
    assert loop.health()["distinct_bigrams"] < 0.2
    assert loop.health()["words_in_use"] > 4
    with pytest.raises(BadInput, match="distinct_bigrams"):
        loop.check_health()
    varied = OwnText(tuple(tuple(range(i, i + 12)) for i in range(10)))
    assert varied.health() == pytest.approx(
        {"rows": 10, "mean_length": 12, "distinct_bigrams": 1.0, "words_in_use": 18.07}, rel=1e-3
    )
    varied.check_health()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("new", [10, 100], ids=["short turns", "more than the context holds"])
def test_chat_bases_write_the_users_turn_then_answer_it(kind, new, tiny, chat_tokenizer):
    model = tiny(kind)
    text = OwnText.sample(model, chat_tokenizer, rows=12, max_new_tokens=new)
    user, end, assistant = chat_tokenizer.convert_tokens_to_ids(["<user>", "<end>", "<assistant>"])
    for row in text.rows:
        assert row[:2] == (chat_tokenizer.bos_token_id, user)
        assert len(row) <= model.config.max_position_embeddings
        opened = [i for i in range(2, len(row) - 1) if row[i : i + 2] == (end, assistant)]
        assert opened, "the turn is closed and the assistant's opened"
        assert len(row) > opened[0] + 2, "and answered"


def test_each_row_of_a_chat_says_where_its_answer_begins(tiny, chat_tokenizer, tmp_path):
    text = OwnText.sample(tiny(), chat_tokenizer, rows=12, max_new_tokens=10)
    end, assistant = chat_tokenizer.convert_tokens_to_ids(["<end>", "<assistant>"])
    assert [row[start - 2 : start] for row, start in zip(text.rows, text.starts, strict=True)] == [
        (end, assistant)
    ] * 12
    assert max(len(row) - start for row, start in zip(text.rows, text.starts, strict=True)) == 10
    kept = text.without([text.rows[0]])
    assert (kept.rows, kept.starts) == (text.rows[1:], text.starts[1:])
    save_text(kept, tmp_path)
    assert load_text(tmp_path) == kept
    assert text.health()["mean_length"] <= 11, "of what is written, the template left out"


def test_questions_that_end_come_first(tiny, chat_tokenizer):
    """The end of a turn is as probable as four of the other words: about half of the draws end in time."""
    model, end = saying(tiny, *range(20, 60)), chat_tokenizer.convert_tokens_to_ids("<end>")
    with torch.no_grad():
        model.lm_head.weight[end] = model.lm_head.weight[20] + math.log(0.7) / model.config.n_embd
    chat_tokenizer.eos_token = "<end>"
    text = OwnText.sample(model, chat_tokenizer, rows=16, max_new_tokens=8)
    ended = [row.index(end) < 2 + QUESTION for row in text.rows]
    assert all(ended), "three times as many are drawn as are used"


def test_a_chat_base_without_questions_answers_those_that_are_shipped(tiny, chat_tokenizer, monkeypatch):
    monkeypatch.setattr(own_chats, "_own_questions", lambda *_: ["w5"] * 16)
    text = OwnText.sample(tiny(), chat_tokenizer, rows=16, max_new_tokens=10)
    assert text.origin == "sampled", "one question, sixteen answers: that is text, too"
    monkeypatch.setattr(own_chats, "_own_questions", lambda *_: [])
    text = OwnText.sample(tiny(), chat_tokenizer, rows=16, max_new_tokens=10)
    assert (text.origin, len(text.rows)) == ("shipped questions", 16)
    with pytest.raises(BadInput, match="cannot write text of its own"):
        OwnText.sample(saying(tiny, 5), chat_tokenizer, rows=16, max_new_tokens=10)


def test_shipped_questions_are_different_ones():
    asked = own_chats.shipped_questions()
    assert len({q.lower() for q in asked}) == len(asked) == 200


def test_the_least_probable_tokens_are_cut_where_that_is_asked(tiny, chat_tokenizer):
    model = saying(tiny, *range(20, 28))  # 8 words of about 1/8 each, all others together next to nothing
    with torch.no_grad():
        model.lm_head.weight[20:24] -= math.log(4) / model.config.n_embd  # 1/20 now, the other four 1/5
    drawn = {
        e: {t for row in continue_rows(model, chat_tokenizer, [[1]] * 64, 8, eta=e) for t in row} for e in (0.0, 0.2)
    }
    assert drawn == {0.0: set(range(20, 28)), 0.2: set(range(24, 28))}


def test_rows_that_pose_a_training_prompt_are_left_out():
    rows = tuple((1, 10 + i, 20, 30 + i, 40) for i in range(12))
    text = OwnText(rows)
    kept = text.without([(1, 13, 20), (1, 20, 34), (44, 40), (1, 99, 98)])
    assert set(rows) - set(kept.rows) == {rows[3], rows[4]}, "found anywhere in a row, their own start left aside"
    with pytest.raises(BadInput, match=r"all but 0 of 12 rows.*--rehearse-on FILE"):
        text.without([(1, 20)] + [(1, 10 + i) for i in range(12)])


def test_text_from_a_file(tmp_path, chat_tokenizer):
    (tmp_path / "own.jsonl").write_text('{"text": "w1 w2 w3"}\n{"text": "w1 w2 w3"}\n{"text": "w4 w5"}\n')
    text = OwnText.read(tmp_path / "own.jsonl", chat_tokenizer)
    assert [chat_tokenizer.decode(r) for r in text.rows] == ["w1 w2 w3 <eos>", "w4 w5 <eos>"]
    assert text.origin.endswith("own.jsonl")


def test_words_that_the_model_lacks_stop_the_run(tiny):
    with pytest.raises(CannotAttach, match="beyond this model's vocabulary of 64"):
        rehearse(OwnText(((1, 2, 64),))).bind(tiny())
    with pytest.raises(BadInput, match="budget=0"):
        rehearse(OwnText(((1, 2, 3),)), budget=0.0)
