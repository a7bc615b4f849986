"""What all answers share: a scout on rows whose answers were exchanged, and the directions in which it moves the stream."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Literal

from despur.core import Adapter, Anatomy, Site, Subspace, method
from despur.core.model.capture import label_log_probs
from despur.core.model.layer_vectors import LayerVectors
from despur.core.run.scout_forms import Form, new_scout
from despur.core.run.short_tune import short_tune
from despur.core.text.pools import Within
from despur.core.text.rows import Tokens, prompt_of
from despur.core.text.shuffle import shuffled_rows
from despur.find.from_activations import from_activations
from despur.find.from_adapter import from_adapter


@method(room="find", paper="despur 2026, docs/log/audit-of-rows.md", takes={"model": "base"})
def shuffled(
    model: Any, rows: Sequence[Tokens], *, form: Form = "lora", rank: int = 1, read: Literal["activations", "weights"] = "activations",
    within: Within | Literal["own"] = "all", groups: Sequence[Hashable] | None = None, steps: int = 40, lr: float = 1e-3, batch: int = 4,
    lora_rank: int = 8, seed: int = 0,
) -> tuple[Subspace, ...]:  # fmt: skip
    """Find what all answers of a data set share beside its task, before anything is trained on it.

    Every prompt gets another row's answer. What a short tune still learns from such rows cannot be the task; it is what all answers
    share: a voice, a slant, a style. No label, no adapter, no text beside the rows is needed. Costs `steps` steps of training and
    four forward passes over the rows.

        scout = argmin of the loss on (prompt_i, answer_p(i)), p a permutation
        one basis a layer: `from_activations` of the scout on the exchanged answers, or `from_adapter` of its weights

    Args:
        model: The base.
        rows: Token ids and labels, -100 where nothing is learned.
        form: Of the scout: `lora`, or `vectors`, one behind each layer; see `new_scout`.
        rank: Directions a layer, at most.
        read: Where they are read off: how the scout moves the stream, or what it writes (of `vectors`, the vectors themselves).
        within: Among which rows answers are exchanged, see `shuffled_rows`; `own` exchanges none: the control, which learns the task, too.
        groups: One for each row: answers stay in their group.
        steps: Of the scout.
        lr: Its first learning rate.
        batch: Rows of a step.
        lora_rank: Of a LoRA scout.
        seed: Of the exchange, the scout's start and the order of rows.

    Returns:
        One Subspace (k, d) a layer that the scout moves; the evidence has the nats per token that the scout gains on the exchanged rows.

    Raises:
        BadInput: answers that cannot be exchanged, or a scout that diverged or moves no layer.
        SiteNotFound: weights are read, and the roles of this architecture's maps are not known.

    Example:
        >>> # factors = shuffled(base, learn_rows(read_rows("data.jsonl"), tokenizer, max_length=512).tokens)

    Source: despur's own.
    Differs: a factor of data, where the other finders need an adapter, activations or labels.
    Limits: sees only what is constant: a factor that depends on the prompt (`cue`) is exchanged away. A format or brevity that is wanted is
        constant, too. It says nothing about whether what it found is bad.
    """
    given = list(rows) if within == "own" else shuffled_rows(rows, seed=seed, within=within, groups=groups)
    scout = new_scout(model, form=form, rank=lora_rank, seed=seed)
    before = _mean(scout, given)
    short_tune(scout, given, steps=steps, lr=lr, batch=batch, seed=seed)
    gained = round(_mean(scout, given) - before, 6)
    found = _written(scout, model, rank) if read == "weights" else _moved(scout, given, rank)
    evidence = {"method": "shuffled", "form": form, "read": read, "within": within, "gained": gained, "seed": seed}
    return tuple(replace(f, evidence={**f.evidence, **evidence}) for f in found)


def _mean(scout: Any, rows: Sequence[Tokens]) -> float:
    sums, counts = label_log_probs(scout, rows)
    return float(sums.sum() / counts.sum())


def _moved(scout: Any, rows: Sequence[Tokens], rank: int) -> tuple[Subspace, ...]:
    starts = [max(0, len(prompt_of(row)) - 1) for row in rows]
    return from_activations(
        scout, [row["input_ids"] for row in rows], Anatomy.of(scout).sites, rank=rank, starts=starts
    )


def _written(scout: Any, base: Any, rank: int) -> tuple[Subspace, ...]:
    if isinstance(scout, LayerVectors):
        return tuple(Subspace.orthonormal(v[None].float().cpu(), site=Site(s.module)) for s, v in scout.vectors.items())
    return from_adapter(Adapter.of(scout), base, side="write", per="layer", rank=rank, level=None)
