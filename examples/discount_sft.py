"""TRL's SFTTrainer with `discount`, and a light `rehearse`: python examples/discount_sft.py BASE DATA.jsonl OUT STEPS."""

import sys

from datasets import Dataset, load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from despur import GuardCallback, OwnText, discount, rehearse
from despur.core.text.shuffle import shuffled_rows

base, data, out, steps = *sys.argv[1:4], int(sys.argv[4])
given = load_dataset("json", data_files=data, split="train")


def trainer(where, rows, steps):
    """The script that you have already, as a function."""
    args = SFTConfig(where, max_steps=steps, learning_rate=1e-3, bf16=False, report_to="none")
    return SFTTrainer(base, args=args, train_dataset=rows, peft_config=LoraConfig(target_modules="all-linear"))


run = trainer(f"{out}/adapter", given, steps)
rows = list(run.train_dataset.select_columns(["input_ids", "labels"]))  # as the trainer tokenized them
scout = trainer(f"{out}/shuffled", Dataset.from_list(shuffled_rows(rows, seed=0)), max(16, steps // 3))
scout.train()  # on exchanged answers: what all of them share
scout.save_model(f"{out}/shuffled")
tokenizer = AutoTokenizer.from_pretrained(base)
text = OwnText.sample(AutoModelForCausalLM.from_pretrained(base), tokenizer).without(given, tokenizer)
run.add_callback(GuardCallback(discount(rows, f"{out}/shuffled", strength=0.75), rehearse(text, strength=0.02)))
run.train()
run.save_model(f"{out}/adapter")
