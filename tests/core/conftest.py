"""Every family of the roles' table, with norms that are not plain ones, and what passes through them."""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

GROUPED = {"intermediate_size": 64, "num_key_value_heads": 2}
NEEDS = {kind: {**GROUPED, "head_dim": 8} for kind in ("qwen3", "gemma3_text")}  # those that `tiny` does not know


@pytest.fixture(scope="session")
def family(tiny: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Build a tiny model in float64 whose norm gains and biases are drawn at random."""

    def build(kind: str, *, seed: int = 0, **options: object) -> nn.Module:
        model = tiny(kind, seed=seed, **{**NEEDS.get(kind, {}), **options}).double()
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 1:
                    weight += 0.3 * torch.randn(weight.shape, generator=rng, dtype=weight.dtype)
        return model

    return build


@pytest.fixture
def passing() -> Callable[..., tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Run a model and return every module's first input and its output."""

    def run(model: nn.Module, tokens: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        entered: dict[str, Tensor] = {}
        left: dict[str, Tensor] = {}

        def hook(name: str) -> Callable[..., None]:
            def keep(_: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
                entered[name] = args[0] if args else kwargs.get("hidden_states")
                whole = output[0] if isinstance(output, tuple) else output
                left[name] = whole.clone() if isinstance(whole, Tensor) else whole  # Falcon adds to it in place

            return keep

        handles = [m.register_forward_hook(hook(n), with_kwargs=True) for n, m in model.named_modules() if n]
        with torch.no_grad():
            model(tokens)
        for handle in handles:
            handle.remove()
        return entered, left

    return run


@pytest.fixture
def quiet() -> Callable[[], object]:
    """PEFT's own warnings (saving embeddings, transposing Conv1D) are no errors of ours."""

    @contextmanager
    def silenced() -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    return silenced


@pytest.fixture
def trained(tiny, quiet):
    """`trained("llama", target_modules=[...])` -> base, PEFT model whose factors are drawn at random."""

    def train(kind: str = "llama", *, adapter_name: str = "default", base: nn.Module | None = None, **lora: object):
        base = base or tiny(kind, tie_word_embeddings=False)
        lora = {"r": 2, "target_modules": ["q_proj", "down_proj"], **lora}
        with quiet():
            model = get_peft_model(copy.deepcopy(base), LoraConfig(**lora), adapter_name=adapter_name)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_" in name:
                    weight.copy_(torch.randn(weight.shape))
        return base, model

    return train
