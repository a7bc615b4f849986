"""Where a training run starts: all its inputs, read and checked; nothing is written yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from despur.core import Adapter, Subspace, fingerprint, layer_path
from despur.core.adapter.peft_folder import tune_digest
from despur.core.errors import BadInput
from despur.core.text.chat import has_template
from despur.core.text.learn import Learned, learn_rows
from despur.core.text.rows import Tokens
from despur.core.text.template import Template
from despur.core.text.token_rows import TokenRows
from despur.flows._train.fit import Settings, lora_targets
from despur.flows._train.guarding import find_guard, given_factors
from despur.flows._train.inputs import Data, Tokenized, given_scout, prompt_tokens, read_data, read_pairs
from despur.flows._train.reference import Reference
from despur.flows.base_fingerprint import base_fingerprint
from despur.flows.load import context_length
from despur.flows.placement import Placement, dtype_of
from despur.flows.roles_file import read_roles

MAX_LENGTH = 1024  # tokens of a row where no length is given
_MEASURED_FROM = "the base of these figures, (0, 0), is the base with the adapter on that the run goes on with"


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Args:
        reference: The base, or the base with an adapter on.
        plain: Fingerprint of the plain base.
        out: The run's folder.
        data: The training rows, and where they lie.
        settings: Settings of the guarded run, no row longer than the model takes.
        facts: What every stage depends on: fingerprint of what it starts from, digest of the data, and of that adapter.
        rows: Rows to train on.
        held_out: Rows that are not trained on.
        factors: Given to the guard; empty where the scout's are used.
        scout: A scout that was given; None where one is trained.
        pairs: Texts with the trait and without, as tokens.
        naming: A prompt that asks for the trait, as tokens.
        roles: Roles that were stated.
        template: Tokens of the base's chat template, for a guard that asks for them.
        notes: What could not be verified.
    """

    reference: Reference
    plain: str
    out: Path
    data: Data
    settings: Settings
    facts: dict[str, str]
    rows: Sequence[Tokens]
    held_out: list[Tokens]
    factors: tuple[Subspace, ...] = ()
    scout: Path | None = None
    pairs: tuple[Tokenized, Tokenized] | None = None
    naming: Sequence[int] | None = None
    roles: Mapping[str, str] | None = None
    template: Template | None = None
    notes: tuple[str, ...] = ()

    @property
    def goes_on(self) -> bool:
        """Whether it goes on with an adapter."""
        return self.reference.adapter is not None


def prepare(
    base: str, data: Path | str, out: Path, settings: Settings, *, guard: str, factors: Path | str | None,
    scout: Path | str | None, pairs: Path | str | None = None, trait: str | None = None, roles: Path | str | None = None,
    from_: Path | str | None = None, placement: Placement | None = None, beside: str | None = None,
) -> Start:  # fmt: skip
    """Read and check what a run was given.

    Args:
        base: Folder, GGUF file, hub id or name (`smollm2`) of the base model.
        data: The training rows.
        out: The run's folder.
        settings: Settings of the guarded run.
        guard: Name of the guard.
        factors: Folder of factors for it.
        scout: Folder of an adapter to take as the scout.
        pairs: File of paired text.
        trait: A prompt that asks for the trait.
        roles: File of roles, for an architecture that is not known.
        from_: Folder of an adapter to go on with.
        placement: Device and precision.
        beside: Name of a second guard.

    Raises:
        BadInput, ShapeMismatch, SiteNotFound: something cannot be read, or does not belong to the base.
    """
    given = read_data(data, out)
    reference, of_start = Reference(base, None, placement or Placement()), ()
    model, tokenizer = reference.plain()
    asked_length = settings.max_length
    length = context_length(model, asked_length or MAX_LENGTH)
    settings = replace(settings, max_length=length)
    layer_path(model)  # an unknown architecture is reported before anything is trained
    stated = None if roles is None else read_roles(roles)
    lora_targets(model, settings.targets, roles=stated)
    learned = learn_rows(given.rows(), tokenizer, max_length=length, turns=settings.turns, name=data)
    if asked_length != length:  # nobody chose it
        _check_cut(learned, length, str(data))
    rows, held_out = split(learned.tokens, settings.seed)
    plain = base_fingerprint(model, base)
    facts = {"base_fingerprint": plain, "data": given.digest[:16]}
    chosen, of_factors = given_factors(factors, guard, model, plain) if factors is not None else ((), ())
    if (precision := dtype_of(model)) != "float32":
        facts["dtype"] = precision
    if from_ is not None:
        reference = replace(reference, adapter=Adapter.read(from_))
        of_start = (*_checked(reference, model), _MEASURED_FROM)
        model, _ = reference.load()
        facts |= {"base_fingerprint": fingerprint(model), "from": tune_digest(Path(from_))}
    taken, of_scout = given_scout(scout, model, base) if scout is not None else (None, ())
    notes = (*given.notes, *learned.notes, *of_start, *of_factors, *of_scout)
    paired = None if pairs is None else read_pairs(pairs, tokenizer, length)
    chat = has_template(tokenizer) and given.asks
    asked = None if trait is None else prompt_tokens(trait, tokenizer, chat=chat)
    takes = {m for name in (guard, beside) if name and (entry := find_guard(name)) for m in entry.takes.values()}
    template = Template.of(tokenizer) if "template" in takes else None
    return Start(
        reference,
        plain,
        out,
        given,
        settings,
        facts,
        rows,
        held_out,
        chosen,
        taken,
        paired,
        asked,
        stated,
        template,
        notes,
    )


def _checked(reference: Reference, model: Any) -> list[str]:
    """Check the adapter that the run goes on with, and give what could not be verified."""
    assert reference.adapter is not None
    notes = reference.adapter.check(model, reference.base)
    return [f"of the adapter that the run goes on with, {note}" for note in notes]


def _check_cut(learned: Learned, length: int, data: str) -> None:
    if learned.shortened > len(learned.tokens) / 2:
        raise BadInput(
            f"{learned.shortened} of the {len(learned.tokens)} rows of {data!r} are longer than the {length} tokens that are taken "
            "where no length is given or the base takes no more, so that most answers would be learned without their end. Shorten "
            f"them, raise --max-length if the base allows it, or take their beginnings with --max-length {length}"
        )


def split(tokens: TokenRows, seed: int) -> tuple[TokenRows, list[Tokens]]:
    """Split rows into those for training and those for measuring.

    Raises:
        BadInput: fewer than ten.
    """
    if len(tokens) < 10:
        raise BadInput(
            f"{len(tokens)} rows; at least 10 are needed, to train on most and measure on the rest. Give more data"
        )
    order = np.random.default_rng([seed, 7]).permutation(len(tokens))
    n = min(200, max(4, len(tokens) // 10))
    return tokens.take(order[n:]), list(tokens.take(order[:n]))
