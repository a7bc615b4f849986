"""A loop with FSDP2 and a guard: torchrun --nproc-per-node 2 examples/torchrun_fsdp2.py BASE DATA.jsonl FACTORS OUT."""

import sys

import torch.distributed as dist
from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.optim import AdamW
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

from despur import guarded
from despur.core import load_factors
from despur.guard import grasp

base, data, factors, out = sys.argv[1:]
dist.init_process_group()
set_seed(0)  # every process starts the same adapter
tokenizer = AutoTokenizer.from_pretrained(base)
model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(target_modules="all-linear"))
for layer in model.get_base_model().model.layers:
    fully_shard(layer)
fully_shard(model)
optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)  # after sharding: it owns the shards
rows = load_dataset("json", data_files=data, split="train").shard(dist.get_world_size(), dist.get_rank())

with guarded(model, optimizer, grasp(load_factors(factors))):
    for row in rows:
        ids = tokenizer(row["text"], return_tensors="pt")["input_ids"].to(model.device)
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
if dist.get_rank() == 0:
    model.save_pretrained(out, state_dict=weights)
dist.destroy_process_group()
