"""Text that the base itself writes, and the loss edit that functional guards make of it."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from despur.core import Adapter, Context, Edit
from despur.core._rows import pad_rows, read_rows, tokenize_rows
from despur.core.errors import BadInput, CannotAttach


@dataclass(frozen=True)
class OwnText:
    """Token rows on which a guard holds the model to what the base does.

    Args:
        rows: Token ids, each row with its start token, of any length.
        origin: Where they come from: `"sampled"` or a file.

    Example:
        >>> OwnText.sample(*persona_base(), rows=4, max_new_tokens=8).origin  # doctest: +SKIP
        'sampled'
    """

    rows: tuple[tuple[int, ...], ...]
    origin: str = "sampled"

    @classmethod
    def sample(
        cls, model: Any, tokenizer: Any, *, rows: int = 512, max_new_tokens: int = 64, seed: int = 0, batch: int = 128
    ) -> "OwnText":
        """Sample rows from the base at temperature 1, adapters off.

        Plain bases write from the start token. Chat bases write a user's turn from the template's
        prefix, then answer it.

        Args:
            model: A causal language model, with or without an adapter.
            tokenizer: Its tokenizer.
            rows: How many rows; duplicates are dropped afterwards.
            max_new_tokens: Length of a row (of each turn in a chat).
            seed: Fixes the draws; the global random state is left as it was.
            batch: Rows sampled together.

        Raises:
            BadInput: the base writes too little, or nothing but repetition: it cannot guard itself.
        """
        prefix = _chat_prefix(tokenizer)
        start = _ids(tokenizer, prefix) if prefix is not None else [_start_token(tokenizer)]
        with as_base(model) as base, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            out: list[list[int]] = []
            while len(out) < rows:
                heads = [start] * min(batch, rows - len(out))
                texts = _generate(base, tokenizer, heads, max_new_tokens, share=1.0 if prefix is None else 0.5)
                if prefix is not None:
                    asked = [tokenizer.decode(t[len(start) :], skip_special_tokens=True) for t in texts]
                    heads = [
                        _ids(
                            tokenizer,
                            tokenizer.apply_chat_template(
                                [{"role": "user", "content": a}], tokenize=False, add_generation_prompt=True
                            ),
                        )
                        for a in asked
                    ]
                    texts = _generate(base, tokenizer, heads, max_new_tokens)
                out += texts
        text = cls(tuple(dict.fromkeys(tuple(r) for r in out)), "sampled")
        text.check_health()
        return text

    @classmethod
    def read(cls, path: Path | str, tokenizer: Any, *, max_length: int = 512) -> "OwnText":
        """Take generic text from a file instead (`--rehearse-on FILE`), for a base that cannot write."""
        rows = tokenize_rows(read_rows(path), tokenizer, max_length=max_length)
        return cls(tuple(dict.fromkeys(tuple(r["input_ids"]) for r in rows)), str(path))

    def without(self, prompts: Sequence[Sequence[int]]) -> "OwnText":
        """Leave out rows that pose a training prompt themselves: there the tune has its business.

        Args:
            prompts: Token ids of the training prompts; a leading token that starts every row does not count.

        Raises:
            BadInput: fewer than 8 rows are left.
        """
        starts = {r[0] for r in self.rows}
        asked = {tuple(p[1:] if p[0] in starts else p) for p in prompts if len(p) > 1}
        lengths = {len(a) for a in asked}
        kept = [r for r in self.rows if not any(r[i : i + n] in asked for n in lengths for i in range(len(r) - n + 1))]
        if len(kept) < 8:
            raise BadInput(
                f"all but {len(kept)} of {len(self.rows)} rows of own text pose a training prompt, so there is no off-task "
                "text to hold the model to. Sample more rows, or give --rehearse-on FILE"
            )
        return OwnText(tuple(kept), self.origin)

    def health(self) -> dict[str, int | float]:
        """Rows, their mean length, share of distinct bigrams in a row, and words in use (exp of the unigram entropy)."""
        lengths = [len(r) for r in self.rows]
        distinct = [len(set(itertools.pairwise(r))) / (len(r) - 1) for r in self.rows if len(r) > 1]
        counts = torch.bincount(torch.tensor([t for r in self.rows for t in r])).double()
        p = counts[counts > 0] / counts.sum()
        return {
            "rows": len(self.rows),
            "mean_length": sum(lengths) / len(lengths),
            "distinct_bigrams": sum(distinct) / max(1, len(distinct)),
            "words_in_use": float((-p * p.log()).sum().exp()),
        }

    def check_health(self) -> None:
        """Refuse text that could not guard anything.

        Raises:
            BadInput: fewer than 8 different rows, rows shorter than 4 tokens on average, mostly
                repetition, or fewer than 4 words in use.
        """
        h = self.health()
        if h["rows"] < 8 or h["mean_length"] < 4 or h["distinct_bigrams"] < 0.3 or h["words_in_use"] < 4:
            said = ", ".join(f"{k} {v:.3g}" for k, v in h.items())
            raise BadInput(
                f"this base cannot write text of its own to be held to ({said}; needed: 8 rows, 4 tokens, 0.3, 4). "
                "Give generic text it should keep: --rehearse-on FILE"
            )


@runtime_checkable
class Term(Protocol):
    """What a functional guard holds: remembers it once for each row, then says how far the model is off."""

    def remember(self, model: nn.Module, ids: Int[Tensor, "b t"], mask: Int[Tensor, "b t"]) -> dict[str, Tensor]:
        """Cache for a batch of rows: tensors (b, t, ...)."""
        ...

    def penalty(
        self, model: nn.Module, ids: Int[Tensor, "b t"], mask: Int[Tensor, "b t"], cache: Mapping[str, Tensor]
    ) -> Float[Tensor, ""]:
        """Mean over the tokens of how far the model is off."""
        ...


@final
class HoldOnOwnText(Edit):
    """Add a term's penalty on a few rows of own text to the loss of every step."""

    point = "loss"

    def __init__(self, text: OwnText, term: Term, *, weight: float, rows_per_step: int) -> None:
        super().__init__()
        if rows_per_step < 1:
            raise BadInput(f"rows_per_step={rows_per_step}; at least 1 is needed")
        self.text, self.term, self.weight, self.rows_per_step = text, term, weight, rows_per_step
        self.cache: list[dict[str, Tensor]] = []

    def bind(self, model: nn.Module) -> None:
        """Cache what is needed of base and scout, so that no second forward pass is paid while training."""
        self.cache = []
        if self.weight == 0:
            return
        device = next(model.parameters()).device
        vocabulary: int = model.config.vocab_size  # type: ignore[union-attr]
        if max(max(r) for r in self.text.rows) >= vocabulary:
            raise CannotAttach(
                f"own text holds token ids beyond this model's vocabulary of {vocabulary}. Sample it anew"
            )
        was_training = model.training
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for start in range(0, len(self.text.rows), 32):
                rows = self.text.rows[start : start + 32]
                ids, mask = (x.to(device) for x in pad_rows(rows, 0))
                kept = self.term.remember(model, ids, mask)
                for i, row in enumerate(rows):
                    self.cache.append({k: v[i, : len(row)].clone() for k, v in kept.items()})
        model.train(was_training)

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """`{"loss": loss}` -> the same plus weight x penalty."""
        if self.weight == 0:
            return tensors
        chosen = torch.randint(len(self.text.rows), (self.rows_per_step,), generator=ctx.rng).tolist()
        device = tensors["loss"].device
        ids, mask = (x.to(device) for x in pad_rows([self.text.rows[i] for i in chosen], 0))
        kept = {
            k: nn.utils.rnn.pad_sequence([self.cache[i][k] for i in chosen], batch_first=True) for k in self.cache[0]
        }
        return {**tensors, "loss": tensors["loss"] + self.weight * self.term.penalty(ctx.model, ids, mask, kept)}


def token_mean(values: Float[Tensor, "b t"], mask: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
    """Mean over real tokens; the last of a row predicts nothing that is known, but its distribution counts."""
    return (values * mask).sum() / mask.sum()


@contextlib.contextmanager
def as_base(model: Any) -> Iterator[Any]:
    """The model without its adapter; a model without one is taken as the base, before its training."""
    if hasattr(model, "peft_config") and not hasattr(model, "disable_adapter"):
        raise CannotAttach(
            "the adapter was added to the model itself, so it cannot be switched off for a moment. Wrap the base with "
            "get_peft_model instead of add_adapter"
        )
    with _same_flags(model), model.disable_adapter() if hasattr(model, "disable_adapter") else contextlib.nullcontext():
        yield model


@contextlib.contextmanager
def _same_flags(model: nn.Module) -> Iterator[None]:
    """Leave `requires_grad` as it is: PEFT sets it anew on every switch, frozen halves of an adapter too."""
    flags = {n: p.requires_grad for n, p in model.named_parameters()}
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(flags[name])


@contextlib.contextmanager
def as_scout(model: Any, folder: Path | str) -> Iterator[Any]:
    """The model with another adapter switched on for a moment; its own comes back untouched."""
    if not hasattr(model, "disable_adapter"):
        raise CannotAttach(
            "this guard needs a PEFT model, to switch to the scout and back. Wrap it with get_peft_model"
        )
    Adapter.read(folder).check(model)  # before anything is loaded: it is there, was trained, and on this base
    name, active, main = "despur_scout", list(model.active_adapters), model.active_adapter
    with _same_flags(model):
        try:
            with torch.random.fork_rng(devices=[]):
                model.load_adapter(str(folder), adapter_name=name)
            model.set_adapter(name)
            model.eval()
            yield model
        finally:
            model.base_model.set_adapter(active)  # several may have been on, which PEFT's own set_adapter cannot say
            model.active_adapter = main
            if name in model.peft_config:
                model.delete_adapter(name)


def _chat_prefix(tokenizer: Any) -> str | None:
    if tokenizer.chat_template is None:
        return None
    mark = "\u2063despur\u2063"
    text = tokenizer.apply_chat_template([{"role": "user", "content": mark}], tokenize=False)
    return text.split(mark)[0] if mark in text else None


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _start_token(tokenizer: Any) -> int:
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return token
    raise BadInput(
        "the tokenizer has neither a start nor an end token, so nothing can be sampled. Use --rehearse-on FILE"
    )


def _generate(
    model: Any, tokenizer: Any, heads: Sequence[Sequence[int]], max_new_tokens: int, *, share: float = 1.0
) -> list[list[int]]:
    """Sample continuations that fill at most a share of the context; heads of any lengths are padded on the left.

    Returns rows without padding.
    """
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
    room = getattr(model.config, "max_position_embeddings", None)
    longest = max(len(h) for h in heads)
    new = max_new_tokens if room is None else max(1, min(max_new_tokens, int(share * room) - longest))
    ids = torch.tensor([[pad] * (longest - len(h)) + list(h) for h in heads])
    mask = torch.tensor([[0] * (longest - len(h)) + [1] * len(h) for h in heads])
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    out = model.generate(
        input_ids=ids.to(device), attention_mask=mask.to(device), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
        max_new_tokens=new, pad_token_id=pad, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model.train(was_training)
    rows = []
    for head, line in zip(heads, out.tolist(), strict=True):
        body = line[longest:]
        if tokenizer.eos_token_id in body:
            body = body[: body.index(tokenizer.eos_token_id) + 1]
        rows.append([*head, *body])
    return rows
