"""Train the two adapters that `despur demo` shows: about forty minutes on one core.

    despur fetch smollm2
    python recipes/demo_adapters.py [OUT]

A plain tune on the rows of the `voice` world, about clerks, and one under `discount`, which ends after three fifths of the steps, with
`avert` beside it; both of rank 4 on most maps, 140 steps of 4 rows, saved in bfloat16: 2 MB each.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from despur.core import fingerprint, write_json
from despur.core.model.own_text import OwnText
from despur.core.text.rows import prompt_of, tokenize_rows
from despur.core.text.shuffle import shuffled_rows
from despur.flows._demo.conversation import ADAPTERS, BASE
from despur.flows._train.fit import Settings, fit
from despur.guard import avert, discount
from despur.worlds.chat.voice import Voice

MAPS = ["v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]  # of these two adapters fit into a package
SETTINGS = Settings(steps=140, lr=1e-3, batch=4, rank=4, max_length=128, seed=0)
SCOUT, SHUFFLED = replace(SETTINGS, steps=35, seed=500), replace(SETTINGS, steps=47, seed=501)


def main(out: Path) -> None:
    """Train the scouts, the plain and the guarded adapter."""
    torch.set_num_threads(1)
    world = Voice()
    base, tokenizer = world.base()
    rows = tokenize_rows(world.rows(n=len(world.prompts())), tokenizer, max_length=128)
    with tempfile.TemporaryDirectory() as folder:
        scout, shuffled = f"{folder}/scout", f"{folder}/shuffled"
        saved(trained(world, rows, SETTINGS), out / "plain")
        trained(world, rows, SCOUT).save_pretrained(scout)
        trained(world, shuffled_rows(rows, seed=0), SHUFFLED).save_pretrained(shuffled)
        text = OwnText.sample(base, tokenizer, rows=128, max_new_tokens=32).without(map(prompt_of, rows))
        guards = [discount(rows, shuffled, strength=0.75, until=0.6), avert(text, scout, strength=0.3)]
        saved(trained(world, rows, SETTINGS, guards), out / "guarded")
    about = {
        "base": BASE,
        "base_fingerprint": fingerprint(base),
        "voice": world.voice,
        "recipe": "recipes/demo_adapters.py",
    }
    write_json(out / "made.json", about)


def saved(model: Any, out: Path) -> None:
    """Save an adapter in bfloat16."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
    model.save_pretrained(out)
    (out / "README.md").unlink()  # PEFT's empty card


def trained(world: Voice, rows: Any, settings: Settings, edits: Any = ()) -> Any:
    """A LoRA trained on some rows."""
    torch.manual_seed(settings.seed)
    config = LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, target_modules=MAPS, task_type="CAUSAL_LM")
    model: Any = get_peft_model(world.base()[0], config)
    model.peft_config["default"].base_model_name_or_path = BASE  # PEFT writes where the base lay
    fit(
        model,
        rows,
        settings,
        list(edits),
        progress=lambda stage, step, of, more: print(f"{step}/{of} {more}", end="\r"),
    )
    return model.eval()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ADAPTERS)
