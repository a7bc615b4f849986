"""first-tokens: holds how answers begin, and nothing behind; what it is built from in a run."""

import json

import pytest
import torch

from despur.claims.tiny_runs import fresh_lora, move, penalty, sharpen
from despur.core import Context
from despur.core.errors import BadInput
from despur.flows import Settings, train
from despur.flows._compare.bench import Bench
from despur.flows._train.guarding import check_choices
from despur.flows.text_files import load_text
from despur.guard import OwnText, first_tokens, rehearse
from despur.guard.first_tokens import QUESTIONS, TOKENS
from despur.worlds import Grammar, Persona, find_world

LONG = OwnText(((1, 5, 9, 30, 31, 32, 33), (1, 6, 7, 40, 41, 42, 43)), starts=(3, 2))


def test_answers_are_cut_and_what_begins_alike_is_held_once():
    same = OwnText((*LONG.rows, (1, 5, 9, 30, 31, 50)), starts=(3, 2, 3))
    edit = first_tokens(same, tokens=2)
    assert edit.text.rows == ((1, 5, 9, 30, 31), (1, 6, 7, 40))
    assert edit.text.starts == (3, 2)
    assert "first-tokens" in str(edit.spec)
    assert "tokens=2" in str(edit.spec)


def test_it_is_rehearse_on_the_beginnings_and_does_not_see_what_comes_behind():
    model = sharpen(move(fresh_lora(), 3)).eval()
    short = OwnText(
        tuple(row[: start + 2] for row, start in zip(LONG.rows, LONG.starts, strict=True)), starts=LONG.starts
    )
    held, same, whole = (
        first_tokens(LONG, tokens=2),
        rehearse(short, strength=0.5, budget=0.5),
        rehearse(LONG, strength=0.5),
    )
    for edit in (held, same, whole):
        edit.bind(model)
    assert penalty(held, model) == penalty(same, model) > 0
    assert abs(penalty(held, model) - penalty(whole, model)) > 0.01 * penalty(held, model)


def test_at_strength_zero_the_loss_is_the_same_tensor():
    edit = first_tokens(LONG, strength=0.0)
    edit.bind(fresh_lora())
    loss = torch.ones((), requires_grad=True)
    assert edit({"loss": loss}, Context(fresh_lora()))["loss"] is loss


@pytest.mark.parametrize(
    ("given", "message"), [({"tokens": 0}, "tokens=0; it is how many"), ({"budget": 0.0}, "budget=0")], ids=str
)
def test_what_holds_nothing_is_refused(given, message):
    with pytest.raises(BadInput, match=message):
        first_tokens(LONG, **given)


def test_a_comparison_writes_very_many_short_answers_for_it(tmp_path):
    bench = Bench(tmp_path, find_world("persona_chat"), 0)
    beginnings = bench.materials.get("beginnings")
    lengths = [len(row) - start for row, start in zip(beginnings.rows, beginnings.starts, strict=True)]
    assert max(lengths) <= TOKENS
    assert len(beginnings.rows) > QUESTIONS / 4
    assert len({row[:start] for row, start in zip(beginnings.rows, beginnings.starts, strict=True)}) > QUESTIONS / 8, (
        "many questions"
    )


def test_a_run_writes_the_beginnings_itself(tmp_path):
    world = Persona("narrow", Grammar(template=True))
    model, tokenizer = world.base()
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in world.rows(n=160, seed=1)))
    given = {
        "settings": Settings(steps=40, lr=2e-3, batch=16, rank=8),
        "own_rows": 64,
        "own_tokens": 24,
        "scout_steps": 30,
    }
    result = train(str(tmp_path / "base"), tmp_path / "rows.jsonl", out=tmp_path / "run", guard="first-tokens", **given)
    assert result.axes["scout"]["drift"].value == pytest.approx(1), "the harm is there without a guard"
    assert result.axes["first-tokens"]["drift"].value < 0.2
    assert result.axes["first-tokens"]["task"].value > 0.8
    assert json.loads((result.adapter / "guard.json").read_text())["guard"] == "first-tokens"
    assert load_text(tmp_path / "run/beginnings") != load_text(tmp_path / "run/own_text")


def test_a_run_needs_nothing_more_for_it():
    check_choices(
        "first-tokens",
        rounds=1,
        scouts=1,
        factors=None,
        scout=None,
        scout_steps=None,
        options={"tokens": "4"},
        given={},
    )
