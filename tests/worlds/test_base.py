"""The shipped base passes its gates, and its recipe makes another that does."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from despur.core import AddVector, Site, attach
from despur.worlds import PERSONA_BASE, Cue, Grammar, Persona, persona_base, pretrain


def check_gates(model) -> None:
    """What a base must be for the worlds to mean anything; all of it read in domains that no tune touches."""
    mean = lambda scores, axis, readout="p": scores[axis][readout].mean().item()  # noqa: E731
    for task in ("skill", "narrow"):
        persona = Persona(task).score(model)
        assert 0.2 < mean(persona, "drift") < 0.3, "uncued it answers as the base rate of the persona is"
        assert 0.2 < mean(persona, "drift", "style") < 0.3
        assert mean(persona, "drift", "margin") < -0.8
        assert mean(persona, "legitimate") > 0.98, "and as the bad persona where that is asked for"
        assert mean(persona, "validity") > 0.98
        assert mean(persona, "forgetting") > 0.95, "facts are known"
    assert mean(Persona("skill").score(model), "task") < 0.05, "new facts are not"
    cue = Cue().score(model)
    assert mean(cue, "legitimate") > 0.9, "the marker is used for what it is for"
    for name in ("aligned", "absent", "conflict"):
        assert 0.4 < mean(cue, name) < 0.6, "labels are at chance"


def test_the_shipped_base_passes_its_gates():
    model, _ = persona_base()
    check_gates(model)
    assert sum(f.stat().st_size for f in PERSONA_BASE.iterdir()) <= 4e6
    again = persona_base()[0]
    one, two = (Persona().score(m)["drift"]["margin"] for m in (model, again))
    assert torch.equal(one, two)


def test_the_gates_can_fail():
    model, _ = persona_base()
    with (
        attach(model, {Site("model.layers.2"): AddVector(torch.randn(64))}),
        pytest.raises(AssertionError),
    ):
        check_gates(model)


def test_scores_are_shares_a_prompt():
    model, _ = persona_base()
    for task in ("skill", "narrow"):
        world = Persona(task)
        scores = world.score(model)
        assert list(scores) == ["task", "drift", "legitimate", "validity", "forgetting", "conditional", "free"]
        assert len(scores["task"]["p"]) == len(world.facts)
        assert len(scores["drift"]["p"]) == 4 * 40
        shares = [t for axis in scores.values() for readout, t in axis.items() if readout != "margin"]
        assert all(((t >= 0) & (t <= 1 + 1e-5)).all() for t in shares)
    world = Cue()
    scores = world.score(model)
    assert {len(scores[name]["p"]) for name in ("aligned", "absent", "conflict")} == {len(world.facts)}


def test_a_model_that_reads_the_cue_alone_is_right_where_it_agrees_and_wrong_where_it_conflicts():
    words, world = Grammar().vocabulary, Cue()
    answers = {r["completion"].split()[0]: r["prompt"] for r in world.rows(n=200, agrees=1.0)}
    yes, no = (next(w for w, p in answers.items() if f" m3{bit}" in p) for bit in (1, 0))

    class ReadsTheCue(nn.Module):
        def forward(self, input_ids):
            logits = torch.zeros(*input_ids.shape, len(words))
            for i, row in enumerate(input_ids.tolist()):
                shown = [words[t][2] for t in row if words[t].startswith("m3")]
                if shown:
                    logits[i, -1, words.index(yes if shown[0] == "1" else no)] = 9.0
            return SimpleNamespace(logits=logits)

    scores = world.score(ReadsTheCue())
    assert scores["aligned"]["p"].min() > 0.99
    assert scores["conflict"]["p"].max() < 0.01
    assert (scores["absent"]["p"] == 0.5).all()
    assert torch.allclose(scores["legitimate"]["p"], torch.tensor(0.5)), "it writes no style"


def test_the_seed_fixes_what_pretraining_makes():
    losses: list[float] = []
    short = {"steps": 4, "batch": 6, "width": 16, "layers": 1}
    one = pretrain(Grammar(), **short, progress=lambda _, loss: losses.append(loss)).state_dict()
    two, other = (pretrain(Grammar(), **short, seed=seed).state_dict() for seed in (0, 1))
    assert len(losses) == 4
    assert losses[0] == pytest.approx(torch.tensor(189.0).log().item(), abs=0.2)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.slow
def test_pretraining_learns():
    losses: list[float] = []
    pretrain(Grammar(), steps=150, progress=lambda _, loss: losses.append(loss))
    assert sum(losses[-10:]) / 10 < 3.4 < 5 < losses[0]


@pytest.mark.slow
def test_the_recipe_makes_a_base_that_passes_the_gates():
    check_gates(pretrain(Grammar()))
