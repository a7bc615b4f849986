"""A loop with accelerate and a guard: accelerate launch examples/accelerate_loop.py BASE DATA.jsonl FACTORS OUT."""

import sys

from accelerate import Accelerator
from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from torch.optim import AdamW
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling

from despur import guarded
from despur.core import load_factors
from despur.guard import grasp

base, data, factors, out = sys.argv[1:]
accelerator = Accelerator(gradient_accumulation_steps=2)
tokenizer = AutoTokenizer.from_pretrained(base)
model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(target_modules="all-linear"))
rows = load_dataset("json", data_files=data, split="train")
rows = rows.map(lambda row: tokenizer(row["text"]), remove_columns=rows.column_names)
loader = DataLoader(rows, batch_size=2, collate_fn=DataCollatorForLanguageModeling(tokenizer, mlm=False))
optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)

model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
with guarded(model, optimizer, grasp(load_factors(factors))):
    for batch in loader:
        with accelerator.accumulate(model):
            accelerator.backward(model(**batch).loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
if accelerator.is_main_process:
    accelerator.unwrap_model(model).save_pretrained(out)
accelerator.end_training()
