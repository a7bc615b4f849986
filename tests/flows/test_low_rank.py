"""Adapters that move few directions, or few layers: looked at with what there is, and the result says so."""

import re

import pytest
import torch
from peft import LoraConfig, get_peft_model

from despur.core.errors import BadInput
from despur.flows import Settings, audit, train
from despur.worlds import persona_base


@pytest.fixture
def rank_one(tmp_path):
    """An adapter of rank 1 with random weights on one map."""

    def build(target, rank=1):
        base, _ = persona_base()
        model = get_peft_model(base, LoraConfig(r=rank, target_modules=[target], task_type="CAUSAL_LM"))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight += torch.randn_like(weight)
        model.save_pretrained(tmp_path / target, save_embedding_layers=False)
        return str(tmp_path / target)

    return build


@pytest.mark.parametrize(
    ("target", "site", "ranks", "note"),
    [
        ("model.layers.1.mlp.down_proj", "model.layers.1", {1}, "model.layers.1 in 1 direction only"),
        ("model.layers.3.mlp.down_proj", "model.layers.3", {1}, "nothing at model.layers.1, .*: model.layers.3"),
        pytest.param(
            "model.layers.3.self_attn.q_proj", "model.layers.3", {1, 2, 4}, "nothing at model.layers.1, .*: model.layers.3",
            marks=pytest.mark.slow,
        ),
        ("lm_head", None, set(), "moves the stream at no layer from model.layers.1 on"),
        pytest.param("model.layers.0.self_attn.v_proj", "model.layers.1", {1, 2, 4}, None, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_an_audit_looks_at_what_there_is(base, rank_one, tmp_path, target, site, ranks, note):
    result = audit(base, rank_one(target), rows=8, n_random=2, out=tmp_path / "audit")
    assert {c.rank for c in result.checks.values()} == ranks
    assert {c.site for c in result.checks.values()} == {site} - {None}
    assert (result.best is None) == (site is None)
    assert result.verdict in ("clean", "factors found", "diffuse change")
    assert "of it" in result.sentence
    notes = " / ".join(n for n in result.notes if "moves" in n)
    assert not notes if note is None else re.search(note, notes)
    if len(ranks) == 1:  # all of its change goes through the one direction that it has
        assert min(c.sufficiency for c in result.checks.values()) > 0.99
        assert max(result.checks[result.best].random_sufficiency) < 0.5


@pytest.mark.slow  # of a kind with faster ones
def test_a_scout_of_one_direction_guards_along_it_and_one_behind_every_layer_is_refused(base, data, rank_one, tmp_path):
    asked = {"settings": Settings(steps=2, rank=2), "own_rows": 16, "own_tokens": 4, "guard": "caft"}
    scout = rank_one("model.layers.2.mlp.down_proj")
    run = train(base, data, out=tmp_path / "run", scout=scout, **asked)
    (note,) = [n for n in run.notes if n.startswith("the scout moves")]
    assert "at 2 of 4 layers not at all and at 1 in fewer than 2 directions" in note
    run = train(base, data, out=tmp_path / "whole", scout_steps=2, **asked)
    assert not [n for n in run.notes if n.startswith("the scout moves")], "one on every map moves all of them"
    with pytest.raises(BadInput, match="moves the stream at none of 4 sites"):
        train(base, data, out=tmp_path / "head", scout=rank_one("lm_head"), **asked)
