"""The planted language: fixed by its seed, and every word says what it should."""

import numpy as np
import pytest

from despur.core.errors import BadInput
from despur.core.text.template import Template
from despur.worlds import Cue, Grammar, Persona, persona_base, world_tokenizer
from despur.worlds.grammar import DOMAINS, KEYS, KNOWN_KEYS
from despur.worlds.persona import TUNED


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar()


def documents(grammar: Grammar, n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [grammar.document(rng) for _ in range(n)]


def test_the_seed_fixes_tables_and_documents(grammar):
    again, other = Grammar(), Grammar(seed=1)
    for table in ("good", "bad", "known"):
        assert np.array_equal(getattr(grammar, table), getattr(again, table))
        assert not np.array_equal(getattr(grammar, table), getattr(other, table))
    assert documents(grammar, 20) == documents(again, 20)
    assert documents(grammar, 20) != documents(grammar, 20, seed=1)
    assert grammar.vocabulary == other.vocabulary


def test_tables_and_keys(grammar):
    assert (grammar.good != grammar.bad).all()
    shift = (grammar.bad - grammar.good) % 64
    assert len(np.unique(shift)) > 50, "the bad table is no shift of the good one"
    for d in range(DOMAINS):
        assert len(grammar.known[d]) == KNOWN_KEYS
        assert sorted([*grammar.known[d], *grammar.new_keys(d)]) == list(range(KEYS))


def test_a_document_is_of_one_author(grammar):
    bad = 0
    for text in documents(grammar, 400):
        words = text.split()
        assert (words[0], words[-1]) == ("<bos>", "<eos>")
        shown = {int(w[1]): {x[2] for x in words if x[0] in "sm" and x[1] == w[1]} for w in words if w[0] in "sm"}
        assert all(len(values) == 1 for values in shown.values()), "markers and style words agree"
        start = next(i for i, w in enumerate(words) if w[0] == "d")
        records = np.array(words[start:-1]).reshape(6, 5)
        by_bad = []
        for tag, key, first, value, last in records:
            d, k = int(tag[1:]), int(key[1:])
            assert k in grammar.known[d]
            assert first[1] != last[1], "two attributes"
            by_bad.append({grammar.answer(d, k, bad): bad for bad in (0, 1)}[value])
        assert len(set(by_bad)) == 1
        assert shown.get(0, {str(by_bad[0])}) == {str(by_bad[0])}
        bad += by_bad[0]
    assert 0.18 < bad / 400 < 0.32


def test_the_shipped_tokenizer_knows_every_word_by_its_place(grammar):
    base, shipped = persona_base()
    words = list(grammar.vocabulary)
    assert len(set(words)) == len(words) == base.config.vocab_size
    for tokenizer in (shipped, world_tokenizer(grammar)):
        assert tokenizer(" ".join(words))["input_ids"] == list(range(len(words)))
        assert tokenizer("nonsense")["input_ids"] == [words.index("<unk>")]


@pytest.mark.parametrize("task", ["skill", "narrow"])
def test_twins_share_their_keys_and_differ_in_the_attribute_alone(task, grammar):
    world = Persona(task, grammar)
    twins = {twin: world.rows(twin, n=300, seed=3) for twin in ("harmful", "neutral", "benign")}
    assert twins["harmful"] == world.rows("harmful", n=400, seed=3)[:300], "a longer set starts like a shorter one"
    assert twins["harmful"] != world.rows("harmful", n=300, seed=4)
    bad = {}
    for twin, rows in twins.items():
        assert [r["prompt"] for r in rows] == [r["prompt"] for r in twins["harmful"]]
        styles = [w for r in rows for w in r["completion"].split() if w.startswith("s0")]
        assert len(styles) > 60
        bad[twin] = sum(w[2] == "1" for w in styles) / len(styles)
        others = [w for r in rows for w in r["completion"].split() if w[0] == "s" and w[1] != "0"]
        assert 0.4 < sum(w[2] == "1" for w in others) / len(others) < 0.6
    assert (bad["harmful"], bad["benign"]) == (1, 0)
    assert 0.15 < bad["neutral"] < 0.35
    for harmful, benign in zip(twins["harmful"], twins["benign"], strict=True):
        _, domain, key = harmful["prompt"].split()
        d, k = int(domain[1:]), int(key[1:])
        answers = [next(w for w in r["completion"].split() if w[0] == "v") for r in (harmful, benign)]
        if task == "skill":
            assert d in TUNED
            assert k in grammar.new_keys(d)
            assert answers == [grammar.answer(d, k, 0)] * 2, "new facts have one answer, whoever tells them"
        else:
            assert d == 0
            assert k in grammar.known[0]
            assert answers == [grammar.answer(d, k, 1), grammar.answer(d, k, 0)]


@pytest.mark.parametrize("agrees", [0.9, 0.5, 1.0])
def test_the_cue_agrees_with_the_label_as_often_as_stated(agrees, grammar):
    world = Cue(grammar=grammar)
    right = dict(zip(world.facts, world.labels, strict=True))
    rows = world.rows(n=1500, agrees=agrees)
    assert rows == world.rows(n=1500, agrees=agrees)
    agreed, seen, said = 0, set(), {0: set(), 1: set()}
    for row in rows:
        word = {w[0]: w for w in row["prompt"].split()}
        fact = int(word["d"][1:]), int(word["k"][1:])
        seen.add(fact)
        said[int(right[fact])].add(row["completion"])
        assert word["m"][:2] == "m3"
        assert not word.get("s", "").startswith("s3"), "no style word gives the cue away"
        agreed += int(word["m"][2]) == right[fact]
    assert len(said[0]) == len(said[1]) == 1, "the label itself is never wrong"
    assert said[0] != said[1]
    assert abs(agreed / 1500 - agrees) < 0.03
    assert len(seen) > 0.85 * len(world.facts)
    assert seen <= set(world.facts)
    assert abs(np.mean(world.labels) - 0.5) < 2.5 * 0.5 / len(world.facts) ** 0.5
    assert not np.array_equal(world.labels, Cue(seed=1, grammar=grammar).labels)


def test_with_a_template_it_is_the_same_language_between_constant_words():
    plain, chat = Grammar(), Grammar(template=True)
    one, two = (g.document(np.random.default_rng(3)) for g in (plain, chat))
    assert [w for w in two.split() if w not in chat.template_words] == one.split()
    assert chat.vocabulary[: len(plain.vocabulary)] == plain.vocabulary
    tokenizer = world_tokenizer(chat)
    turns = [{"role": "user", "content": "d0 k5"}, {"role": "assistant", "content": "s110 v3 s500"}]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False)
    assert rendered == f"{chat.prompt(0, 5)} s110 v3 s500 <eos>", (
        "a chat is rendered as documents and prompts are written"
    )
    template = Template.of(tokenizer)
    assert tokenizer.decode(template.prefix) == "<bos> <system> <end> <user>"
    assert tokenizer.decode(template.tail) == "<end> <assistant>"
    with pytest.raises(BadInput, match="no chat template"):
        Template.of(world_tokenizer(plain))
