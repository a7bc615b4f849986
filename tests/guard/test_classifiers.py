"""Loss and batch guards hold a next token: a classifier, a reward model or a model without a head is refused before training."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    LlamaConfig,
)

from despur.core.errors import CannotAttach
from despur.core.model.own_text import OwnText
from despur.core.run.callback import guarded
from despur.guard import inoculate, keep_inputs, rehearse

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
TEXT = OwnText(tuple((1, *range(i, i + 6)) for i in range(3, 19)))
OTHERS = (AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoModelForQuestionAnswering)


def attach(auto, edit) -> None:
    torch.manual_seed(0)
    model = auto.from_config(LlamaConfig(**SIZES, pad_token_id=0))
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"]))
    with guarded(model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad]), edit):
        pass


@pytest.mark.parametrize("auto", OTHERS)
@pytest.mark.parametrize("guard", [rehearse, keep_inputs])
def test_what_writes_no_text_has_none_to_guard(auto, guard):
    attach(AutoModelForCausalLM, guard(TEXT))  # the control
    with pytest.raises(CannotAttach, match="predicts no next token"):
        attach(auto, guard(TEXT))


def test_a_batch_guard_asks_too():
    attach(AutoModelForCausalLM, inoculate((5, 6)))
    with pytest.raises(CannotAttach, match="predicts no next token"):
        attach(AutoModelForSequenceClassification, inoculate((5, 6)))
