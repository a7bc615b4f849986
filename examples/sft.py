"""TRL's SFTTrainer with a guard, on any rows that it takes: python examples/sft.py BASE DATA.jsonl FACTORS OUT."""

import sys

import torch
from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from despur import GuardCallback
from despur.core import load_factors
from despur.guard import grasp

base, data, factors, out = sys.argv[1:]
trainer = SFTTrainer(
    base,
    args=SFTConfig(out, learning_rate=1e-3, bf16=torch.cuda.is_available(), report_to="none"),
    train_dataset=load_dataset("json", data_files=data, split="train"),
    peft_config=LoraConfig(target_modules="all-linear"),
    callbacks=[GuardCallback(grasp(load_factors(factors)))],
)
trainer.train()
trainer.save_model(out)
