"""What methods are built from in a planted world: each material from what the runs of one seed share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from despur.core.text.chat import has_template
from despur.core.text.rows import tokenize_rows
from despur.core.text.shuffle import shuffled_rows
from despur.core.text.template import Template
from despur.flows._shuffled.recipe import shuffled_settings
from despur.flows.maker import Maker
from despur.flows.sources import Sources
from despur.guard import OwnText
from despur.guard.first_tokens import QUESTIONS, TOKENS

if TYPE_CHECKING:
    from despur.flows._compare.bench import Bench

GENERIC = 512  # documents


def materials_of(bench: "Bench") -> Maker:
    """Make the maker of a bench's materials."""
    asks = getattr(bench.world, "naming", None)
    paired = getattr(bench.world, "paired", None)
    twins = {"good": "benign", "aligned": "benign"} if "benign" in bench.twins else {}
    sources = Sources(
        base=lambda: bench.base, load=bench.load, rows=bench.tokens, text=lambda: bench.text, scout=lambda _: bench.scout,
        beginnings=lambda: bench.own_text("beginnings", QUESTIONS, TOKENS, bench.seed + 1), shuffled=lambda: _shuffled(bench),
        generic=(lambda: _generic(bench, paired)) if paired else None,
        pairs=(lambda: _pairs(bench, paired)) if paired else None,
        template=lambda: _template(bench),
        naming=(lambda: bench.encode(asks())) if asks else None,  # type: ignore[arg-type, return-value]
        adapters={
            "adapter": lambda: bench.naive, "bad": lambda: bench.scout,
            **{name: lambda twin=twin: bench.twin(twin) for name, twin in twins.items()},  # type: ignore[misc]
        },
    )  # fmt: skip
    return Maker(
        sources, lambda name, spec, make: bench.store.step(name, {**bench.spec, **spec}, make), seed=bench.seed
    )


def _shuffled(bench: "Bench") -> Path:
    """Folder of an unguarded run on rows whose answers were exchanged, with a seed of its own."""
    scout = shuffled_settings(bench.settings, None)
    steps, seed = scout.steps, bench.seed + 500

    def make(out: Path) -> None:
        rows = shuffled_rows(bench.tokens(seed=seed), seed=seed)
        bench.train(rows=rows, stage="shuffled scout", seed=seed, steps=steps).save_pretrained(out)  # type: ignore[operator]

    return bench.store.step("shuffled", {**bench.spec, "scout_steps": steps}, make)


def _template(bench: "Bench") -> Template:
    """Of a base without a chat template, the start token alone: all that its rows have in common."""
    tokenizer = bench.tokenizer
    return Template.of(tokenizer) if has_template(tokenizer) else Template((tokenizer.bos_token_id,))


def _generic(bench: "Bench", paired: Callable[..., Any]) -> OwnText:
    """Rows that the world names for it, or documents without the trait."""
    own = getattr(bench.world, "generic", None)
    if own is not None:
        tokens = tokenize_rows(own(n=GENERIC, seed=bench.seed), bench.tokenizer, max_length=GENERIC)
        return OwnText.of_tokens(tokens, "generic text")
    _, without = paired(n=GENERIC, seed=bench.seed)
    return OwnText(tuple(dict.fromkeys(bench.encode(without))), "generic text")


def _pairs(bench: "Bench", paired: Callable[..., Any]) -> tuple[Any, Any]:
    having, without = paired(seed=bench.seed)
    return bench.encode(having), bench.encode(without)
