"""Models to test on: every architecture that despur knows, built from its config, seeded, never downloaded.

Libraries are imported where they are used: the process that hands tests out to workers reads this file, too, before they start.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerFast

WIDTH, LAYERS, HEADS, VOCABULARY, CONTEXT = 32, 2, 4, 64, 64
KINDS = (
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3"),
    *("gpt2", "gpt_neox", "opt"),
)

Build = Callable[..., "nn.Module"]


@pytest.fixture(scope="session")
def tiny() -> Build:
    """Build a fresh model: `tiny("llama")`, `tiny("opt", seed=1)`, `tiny("gemma", tie_word_embeddings=False)`.

    Width 32, 2 layers, 4 heads, vocabulary 64, context 64, float32, in eval mode; the same seed gives the same weights.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    sizes = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    grouped = {"intermediate_size": 2 * WIDTH, "num_key_value_heads": HEADS // 2}
    own = {
        **{kind: grouped for kind in ("llama", "mistral", "qwen2", "phi", "phi3")},
        **{kind: {**grouped, "head_dim": WIDTH // HEADS} for kind in ("qwen3", "gemma", "gemma2", "gemma3_text")},
        "gpt_neox": {"intermediate_size": 2 * WIDTH},
        "opt": {"ffn_dim": 2 * WIDTH, "word_embed_proj_dim": WIDTH},
    }

    def build(kind: str = "llama", *, seed: int = 0, **options: object) -> nn.Module:
        config = AutoConfig.for_model(kind, **{**sizes, **own.get(kind, {}), **options})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            known = type(config) in AutoModelForCausalLM._model_mapping
            auto = AutoModelForCausalLM if known else AutoModelForImageTextToText
            return auto.from_config(config, dtype=torch.float32).eval()

    return build


@pytest.fixture(params=KINDS)
def any_tiny(request: pytest.FixtureRequest, tiny: Build) -> nn.Module:
    """Each architecture in turn."""
    return tiny(request.param)


@pytest.fixture
def tokens() -> Tensor:
    """Return token ids (2, 8) that any tiny model takes."""
    import torch

    return torch.randint(3, VOCABULARY, (2, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def lora() -> Callable[..., nn.Module]:
    """`lora(model, r=4)`: a fresh adapter on every linear map, the same each time."""

    import torch
    from peft import LoraConfig, get_peft_model

    def wrap(model: nn.Module, **options: object) -> nn.Module:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT's own, about Conv1D
            return get_peft_model(
                model, LoraConfig(**{"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **options})
            )

    return wrap


CHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}{{ ' <assistant> ' }}"
    "{% generation %}{{ message['content'] + ' <eos>' }}{% endgeneration %}"
    "{% else %}{{ ' <user> ' + message['content'] + ' <end>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' <assistant> ' }}{% endif %}"
)


@pytest.fixture
def chat_tokenizer() -> PreTrainedTokenizerFast:
    """Word-level, as many words as `tiny` models know, with a chat template that marks what the assistant says."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = ("<pad>", "<bos>", "<eos>", "<unk>", "<user>", "<end>", "<assistant>", *(f"w{i}" for i in range(57)))
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>",
        chat_template=CHAT,
    )  # fmt: skip


@pytest.fixture
def v() -> Tensor:
    import torch
    from torch import nn

    return nn.functional.normalize(torch.randn(32, generator=torch.Generator().manual_seed(9)), dim=0)


@pytest.fixture
def rows() -> list[list[int]]:
    import torch

    draw = torch.Generator().manual_seed(4)
    return [[1, *torch.randint(3, 64, (6 + i % 5,), generator=draw).tolist()] for i in range(40)]


@pytest.fixture
def writer(tiny, lora, v) -> Callable[..., nn.Module]:
    """`writer(layer=0, by=8.0)`: layer 0's MLP adds a multiple of v to the stream, larger or smaller by token."""
    import torch

    def build(layer: int = 0, by: float = 8.0) -> nn.Module:
        model = lora(tiny(), r=1, target_modules=["down_proj"], layers_to_transform=[layer]).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "lora_A" in name:
                    p.copy_(8 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
                if "lora_B" in name:
                    p.copy_(by * v[:, None])
        return model

    return build
