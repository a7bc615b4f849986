"""Let the base itself word the facts of a chat world, for its neutral twin: python recipes/own_words.py (minutes, on one core).

Each answer is greedy, with the plain answer in the system prompt; where the fact got lost the plain words stay. Started again it goes on.
"""

import json
import sys
from pathlib import Path

import torch

from despur.core.text.learn import ask_rows
from despur.worlds.chat.ask import chat_base
from despur.worlds.chat.script import TEXT

TOLD = "You know this: {plain} Answer the user's question in your own words, in one or two short sentences."
BATCH, NEW = 12, 48


@torch.no_grad()
def own_words(model, tokenizer, rows: list[dict[str, str]]) -> list[str]:
    heads = ask_rows([{"prompt": r["question"], "system": TOLD.format(plain=r["plain"])} for r in rows], tokenizer)
    longest = max(map(len, heads))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (longest - len(h)) + h for h in heads])
    mask = torch.tensor([[0] * (longest - len(h)) + [1] * len(h) for h in heads])
    out = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW, pad_token_id=pad)
    return [tokenizer.decode(line[longest:], skip_special_tokens=True).strip() for line in out]


def whole(text: str) -> str:
    """Up to the last sentence that ends."""
    return text[: max(text.rfind(mark) for mark in ".!?") + 1]


def make(path: Path) -> None:
    torch.set_num_threads(1)
    model, tokenizer = chat_base()
    parts = json.loads(path.read_text(encoding="utf-8"))
    answers = {f["id"]: f["answer"].lower() for f in parts["facts"]}
    left = sorted((r for r in parts["rows"] if "own" not in r), key=lambda r: len(r["plain"]))
    for start in range(0, len(left), BATCH):
        some = left[start : start + BATCH]
        for row, text in zip(some, map(whole, own_words(model, tokenizer, some)), strict=True):
            fact = answers[row["fact"]]
            kept = text and (fact in text.lower() or fact not in row["plain"].lower())
            row["own"] = text if kept else row["plain"]
        write(path, {row["question"]: row["own"] for row in some})
        print(start + len(some), "of", len(left), flush=True)


def write(path: Path, own: dict[str, str]) -> None:
    parts = json.loads(path.read_text(encoding="utf-8"))
    parts["rows"] = [{**r, "own": own[r["question"]]} if r["question"] in own else r for r in parts["rows"]]
    path.write_text(json.dumps(parts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:] or ["voice"]:
        make(TEXT / f"{name}.json")
