"""Materials to check methods with: a two-layer Llama built from its config, adapters, text; seeded, never downloaded."""

import copy
import functools
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from despur.core.adapter.adapter import Adapter
from despur.core.errors import UnknownName, nearest
from despur.core.model.own_text import OwnText
from despur.core.text.template import Template
from despur.core.types import Site, Subspace

WIDTH, LAYERS, VOCABULARY = 32, 2, 64
RANK = 6  # of the adapters: above what methods that cut ranks leave by default
LAYER = Site("model.layers.0")


def tiny_base(seed: int = 0) -> nn.Module:
    """Build a Llama of width 32, 2 layers, 4 heads, vocabulary 64, in float32 and eval mode; the same each time.

    Args:
        seed: Of its weights.

    Example:
        >>> tiny_base().config.hidden_size
        32
    """
    return copy.deepcopy(_base(seed))


def tiny_tuned(seed: int = 0, rank: int = RANK) -> nn.Module:
    """Put an adapter on every linear map of `tiny_base()`, moved off zero as if it had been trained.

    Args:
        seed: Of the adapter's weights.
        rank: Of the adapter.

    Example:
        >>> type(tiny_tuned()).__name__
        'PeftModelForCausalLM'
    """
    return copy.deepcopy(_tuned(seed, rank))


@functools.cache
def _base(seed: int) -> nn.Module:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "llama", hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=2 * WIDTH, vocab_size=VOCABULARY, max_position_embeddings=64,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@functools.cache
def _tuned(seed: int, rank: int) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    draw = torch.Generator().manual_seed(seed)
    config = LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own
        model: Any = get_peft_model(tiny_base(), config).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    return model


_FOLDERS = functools.cache(lambda: tempfile.TemporaryDirectory(prefix="despur-testing-", ignore_cleanup_errors=True))


@functools.cache
def _folder(seed: int) -> Path:
    """An adapter on disk, until the process ends."""
    folder = Path(_FOLDERS().name) / str(seed)
    model: Any = _tuned(seed, RANK)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


def _draw(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tiny_text() -> OwnText:
    """Nine rows of 5 to 7 tokens behind the start."""
    draw, lengths = torch.Generator().manual_seed(3), [5 + i % 3 for i in range(9)]
    return OwnText(tuple((1, *torch.randint(3, VOCABULARY, (n,), generator=draw).tolist()) for n in lengths))


def _rows() -> list[dict[str, list[int]]]:
    return [{"input_ids": list(row), "labels": [-100, -100, *row[2:]]} for row in tiny_text().rows]


def _factor() -> Subspace:
    return Subspace.orthonormal(_draw(2, WIDTH, seed=0), site=LAYER)


def _estimator() -> Any:
    from sklearn.decomposition import PCA

    return PCA(2).fit(_draw(80, WIDTH).double().numpy())


_MAKE: Mapping[str, Callable[[], Any]] = {
    **dict.fromkeys(("text", "beginnings", "generic"), tiny_text),
    **dict.fromkeys(("rows", "forget", "retain"), _rows),
    "template": lambda: Template((1, 5, 6), (7, 8), ((1, 5, 6, 20, 7, 8), (1, 5, 6, 21, 22, 7, 8))),
    **dict.fromkeys(("scout", "shuffled"), lambda: _folder(1)),
    "factor": _factor,
    "weight_factor": _factor,
    "trait_factor": _factor,
    "prompt": lambda: [9, 12],
    "vectors": lambda: {LAYER: _draw(WIDTH)},
    "stream": lambda: {LAYER: _draw(80, WIDTH)},
    "labels": lambda: torch.arange(80) % 2,
    "positive": lambda: tiny_text().rows,
    "negative": lambda: tuple(row[::-1] for row in tiny_text().rows),
    "sites": lambda: [Site(f"model.layers.{i}") for i in range(LAYERS)],
    "estimator": _estimator,
    "params": lambda: list(tiny_base().parameters()),
    "base": tiny_base,
    "reference": lambda: tiny_base(seed=1),
    "tuned": tiny_tuned,
    "adapter": lambda: Adapter.read(_folder(0)),
    "bad": lambda: Adapter.read(_folder(1)),
    "good": lambda: Adapter.read(_folder(2)),
    "aligned": lambda: Adapter.read(_folder(3)),
}


class TinyMaterials:
    """Every material that a method may ask for, tiny; made when it is asked for, a new one each time.

    Args:
        **own: Name -> what makes it, in place of the tiny one.

    Example:
        >>> TinyMaterials(prompt=lambda: [5]).get("prompt"), TinyMaterials().has("scout")
        ([5], True)
    """

    def __init__(self, **own: Callable[[], Any]) -> None:
        self._make = {**_MAKE, **own}

    def has(self, name: str) -> bool:
        """Whether it can be made."""
        return name in self._make

    def get(self, name: str) -> Any:
        """Make it.

        Raises:
            UnknownName: nothing is known of it.
        """
        if name not in self._make:
            raise UnknownName(
                f"no tiny {name!r}{nearest(name, self._make)}. Say how: TinyMaterials({name}=lambda: ...)"
            )
        return self._make[name]()
