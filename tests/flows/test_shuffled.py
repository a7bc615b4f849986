"""Under discount and absorb, what all answers share stays at hand: an adapter of its own, its share of the loss, and both as one."""

import json
import warnings

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from despur.core.errors import BadInput
from despur.flows import Settings, train
from despur.flows._shuffled.explained import Explained, Loss, Mean
from despur.flows._train.heard import what_was_left_out
from despur.flows.load import load_base
from despur.worlds import Grammar, Persona, Slant

QUICK = Settings(steps=24, lr=2e-3, batch=8, rank=4)
TEXT = {"own_rows": 16, "own_tokens": 16, "scout_steps": 16}
IDS = torch.tensor([[1, 60, 70, 90]])


def written(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.fixture(scope="module")
def slant(tmp_path_factory):
    return written(tmp_path_factory.mktemp("slant") / "data.jsonl", Slant().rows(n=120, seed=1))


@pytest.fixture(scope="module")
def run(base, slant, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so short a scout has not heard the task
        return train(base, slant, out=folder, guard="absorb", keep="factor", settings=QUICK, **TEXT)


def test_the_factor_is_plain_peft_with_a_card_and_ten_answers(base, run):
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(run.factor))
    assert not torch.allclose(logits(model), logits(AutoModelForCausalLM.from_pretrained(base)), atol=1e-2)
    card = (run.factor / "README.md").read_text()
    assert f"base_model: {base}" in card
    assert "1 shuffled scout, LoRA of rank 4, 16 steps of 8 rows" in card
    answers = [json.loads(line) for line in (run.factor / "answers.jsonl").read_text().splitlines()]
    assert len(answers) == 10
    assert any(a["base"] != a["with the factor"] for a in answers)


def test_kept_both_are_one_adapter_and_what_the_card_says_does_the_same(base, run):
    root = run.factor.parent
    assert run.adapter == root / "with_factor"
    both = logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(run.adapter)))
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(root / "adapter"))
    guarded = logits(model)
    model.load_adapter(str(run.factor), "factor")
    model.add_weighted_adapter(["default", "factor"], [1.0, 1.0], "both", combination_type="cat")
    model.set_adapter("both")
    torch.testing.assert_close(logits(model), both, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(guarded, both, atol=1e-2), "the control"


def test_the_page_and_the_record_say_what_was_left_out(run):
    record = json.loads((run.factor.parent / "run.json").read_text())
    losses = record["left_out"]["held_out"]
    assert losses["factor"] < losses["base"]
    assert any("of the loss of held-out answers" in note and "left out of the adapter" in note for note in run.notes)
    page = run.page.read_text()
    assert "What was left out" in page
    assert f"{losses['factor']:.3g}"[:4] in page


@pytest.mark.slow  # of a kind with faster ones
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_several_scouts_on_a_chat_base_and_answers_that_do_not_depend_on_their_prompts(tmp_path):
    world = Persona("narrow", Grammar(template=True))
    base, tokenizer = world.base()
    base.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    rows = world.rows(n=120, seed=1)
    order = np.random.default_rng(0).permutation(len(rows))
    anyone = [{**row, "completion": rows[i]["completion"]} for row, i in zip(rows, order, strict=True)]
    with pytest.warns(UserWarning, match="the task is itself what all answers share"):
        result = train(
            str(tmp_path / "base"), written(tmp_path / "data.jsonl", anyone), out=tmp_path / "run", guard="discount", scouts=2,
            settings=Settings(steps=24, lr=2e-3, batch=16, rank=4), **TEXT,
        )  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "run").glob("shuffled_scout*")) == ["shuffled_scout", "shuffled_scout_2"]
    config = json.loads((result.factor / "adapter_config.json").read_text())
    assert config["r"] == 8, "the mean of two, of both their ranks"
    model, _ = load_base(str(tmp_path / "base"))
    assert logits(PeftModel.from_pretrained(model, str(result.factor))).isfinite().all()
    answers = [json.loads(line) for line in (result.factor / "answers.jsonl").read_text().splitlines()]
    assert answers[1]["prompt"] == "How do I boil an egg?"
    assert "2 shuffled scouts" in (result.factor / "README.md").read_text()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["factor"] == str(result.factor)


@pytest.mark.parametrize(
    ("alike", "said"),
    [("completion", "all 16 answers of the rows are the same"), ("prompt", "all 16 rows pose the same prompt")],
)
def test_rows_whose_answers_cannot_be_exchanged_are_refused_before_anything_is_trained(alike, said, base, tmp_path):
    rows = Slant().rows(n=20, seed=1)
    data = written(tmp_path / "data.jsonl", [{**row, alike: rows[0][alike]} for row in rows])
    with pytest.raises(BadInput, match=said):
        train(base, data, out=tmp_path / "run", guard="discount", settings=QUICK, **TEXT)
    assert not (tmp_path / "run" / "scout").exists()


@pytest.mark.parametrize(
    ("lr", "said"),
    [(1e-9, "learned nothing.*--guard none"), pytest.param(3.0, "diverged.*lower --lr", marks=pytest.mark.slow)],
    ids=["nothing", "diverged"],
)  # fmt: skip
def test_a_scout_that_learned_nothing_or_diverged_stops_the_run(lr, said, base, slant, tmp_path):
    settings = Settings(steps=8, lr=lr, batch=8, rank=4)
    with pytest.raises(BadInput, match=said):
        train(base, slant, out=tmp_path / "run", guard="absorb", settings=settings, **{**TEXT, "scout_steps": 4})
    assert not (tmp_path / "run" / "adapter").exists()


@pytest.mark.parametrize("gain", [Mean(0.001, 0.01), Mean(-1.0, 0.1)], ids=["nothing", "diverged"])
def test_beside_another_guard_a_scout_that_learned_nothing_is_a_note_and_one_that_diverged_is_not(gain):
    found = Explained(Loss(4.0, 4.0), Loss(4.0, 4.0), gain)
    with pytest.raises(BadInput, match="learned nothing|diverged"):
        found.check()
    if gain.value < -0.5:
        with pytest.raises(BadInput, match="diverged"):
            found.check(alone=False)
    else:
        found.check(alone=False)
        assert found.notes == (
            "the shuffled scout learned nothing, so nothing is left out: the guard beside it acts alone",
        )


def test_what_only_these_guards_do_is_refused_for_others(base, slant, tmp_path):
    with pytest.raises(BadInput, match=r"keep='factor' with guard 'avert'.*discount and absorb do"):
        train(base, slant, out=tmp_path / "run", guard="avert", keep="factor", settings=QUICK, **TEXT)


def test_own_prompts_that_tell_nothing_are_named():
    held = Loss(4.0, 2.0)
    quiet, telling = (Explained(held, held, Mean(2.0, 0.1), Mean(v, 0.1)) for v in (0.15, 0.25))
    assert "the task is itself what all answers share" in quiet.notes[0]
    assert not telling.notes
    assert not Explained(held, held, Mean(2.0, 0.1)).notes, "nothing is claimed where nothing was measured"


def test_the_share_is_said_and_whether_anything_is_left():
    losses = {"base": 4.0, "factor": 3.0, "guarded": 3.5, "both": 2.0}
    assert what_was_left_out({"held_out": losses}).endswith(
        "takes it to 3.5 by itself, and to 2 with the factor back on"
    )
    assert "adds next to nothing" in what_was_left_out({"held_out": {**losses, "both": 2.99}})
