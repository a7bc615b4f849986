"""TRL's SFTTrainer under discount and absorb: its default loss never calls the head, and packed rows are nobody's rows."""

import warnings

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from despur import GuardCallback
from despur.claims.tiny_runs import fresh_lora, move
from despur.core.errors import CannotAttach
from despur.core.run.forward_edits import ForwardEdits
from despur.core.types import Context
from despur.guard import absorb, discount
from despur.testing import tiny_base

PAIRS = [{"prompt": f"<bos> w{i}", "completion": f" w{i + 9} w{i}"} for i in range(8)]
CHATS = [
    {"messages": [{"role": "user", "content": f"w{i}"}, {"role": "assistant", "content": f"w{i + 9} w{i}"}]} for i in range(8)
]  # fmt: skip


@pytest.fixture
def scout(tmp_path):
    move(fresh_lora(), 1).save_pretrained(tmp_path / "scout", save_embedding_layers=False)
    return tmp_path / "scout"


@pytest.fixture
def trained(chat_tokenizer, settings, tmp_path):
    """`trained(edit_of, rows=..., **options)`: losses of two steps; `edit_of` makes the guard of the trainer's own rows."""

    def run(edit_of=None, rows=PAIRS, **options):
        lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
        options = {"max_steps": 2, "max_length": 32, "activation_checkpointing": False, "seed": 3, **options}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TRL's advice about attention and packing
            trainer = SFTTrainer(
                model=tiny_base(), processing_class=chat_tokenizer, train_dataset=Dataset.from_list(rows), peft_config=lora,
                args=SFTConfig(**settings, **options, output_dir=str(tmp_path / "out")),
            )  # fmt: skip
            if edit_of:
                trainer.add_callback(
                    GuardCallback(edit_of(list(trainer.train_dataset.select_columns(["input_ids", "labels"]))))
                )
            trainer.train()
        return torch.tensor([e["loss"] for e in trainer.state.log_history if "loss" in e])

    return run


@pytest.mark.parametrize(
    ("rows", "options"),
    [(PAIRS, {}), (CHATS, {"assistant_only_loss": True}), (PAIRS, {"loss_type": "dft"})],
    ids=["default loss", "assistant only", "dft"],
)
def test_both_act_on_the_loss_of_an_sft_trainer(rows, options, trained, scout):
    plain = trained(rows=rows, **options)
    for edit_of in (lambda given: discount(given, scout), lambda given: absorb(scout)):
        assert not torch.allclose(trained(edit_of, rows, **options), plain, rtol=1e-3)
    for edit_of in (lambda given: discount(given, scout, strength=0.0), lambda given: absorb(scout, strength=0.0)):
        assert torch.equal(trained(edit_of, rows, **options), plain), "the control"


@pytest.mark.parametrize("options", [{"padding_free": True, "max_length": None}, {"packing": True}], ids=str)
def test_rows_that_are_packed_are_refused_by_discount_and_taken_by_absorb(options, trained, scout):
    rows = [{"input_ids": [1, 5, i], "labels": [1, 5, i]} for i in range(10, 18)]
    with pytest.raises(
        CannotAttach, match=r"none of the 8 that discount was given.*no packing, no padding_free.*take absorb"
    ):
        trained(lambda given: discount(rows, scout), **options)
    assert not torch.allclose(trained(lambda given: absorb(scout), **options), trained(**options), rtol=1e-3)


def test_logits_of_the_last_tokens_alone_are_discounted_as_well(scout):
    ids = torch.tensor([[1, 5, 9, 30]])
    edit = discount([{"input_ids": ids[0].tolist(), "labels": ids[0].tolist()}], scout)
    model = fresh_lora()
    edit.bind(model)
    edits = ForwardEdits(model.train(), [edit], lambda: Context(model))
    edits.attach()
    try:
        whole, last = model(input_ids=ids).logits, model(input_ids=ids, logits_to_keep=2).logits
    finally:
        edits.detach()
    torch.testing.assert_close(last, whole[:, -2:])
