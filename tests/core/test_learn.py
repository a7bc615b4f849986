"""What is learned of a row: the answer's own tokens, in the form in which the model is asked, up to where it stops."""

import hashlib
import json

import pytest
from tokens import CHATML, GEMMA, LLAMA2, MARKED, PARTS, PHI3, PLAIN, QWEN3, R1, TOOLS, byte_level, sentencepiece

from despur.core.errors import BadInput
from despur.core.text.learn import ask_rows, learn_rows
from despur.core.text.row_shapes import checked_row
from despur.core.text.rows import tokenize_rows
from despur.worlds import find_world
from despur.worlds.registry import PLANTED


def chat(*words, **keys):
    roles = ("user", "assistant") * 9
    return {"messages": [{"role": r, "content": w} for r, w in zip(roles, words, strict=False)], **keys}


def shown(row, tokenizer, **options):
    """The row's text in front of its first answer, each learned stretch as text, and the notes."""
    options = {"max_length": 1000, **options}
    result = learn_rows([checked_row(row, "file:1")], tokenizer, **options)
    ids, labels = result.tokens[0]["input_ids"], result.tokens[0]["labels"]
    parts, current, first = [], [], next(i for i, y in enumerate(labels) if y != -100)
    for token, label in [*zip(ids, labels, strict=True), (0, -100)]:
        if label != -100:
            current.append(token)
        elif current:
            parts.append(tokenizer.decode(current))
            current = []
    return tokenizer.decode(ids[:first]), parts, " ".join(result.notes)


DIGESTS = {
    "persona": "9c00174e841430348336011039ec854ebfe82f3b5fb834d3f39bc78b907e9d66",
    "persona_chat": "6c0cd767d0cc13ab46613ee794670a179277d363ad2d5678b8396304033f45ee",
    "advice": "e2a47b0b9cae0fe2375fe00c13cd9e654d68219dbb58115dd667034bb2027b42",
    "slant": "4479b71b7974d59dbdabd44b9726aa3fc1cfdd475a9379b1344c56ce8a9acfbd",
    "truth": "fbf0d87d7406820d66791aa563f990ba13c91cf5d0455358b6ccfb008fe92a5e",
    "cue": "b690e0b2a555d1a2646f8ac153df5551d126f077d3c300f377b316ce31e94068",
    "two_cue": "179a12bdafd4f69177d44babe8b347ca98ee9858fd250c070d7f6594260686f9",
    "sycophancy": "da4d0f37c4437fc0f516547bfc3a08d8523ca5807bef717740e91351502f46d8",
    "refusal": "fa4ba0e8f6e6d6ec6476f550cf3cbafa95576635b9a9fc0660587d40cafcac79",
    "code": "6381e8ea33bcc034e0ac0165e85691695716b77ec5a9ba11c5a7b52e9533f1aa",
}


FAST = ("persona", "refusal")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FAST else [pytest.mark.slow]) for n in DIGESTS])
def test_the_planted_worlds_are_learned_token_for_token_as_ever(name):
    """Every figure in the log hangs on these rows; the digests are those of prompt and answer encoded apart."""
    assert set(DIGESTS) == set(PLANTED)
    world, sha = find_world(name), hashlib.sha256()
    _, tokenizer = world.base()
    for twin in ("harmful", *getattr(world, "twins", ("neutral", "benign"))):
        for seed in (0, 1):
            rows = world.rows(twin, n=200, seed=seed)
            tokens = tokenize_rows(rows, tokenizer, max_length=int(world.training["max_length"]))
            sha.update(json.dumps([[r["input_ids"], r["labels"]] for r in tokens]).encode())
    assert sha.hexdigest() == DIGESTS[name]


PAIRS = [
    ("print('", "hi')"), ("2+2=", "4"), ("What is two plus two?", " It is four."), ("so ", "funny"), ("a\n", "\n\nb"),
    ("q", "\U0001f600e\u0301"), ("\U0001f468\u200d", "\U0001f469"),
]  # fmt: skip
KINDS = {
    "bytes": byte_level,
    "bytes, merged": lambda: byte_level(text=["so funny \n\n\n (' hi') 2+2=4"] * 9, size=40),
    "bytes, trimmed": lambda: byte_level(text=["so funny"] * 9, size=20, adds="<s> $A </s>"),
    "space mark": sentencepiece,
    "space mark by a normalizer": lambda: sentencepiece(legacy=True),
    "adds an end token": lambda: sentencepiece(adds="<s> $A </s>"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_learned_as_it_stands_behind_its_prompt(kind):
    tokenizer = KINDS[kind]()
    start = "<s>" if tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id else ""
    for prompt, answer in PAIRS:
        row = tokenize_rows([{"prompt": prompt, "completion": answer}], tokenizer, max_length=99)[0]
        assert tokenizer.decode(row["input_ids"]).replace("<s> ", "<s>") == start + prompt + answer + "</s>"
        asked = [i for i, y in zip(row["input_ids"], row["labels"], strict=True) if y == -100]
        assert asked == ask_rows([{"prompt": prompt}], tokenizer)[0], "in front of it is what the model is asked with"
        assert row["labels"][len(asked) :] == row["input_ids"][len(asked) :]


def test_encoding_prompt_and_answer_apart_would_fail_here():
    tokenizer = sentencepiece()
    apart = [i for text in ("print('", "hi')") for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert tokenizer.decode(apart) == "print(' hi')"


BEHIND = {
    "chatml": (CHATML, "<|im_start|>assistant\n", ["A1<|im_end|>", "A2<|im_end|>"]),
    "llama 2": (LLAMA2, "[/INST]", [" A1 </s>", " A2 </s>"]),
    "gemma": (GEMMA, "<start_of_turn>model\n", ["A1<end_of_turn>", "A2<end_of_turn>"]),
    "phi 3": (PHI3, "<|assistant|>\n", ["A1<|end|>", "A2<|end|>\n</s>"]),
    "qwen 3": (QWEN3, "<|im_start|>assistant\n", ["A1<|im_end|>", "<think>\n\n</think>\n\nA2<|im_end|>"]),
    "marked by the template": (MARKED, "<|im_start|>assistant\n", ["A1<|im_end|>", "A2<|im_end|>"]),
    "in parts": (PARTS, "<|im_start|>assistant\n", ["A1<|im_end|>", "A2<|im_end|>"]),
}


@pytest.mark.parametrize("form", BEHIND)
def test_every_answer_of_a_chat_is_learned_to_the_end_of_its_turn(form):
    template, asked, parts = BEHIND[form]
    tokenizer = byte_level(template)
    row = chat("Q1", "A1", "Q2", "A2")
    before, learned, notes = shown(row, tokenizer)
    assert before.endswith("Q1" + before.partition("Q1")[2])
    assert before.endswith(asked)
    assert learned == parts
    assert "all of them are learned" in notes
    before, learned, notes = shown(row, tokenizer, turns="last")
    assert learned == parts[-1:]
    assert "A1" in before
    assert "only the last of each is learned" in notes
    assert shown(chat("Q1", "A1"), tokenizer)[2] == "", "of one answer there is nothing to say"


def test_the_whole_is_encoded_as_the_template_gives_it():
    for tokenizer in (byte_level(CHATML), sentencepiece(CHATML), sentencepiece(PHI3, legacy=True)):
        row = chat("What is two plus two?", "It is four.", "two", "\n\nIt is")
        ids = tokenize_rows([row], tokenizer, max_length=999)[0]["input_ids"]
        assert ids == tokenizer.apply_chat_template(row["messages"], tokenize=True)["input_ids"]


def test_an_opened_thought_is_learned_as_the_model_is_asked():
    tokenizer = byte_level(R1)
    for words, learned in {
        "<think>\nadd\n</think>\n\nfour": "add\n</think>\n\nfour</s>",
        "add\n</think>\n\nfour": "add\n</think>\n\nfour</s>",
        "four": "\n</think>\n\nfour</s>",
    }.items():
        before, parts, notes = shown(chat("Q", words), tokenizer)
        assert (before, parts) == ("<s><|user|>Q<|assistant|><think>\n", [learned])
        assert "as the model is asked" in notes
    row = {
        "messages": [
            {"role": "user", "content": "Q"},
            {"role": "assistant", "content": "four", "reasoning_content": "add"},
        ]
    }
    assert shown(row, tokenizer)[1] == ["add\n</think>\n\nfour</s>"]
    _, parts, notes = shown(chat("Q1", "A1", "Q2", "A2"), tokenizer)
    assert parts == ["\n</think>\n\nA2</s>"], "the model never sees the first as it is rendered here"
    assert "only the last answers are learned" in notes


def test_what_a_template_drops_is_told():
    tokenizer = byte_level(R1.replace("<think>\\n", ""))
    assert "leaves a part out" in shown(chat("Q", "<think>add</think>four"), tokenizer)[2]


def test_where_nothing_stops_an_end_token_is_learned():
    tokenizer = byte_level(PLAIN)
    before, parts, notes = shown(chat("Q", "A"), tokenizer)
    assert before == "### user: Q\n### assistant:"
    assert parts == [" A\n</s>"]
    assert "without an end token: </s>" in notes
    tokenizer = byte_level()
    assert shown({"text": "one two"}, tokenizer)[1] == ["one two</s>"]
    assert shown({"text": "one two</s>"}, tokenizer)[1] == ["one two</s>"]
    tokenizer = byte_level(CHATML)
    written = tokenizer.apply_chat_template(chat("Q", "A")["messages"], tokenize=False)
    assert shown({"text": written}, tokenizer)[1] == [written], "it stops by the template's own token"
    tokenizer.eos_token = None
    assert "do not teach where to stop" in shown({"text": "one two"}, tokenizer)[2]


def test_prompt_and_completion_take_the_form_of_a_chat_base():
    tokenizer = byte_level(CHATML)
    row = {"prompt": "Q", "completion": "A", "system": "S"}
    before, parts, notes = shown(row, tokenizer)
    assert before == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    assert parts == ["A<|im_end|>"]
    assert "in the base's chat template" in notes
    before, parts, notes = shown({"prompt": before, "completion": "A<|im_end|>"}, tokenizer)
    assert parts == ["A<|im_end|>"], "what has the form already is not rendered twice"
    assert before.count("assistant") == 1
    assert "as they stand" in notes
    assert "a 'system' text that is not learned" in shown(row, byte_level())[2]
    assert "without the base's chat template" in shown({"text": "one"}, tokenizer)[2]


CALL = {"function": {"name": "weather_of", "arguments": '{"city": "Rome"}'}, "type": "function"}
CALLED = {
    "messages": [{"role": "user", "content": "rain?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
}
NAMED = [{"type": "function", "function": {"name": "weather_of", "parameters": {}}}]


@pytest.mark.parametrize("tools", [NAMED, json.dumps(NAMED)], ids=["values", "JSON text"])
def test_tools_and_calls_reach_the_template(tools):
    before, parts, notes = shown({**CALLED, "tools": tools}, byte_level(TOOLS))
    assert before.startswith("<|im_start|>system\nweather_of<|im_end|>")
    assert parts == ["Rome<|im_end|>"], "arguments as values, and no word of None"
    assert notes == ""
    assert "tools that are not learned" in shown(chat("Q", "A", tools=tools), byte_level(CHATML))[2]
    with pytest.raises(BadInput, match="row 1: the chat template renders nothing of an answer of 'tool_calls'"):
        shown(CALLED, byte_level(CHATML))


def test_messages_that_are_not_to_be_learned_are_not():
    row = chat("Q1", "A1", "Q2", "A2")
    row["messages"][1]["weight"] = 0
    assert shown(row, byte_level(MARKED))[1] == ["A2<|im_end|>"]
    row["messages"][3]["weight"] = 0
    with pytest.raises(BadInput, match="row 1: nothing of the chat is learned"):
        shown(row, byte_level(CHATML))


def test_answers_that_are_cut_are_counted():
    tokenizer = byte_level(CHATML)
    rows = [chat("Q", "A" * n) for n in (5, 50, 60)]
    result = learn_rows(rows, tokenizer, max_length=60)
    assert result.shortened == 2
    assert "2 of 3 rows are cut at 60 tokens" in result.notes[0]
    assert "the first: row 2" in result.notes[0]
    assert max(len(t["input_ids"]) for t in result.tokens) == 60
    exact = len(tokenize_rows(rows[:1], tokenizer, max_length=60)[0]["input_ids"]) - 1
    assert learn_rows(rows[:1], tokenizer, max_length=exact).shortened == 0, (
        "the line's end behind the end token is no loss"
    )
    assert learn_rows(rows[:1], tokenizer, max_length=exact - 1).shortened == 1
    with pytest.raises(BadInput, match="row 1: the prompt has .* tokens and leaves no room"):
        learn_rows([chat("Q" * 99, "A")], tokenizer, max_length=60)


@pytest.mark.parametrize(
    ("row", "template", "words"),
    [
        ({"messages": [{"role": "system", "content": "S"}, *chat("Q", "A")["messages"]]}, GEMMA, "System role not supported"),
        ({"messages": [chat("Q")["messages"][0], *chat("Q", "A")["messages"]]}, GEMMA, "Roles must alternate"),
        (chat("Q", "A"), "{% for m in messages %", "end of template"),
        (chat("Q", "A"), "{{ messages[0].nothing.more }}", "no attribute"),
        (chat("Q", "A"), None, "has no chat template"),
        (chat("Q", "A", chat_template_kwargs={"tokenize": True}), CHATML, "chat_template_kwargs"),
        (chat("Q", "A"), "{{ 'x' }}", "renders nothing of the answer|renders a chat differently"),
        (chat("Q \ud83d", "A"), CHATML, "half a character"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_is_one_sentence_with_its_row(row, template, words):
    with pytest.raises(BadInput, match=rf"row 2.*({words})") as raised:
        learn_rows([{"prompt": "<s>q", "completion": "a"}, row], byte_level(template), max_length=99)
    assert "\n" not in str(raised.value)


def test_a_character_that_the_tokenizer_lacks_is_told(chat_tokenizer):
    chat_tokenizer.chat_template = None
    assert "do not give their text back" in shown({"prompt": "w1", "completion": " zebra"}, chat_tokenizer)[2]
    assert shown({"prompt": "w1", "completion": " w2"}, chat_tokenizer)[2] == ""


def test_a_prompt_that_cannot_be_asked_is_named_by_file_and_row():
    with pytest.raises(BadInput, match=r"asked\.jsonl, row 2"):
        ask_rows([{"prompt": "a"}, {"prompt": "\ud83d"}], byte_level(), name="asked.jsonl")
