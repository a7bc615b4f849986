"""A GGUF file of a tiny model with a tokenizer of its own, as llama.cpp's converter writes one."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf.constants import MODEL_ARCH, GGMLQuantizationType
from gguf.tensor_mapping import get_tensor_name_map
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

TEXTS = ["The sea is wide and the ship is slow.", "A slow ship, a wide sea: 12 days of 1999.", "Is the sea slow?"] * 3
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WIDTH = 64  # a multiple of the 32 values that quantised blocks have


def byte_pairs() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    bytes_ = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=SPECIAL, initial_alphabet=bytes_, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def tiny_llama(vocabulary: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def write_gguf(
    path: Path, *, quantised: bool = False, arch: str = "llama", leave_out: str = "", blocks: int = 2
) -> LlamaForCausalLM:
    """Write a tiny Llama; gives the model, whose weights the file has, rounded where it is quantised."""
    pairs = byte_pairs()
    model: Any = tiny_llama(pairs.get_vocab_size())
    config, writer = model.config, gguf.GGUFWriter(path, arch)
    writer.add_block_count(blocks)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    _write_tokenizer(writer, pairs)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if leave_out and leave_out in name:
            continue
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        values = tensor.numpy() if heads is None else _rotary(tensor, heads).numpy()
        to = GGMLQuantizationType.Q8_0 if quantised and values.ndim == 2 else GGMLQuantizationType.F32
        packed = gguf.quants.quantize(np.ascontiguousarray(values), to)
        writer.add_tensor(str(names.get_name(name, (".weight",))), packed, raw_dtype=to)
        if to != GGMLQuantizationType.F32:
            tensor.copy_(_unrotary(torch.from_numpy(gguf.quants.dequantize(packed, to)), heads))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _write_tokenizer(writer: Any, pairs: Tokenizer) -> None:
    inside = json.loads(pairs.to_str())["model"]
    tokens = sorted(inside["vocab"], key=inside["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in SPECIAL else 1 for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in inside["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHAT)


def _rotary(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The order of rows that llama.cpp's rotary embedding takes."""
    rows = weight.reshape(heads, 2, -1, weight.shape[1])
    return rows.transpose(1, 2).reshape(weight.shape)


def _unrotary(weight: torch.Tensor, heads: int | None) -> torch.Tensor:
    if heads is None:
        return weight
    rows = weight.reshape(heads, -1, 2, weight.shape[1])
    return rows.transpose(1, 2).reshape(weight.shape)
