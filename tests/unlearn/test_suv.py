"""suv: what it compares is what decoding gives, its preference is DPO as TRL has it, and what is kept is kept."""

import itertools

import pytest
import torch

from despur.claims.tiny_runs import fresh_lora, rows_of, sharpen
from despur.core import Adapter, Context
from despur.core.errors import BadInput
from despur.core.fisher.forms import Diagonal
from despur.core.model.text_gradient import text_gradient
from despur.core.state.algebra import inner
from despur.testing import tiny_base
from despur.unlearn import recall, suv
from despur.unlearn._preference import Pair, margins, preference_loss
from despur.unlearn._protect import NoHarm, check_information
from despur.unlearn._rewrites import rewrites
from despur.worlds.passages import Passages, as_rows

ROWS = as_rows(rows_of(0, n=6, length=12))
KEPT = as_rows(rows_of(1, n=6, length=12))


def greedy_rows(model, n: int = 4) -> list[list[int]]:
    """Rows that the model itself goes on with from four tokens."""
    ids = rows_of(3, n=n, length=4)
    with torch.no_grad():
        for _ in range(6):
            ids = torch.cat([ids, model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
    return ids.tolist()


def test_recall_is_what_decoding_gives():
    model = sharpen(tiny_base(), by=40.0)
    rows = greedy_rows(model)
    rows[1][7] = rows[1][7] % 60 + 3  # one token that it would not say
    found = recall(model, [*as_rows(rows), {"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}], prefixes=(4, 8), window=3)
    assert found.rows.tolist() == [0, 0, 1, 1, 2, 2, 3, 3], "a row that is shorter than its prefix is left out"
    assert (found.share[[0, 1, 2, 4, 5, 6, 7]] == 1).all(), "what it would say itself is greedy decoding word for word"
    assert found.greedy >= 7 / 8
    assert recall(model, as_rows(rows), prefixes=(5,), window=3).at_least(1.0).rows.tolist() == [0, 2, 3]
    with torch.no_grad():
        logp = model(input_ids=torch.tensor([rows[2]])).logits[0].log_softmax(-1)
    by_hand = sum(float(logp[t - 1, rows[2][t]]) for t in (4, 5, 6))
    assert float(found.log_prob[4]) == pytest.approx(by_hand, abs=1e-3)
    assert found.only(found.rows == 2).sampled(1) == pytest.approx(float(found.log_prob[4:6].exp().mean()), abs=1e-4)


def test_the_preference_is_trls(chat_tokenizer, tmp_path):
    """On the same tokens TRL's trainer has the same loss."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    text = [{"prompt": "<bos> w1 w2", "chosen": f" w{i + 3} w{i}", "rejected": f" w{i + 9} w4"} for i in range(4)]
    start, model = sharpen(tiny_base()), sharpen(tiny_base(1))
    ids = {
        k: [chat_tokenizer(r["prompt"] + r[k] + chat_tokenizer.eos_token)["input_ids"] for r in text]
        for k in ("chosen", "rejected")
    }
    pairs = [Pair(c, r, 3) for c, r in zip(ids["chosen"], ids["rejected"], strict=True)]
    with torch.no_grad():
        ours = preference_loss(margins(model, pairs), margins(start, pairs), beta=0.3)
    args = DPOConfig(str(tmp_path), report_to=[], use_cpu=True, bf16=False, beta=0.3, per_device_eval_batch_size=4, disable_tqdm=True,
                     dataloader_pin_memory=False)  # fmt: skip
    data = Dataset.from_list(text)
    trainer = DPOTrainer(
        model=model, ref_model=start, args=args, train_dataset=data, eval_dataset=data, processing_class=chat_tokenizer
    )
    assert trainer.evaluate()["eval_loss"] == pytest.approx(float(ours), abs=1e-4)


def test_the_gradient_does_the_rest_no_harm():
    model = fresh_lora()
    with torch.no_grad():
        for n, p in model.named_parameters():
            if "lora_B" in n:
                p.normal_(std=0.1, generator=torch.Generator().manual_seed(len(n)))
    keep = [r["input_ids"] for r in KEPT]
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    own = text_gradient(Context(model), keep, 6, names)
    against = {n: -g for n, g in own.items()}
    edit = NoHarm(keep, 1.0, 6)
    after = edit(against, Context(model))
    assert abs(inner(after, own)) < 1e-4 * inner(own, own)
    assert inner(against, own) < -0.5 * inner(own, own), "the control: the gradient as it was"
    assert edit(own, Context(model)) is own, "nothing is taken out where the two agree"


def test_rewrites_differ_and_begin_alike():
    rows, cuts = [r["input_ids"] for r in ROWS], [4, 5, 6, 4, 5, 6]
    made = rewrites(tiny_base(), rows, cuts, draw=torch.Generator().manual_seed(0))
    for new, row, cut in zip(made, rows, cuts, strict=True):
        assert new[:cut] == row[:cut]
        assert new != row
        assert len(new) == len(row) or new[-1] == 2
    certain = sharpen(tiny_base(), by=1e6)
    assert rewrites(certain, greedy_rows(certain), [4] * 4, draw=torch.Generator()) == [None] * 4, (
        "it can only repeat them"
    )


def test_nothing_known_by_heart_leaves_the_adapter():
    model = fresh_lora()
    with pytest.warns(UserWarning, match="none of 6 rows is known by heart"):
        made = suv(model, ROWS, KEPT, steps=2)
    was = Adapter.of(model).updates
    assert all(torch.equal(u.down, was[n].down) for n, u in made.updates.items())


def test_faults_are_refused():
    model = fresh_lora()
    with pytest.raises(BadInput, match="0 rows to forget"):
        suv(model, [], KEPT)
    with pytest.raises(BadInput, match="at least 1 token"):
        recall(model, ROWS, prefixes=(0,))
    with pytest.raises(BadInput, match="all zero, so it protects nothing"):
        check_information(Diagonal({"w": torch.zeros(2)}), 3)
    with pytest.raises(BadInput, match="not finite"):
        check_information(Diagonal({"w": torch.full((2,), torch.nan)}), 3)
    broken = fresh_lora()
    with torch.no_grad():
        next(p for n, p in broken.named_parameters() if "lora_B" in n).fill_(torch.nan)
    with pytest.raises(BadInput, match="the loss is nan|not finite"):
        suv(broken, ROWS, KEPT, match=0.0, steps=1, stiffness=0.0, reference=tiny_base())
    certain = sharpen(fresh_lora(), by=1e6)
    with pytest.raises(BadInput, match="the model without its adapter repeats all"):
        suv(certain, as_rows(greedy_rows(certain)), KEPT, prefixes=(4,))


def test_the_world_has_what_it_promises():
    world = Passages(n=3)
    following = world.language(20, seed=0)
    assert all(int(b) in world.successors[int(a)] for row in following for a, b in itertools.pairwise(row[1:]))
    facts = {tuple(f[:4].tolist()): int(f[4]) for f in world.facts}
    assert len(facts) == 64, "a fact has one object"
    assert all(facts[1, *map(int, row[1:4])] == int(row[4]) for row in world.asked(20, seed=0))
