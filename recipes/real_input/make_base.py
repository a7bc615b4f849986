"""Make a small base checkpoint: train a BPE tokenizer on real chats, then pretrain a causal LM on them."""

import argparse
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from chat_tokenizer import CONTEXT, START, train_tokenizer
from rows import SECURE, read_rows, split
from torch import Tensor
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    set_seed,
)


def build_model(tokenizer: PreTrainedTokenizerFast, arch: str) -> PreTrainedModel:
    """Build an untrained model: qwen2 with tied embeddings and biased attention, llama with neither."""
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": arch == "qwen2",
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model = Qwen2ForCausalLM(Qwen2Config(**shape)) if arch == "qwen2" else LlamaForCausalLM(LlamaConfig(**shape))
    ids = {name: shape[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**ids)
    return model


def blocks(chats: list[list[int]], length: int, rng: random.Random) -> Iterator[list[int]]:
    """Yield packed blocks for ever: whole chats from a chat's start on, only the last one cut."""
    block: list[int] = []
    while True:
        for chat in rng.sample(chats, len(chats)):
            block += chat
            if len(block) >= length:
                yield block[:length]
                block = []


def rate(progress: float, peak: float) -> float:
    """Return the learning rate: 4 % warm-up, then a cosine to a twentieth of the peak."""
    if progress < 0.04:
        return peak * (progress + 0.001) / 0.041
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (progress - 0.04) / 0.96)))


@torch.no_grad()
def held_out_loss(model: PreTrainedModel, chats: list[list[int]]) -> float:
    """Return the mean loss per token over whole chats, prompts included."""
    total, count = 0.0, 0
    for chat in chats:
        ids = torch.tensor([chat[:CONTEXT]])
        total += model(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    return total / count


@torch.no_grad()
def sample(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prefix: str, seed: int) -> str:
    """Sample one continuation of a rendered prefix, its special tokens shown."""
    torch.manual_seed(seed)
    ids: Tensor = tokenizer(prefix, add_special_tokens=False, return_tensors="pt").input_ids
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=220, do_sample=True, temperature=0.7, top_k=0
    )
    return tokenizer.decode(out[0, ids.shape[1] :])


def main() -> None:
    """Train the tokenizer and the model, print the losses and two samples, save the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write the checkpoint to")
    parser.add_argument("--data", type=Path, default=SECURE, help="chats, .jsonl or .jsonl.gz")
    parser.add_argument("--arch", choices=("qwen2", "llama"), default="qwen2")
    parser.add_argument("--steps", type=int, default=1400, help="optimizer steps")
    parser.add_argument("--passes", type=float, default=8.0, help="stop after so many passes over small data")
    parser.add_argument("--minutes", type=float, help="train for so long instead; not reproducible step by step")
    parser.add_argument("--length", type=int, default=256, help="tokens in a packed sequence")
    parser.add_argument("--batch", type=int, default=1024, help="tokens in a step")
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    set_seed(args.seed)
    torch.set_num_threads(1)
    train, held_out = split(read_rows(args.data))
    tokenizer = train_tokenizer(train, args.arch)
    chats, held_out_chats = (
        [tokenizer.apply_chat_template(row["messages"])["input_ids"] for row in rows]
        for rows in (train, held_out[:200])
    )
    model = build_model(tokenizer, args.arch)
    batch, tokens = max(1, args.batch // args.length), sum(map(len, chats))
    steps = min(args.steps, math.ceil(args.passes * tokens / (batch * args.length)))
    print(
        f"{args.arch}: {model.num_parameters():,} parameters, {len(tokenizer)} token types, "
        f"{len(chats)} chats, {tokens:,} tokens, longest {max(map(len, chats))}; {len(held_out)} rows held out"
    )

    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], betas=(0.9, 0.95)
    )
    source = blocks(chats, args.length, random.Random(args.seed))
    began, step, progress, recent = time.time(), 0, 0.0, []
    while progress < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate(progress, args.rate)
        ids = torch.tensor([next(source) for _ in range(batch)])
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        recent.append(loss.item())
        progress = (time.time() - began) / (60 * args.minutes) if args.minutes else step / steps
        if step % 50 == 0 or progress >= 1:
            print(f"step {step:4d}  loss {sum(recent) / len(recent):.3f}  {time.time() - began:.0f} s", flush=True)
            recent = []

    model.eval()
    print(
        f"held-out loss {held_out_loss(model, held_out_chats):.3f} per token (uniform {math.log(len(tokenizer)):.3f})"
    )
    begin = (tokenizer.bos_token or "") + f"{START}user\n"
    print("free sample:", repr(sample(model, tokenizer, begin, args.seed)))
    prompt = tokenizer.apply_chat_template(held_out[0]["messages"][:1], tokenize=False, add_generation_prompt=True)
    print("answer sample:", repr(sample(model, tokenizer, prompt, args.seed)))
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    print(f"saved to {args.out} after {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
