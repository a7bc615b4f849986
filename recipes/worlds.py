"""Make the worlds' shipped bases again: python recipes/worlds.py truth ... (minutes each, on one core)."""

import sys
from pathlib import Path

import torch

from despur.worlds import pretrain, world_tokenizer
from despur.worlds.registry import RECIPES


def make(name: str, out: Path) -> None:
    torch.set_num_threads(1)
    language, settings = RECIPES[name]
    model = pretrain(
        language(), **settings, progress=lambda step, loss: step % 200 == 199 and print(name, step, loss, flush=True)
    )
    model.save_pretrained(out)
    world_tokenizer(language()).save_pretrained(out)


if __name__ == "__main__":
    bases = Path(__file__).parents[1] / "src/despur/worlds/bases"
    for name in sys.argv[1:] or RECIPES:
        make(name, bases / name)
