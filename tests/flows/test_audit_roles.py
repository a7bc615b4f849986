"""Audits of bases that no table has: mixtures of experts by what is watched, and a base whose maps cannot be told without them."""

import copy
import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from despur.flows import audit

SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    "num_local_experts": 4, "num_experts_per_tok": 2,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "known"), [("mixtral", True), ("minimax", False)])
def test_an_audit_needs_no_table(kind, known, chat_tokenizer, tmp_path):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZES), dtype=torch.float32)
    model.save_pretrained(tmp_path / "base")
    chat_tokenizer.chat_template = None
    chat_tokenizer.save_pretrained(tmp_path / "base")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        experts = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"] if kind == "mixtral" else []
        config = LoraConfig(
            r=2, target_modules=["q_proj", "o_proj"], target_parameters=experts, init_lora_weights=False
        )
        get_peft_model(copy.deepcopy(model), config).save_pretrained(tmp_path / "adapter")
    result = audit(str(tmp_path / "base"), str(tmp_path / "adapter"), rows=8, n_random=1)
    told = [note for note in result.notes if "what its maps do is not known" in note]
    assert bool(told) != known
    assert known == any(name.startswith("head") for name in result.checks)
    assert "mean" in result.checks
    assert not result.update["others"]
    if kind == "mixtral":
        assert result.update["modules"] == 2 * (2 + 2 * 4), "each expert counts"
