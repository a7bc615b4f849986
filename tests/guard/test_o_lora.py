"""o_lora: the new A turns away from what the former adapter reads."""

import pytest
import torch
from guarding import move, penalty

from despur import guarded
from despur.core import Adapter
from despur.core.errors import BadInput
from despur.guard import o_lora


@pytest.mark.slow  # of a kind with faster ones
def test_it_turns_from_what_the_former_one_reads(tiny, lora, tokens, tmp_path):
    def run(*edits) -> Adapter:
        model = lora(tiny()).train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        with guarded(model, optimizer, *edits) if edits else torch.enable_grad():
            for _ in range(60):
                model(input_ids=tokens, labels=tokens).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        return Adapter.of(model)

    for name, seed in (("scout", 1), ("other", 2)):
        move(lora(tiny()), seed).save_pretrained(tmp_path / name)
    former = Adapter.read(tmp_path / "scout")

    def overlap(a: Adapter) -> float:
        return sum((former.updates[n].down @ u.down.T).abs().sum().item() for n, u in a.updates.items())

    kept, plain, elsewhere = (
        run(o_lora(tmp_path / "scout", strength=5.0)),
        run(),
        run(o_lora(tmp_path / "other", strength=5.0)),
    )
    assert overlap(kept) < 0.3 * overlap(plain)
    assert overlap(elsewhere) > 2 * overlap(kept), "the control: another adapter's A"
    model = move(lora(tiny()))
    edit = o_lora(tmp_path / "scout", strength=10.0)
    edit.bind(model)
    assert penalty(edit, model).item() == pytest.approx(overlap(Adapter.of(model)), rel=1e-4)
    with pytest.raises(BadInput, match="nowhere"):
        o_lora(tmp_path / "nowhere").bind(model)
