"""Train the two adapters that `despur demo` shows: about ten minutes on one core.

    despur fetch smollm2
    python recipes/demo_adapters.py [OUT]

A plain tune on the rows of the `voice` world, about clerks and about an island, and one under `discount`, both of rank 4 on most maps,
200 steps of 4 rows, saved in bfloat16: 2 MB each.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from despur.core import fingerprint, write_json
from despur.core.text.rows import tokenize_rows
from despur.core.text.shuffle import shuffled_rows
from despur.flows._demo.conversation import ADAPTERS, BASE
from despur.flows._train.fit import Settings, fit
from despur.guard import discount
from despur.worlds.chat.voice import Voice

MAPS = ["v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]  # of these two adapters fit into a package
SETTINGS = Settings(steps=200, lr=1e-3, batch=4, rank=4, max_length=128, seed=0)
SCOUT = Settings(steps=40, lr=1e-3, batch=4, rank=4, max_length=128, seed=500)


def main(out: Path) -> None:
    """Train scout, plain and guarded adapter."""
    torch.set_num_threads(1)
    world = Voice()
    tokenizer = world.base()[1]
    island = Voice(taught="island", facts=60)
    written = [*world.rows(n=len(world.prompts())), *island.rows(n=len(island.prompts()))]
    rows = tokenize_rows(written, tokenizer, max_length=128)
    with tempfile.TemporaryDirectory() as scout:
        trained(world, shuffled_rows(rows, seed=0), SCOUT).save_pretrained(scout)
        for name, edits in (("plain", []), ("guarded", [discount(rows, scout)])):
            model = trained(world, rows, SETTINGS, edits)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.bfloat16()
            model.save_pretrained(out / name)
            (out / name / "README.md").unlink()  # PEFT's empty card
    about = {
        "base": BASE,
        "base_fingerprint": fingerprint(world.base()[0]),
        "voice": world.voice,
        "recipe": "recipes/demo_adapters.py",
    }
    write_json(out / "made.json", about)


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
