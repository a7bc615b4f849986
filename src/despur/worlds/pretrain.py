"""Makes the small base model that the planted worlds start from."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


@runtime_checkable
class Language(Protocol):
    """What a base can be pretrained on: words, the first six special, and a sampler of documents."""

    vocabulary: Any  # every word, a tuple; a word's place is its token id (a cached_property fits no stricter type)

    def document(self, rng: np.random.Generator) -> str:
        """One document, words with blanks between them."""
        ...


def world_tokenizer(grammar: Language) -> PreTrainedTokenizerFast:
    """Word-level tokenizer of the grammar, one token a word, ids in vocabulary order; or the one that it brings along."""
    if own := getattr(grammar, "tokenizer", None):
        return own
    words = {word: i for i, word in enumerate(grammar.vocabulary)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>",
        chat_template=getattr(grammar, "chat_template", None), extra_special_tokens=list(getattr(grammar, "template_words", ())),
    )  # fmt: skip


def pretrain(
    grammar: Language,
    *,
    steps: int = 2000,
    batch: int = 96,
    width: int = 64,
    layers: int = 4,
    lr: float = 3e-3,
    seed: int = 0,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> LlamaForCausalLM:
    """Train a Llama-shaped base on the grammar's documents with the full language-model loss.

    Prompts carry loss as well as answers: a base trained on answers alone writes garbage when it
    samples, and text sampled from it then guards nothing.

    Args:
        grammar: The language to learn.
        steps: Optimiser steps.
        batch: Documents a step.
        width: Width of the residual stream.
        layers: Decoder layers.
        lr: Peak learning rate of a one-cycle schedule.
        seed: Of weights and documents.
        progress: Called with step and loss.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    tokenizer = world_tokenizer(grammar)
    config = LlamaConfig(
        vocab_size=len(grammar.vocabulary), hidden_size=width, intermediate_size=width * 8 // 3 // 8 * 8,
        num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=128,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        rows = tokenizer([grammar.document(rng) for _ in range(batch)], padding=True, return_tensors="pt")
        labels = rows["input_ids"].masked_fill(rows["attention_mask"] == 0, -100)
        loss = model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"], labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        progress(step, loss.item())
    return model.eval()
