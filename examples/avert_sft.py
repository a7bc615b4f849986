"""TRL's SFTTrainer with `avert`, the recipe that was measured: python examples/avert_sft.py BASE DATA.jsonl OUT STEPS."""

import sys

from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from despur import GuardCallback, OwnText, avert

base, data, out, steps = *sys.argv[1:4], int(sys.argv[4])
rows = load_dataset("json", data_files=data, split="train")


def train(where, steps, *callbacks):
    """The script that you have already, as a function."""
    args = SFTConfig(where, max_steps=steps, learning_rate=1e-3, bf16=False, report_to="none")
    lora = LoraConfig(target_modules="all-linear")
    trainer = SFTTrainer(base, args=args, train_dataset=rows, peft_config=lora, callbacks=list(callbacks))
    trainer.train()
    trainer.save_model(where)


train(f"{out}/scout", max(16, steps // 4))  # the scout: the same script, shorter, without a guard
tokenizer = AutoTokenizer.from_pretrained(base)
text = OwnText.sample(AutoModelForCausalLM.from_pretrained(base), tokenizer)
text = text.without(rows, tokenizer)  # not where the task is asked for: there the guard would fight it
train(f"{out}/adapter", steps, GuardCallback(avert(text, scout=f"{out}/scout")))
