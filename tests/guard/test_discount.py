"""discount: exactly the scout's change of the logits, whatever the padding; and rows that it does not know stop the run."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from guarding import first_gradient

from despur.claims.guard.discount import discount as claim
from despur.claims.tiny_runs import fresh_lora, learn, move, rows_of, sharpen
from despur.core import Context
from despur.core.errors import BadInput, CannotAttach
from despur.guard import _lines, _offsets, discount

ROWS = [
    {"input_ids": [1, 5, 9, 30, 2], "labels": [-100, -100, 9, 30, 2]},
    {"input_ids": [1, 6, 7, 40], "labels": [-100, -100, 7, 40]},
    {"input_ids": [1, 6, 7, 40, 2, 2], "labels": [-100, -100, 7, 40, 2, 2]},
]


@pytest.fixture
def scout(tmp_path):
    move(fresh_lora(), 1).save_pretrained(tmp_path / "scout", save_embedding_layers=False)
    return tmp_path / "scout"


def added(edit, ids: list[list[int]], **at: int) -> torch.Tensor:
    words = torch.tensor(ids)
    zero = torch.zeros(*words.shape, 32)
    context = Context(torch.nn.Identity(), **at)
    return edit({edit.words.module: words, edit.head.module: zero}, context)[edit.head.module]


@pytest.mark.parametrize("pad", [0, 2], ids=["a pad token", "the end token pads"])
def test_rows_are_known_with_padding_on_either_side(scout, pad):
    edit = discount(ROWS, scout)
    edit.bind(fresh_lora())
    bare = added(edit, [ROWS[0]["input_ids"]])[0]
    assert bare[[0, 4]].abs().max() == 0, "the prompt's first token predicts no answer, nor does the last one"
    assert bare[1:4].abs().min() > 0
    right, left = added(edit, [[1, 5, 9, 30, 2, pad, pad]])[0], added(edit, [[pad, pad, 1, 5, 9, 30, 2]])[0]
    assert torch.equal(right, torch.cat([bare, torch.zeros(2, 32)]))
    assert torch.equal(left, torch.cat([torch.zeros(2, 32), bare]))
    longer = added(edit, [ROWS[2]["input_ids"]])[0]
    assert longer[4].abs().min() > 0, "a row that ends like padding is the row itself where that is known"


def test_what_memory_does_not_take_lies_in_a_file_that_nobody_has_to_remove(scout, tmp_path, monkeypatch):
    edit = discount(ROWS, scout)
    edit.bind(fresh_lora())
    expected = {row: edit.offsets[row] for row in edit.offsets}
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(_lines, "IN_MEMORY", 0)
    edit = discount(ROWS, scout)
    edit.bind(fresh_lora())
    assert all(torch.equal(edit.offsets[row], offset) for row, offset in expected.items())
    mapped = Path("/proc/self/maps").read_text() if Path("/proc").exists() else str(folder)
    assert str(folder) in mapped, "it lies there"
    assert not list(folder.iterdir()), "and has no name, so that nothing is left even by a killed run"


def test_offsets_take_two_bytes_a_number_of_the_learned_tokens_alone():
    long = [{"input_ids": list(range(2, 1002)), "labels": [-100] * 990 + list(range(992, 1002))}]
    offsets = _offsets.Offsets(long, width=32)
    offsets.add(tuple(long[0]["input_ids"]), torch.ones(1000, 32))
    assert offsets.lines.untyped_storage().nbytes() == 2 * 10 * 32
    assert offsets[tuple(long[0]["input_ids"])].sum(1).nonzero()[:, 0].tolist() == list(range(989, 999))


def test_a_full_disk_is_found_before_training(scout, monkeypatch):
    monkeypatch.setattr(_lines, "IN_MEMORY", 0)
    monkeypatch.setattr(_lines.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(CannotAttach, match=r"9 learned tokens take 5\.76e-07 GB, and .* has no room .* Set TMPDIR"):
        discount(ROWS, scout).bind(fresh_lora())


def test_other_rows_stop_the_run(scout):
    edit = discount(ROWS, scout)
    edit.bind(fresh_lora())
    with pytest.raises(CannotAttach, match=r"a row of 3 tokens in the batch is none of the 3 that discount was given"):
        added(edit, [[1, 5, 9]])
    with pytest.raises(CannotAttach, match="no logits_to_keep"):
        edit(
            {edit.words.module: torch.ones(1, 4).long(), edit.head.module: torch.zeros(1, 2, 32)}, Context(fresh_lora())
        )


def test_after_its_share_of_the_steps_nothing_is_discounted(scout):
    edit, whole, ids = discount(ROWS, scout, until=0.7), discount(ROWS, scout), [ROWS[0]["input_ids"]]
    for one in (edit, whole):
        one.bind(fresh_lora())
    all_of_it = added(whole, ids, step=9, steps=10)
    assert all_of_it.abs().max() > 0
    assert torch.equal(added(edit, ids, step=6, steps=10), all_of_it)
    assert added(edit, ids, step=7, steps=10).abs().max() == 0
    assert torch.equal(added(edit, ids, step=700), all_of_it), "where nobody says how many steps there are, it stays on"


@pytest.mark.parametrize("until", [0.0, 1.5, -1.0, float("nan")])
def test_a_share_that_is_none_is_refused(until, scout):
    with pytest.raises(BadInput, match="share of the run's steps"):
        discount(ROWS, scout, until=until)


def test_a_trained_head_is_refused(scout):
    with pytest.raises(CannotAttach, match=r"the head 'lm_head' is trained"):
        discount(ROWS, scout).bind(fresh_lora(modules_to_save=["lm_head"]))


def test_it_trains_on_the_logits_of_its_formula():
    report = claim(0, whole=False)[0]
    assert report.value < 0.02 < report.control


def test_what_the_scout_explains_has_no_gradient(tmp_path):
    tokens = rows_of(3)
    rows = [{"input_ids": r, "labels": r} for r in tokens.tolist()]
    learn(sharpen(fresh_lora()), tokens, steps=120).save_pretrained(tmp_path, save_embedding_layers=False)

    plain = first_gradient(tokens)
    assert first_gradient(tokens, discount(rows, tmp_path)) < 0.2 * plain
    assert first_gradient(tokens, discount(rows, tmp_path, strength=0.0)) == plain
