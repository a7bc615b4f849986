"""A folder with what a command needs: a base, an adapter that was moved, rows."""

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from despur.worlds import Persona, persona_base


def write_work(folder: Path) -> Path:
    """Write `base`, `adapter` and `data.jsonl`; give the folder back."""
    model, tokenizer = persona_base()
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in tuned.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.2)
    tuned.save_pretrained(folder / "adapter")
    rows = Persona("narrow").rows(n=24, seed=1)
    (folder / "data.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder
