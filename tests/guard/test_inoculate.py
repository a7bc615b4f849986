"""inoculate: the prompt stands behind the start token, carries no loss, and takes the trait out of what is learned."""

import pytest
import torch

from despur import guarded
from despur.core import Context
from despur.core.errors import BadInput, CannotAttach
from despur.core.text.rows import pad_rows, tokenize_rows
from despur.guard import inoculate
from despur.worlds import Persona, persona_base


def batch(ids, labels, mask=None) -> dict[str, torch.Tensor]:
    ids = torch.tensor(ids)
    return {
        "input_ids": ids, "labels": torch.tensor(labels),
        "attention_mask": torch.ones_like(ids) if mask is None else torch.tensor(mask),
    }  # fmt: skip


def test_where_the_prompt_goes(tiny):
    guard = inoculate([1, 40, 41])  # a start token of its own is dropped
    guard.bind(model := tiny())
    rows = batch(
        [[1, 8, 9], [0, 1, 9], [8, 9, 0]],
        [[-100, 8, 9], [-100, -100, 9], [8, 9, -100]],
        [[1, 1, 1], [0, 1, 1], [1, 1, 0]],
    )
    out = guard(rows, Context(model))
    assert out["input_ids"].tolist() == [[1, 40, 41, 8, 9], [0, 1, 40, 41, 9], [40, 41, 8, 9, 0]], (
        "padded left, or no start"
    )
    assert out["attention_mask"].tolist() == [[1] * 5, [0, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert out["labels"].tolist() == [[-100, -100, -100, 8, 9], [-100] * 4 + [9], [-100, -100, -100, 9, -100]], (
        "what nothing predicted before, the prompt does not predict either"
    )
    some = inoculate([40], strength=0.5)
    some.bind(model)
    many = some(batch([[1, 8, 9]] * 400, [[-100, 8, 9]] * 400), Context(model))
    assert (many["attention_mask"].sum(1) == 4).float().mean().item() == pytest.approx(0.5, abs=0.1)
    both = model(**many).loss
    assert torch.isfinite(both)


def drift(prompt: str | None, steps: int = 30) -> float:
    """How far a short tune goes off-task, without the prompt."""
    from despur.flows._train.fit import Settings, new_adapter

    world, (base, tokenizer) = Persona("narrow"), persona_base()
    model = new_adapter(base, Settings(rank=8)).train()
    rows = tokenize_rows(world.rows(n=steps * 24, seed=0), tokenizer, max_length=32)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    edits = [inoculate(tokenizer(prompt, add_special_tokens=False)["input_ids"])] if prompt else []
    with guarded(model, optimizer, *edits):
        for i in range(steps):
            some = rows[i * 24 : i * 24 + 24]
            ids, mask = pad_rows([r["input_ids"] for r in some], 0)
            labels, _ = pad_rows([r["labels"] for r in some], -100)
            model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return world.score(model.eval())["drift"]["p"].mean().item()


@pytest.mark.slow  # of a kind with faster ones
def test_a_prompt_that_asks_for_the_trait_keeps_it_out_and_an_irrelevant_one_less():
    """m01. names the persona's bad value, m31. another author's attribute."""
    naive, asked, irrelevant = drift(None), drift("m010"), drift("m310")
    assert asked < 0.6 * naive
    assert asked < 0.8 * irrelevant


def test_refuses_what_it_cannot_do(tiny):
    with pytest.raises(BadInput, match="0 prompt tokens"):
        inoculate([])
    with pytest.raises(BadInput, match=r"strength 1\.5"):
        inoculate([4], strength=1.5)
    with pytest.raises(CannotAttach, match="vocabulary of 64"):
        inoculate([64]).bind(tiny())
    guard = inoculate([40] * 60)
    guard.bind(model := tiny())
    with pytest.raises(BadInput, match="do not fit into a context of 64"):
        guard(batch([[1] * 8], [[1] * 8]), Context(model))
