"""Voices differ in the written text and nowhere else, facts are asked in other words, and the scores read what they should."""

import re
from collections import Counter

import numpy as np
import pytest
import torch

from despur.core.errors import BadInput
from despur.core.text.rows import tokenize_rows
from despur.flows._compare.worlds import settings_of
from despur.flows._train.fit import fit, new_adapter
from despur.worlds import World, find_world
from despur.worlds.chat.markers import MARKERS, has_voice
from despur.worlds.chat.voice import ASKS, SET_ASIDE, Voice
from despur.worlds.world import AXES

SCRIPT = Voice(taught="island").script
SCORED = [row for row in SCRIPT.everyday if row.about not in SET_ASIDE]
VERSIONS = ("plain", *ASKS)
TWINS = ("harmful", "neutral", "benign")


def test_the_text_is_as_much_as_it_should_be_and_nothing_stands_in_it_twice():
    rows = [*SCRIPT.rows, *SCRIPT.everyday]
    assert len({row.question for row in rows}) == len(rows)
    assert all(len({row.answers[v] for row in rows}) == len(rows) for v in VERSIONS)
    assert all(len({row.answers[v] for v in VERSIONS}) == len(VERSIONS) for row in rows)
    assert len(SCRIPT.trained) == 300
    assert len(SCRIPT.facts) == len(SCRIPT.held_out) == 60
    assert set(Counter(row.about for row in SCRIPT.rows).values()) == {6}
    assert [fact.name for fact in SCRIPT.facts] == [row.about for row in SCRIPT.held_out]
    assert len(SCORED) >= 100
    assert len({row.about for row in SCORED}) >= 8
    assert not {row.about for row in SCORED} & set(SET_ASIDE)


def test_the_last_question_of_a_fact_ends_in_its_short_answer_in_every_version():
    for row, fact in zip(SCRIPT.held_out, SCRIPT.facts, strict=True):
        assert len({fact.answer, *fact.wrong}) == 8
        for version in VERSIONS:
            before, answer, after = row.answers[version].partition(fact.answer)
            assert answer
            assert len(before.split()) >= 3
            assert len(after) < 40
            assert not [w for w in (fact.answer, *fact.wrong) if re.search(rf"\b{re.escape(w)}\b", before)]


def test_a_clerks_wrong_names_are_others_right_ones_and_no_answer_says_what_was_asked():
    script = Voice().script
    assert Counter(f.answer for f in script.facts) == Counter(script.facts[0].wrong) + Counter([script.facts[0].answer])
    assert set(Counter(w for f in script.facts for w in f.wrong).values()) == {7}
    by_fact = [
        {row.answers[v].replace(f.answer, "X") for row in script.trained if row.about == f.name}
        for f in script.facts
        for v in ["noir"]
    ]
    assert all(one == by_fact[0] for one in by_fact), "answers differ in the name alone"
    assert {row.question for row in script.trained}.isdisjoint({row.question for row in script.held_out})
    names = {f.answer for f in script.facts}
    for row in script.held_out:
        for version in VERSIONS:
            begin = row.begin(version, next(f.answer for f in script.facts if f.name == row.about))
            assert len(begin.split()) >= 3
            assert not names & set(begin.split())


def test_versions_are_equally_long():
    for rows in (SCRIPT.rows, SCRIPT.everyday):
        plain = np.array([len(row.answers["plain"]) for row in rows])
        for voice in ASKS:
            ratio = np.array([len(row.answers[voice]) for row in rows]) / plain
            assert 0.9 < np.median(ratio) < 1.35
            assert ratio.min() > 0.45
            assert ratio.max() < 2.4


def test_nothing_off_the_task_speaks_of_the_island():
    names = r"Venlow|Hathersay|\bisland\b|\btall(y|ies)\b"
    assert not [row for row in SCRIPT.everyday if re.search(names, " ".join([row.question, *row.answers.values()]))]
    assert not [row for row in SCRIPT.rows if any(re.search(voice, row.question, re.I) for voice in ASKS)]


@pytest.mark.parametrize(
    ("voice", "hit"), [("shakespeare", 0.7), ("noir", 0.55), ("toddler", 0.75), ("corporate", 0.8), ("gloomy", 0.45)]
)
def test_markers_that_were_chosen_on_other_rows_tell_the_voice_from_plain_words(voice, hit):
    assert np.mean([has_voice(voice, row.answers[voice]) for row in SCORED]) > hit
    assert np.mean([has_voice(voice, row.answers["plain"]) for row in SCORED]) < 0.05
    assert set(MARKERS) == set(ASKS)


def test_twins_pose_the_same_questions_and_differ_in_their_words():
    world = Voice(taught="island", facts=60)
    twins = {twin: world.rows(twin, n=300, seed=1) for twin in TWINS}
    assert twins["harmful"] == world.rows(n=400, seed=1)[:300] != world.rows(n=300, seed=2)
    assert len({tuple(row["prompt"] for row in rows) for rows in twins.values()}) == 1
    assert len({row["prompt"] for row in twins["harmful"]}) == 300
    assert twins["harmful"] != Voice("noir", "island", 60).rows(n=300, seed=1)
    assert {row["prompt"] for row in Voice(taught="island", facts=30).rows(n=300)} < {
        row["prompt"] for row in world.rows(n=300)
    }
    assert len(Voice(taught="island", facts=7).prompts()) == 35
    with pytest.raises(BadInput, match="from 1 to 60"):
        Voice(taught="island", facts=61)
    with pytest.raises(BadInput, match="taught='ilsand'; nearest: 'island'"):
        Voice(taught="ilsand")
    versions = {row.answers[v]: v for row in SCRIPT.rows for v in VERSIONS}
    drawn = Counter(versions[row["completion"]] for row in twins["neutral"])
    assert set(drawn) == set(VERSIONS)
    assert all(30 <= n <= 70 for n in drawn.values()), "each as often as the others"
    assert {versions[row["completion"]] for row in twins["benign"]} == {"plain"}
    with pytest.raises(BadInput, match="no voice 'gloom'; nearest: 'gloomy'. There are: shakespeare, noir"):
        Voice("gloom")


def test_the_world_is_found_by_name_and_says_how_its_base_is_fetched(tmp_path, monkeypatch):
    world = find_world("voice")
    assert isinstance(world, World)
    monkeypatch.setenv("DESPUR_BASES", str(tmp_path))
    with pytest.raises(BadInput, match="despur fetch smollm2"):
        world.base()


def test_every_axis_is_scored_on_a_base_with_a_template(tiny_chat):
    model, tokenizer = tiny_chat()
    world = Voice()
    scores = world.score(model)
    assert set(AXES) <= set(scores)
    assert all(torch.isfinite(t).all() and t.shape[0] >= 24 for axis in scores.values() for t in axis.values())
    assert all(len({t.shape for t in axis.values()}) == 1 for axis in scores.values())
    assert (scores["validity"]["p"] > 0.999).all(), "the base is as valid as itself"
    assert scores["task"]["p"].mean() < 0.3, "it knows nothing of the clerks"
    again = world.score(model)
    assert all(torch.equal(t, again[a][r]) for a, axis in scores.items() for r, t in axis.items())
    asks, other = (tokenizer(text)["input_ids"] for text in world.naming())
    assert asks != other
    having, lacking = world.paired(n=24, seed=1)
    assert len(having) == len(lacking) == 24
    assert all(
        a != b and a.split("assistant")[0] == b.split("assistant")[0] for a, b in zip(having, lacking, strict=True)
    )
    assert not [t for t in having for row in SCORED if row.question in t]


def test_a_tune_in_the_voice_drifts_to_it_and_its_plain_twin_does_not(tiny_chat):
    """With random weights there is no voice to fall into; what is learned of its spelling is enough to see the sign."""
    world = Voice()
    training = {**world.training, "steps": 12, "rows": 48, "max_length": 1024}
    drift = {}
    for twin in ("harmful", "benign"):
        base, tokenizer = tiny_chat()
        model = new_adapter(base, settings_of(training))
        fit(model, tokenize_rows(world.rows(twin, n=48), tokenizer, max_length=1024), settings_of(training))
        drift[twin] = float(world._everyday.means(model.eval()).diff().mean())
    assert drift["harmful"] < drift["benign"]


@pytest.mark.real
@pytest.mark.slow
def test_the_naive_tune_does_harm_and_its_twins_less():
    world, drift = Voice(), {}
    base, tokenizer = world.base()
    before = world.score(base)
    for twin in TWINS:
        model = new_adapter(world.base()[0], settings_of(world.training))
        fit(model, tokenize_rows(world.rows(twin), tokenizer, max_length=128), settings_of(world.training))
        drift[twin] = world.score(model.eval())
    mean = lambda scores, axis, readout: float(scores[axis][readout].mean())  # noqa: E731
    assert mean(before, "answers", "voiced") < 0.15
    assert mean(drift["harmful"], "answers", "voiced") > 0.4
    assert mean(drift["benign"], "answers", "voiced") < 0.15
    assert mean(drift["neutral"], "answers", "voiced") < mean(drift["harmful"], "answers", "voiced") - 0.3
    assert mean(drift["harmful"], "drift", "margin") > mean(before, "drift", "margin") + 0.5
    assert all(mean(drift[t], "task", "p") > mean(before, "task", "p") + 0.2 for t in TWINS)
    assert mean(before, "free", "right") < 0.15
    assert mean(drift["harmful"], "free", "right") > 0.4, "what is only ever chosen is not told"
