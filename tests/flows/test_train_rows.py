"""A run says what it did to its rows, and refuses those of which it would learn no end."""

import json

import pytest
from tokens import CHATML, GEMMA, byte_level
from transformers import LlamaConfig, LlamaForCausalLM

from despur.core.errors import BadInput
from despur.flows._train.fit import Settings
from despur.flows._train.start import prepare


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """`bases(template)`: the folder of a tiny base with a context of 128."""

    def build(template):
        folder = tmp_path_factory.mktemp("base")
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        tokenizer = byte_level(template)
        LlamaForCausalLM(
            LlamaConfig(**sizes, vocab_size=len(tokenizer), max_position_embeddings=128, bos_token_id=0, eos_token_id=1)
        ).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return build


def started(base, tmp_path, rows, **settings):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    options = {"guard": "none", "factors": None, "scout": None}
    return prepare(str(base), file, tmp_path / "run", Settings(**settings), **options)


def chats(answer, n=12):
    turns = [("user", "one"), ("assistant", "first"), ("user", "two")]
    head = [{"role": role, "content": words} for role, words in turns]
    return [{"messages": [*head, {"role": "assistant", "content": f"{answer}{i}"}]} for i in range(n)]


def counted(start):
    return [sum(y != -100 for y in row["labels"]) for row in (*start.rows, *start.held_out)]


def test_turns_are_an_option_and_in_the_notes(bases, tmp_path):
    base = bases(CHATML)
    every, last = (started(base, tmp_path, chats("second"), turns=turns) for turns in ("all", "last"))
    assert any("chats of several answers, and all of them are learned" in note for note in every.notes)
    assert any("only the last of each is learned" in note for note in last.notes)
    assert min(counted(every)) > max(counted(last)) > 5


def test_answers_that_are_cut_are_told_or_refused(bases, tmp_path):
    base = bases(CHATML)
    few = started(base, tmp_path, [*chats("x"), *chats("x" * 200, 4)])
    assert few.settings.max_length == 128
    assert any("4 of 16 rows are cut at 128 tokens" in note for note in few.notes)
    with pytest.raises(BadInput, match="16 of the 16 rows .*rows.jsonl.*--max-length 128"):
        started(base, tmp_path, chats("x" * 200, 16))
    with pytest.raises(BadInput, match="the base takes no more"):
        started(base, tmp_path, chats("x" * 200, 16), max_length=999)
    asked = started(base, tmp_path, chats("x" * 200, 16), max_length=100)
    assert any("16 of 16 rows are cut at 100 tokens" in note for note in asked.notes), "who names a length gets it"


def test_a_row_that_the_template_refuses_is_named_with_its_file(bases, tmp_path):
    rows = chats("second")
    rows[2]["messages"].insert(0, {"role": "system", "content": "S"})
    with pytest.raises(BadInput, match=r"rows\.jsonl, row 3: .*System role not supported"):
        started(bases(GEMMA), tmp_path, rows)


def test_rows_of_prompts_are_asked_for_in_the_form_of_the_base(bases, tmp_path):
    rows = [{"prompt": f"what {i}", "completion": "four"} for i in range(12)]
    start = started(bases(CHATML), tmp_path, rows)
    assert any(
        "12 of 12 rows of prompt and completion are learned in the base's chat template" in n for n in start.notes
    )
    plain = started(bases(None), tmp_path, rows)
    assert not plain.notes
    assert max(counted(plain)) == len("four") + 1, "the answer and the end token"
