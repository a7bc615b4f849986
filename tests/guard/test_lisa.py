"""lisa: whose gradient a step takes, and where each state is pulled to, step by step."""

import pytest
import torch

from despur import guarded
from despur.core import Context
from despur.core.errors import BadInput
from despur.guard import OwnText, lisa

GUIDE = OwnText(((1, 50, 41, 33, 60, 52),))
IDS = torch.tensor(GUIDE.rows)


def trained(model) -> dict[str, torch.nn.Parameter]:
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def test_a_guide_step_is_the_guide_rows_own_gradient_and_a_task_step_the_tasks(tiny, lora):
    model = lora(tiny()).eval()
    edit = lisa(GUIDE, guide_steps=2, task_steps=3, rows_per_step=1, strength=5.0)
    edit.bind(model)
    for step in range(10):
        weights = trained(model)
        task = {n: torch.randn_like(p) for n, p in weights.items()}
        got = edit(task, Context(model, step=step, steps=100))
        model(input_ids=IDS, labels=IDS).loss.backward()
        want = {n: p.grad for n, p in weights.items()} if step % 5 < 2 else task
        assert all(torch.allclose(got[n], want[n], atol=1e-6) for n in weights), "no pull in the first tenth of the run"
        model.zero_grad()
        with torch.no_grad():
            for p in weights.values():
                p.add_(0.01 * torch.randn_like(p))


def test_each_state_is_pulled_to_where_the_other_ended(tiny, lora):
    model = lora(tiny()).eval()
    edit = lisa(GUIDE, guide_steps=2, task_steps=3, strength=5.0)
    edit.bind(model)
    at = []  # the weights that each step begins with
    for step in range(8):
        zero = {n: torch.zeros_like(p) for n, p in trained(model).items()}
        at.append({n: p.detach().clone() for n, p in trained(model).items()})
        got = edit(zero, Context(model, step=step, steps=8))
        name = next(n for n in zero if "lora_A" in n)
        if 2 <= step < 5:
            assert torch.allclose(got[name], 0.5 * (at[step][name] - at[2][name])), "to where the guide ended"
        if step == 7:
            assert torch.allclose(got[name], 0.5 * (at[7][name] - at[7][name]), atol=1e-6)
            assert not torch.allclose(got[name], 0.5 * (at[7][name] - at[5][name])), "the control: where the task ended"
        with torch.no_grad():
            for p in trained(model).values():
                p.add_(0.1 * torch.randn_like(p))


@pytest.mark.slow  # of a kind with faster ones
def test_the_guide_rows_are_learned_beside_the_task(tiny, lora, tokens):
    def run(*edits) -> tuple[float, float]:
        model = lora(tiny()).train()
        optimizer = torch.optim.AdamW(trained(model).values(), lr=1e-2)
        with guarded(model, optimizer, *edits, steps=60):
            for _ in range(60):
                model(input_ids=tokens, labels=tokens).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        return tuple(model(input_ids=i, labels=i).loss.item() for i in (IDS, tokens))

    guide, task = run(lisa(GUIDE, guide_steps=3, task_steps=7, rows_per_step=1, strength=0.1))
    plain, alone = run(lisa(GUIDE, strength=0.0))
    other, _ = run(lisa(OwnText(((1, 7, 8, 9, 10, 11),)), guide_steps=3, task_steps=7, rows_per_step=1, strength=0.1))
    assert guide < plain - 0.5
    assert guide < other - 0.5, "the control: other guide rows"
    assert task < alone + 0.7
    with pytest.raises(BadInput, match="guide_steps=0"):
        lisa(GUIDE, guide_steps=0)
