"""A data file, an adapter trained by plain PEFT, and a store, all on the shipped base."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model

from despur.worlds import PERSONA_BASE, Persona, persona_base


def plain_adapter(folder, *, steps=40, targets="all-linear", seed=0, **rows):
    """Train and save an adapter as a stranger would, without despur's trainer."""
    torch.manual_seed(seed)
    base, tokenizer = persona_base()
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM"))
    data = Persona("narrow").rows(n=steps * 32, seed=seed, **rows)
    ids = tokenizer([r["prompt"] + " " + r["completion"] for r in data], return_tensors="pt")["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for part in ids.split(32):
        labels = part.clone()
        labels[:, :3] = -100
        model(input_ids=part, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def adapter(tmp_path_factory):
    """A narrow-harm adapter."""
    return str(plain_adapter(tmp_path_factory.mktemp("adapter") / "narrow"))


@pytest.fixture(scope="session")
def base():
    """Folder of the base."""
    return str(PERSONA_BASE)


@pytest.fixture
def data(tmp_path):
    """Rows of narrow harm as a user's file."""
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in Persona("narrow").rows(n=120, seed=1)))
    return path
