"""What a run's models answer to questions of held-out rows stands beside what the rows answer."""

import pytest
from tokens import CHATML, byte_level
from transformers import LlamaConfig, LlamaForCausalLM

from despur.core import Store
from despur.core.text.learn import learn_rows
from despur.flows import Settings
from despur.flows._train.reference import Reference
from despur.flows._train.speech import ASKED, ROWS, what_rows_ask
from despur.flows._train.stages import Stages
from despur.flows.progress import silent

CHATS = [{"prompt": f"Who sees to number {i}?", "completion": f"Clerk {i}."} for i in range(6)]


@pytest.fixture(scope="module", params=[CHATML, None], ids=["chat", "plain"])
def stages(request, tmp_path_factory):
    folder, tokenizer = tmp_path_factory.mktemp("base"), byte_level(request.param)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(
        **sizes, vocab_size=len(tokenizer), max_position_embeddings=128, bos_token_id=0, eos_token_id=1
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Stages(Reference(str(folder)), [], Store(folder / "run"), Settings(), {}, silent, [])


def asked(stages, rows):
    tokens = learn_rows(rows, stages.reference.load()[1], max_length=128, name="rows").tokens
    return what_rows_ask(stages, list(tokens), {})


def test_the_question_stands_without_its_template_and_the_rows_answer_first(stages):
    replies = asked(stages, CHATS)
    assert list(replies) == [row["prompt"] for row in CHATS[:ASKED]]
    for row in CHATS[:ASKED]:
        by = replies[row["prompt"]]
        assert list(by) == [ROWS, "base"]
        assert by[ROWS].strip() == row["completion"]
        assert by["base"]


def test_rows_without_a_prompt_and_prompts_that_fill_the_context_are_not_asked(stages):
    assert asked(stages, [{"text": "no prompt at all"}] * 3) == {}
    long = [{**CHATS[0], "prompt": "w" * 100}, CHATS[1]]
    assert list(asked(stages, long)) == [CHATS[1]["prompt"]]
