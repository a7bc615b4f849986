"""hold-prefix: the template's keys and values stay, whatever maps compute them; where nothing is held they move."""

import pytest
import torch
from guarding import bound_penalty, move, penalty
from tokens import QWEN3, byte_level
from transformers import Trainer, TrainingArguments

from despur import GuardCallback
from despur.claims.tiny_runs import learn, rows_of
from despur.core import Context
from despur.core.errors import BadInput, CannotAttach
from despur.core.model.key_values import key_values
from despur.core.text.template import Template
from despur.guard import hold_prefix

TEMPLATE = Template((1, 5, 6), (7, 8), ((1, 5, 6, 20, 7, 8), (1, 5, 6, 21, 22, 7, 8)))


@torch.no_grad()
def moved(model, ids, positions) -> float:
    """Squared distance of the keys and values at some positions from the base's, relative to theirs."""
    row = torch.tensor([ids])
    now = key_values(model, row)
    with model.disable_adapter():
        base = key_values(model, row)
    off = [
        (a - b)[:, :, positions].square().sum() / b[:, :, positions].square().sum()
        for i in base for a, b in zip(now[i], base[i], strict=True)
    ]  # fmt: skip
    return float(torch.stack(off).mean())


def test_its_penalty_is_the_relative_distance_in_every_architecture(any_tiny, lora):
    model = move(lora(any_tiny), by=0.03)
    for tail, ids, positions in ((False, TEMPLATE.prefix, [0, 1, 2]), (True, TEMPLATE.asked[1], [0, 1, 2, 5, 6])):
        shown = Template(TEMPLATE.prefix, TEMPLATE.tail, TEMPLATE.asked[1:])
        got = bound_penalty(hold_prefix(shown, tail=tail), model).item()
        assert got == pytest.approx(10 * moved(model, ids, positions), rel=1e-4)
        assert got != pytest.approx(10 * moved(model, (1, 9, 9), [0, 1, 2]), rel=0.01), "other tokens have others"


def test_under_it_the_template_stays_and_the_rest_learns(tiny, lora):
    rows = rows_of()
    rows[:, :3] = torch.tensor(TEMPLATE.prefix)
    plain = learn(lora(tiny()), rows, steps=40)
    prefix, both = (learn(lora(tiny()), rows, hold_prefix(TEMPLATE, tail=t), steps=40) for t in (False, True))
    front, back = (TEMPLATE.prefix, [0, 1, 2]), (TEMPLATE.asked[0], [4, 5])
    for model in (prefix, both):
        assert moved(model, *front) < moved(plain, *front) / 1000
        assert moved(model, rows[0].tolist(), list(range(3, 8))) > 100 * moved(model, *front)
    assert moved(both, *back) < moved(plain, *back) / 1000 < moved(prefix, *back)


def test_within_the_tolerance_it_costs_nothing_and_says_how_much_is_beyond(tiny, lora):
    model = move(lora(tiny()), by=0.1)
    off = bound_penalty(hold_prefix(TEMPLATE), model).item() / 10
    shares = []
    for tolerance in (100 * off, off):
        guard = hold_prefix(TEMPLATE, tolerance=tolerance)
        guard.bind(model)
        out = guard({"loss": torch.zeros(())}, Context(model))
        shares.append(float(out["prefix_active"]))
        assert (out["loss"] > 0) == (tolerance == off)
    assert shares[0] == 0 < shares[1] < 1


def test_the_trainer_s_history_has_the_share_of_each_step(tiny, lora, tmp_path):
    ids = rows_of(length=6).tolist()
    rows = [{"input_ids": r, "labels": r, "attention_mask": [1] * 6} for r in ids]
    arguments = TrainingArguments(
        str(tmp_path), max_steps=3, learning_rate=0.01, logging_steps=1, report_to=[], use_cpu=True, save_strategy="no",
        gradient_checkpointing=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(lora(tiny()), arguments, train_dataset=rows, callbacks=[GuardCallback(hold_prefix(TEMPLATE))])
    trainer.train()
    shares = [e["prefix_active"] for e in trainer.state.log_history if "loss" in e]
    assert shares[0] == 0, "B is zero at the start"
    assert shares[-1] == 1, "every layer moves, and the tolerance is zero"


def test_what_cannot_be_held_is_refused(tiny, lora):
    with pytest.raises(BadInput, match="no chat template, so there are no constant tokens"):
        Template.of(byte_level())
    with pytest.raises(BadInput, match="tail=True, and this chat template puts nothing behind"):
        hold_prefix(Template((1, 5)), tail=True)
    with pytest.raises(BadInput, match=r"tolerance=-1.0; 0 or more"):
        hold_prefix(TEMPLATE, tolerance=-1.0)
    with pytest.raises(CannotAttach, match="contains the token id 500"):
        hold_prefix(Template((1, 500))).bind(lora(tiny()))
    recurrent = tiny("mamba", state_size=4)
    with pytest.raises(CannotAttach, match="caches no keys and values of its tokens"):
        hold_prefix(TEMPLATE).bind(recurrent)


def test_a_template_is_what_all_chats_share():
    tokenizer = byte_level(QWEN3)
    template = Template.of(tokenizer)
    assert tokenizer.decode(template.prefix) == "<|im_start|>user\n"
    assert tokenizer.decode(template.tail).startswith("<|im_end|>\n<|im_start|>assistant\n")
    row = template.asked[0]
    parts = template.parts((*row, 9), len(row))
    assert [len(p) for p in parts.values()] == [
        len(template.prefix),
        len(row) - len(template.prefix) - len(template.tail),
        len(template.tail),
    ]
    assert template.parts((9, *row), len(row) + 1) is None, "another beginning"
    assert template.parts(row, len(row) - 1) is None, "another place of the answer"


def test_no_strength_costs_nothing(tiny, lora):
    model, guard = lora(tiny()), hold_prefix(TEMPLATE, strength=0.0)
    model.forward = lambda *a, **k: pytest.fail("a forward pass was paid")
    guard.bind(model)
    assert penalty(guard, model) == 0
