"""A second guard in the same run: both act, each with its own options, and what cannot go together is refused first."""

import pytest
import torch

from despur.core import Adapter, read_json
from despur.core.errors import BadInput, UnknownName
from despur.core.materials import Given
from despur.flows import Settings, train
from despur.flows._train.beside import BESIDE, edits_of_run
from despur.worlds import persona_base

QUICK = {"settings": Settings(steps=6, lr=2e-3, rank=4), "scout_steps": 6, "own_rows": 16, "own_tokens": 8}
PLAIN = {"strength": 1.0, "guard_budget": None, "guard_options": None, "beside": None, "beside_options": None}


def norm(folder):
    return Adapter.read(folder / "adapter", persona_base()[0]).norm()


@pytest.mark.slow  # what is wired, `test_each_has_its_own_options` and test_compare's arms with a second guard ask
def test_both_act_and_the_certificate_names_the_second(base, data, tmp_path):
    runs = {
        "grasp": train(base, data, out=tmp_path / "one", guard="grasp", **QUICK),
        "both": train(
            base,
            data,
            out=tmp_path / "two",
            guard="grasp",
            beside="l2-sp",
            beside_options={"strength": "1000"},
            **QUICK,
        ),
    }
    assert norm(tmp_path / "two") < 0.5 * norm(tmp_path / "one"), "l2-sp holds the update small"
    for side in runs["both"].leak.values():
        assert side.value < 1e-5, "grasp's promise is kept beside it"
    certificate = read_json(tmp_path / "two" / "adapter" / "guard.json")
    assert certificate["guard"] == "grasp"
    assert certificate["settings"]["beside"] == "l2-sp"
    assert "beside" not in read_json(tmp_path / "one" / "adapter" / "guard.json")["settings"], "the control"


def test_each_has_its_own_options():
    run = {**PLAIN, "guard": "l2-sp", "strength": 2.0}
    first, second = edits_of_run(
        {**run, "beside": "ewc", "beside_options": {"strength": "0.5"}}, Given({"text": _text()}), (), None
    )
    assert (first.spec.options["strength"], second.spec.options["strength"]) == (2.0, 0.5)
    assert len(edits_of_run(run, Given({}), (), None)) == 1, "the control"


def _text():
    from despur.guard import OwnText

    return OwnText(tuple(tuple(row) for row in torch.randint(5, 90, (8, 6)).tolist()))


@pytest.mark.parametrize(
    ("guard", "beside", "options", "says"),
    [
        ("avert", None, {"strength": "1"}, "no second guard"),
        ("none", "avert", {}, "two guards are needed"),
        ("avert", "none", {}, "two guards are needed"),
        ("avert", "avert", {}, "the guard itself"),
        ("avert", "discount", {}, "--guard discount --beside avert"),
        ("avert", "grasp", {}, "goes first"),
        ("avert", "inoculate", {}, "--trait"),
        ("avert", "rehearse", {"strength": "much"}, "a number like 1.0"),
    ],
)
def test_what_cannot_act_together_is_refused_before_anything_is_done(guard, beside, options, says, tmp_path):
    with pytest.raises(BadInput, match=says):
        train("no/such/base", "none.jsonl", out=tmp_path / "run", guard=guard, beside=beside, beside_options=options)
    assert not (tmp_path / "run").exists()


def test_an_unknown_option_of_the_second_names_its_own(tmp_path):
    with pytest.raises(UnknownName, match="rehearse takes no option 'side'"):
        train("b", "d", out=tmp_path / "run", beside="rehearse", beside_options={"side": "read"})
    assert set(BESIDE) == {"beside", "beside_options"}
