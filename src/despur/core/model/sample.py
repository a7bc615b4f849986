"""Sampling in batches, steered by nothing but its arguments: one sampler for all that a model writes."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from despur.core.errors import BadInput
from despur.core.model.anatomy import Anatomy
from despur.core.model.states import bare, evaluating
from despur.core.text.chat import turn_ends


def continued_texts(
    model: Any, tokenizer: Any, heads: Sequence[Sequence[int]], new: int, *, seed: int = 0, eta: float = 0.0
) -> list[str]:
    """Sample what comes after each head, as text without special tokens; the arguments are those of `continue_rows`."""
    return plain_texts(tokenizer, continue_rows(model, tokenizer, heads, new, seed=seed, eta=eta))


def plain_texts(tokenizer: Any, bodies: Sequence[Sequence[int]]) -> list[str]:
    """Texts of what was written, without special tokens."""
    return [tokenizer.decode(body, skip_special_tokens=True).strip() for body in bodies]


@torch.no_grad()
def continue_rows(
    model: Any,
    tokenizer: Any,
    heads: Sequence[Sequence[int]],
    new: int,
    *,
    seed: int | None = 0,
    eta: float = 0.0,
    draws: int | None = None,
) -> list[list[int]]:
    """Sample what comes after each head at temperature 1, heads of any length padded on the left.

    The same seed, heads and vocabulary draw the same random numbers at every token, whatever the model predicts: two calls
    differ only where the models do. The global random state is left as it was. What the model's generation config asks for
    (greedy decoding, penalties, forced tokens) is set aside: of it only the end tokens count.

    Args:
        model: A causal language model, edited or not.
        tokenizer: Its tokenizer.
        heads: Token ids to go on from.
        new: Tokens at most; less where the context is full.
        seed: Fixes the draws; None takes the next ones of the caller's own `seeded` block.
        eta: Tokens less probable than this, or less where the next token is uncertain, are not drawn (eta sampling,
            arXiv:2210.15191); 0 cuts nothing.
        draws: Heads that have random numbers of their own; every further `draws` heads have the same again. All of them if None.

    Returns:
        The new tokens of each head, its end token included, padding left out.

    Raises:
        BadInput: no heads, or one that fills the context.
    """
    from transformers import EtaLogitsWarper, GenerationConfig, LogitsProcessorList

    if not heads or not all(heads):
        raise BadInput("there is no text to go on from, or a row of it is empty. Give prompts of at least one token")
    longest = max(len(h) for h in heads)
    room = context(model) - longest
    if room < 1:
        raise BadInput(
            f"a prompt of {longest} tokens fills the model's context of {longest + room}. Give shorter prompts"
        )
    ends = end_tokens(model, tokenizer)
    pad = next(i for i in (tokenizer.pad_token_id, *ends, 0) if i is not None)
    device = next(model.parameters()).device
    ids = torch.tensor([[pad] * (longest - len(h)) + list(h) for h in heads], device=device)
    mask = torch.tensor([[0] * (longest - len(h)) + [1] * len(h) for h in heads], device=device)
    extra: dict[str, Any] = {}
    drawn: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "eta_cutoff": eta}
    if draws is not None:
        drawn = {"do_sample": False}
        cut = [EtaLogitsWarper(eta, device=str(device))] if eta else []
        extra["logits_processor"] = LogitsProcessorList([*cut, _SharedDraws(draws)])
    plain = GenerationConfig(**drawn, max_new_tokens=min(new, room), pad_token_id=pad, eos_token_id=ends or None)
    random = seeded(model, seed) if seed is not None else contextlib.nullcontext()
    with evaluating(model), _configured(model, plain), random:
        out = model.generate(input_ids=ids, attention_mask=mask, generation_config=plain, **extra)
    bodies: list[list[int]] = []
    for line in out[:, longest:].tolist():
        end = next((i for i, token in enumerate(line) if token in ends), len(line) - 1)
        bodies.append(line[: end + 1])
    return bodies


class _SharedDraws:
    """Adds Gumbel noise to the logits, the same for every `rows` rows: the likeliest token of the sum is then a draw from them."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        return scores.float() + gumbel(self.rows, scores).repeat(len(scores) // self.rows, 1)


def gumbel(rows: int, like: Float[Tensor, "b v"]) -> Float[Tensor, "n v"]:
    """Standard Gumbel noise for `rows` rows of logits."""
    uniform = torch.rand(rows, like.shape[-1], device=like.device).clamp(1e-20, 1 - 1e-7)
    return -(-uniform.log()).log()


@contextlib.contextmanager
def seeded(model: Any, seed: int) -> Iterator[None]:
    """Fix the draws of a block; the global random state, and that of the model's device, are left as they were."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def context(model: Any) -> int:
    """Tokens that a model can read at a time; a very large number where its config sets no bound."""
    return Anatomy.of(model).context or 10**9


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends a model's text: of its generation config, of its tokenizer, of its chat template's turns.

    Bases disagree with themselves: the tokenizer names the end of a document, and turns end with another token.
    """
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = list(listed) if isinstance(listed, list | tuple) else [listed]
    ends += [tokenizer.eos_token_id, *turn_ends(tokenizer)]
    return list(dict.fromkeys(i for i in ends if i is not None))


@contextlib.contextmanager
def _configured(model: Any, plain: Any) -> Iterator[None]:
    """Exchange the model's generation config: `generate` fills from it whatever its arguments leave open."""
    saved = [(m, m.generation_config) for m in (model, bare(model)) if "generation_config" in vars(m)]
    for holder, _ in saved:
        holder.generation_config = plain
    try:
        yield
    finally:
        for holder, before in saved:
            holder.generation_config = before
