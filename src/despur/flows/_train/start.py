"""Where a training run starts: all its inputs, read and checked; nothing is written yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from despur.core import Subspace, layer_path
from despur.core.errors import BadInput
from despur.core.text.rows import Tokens, tokenize_rows
from despur.flows._train.fit import Settings, lora_targets
from despur.flows._train.guarding import given_factors
from despur.flows._train.inputs import Data, Tokenized, given_scout, prompt_tokens, read_data, read_pairs
from despur.flows.base_fingerprint import base_fingerprint
from despur.flows.load import context_length, load_base
from despur.flows.roles_file import read_roles


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Args:
        base: Where the base is loaded from.
        out: The run's folder.
        data: The training rows, and where they lie.
        settings: Settings of the guarded run, no row longer than the model takes.
        facts: What every stage depends on: fingerprint of the base, digest of the data.
        rows: Rows to train on.
        held_out: Rows that are not trained on.
        factors: Given to the guard; empty where the scout's are used.
        scout: A scout that was given; None where one is trained.
        pairs: Texts with the trait and without, as tokens.
        naming: A prompt that asks for the trait, as tokens.
        roles: Roles that were stated.
        notes: What could not be verified.
    """

    base: str
    out: Path
    data: Data
    settings: Settings
    facts: dict[str, str]
    rows: list[Tokens]
    held_out: list[Tokens]
    factors: tuple[Subspace, ...] = ()
    scout: Path | None = None
    pairs: tuple[Tokenized, Tokenized] | None = None
    naming: Sequence[int] | None = None
    roles: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()


def prepare(
    base: str, data: Path | str, out: Path, settings: Settings, *, guard: str, factors: Path | str | None,
    scout: Path | str | None, pairs: Path | str | None = None, trait: str | None = None, roles: Path | str | None = None,
) -> Start:  # fmt: skip
    """Read and check what a run was given.

    Args:
        base: Folder or hub id of the base model.
        data: The training rows.
        out: The run's folder.
        settings: Settings of the guarded run.
        guard: Name of the guard.
        factors: Folder of factors for it.
        scout: Folder of an adapter to take as the scout.
        pairs: File of paired text.
        trait: A prompt that asks for the trait.
        roles: File of roles, for an architecture that is not known.

    Raises:
        BadInput, ShapeMismatch, SiteNotFound: something cannot be read, or does not belong to the base.
    """
    given = read_data(data, out)
    model, tokenizer = load_base(base)
    settings = replace(settings, max_length=context_length(model, settings.max_length))
    layer_path(model)  # an unknown architecture is reported before anything is trained
    stated = None if roles is None else read_roles(roles)
    lora_targets(model, settings.targets, roles=stated)
    rows, held_out = split(tokenize_rows(given.rows, tokenizer, max_length=settings.max_length), settings.seed)
    facts = {"base_fingerprint": base_fingerprint(model, base), "data": given.digest[:16]}
    chosen, of_factors = (
        given_factors(factors, guard, model, facts["base_fingerprint"]) if factors is not None else ((), ())
    )
    taken, of_scout = given_scout(scout, model, base) if scout is not None else (None, ())
    notes = (*given.notes, *of_factors, *of_scout)
    paired = None if pairs is None else read_pairs(pairs, tokenizer, settings.max_length)
    asked = (
        None if trait is None else prompt_tokens(trait, tokenizer, chat=any("messages" in row for row in given.rows))
    )
    return Start(base, out, given, settings, facts, rows, held_out, chosen, taken, paired, asked, stated, notes)


def split(tokens: list[Tokens], seed: int) -> tuple[list[Tokens], list[Tokens]]:
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
    return [tokens[i] for i in order[n:]], [tokens[i] for i in order[:n]]
