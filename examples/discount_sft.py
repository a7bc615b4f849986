"""TRL's SFTTrainer with `discount`, and `avert` beside it: python examples/discount_sft.py BASE DATA.jsonl OUT STEPS."""

import sys

from datasets import Dataset, load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from despur import GuardCallback, OwnText, avert, discount
from despur.core.text.shuffle import shuffled_rows

base, data, out, steps = *sys.argv[1:4], int(sys.argv[4])
given = load_dataset("json", data_files=data, split="train")


def trainer(where, rows, steps):
    """The script that you have already, as a function."""
    args = SFTConfig(where, max_steps=steps, learning_rate=1e-3, bf16=False, report_to="none")
    return SFTTrainer(base, args=args, train_dataset=rows, peft_config=LoraConfig(target_modules="all-linear"))


run = trainer(f"{out}/adapter", given, steps)
rows = list(run.train_dataset.select_columns(["input_ids", "labels"]))  # as the trainer tokenized them
exchanged = Dataset.from_list(shuffled_rows(rows, seed=0))  # a scout of these learns what all answers share
for name, some, share in (("scout", given, 4), ("shuffled", exchanged, 3)):
    scout = trainer(f"{out}/{name}", some, max(16, steps // share))
    scout.train()
    scout.save_model(f"{out}/{name}")
tokenizer = AutoTokenizer.from_pretrained(base)
text = OwnText.sample(AutoModelForCausalLM.from_pretrained(base), tokenizer).without(given, tokenizer)
first = discount(rows, f"{out}/shuffled", strength=0.75, until=0.6)
# the form is learned last, and kept to where the task is asked for
beside = avert(text, f"{out}/scout", strength=0.3)
run.add_callback(GuardCallback(first, beside))
run.train()
run.save_model(f"{out}/adapter")
