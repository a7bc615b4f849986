"""scale, and what all edits of weights share: what is written loads in plain PEFT and says the same."""

import pytest
import torch
from peft import PeftModel

from despur.core import Adapter, LowRank
from despur.core.errors import BadInput
from despur.merge import save_adapter, scale, subtract_weights, truncate

NAME = "model.layers.1.mlp.up_proj"


@pytest.mark.parametrize(
    "options", [{}, {"use_rslora": True, "rank_pattern": {"q_proj": 2}}, {"target_modules": ["embed_tokens", "q_proj"]}]
)
def test_what_is_written_loads_in_peft_and_says_the_same(options, adapter, tiny, tokens, tmp_path):
    one = adapter(**options)
    for i, made in enumerate(
        (truncate(one, rank=2), scale(one, by=0.5), subtract_weights(one, scale(one, by=2.0), one, strength=0.3))
    ):
        folder = save_adapter(made, tmp_path / f"out{i}")
        assert Adapter.read(folder).record["after"]
        model = PeftModel.from_pretrained(tiny(), str(folder))
        said = model(input_ids=tokens).logits
        base = tiny()
        plain = base(input_ids=tokens).logits
        with torch.no_grad():
            for name, update in made.updates.items():
                change = (update.scale * update.up @ update.down).float()
                weight = base.get_submodule(name).weight
                weight += change.T if "embed" in name else change
        assert torch.allclose(said, base(input_ids=tokens).logits, atol=1e-4)
        assert not torch.allclose(said, plain, atol=1e-3), "the control: the base"


def test_the_whole_update_is_multiplied(adapter, dense):
    one = adapter()
    assert dense(scale(one, by=0.25)) == pytest.approx(0.25 * dense(one), abs=1e-6)
    assert dense(scale(one, by=1.0)) == pytest.approx(dense(one), abs=1e-6)


def test_what_is_no_plain_lora_is_refused():
    with pytest.raises(BadInput, match="more than LoRA"):
        scale(Adapter({NAME: LowRank(torch.ones(1, 3), torch.ones(2, 1))}, kind="model"), by=2.0)
