"""TRL's DPO and GRPO trainers, guarded: what their loss is does not matter, and their reference stays what it was."""

import pytest
import torch
from datasets import Dataset
from leak import random_factor
from peft import LoraConfig
from transformers.trainer_callback import PrinterCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

from despur import GuardCallback
from despur.core import Adapter
from despur.guard import avert, grasp, rehearse
from despur.measure import leakage

EXACT = 1e-6
PREFERENCES = [{"prompt": f"<bos> w{i}", "chosen": f" w{i + 3} w{i}", "rejected": f" w{i + 9}"} for i in range(8)]
PROMPTS = [{"prompt": f"<bos> w{i} w{i + 1}"} for i in range(8)]
PLAIN = {
    "report_to": [], "disable_tqdm": True, "use_cpu": True, "bf16": False, "save_strategy": "no", "logging_steps": 1,
    "learning_rate": 1e-2, "lr_scheduler_type": "constant", "max_steps": 3, "dataloader_pin_memory": False,
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:`gradient_checkpointing_.* is deprecated:FutureWarning")  # TRL's own


@pytest.fixture
def factor():
    return random_factor(rank=3, width=32)


@pytest.fixture
def train(chat_tokenizer, tiny, tmp_path):
    """`train("dpo", *edits, model=...)`: three steps; the trainer and the callback, if there is one."""

    def run(kind: str, *edits, model=None, **options):
        callback = GuardCallback(*edits) if edits else None
        lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
        given = {
            "model": model or tiny(), "processing_class": chat_tokenizer, "callbacks": [callback] if edits else [],
            "peft_config": None if model else lora,
        }  # fmt: skip
        if kind == "dpo":
            args = DPOConfig(str(tmp_path), **PLAIN, per_device_train_batch_size=4, **options)
            trainer = DPOTrainer(args=args, train_dataset=Dataset.from_list(PREFERENCES), **given)
        else:
            sizes = {"per_device_train_batch_size": 4, "num_generations": 4, "max_completion_length": 6, "beta": 0.1}
            args = GRPOConfig(str(tmp_path), **{**PLAIN, **sizes, **options})
            trainer = GRPOTrainer(
                reward_funcs=lambda completions, **_: [float(len(set(c.split()))) for c in completions], args=args,
                train_dataset=Dataset.from_list(PROMPTS), **given,
            )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return trainer, callback

    return run


def weights(model, name: str = "default") -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if f".{name}." in n}


@pytest.mark.parametrize("kind", ["dpo", "grpo"])
def test_a_loss_guard_acts_beside_any_loss(kind, train, own_text):
    free, _ = train(kind)
    held, callback = train(kind, rehearse(own_text, strength=3.0, budget=1.0))
    assert len(callback.losses) == 3
    assert callback.losses[0] == pytest.approx(0, abs=1e-5), "at the start the model is the base"
    penalty = rehearse(own_text, budget=1.0)
    off = {}
    for name, trainer in (("free", free), ("held", held)):
        model = trainer.model.eval()
        penalty.bind(model)
        ids = torch.tensor([row[:6] for row in own_text.rows])
        with torch.no_grad(), model.disable_adapter():
            base = model(ids).logits.log_softmax(-1)
        with torch.no_grad():
            now = model(ids).logits.log_softmax(-1)
        off[name] = float((base.exp() * (base - now)).sum(-1).mean())
    assert off["held"] < 0.8 * off["free"], "and holds what it promises to hold"


@pytest.mark.parametrize("kind", ["dpo", "grpo"])
def test_an_adapter_that_is_trained_on_keeps_its_reference_and_leaks_nothing(
    kind, train, lora, tiny, factor, own_text, tmp_path
):
    scout = lora(tiny())
    with torch.no_grad():
        for name, weight in scout.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    scout.save_pretrained(tmp_path / "scout")
    start = weights(scout)
    trainer, _ = train(kind, avert(own_text, tmp_path / "scout", budget=1.0), grasp(factor), model=scout)
    model = trainer.model
    assert list(model.peft_config) == ["default", "ref"], "the scout's own adapter is gone again"
    assert model.active_adapters == ["default"]
    for name, weight in weights(model, "ref").items():
        assert torch.equal(weight, start[name.replace(".ref.", ".default.")]), "the reference is what it was"
    assert max(r.value for r in leakage(Adapter.of(model), tiny(), factor).values()) <= EXACT
    assert min(r.value for r in leakage(Adapter.of(model, "ref"), tiny(), factor).values()) > 0.05, "nor held"
    trained = weights(model)
    assert not any(torch.equal(start[n], w) for n, w in trained.items())
