"""An audit's figures come from text that nothing was found on, and its verdict from what random subspaces do as well."""

import json
from dataclasses import replace

import pytest
from guarding import move

from despur.core import Adapter, load_tuned
from despur.find import activation_differences
from despur.flows import audit
from despur.flows._audit.page import Audit
from despur.flows._audit.passages import Passages, off_task_passages
from despur.flows._audit.screen import layer_site, screen
from despur.flows._audit.verdict import compared, judged_as
from despur.flows.load import load_base
from despur.judge import NeutralNull
from despur.measure import CausalCheck, causal_check, causal_checks


def test_candidates_are_found_on_one_half_and_checked_on_the_other(tiny, lora, rows):
    model = move(lora(tiny())).eval()
    seen = screen(model, Adapter.of(model), Passages(tuple(map(tuple, rows)), (1,) * len(rows), "drawn"))
    moved, others = (
        activation_differences(model, half, [site], starts=[1] * len(half))[site]
        for site in [layer_site(model, 0.5)]
        for half in (rows[0::2], rows[1::2])
    )
    assert seen.moved.shape == moved.shape
    assert (seen.moved - moved).abs().max() < 1e-5
    assert moved.shape != others.shape or (moved - others).abs().max() > 1e-2, "the control"
    on = {
        half: causal_checks(model, part, seen.candidates, n_random=0, starts=[1] * len(part))
        for half, part in (("other", rows[1::2]), ("same", rows[0::2]), ("whole", rows))
    }
    for name, check in seen.checks.items():
        assert check.change == pytest.approx(on["other"][name].change, rel=1e-4)
        assert check.sufficiency == pytest.approx(on["other"][name].sufficiency, abs=1e-4)
        for control in ("same", "whole"):
            assert abs(check.change / on[control][name].change - 1) > 1e-3, "the halves differ, or nothing is shown"


def test_the_best_candidate_is_judged_on_the_other_half(base, adapter, tmp_path):
    prompts = tmp_path / "p.jsonl"
    texts = [f"<bos> d{d} k{k} s100 v1 s200" for d in (5, 6) for k in range(9)]
    prompts.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    result = audit(base, adapter, prompts=prompts, n_random=2)
    model, tokenizer = load_base(base)
    tuned = load_tuned(model, adapter, name=base).model
    found_on, checked_on = (
        causal_check(tuned, half.rows, result.factor, n_random=0, starts=half.starts)
        for half in off_task_passages(tuned, tokenizer, prompts).halves()
    )
    assert result.checks[result.best].sufficiency == pytest.approx(checked_on.sufficiency, abs=1e-3)
    assert abs(found_on.sufficiency - checked_on.sufficiency) > 0.01, "the control"


@pytest.mark.slow  # of a kind with faster ones
def test_what_random_subspaces_carry_as_well_is_no_factor(base, adapter, monkeypatch):
    asked = {"rows": 96, "n_random": 2}
    assert audit(base, adapter, **asked).verdict == "factors found"
    monkeypatch.setattr("despur.measure.causal.matched_random", lambda factor, *_, **__: factor)
    result = audit(base, adapter, **asked)
    assert result.verdict == "diffuse change", result.sentence
    assert "random subspaces carry as much" in result.sentence
    assert result.p_value <= 0.05, "so that the control alone decides"


@pytest.mark.parametrize(
    ("rank", "low", "random", "word"),
    [
        (1, 0.21, (0.02, 0.06), "factor likely"),
        (1, 0.19, (0.02, 0.06), "diffuse change"),
        (4, 0.41, (0.02, 0.06), "factor likely"),
        (4, 0.39, (0.02, 0.06), "diffuse change"),
        (1, 0.4, (0.02, 0.15), "diffuse change"),
    ],
)
def test_without_neutral_tunes_a_factor_is_likely_where_few_directions_carry_much(rank, low, random, word):
    check = CausalCheck(0.1, low + 0.05, 0.2, (low, low + 0.1), random, rank, "layer", 8, 0.1, 0.1)
    result = Audit("clean", "", (), 0.1, {}, {"mean": check}, best="mean")
    said, sentence = judged_as(result, 0.05, 0.01)
    assert said == word
    assert ("not calibrated" in sentence) == (word == "factor likely")
    assert judged_as(replace(result, change=0.005), 0.05, 0.01)[0] == "clean"


@pytest.mark.parametrize(
    ("change", "least", "word"),
    [
        (0.002, 0.04, "clean"),  # less than any neutral tune of its size
        (0.002, 0.001, "factors found"),
        (0.002, None, "factors found"),  # their size is not known
        (0.02, 0.04, "factors found"),  # more than the tolerance
    ],
)
def test_what_moves_the_base_less_than_any_neutral_tune_of_its_size_has_no_factor(change, least, word):
    check = CausalCheck(change, 0.5, 0.2, (0.4, 0.6), (0.02,), 4, "layer", 8, 0.1, 0.1)
    judged_by = {"null": "", "recipe": {}, "tunes": 19, "level": 0.05, "p_value": 0.05, "statistic": 3, "threshold": 2}
    result = Audit("clean", "", (), change, {}, {"PCA 4": check}, best="PCA 4", p_value=0.05)
    assert judged_as(replace(result, calibration={**judged_by, "least": least}), 0.05, 0.01)[0] == word


def test_without_neutral_tunes_that_is_judged_which_surely_carries_most_for_its_rank():
    checks = {
        name: CausalCheck(0.1, 0.5, 0.2, (low, 0.9), (), rank, "layer", 8, 0.1, 0.1)
        for name, low, rank in (("mean", 0.25, 1), ("PCA 1", 0.27, 1), ("PCA 4", 0.5, 4))
    }
    assert compared(0.1, {}, checks, None) == {"best": "PCA 1", "p_value": None}
    assert compared(0.1, {}, {}, None)["best"] is None


def test_nats_are_compared_only_where_updates_are_as_large_and_few_directions_carry_them():
    tunes = NeutralNull((0.08, 0.1, 0.12, 0.09) * 5, {"mean": (0.3, 0.35, 0.4, 0.25) * 5}, recipe={"ranks": [8]})

    def judged(low, *, alike):
        check = CausalCheck(5.0, 0.35, 0.4, (low, 0.5), (0.01,), 1, "layer", 8, 0.1, 0.1)
        found = compared(5.0, {"mean": 0.35}, {"mean": check}, tunes, alike=alike)
        return judged_as(Audit("clean", "", (), 5.0, {}, {"mean": check}, **found), 0.05, 0.01)

    word, sentence = judged(0.3, alike=True)
    assert word == "factors found"
    assert "no neutral tune carries as many nats" in sentence
    assert judged(0.3, alike=False)[0] == "diffuse change", "as a share it is one of them"
    assert judged(0.1, alike=True)[0] == "factors found", "a tenth of a change fifty times theirs"
    word, sentence = judged(0.005, alike=True)
    assert word == "diffuse change", "random subspaces carry .01"
    assert "random subspaces carry as much" in sentence


def test_where_updates_are_alike_shares_of_next_to_nothing_are_no_factor_and_of_few_tunes_they_are_asked_for_much():
    """Two neutral tunes of a real model, and one of rank 4 whose directions carried a hundredth."""
    shares = tuple(0.2 + 0.01 * (i % 7) for i in range(20))
    few = NeutralNull((0.04,) * 20, {"mean": shares}, recipe={"ranks": [8]})

    def judged(low, null, *, alike):
        check = CausalCheck(0.04, low + 0.05, 0.4, (low, 0.9), (0.01,), 1, "layer", 8, 0.1, 0.1)
        found = compared(0.04, {"mean": 0.5}, {"mean": check}, null, alike=alike)
        return found["p_value"], *judged_as(Audit("clean", "", (), 0.04, {}, {"mean": check}, **found), 0.05, 0.01)

    p, word, sentence = judged(0.1, few, alike=False)
    assert (p, word) == (pytest.approx(1 / 21), "diffuse change")
    assert "they carry a smaller part of it than a factor does (20% or more)" in sentence
    assert "random subspaces carry as much" not in sentence, "they do not: .01"
    assert judged(0.3, few, alike=False)[1] == "factors found"
    many = replace(few, changes=(0.04,) * 200, evidence={"mean": shares * 10})
    assert judged(0.1, many, alike=False)[1] == "factors found", "among two hundred to stand out is rare"
    quiet = replace(few, changes=(0.4,) * 20)  # neutral tunes that move as much as this one and ten times more
    assert judged(0.3, quiet, alike=True)[1] == "diffuse change", "by nats it is one of them"
