"""A guard reads as many tokens as its share of the task's allows, of the positions that count, and no logits of the others."""

import pytest
import torch
from transformers import LlamaConfig

from despur import GuardCallback, guarded
from despur.core import Context, Edit
from despur.guard import OwnText, rehearse
from despur.guard._budget import draw_rows
from despur.guard._hold_on_text import HoldOnOwnText, Term

ROWS = ((1, 5, 6, 7, 8), (1, 9, 10), (1, 11, 12, 13))


class Positions(Term):
    """A term that notes where it is asked, and whose penalty is the token that stands there."""

    def __init__(self):
        self.asked = []

    def remember(self, model, batches):
        for batch in batches:
            yield {"token": batch.ids[batch.counted].float()}

    def penalty(self, model, batch, cache):
        self.asked.append(batch.ids[batch.counted].tolist())
        assert cache["token"].tolist() == self.asked[-1], "the cache's lines are those of the same positions"
        return cache["token"] * model.scale


class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.embed = torch.nn.Embedding(64, 4)
        self.config = LlamaConfig(vocab_size=64)

    def get_input_embeddings(self):
        return self.embed

    get_output_embeddings = get_input_embeddings


@pytest.fixture
def bound(monkeypatch):
    def make(text, *, room: int = 10**6, budget: float = 1.0):
        monkeypatch.setattr("despur.guard._hold_on_text.fitting_positions", lambda model: room)
        guard, model = HoldOnOwnText(text, Positions(), weight=1.0, budget=budget), Toy()
        guard.bind(model)
        return guard, model

    return make


def penalty(guard, model, tokens=0, step=0):
    ctx = Context(model, step=step, rng=torch.Generator().manual_seed(0), tokens=tokens)
    return guard({"loss": torch.zeros(())}, ctx)["loss"]


@pytest.mark.parametrize(
    ("starts", "counted"),
    [
        ((), [(1, 5, 6, 7, 8), (1, 9, 10), (1, 11, 12, 13)]),
        ((3, 2, 4), [(6, 7, 8), (9, 10), (13,)]),  # what predicts the answer's first token, up to the row's last
    ],
)
def test_only_what_predicts_the_answer_counts(starts, counted, bound):
    for row, want in zip(ROWS, counted, strict=True):
        start = (starts[ROWS.index(row)],) if starts else ()
        guard, model = bound(OwnText((row,), starts=start))
        assert penalty(guard, model).item() == pytest.approx(sum(want) / len(want))
        assert guard.term.asked == [list(want)]


@pytest.mark.parametrize(
    ("tokens", "step", "chosen"),
    [
        (0.0, 5, ([0], 1)),  # nobody counted
        (10.0, 5, ([0], 1)),
        (29.0, 5, ([0, 0], 1)),
        (30.0, 5, ([0, 0, 0], 1)),
        (4.0, 6, ([0], 3)),  # a row of 10 every third step
        (4.0, 7, ([], 3)),
    ],
)
def test_as_many_rows_as_the_tokens_pay_for(tokens, step, chosen):
    assert draw_rows([10], tokens, step=step, rng=torch.Generator()) == chosen


def test_padding_is_paid_for_and_the_mean_price_stays_within_the_budget():
    lengths, rng, spent = [4, 9, 20], torch.Generator().manual_seed(0), 0
    for step in range(3000):
        chosen, stands_for = draw_rows(lengths, 7.0, step=step, rng=rng)
        padded = len(chosen) * max((lengths[i] for i in chosen), default=0)
        assert padded <= max(20, 7 * stands_for)
        spent += padded
    assert 0.5 * 7 < spent / 3000 <= 7


def test_rows_that_come_every_few_steps_count_as_many_times(bound):
    guard, model = bound(OwnText(ROWS[:1]), budget=0.5)
    each = penalty(guard, model, tokens=100).item()
    assert penalty(guard, model, tokens=4, step=3).item() == pytest.approx(3 * each), "2 tokens a step, rows of 5"
    assert penalty(guard, model, tokens=4, step=4).item() == 0


def test_parts_that_fit_make_the_same_penalty_and_gradient(bound):
    text, found = OwnText(ROWS * 3, starts=(2, 1, 3) * 3), []
    for room in (10**6, 5):
        guard, model = bound(text, room=room)
        value = penalty(guard, model, tokens=60)
        value.backward()
        found.append((value.item(), model.scale.grad.item()))
        assert (len(guard.term.asked) == 1) == (room > 5), "the control: all at once"
        assert all(len(lines) <= 5 for lines in guard.term.asked) or room > 5
    assert found[0] == pytest.approx(found[1], rel=1e-6)


class Budget(Edit):
    """A loss edit that notes how many tokens the task read."""

    point = "loss"

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, tensors, ctx):
        self.seen.append(ctx.tokens)
        return tensors


def test_a_loop_counts_what_training_reads_and_nothing_else(tiny, lora):
    model, edit = lora(tiny("llama")).train(), Budget()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    batch = torch.full((3, 8), 5)
    with guarded(model, optimizer, edit):
        for micro in (1, 2):
            for _ in range(micro):
                model(input_ids=batch, labels=batch).loss.backward()
            with torch.no_grad():
                model(input_ids=batch)
            model.eval()
            model(batch)
            model.train()
            optimizer.step()
        model(batch).logits.sum().backward()
        optimizer.step()
    assert edit.seen == [24, 48, 24]


def test_a_trainer_takes_the_step_before(trainer):
    edit = Budget()
    trainer(GuardCallback(edit), max_steps=3, gradient_accumulation_steps=2).train()
    first, *later = edit.seen
    assert first == 0
    assert len(later) == 2
    assert min(later) > 0


def test_a_resumed_trainer_counts_on(trainer, tmp_path):
    counts = []
    for start in (None, 2):
        edit = Budget()
        made = trainer(GuardCallback(edit), max_steps=4, save_strategy="steps", save_steps=2, output_dir=str(tmp_path))
        made.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2") if start else None)
        counts.append(edit.seen)
    assert counts[0][2:] == counts[1]
    assert min(counts[1]) > 0


@pytest.mark.parametrize(("budget", "read"), [(1.0, 20), (0.2, 0)])
def test_a_guard_reads_no_more_than_its_share(budget, read, tiny, lora, own_text):
    model = lora(tiny("llama")).train()
    guard = rehearse(own_text, budget=budget)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    batch, seen = torch.full((3, 8), 5), []
    with guarded(model, optimizer, guard):
        hook = model.get_base_model().model.embed_tokens.register_forward_hook(
            lambda m, a, out: seen.append(out.shape[:2].numel())
        )
        for _ in range(12):
            model(input_ids=batch, labels=batch).loss.backward()
            optimizer.step()
        hook.remove()
    extra = sum(seen) - 12 * 24
    assert read * 12 / 2 < extra <= budget * 12 * 24 + 1
