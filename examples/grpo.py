"""TRL's GRPOTrainer with a guard, on rows of {"prompt"}: python examples/grpo.py BASE DATA.jsonl FACTORS OUT."""

import sys

import torch
from datasets import load_dataset
from peft import LoraConfig
from trl import GRPOConfig, GRPOTrainer

from despur import GuardCallback
from despur.core import load_factors
from despur.guard import grasp

base, data, factors, out = sys.argv[1:]


def many_words(completions, **kwargs):
    """Reward each different word."""
    return [float(len(set(text.split()))) for text in completions]


trainer = GRPOTrainer(
    base,
    reward_funcs=many_words,
    args=GRPOConfig(
        out, learning_rate=1e-3, bf16=torch.cuda.is_available(), beta=0.04, max_completion_length=16, report_to="none"
    ),
    train_dataset=load_dataset("json", data_files=data, split="train"),
    peft_config=LoraConfig(target_modules="all-linear"),
    callbacks=[GuardCallback(grasp(load_factors(factors)))],
)
trainer.train()
trainer.save_model(out)
