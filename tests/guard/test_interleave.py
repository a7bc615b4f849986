"""interleave: a tenth of other rows holds what those rows show, and only that; the telling ones are found."""

from pathlib import Path

import pytest
import torch

from despur import guarded
from despur.core import Context
from despur.core.errors import BadInput, CannotAttach
from despur.guard import OwnText, interleave, telling_rows


def rows(seed: int, n: int = 8, length: int = 6) -> list[tuple[int, ...]]:
    draw = torch.Generator().manual_seed(seed)
    return [(1, *torch.randint(7, 64, (length,), generator=draw).tolist()) for _ in range(n)]


def loss(model, text) -> float:
    ids = torch.tensor(text)
    with torch.no_grad():
        return model.eval()(input_ids=ids, labels=ids).loss.item()


def tuned(model, *edits, steps: int = 40):
    optimizer = torch.optim.Adam([p for p in model.train().parameters() if p.requires_grad], lr=1e-2)
    task = torch.tensor(rows(0, n=20))
    with guarded(model, optimizer, *edits):
        for _ in range(steps):
            model(input_ids=task, labels=task).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return model


def test_holds_what_the_text_shows_and_other_text_does_not_hold_it(tiny, lora):
    base, other = tiny(initializer_range=0.3), rows(2)
    ids = torch.tensor([[1, i] for i in range(30, 38)])
    for _ in range(5):  # what the base itself writes
        ids = torch.cat([ids, base(ids).logits[:, -1:].argmax(-1)], 1)
    kept = [tuple(row) for row in ids.tolist()]
    before = loss(base, kept)
    naive, held, control = (
        loss(tuned(lora(tiny(initializer_range=0.3)), *edits), kept)
        for edits in ([], [interleave(OwnText(tuple(kept)))], [interleave(OwnText(tuple(other)))])
    )
    assert naive > before + 1, "the tune forgets"
    assert held < before + 0.3 < before + 1 < control


def test_a_tenth_of_the_batch_is_added_and_the_tasks_rows_stay(tiny, own_text):
    guard, model = interleave(own_text), tiny()
    guard.bind(model)
    rng = torch.Generator().manual_seed(0)
    given = {k: torch.full((4, 5), v) for k, v in (("input_ids", 9), ("attention_mask", 1), ("labels", -100))}
    added = 0
    for _ in range(500):
        out = guard(given, Context(model, rng=rng))
        assert all(torch.equal(out[k][:4, :5], given[k]) for k in given)
        assert not out["attention_mask"][:4, 5:].any()
        for ids, mask, labels in zip(*(out[k][4:] for k in given), strict=True):
            row = tuple(ids[mask.bool()].tolist())
            assert row in own_text.rows
            assert tuple(labels[mask.bool()].tolist()) == row
            assert (labels[~mask.bool()] == -100).all()
            added += 1
    assert added / 2000 == pytest.approx(0.1, abs=0.02)
    answers = [{"input_ids": [1, 8, 9], "labels": [-100, -100, 9]}]
    guard = interleave(answers, strength=10.0)
    guard.bind(model)
    assert guard(given, Context(model))["labels"][4:, :3].tolist() == [[-100, -100, 9]] * 4


def test_telling_rows_are_those_that_the_scout_unlearned(tiny, lora, tmp_path):
    unlearned, other = rows(1, n=6), rows(2, n=6)

    def scout(text) -> Path:
        model, ids = lora(tiny()), torch.tensor(text)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        for _ in range(6):
            (-model(input_ids=ids, labels=ids).loss).backward()
            optimizer.step()
        model.save_pretrained(tmp_path / str(len(list(tmp_path.iterdir()))))
        return tmp_path / str(len(list(tmp_path.iterdir())) - 1)

    model = lora(tiny())
    pool = [{"input_ids": list(r), "labels": [-100, -100, *r[2:]]} for r in other + unlearned]
    picked = telling_rows(model, [scout(unlearned)], pool, keep=6, batch=5)
    assert sum(tuple(r["input_ids"]) in unlearned for r in picked) >= 5
    assert sum(tuple(r["input_ids"]) in unlearned for r in telling_rows(model, [scout(rows(3))], pool, keep=6)) <= 4
    assert list(model.peft_config) == ["default"]
    with pytest.raises(BadInput, match="0 scouts"):
        telling_rows(model, [], pool, keep=6)
    with pytest.raises(BadInput, match="keep 13 of 12"):
        telling_rows(model, [scout(rows(3))], pool, keep=13)


def test_refuses_what_it_cannot_do(tiny):
    with pytest.raises(BadInput, match="0 rows"):
        interleave([])
    with pytest.raises(CannotAttach, match="vocabulary of 64"):
        interleave(OwnText(((1, 64),))).bind(tiny())
