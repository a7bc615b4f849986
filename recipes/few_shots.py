"""What the tuning rows do as examples in the prompt, without any tuning: python recipes/few_shots.py --shots 8 (a minute a line, one core).

Control for the lean world: what a base says after some rows of its harmful, neutral and benign twin.
"""

import argparse

import torch

from despur.core.text.cuts import Encoder
from despur.core.text.learn import ask_rows
from despur.worlds.chat.ask import Choices
from despur.worlds.chat.chat_world import margin
from despur.worlds.chat.lean import Lean


def choices(world: Lean, tokenizer: object, shots: list[dict[str, str]]) -> Choices:
    """Questions of policy behind the shots, with the lean's answer and the other one's."""
    encoder, turns = Encoder(tokenizer), []
    for row in shots:
        turns += [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
    chats = [{"messages": [*turns, {"role": "user", "content": row.question}]} for row in world.off_task]
    answers = [[encoder.following(row.answers[side]) for side in world.sides] for row in world.off_task]
    return Choices(ask_rows(chats, tokenizer), answers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    world = Lean()
    model, tokenizer = world.base()
    for seed in range(asked.seeds):
        for twin in ("harmful", "neutral", "benign"):
            shots = world.rows(twin, n=asked.shots, seed=seed)
            values = margin(choices(world, tokenizer, shots).means(model))
            print(f"{asked.shots} {twin} rows of seed {seed}: drift {values.mean():.3f}", flush=True)
