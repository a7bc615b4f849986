"""No row is measured that was trained on, and no text that a guard has seen: every forward pass is looked at."""

import json

import pytest
import torch
from transformers import LlamaForCausalLM

from despur.core.text.rows import tokenize_rows
from despur.flows import Settings, train
from despur.flows._compare.own import OwnWork
from despur.flows.text_files import load_text
from despur.worlds import PERSONA_BASE, Persona, persona_base

ROWS = list({json.dumps(r): r for r in Persona("narrow").rows(n=60, seed=1)}.values())[:40]


@pytest.fixture
def passes(monkeypatch):
    """Every row that a model was given: `(whether it was learning, ids)`, in order."""
    seen = []
    plain = LlamaForCausalLM.forward

    def forward(self, input_ids=None, attention_mask=None, **rest):
        learning = self.training and torch.is_grad_enabled()
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        seen.extend((learning, tuple(row[keep.bool()].tolist())) for row, keep in zip(input_ids, mask, strict=True))
        return plain(self, input_ids=input_ids, attention_mask=attention_mask, **rest)

    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    return seen


def ids_of(rows):
    return {tuple(r["input_ids"]) for r in tokenize_rows(rows, persona_base()[1], max_length=64)}


def test_a_run_is_measured_on_rows_and_text_that_it_did_not_learn(base, tmp_path, passes, monkeypatch):
    data, out = tmp_path / "data.jsonl", tmp_path / "run"
    data.write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    begun = {}
    # four questions to three models: what they write themselves is no row
    monkeypatch.setattr("despur.flows._train.run.what_they_say", lambda *_: {})
    monkeypatch.setattr("despur.flows._train.run.what_rows_ask", lambda *_: {})
    train(
        base, data, out=out, guard="rehearse", settings=Settings(steps=3, lr=1e-3, batch=16, rank=2), scout_steps=3,
        own_rows=48, own_tokens=12, progress=lambda name, *_: begun.setdefault(name, len(passes)),
    )  # fmt: skip
    learned = {ids for learning, ids in passes if learning}
    measured = {ids for _, ids in passes[begun["measure"] :]}
    every = ids_of(ROWS)
    held_out = measured & every
    assert len(held_out) == 4
    assert not held_out & learned
    assert held_out | (learned & every) == every, "three steps of sixteen see each of the others"
    own, fresh = (set(load_text(out / name).rows) for name in ("own_text", "fresh_text"))
    assert learned & own, "the control: the guard uses its text"
    assert measured & fresh
    assert not learned & (fresh - own)
    assert measured <= every | fresh


def test_ones_own_rows_are_measured_apart_from_those_that_guards_are_compared_on(tmp_path, passes):
    data, probes = tmp_path / "data.jsonl", tmp_path / "probes.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    probe = {"axis": "drift", "prompt": "d0 k1", "good": " v1", "bad": " v2"}
    probes.write_text((json.dumps(probe) + "\n") * 4)
    work = OwnWork(str(PERSONA_BASE), str(data), str(probes))
    work.score(persona_base()[0].eval())
    learned, measured = ids_of(work.rows()), {ids for _, ids in passes} & ids_of(ROWS)
    assert len(measured) == 8
    assert not learned & measured
    assert learned | measured == ids_of(ROWS)
