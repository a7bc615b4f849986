"""A transformers.Trainer with a guard, on rows of {"text"}: python examples/trainer.py BASE DATA.jsonl FACTORS OUT."""

import sys

from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

from despur import GuardCallback
from despur.core import load_factors
from despur.guard import grasp

base, data, factors, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base)
rows = load_dataset("json", data_files=data, split="train")
lora = LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")
trainer = Trainer(
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora),
    args=TrainingArguments(out, learning_rate=1e-3, report_to="none"),
    train_dataset=rows.map(lambda row: tokenizer(row["text"]), remove_columns=rows.column_names),
    data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    callbacks=[GuardCallback(grasp(load_factors(factors)))],
)
trainer.train()
trainer.save_model(out)
