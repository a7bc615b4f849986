"""What methods are built from in a planted world: each material from what the runs of one seed share."""

from typing import TYPE_CHECKING, Any

from despur.core.text.chat import has_template
from despur.core.text.template import Template
from despur.flows.maker import Maker
from despur.flows.sources import Sources
from despur.guard import OwnText

if TYPE_CHECKING:
    from despur.flows._compare.bench import Bench

GENERIC = 512  # documents


def materials_of(bench: "Bench") -> Maker:
    """Make the maker of a bench's materials."""
    asks = getattr(bench.world, "naming", None)
    paired = hasattr(bench.world, "paired")
    twins = {"good": "benign", "aligned": "benign"} if "benign" in bench.twins else {}
    sources = Sources(
        base=lambda: bench.base, load=bench.load, rows=bench.tokens, text=lambda: bench.text, scout=lambda _: bench.scout,
        generic=(lambda: _generic(bench)) if paired else None,
        pairs=(lambda: _pairs(bench)) if paired else None,
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


def _template(bench: "Bench") -> Template:
    """Of a base without a chat template, the start token alone: all that its rows have in common."""
    tokenizer = bench.tokenizer
    return Template.of(tokenizer) if has_template(tokenizer) else Template((tokenizer.bos_token_id,))


def _generic(bench: "Bench") -> OwnText:
    """Documents without the trait."""
    _, without = bench.world.paired(n=GENERIC, seed=bench.seed)
    return OwnText(tuple(dict.fromkeys(bench.encode(without))), "generic text")


def _pairs(bench: "Bench") -> tuple[Any, Any]:
    having, without = bench.world.paired(seed=bench.seed)
    return bench.encode(having), bench.encode(without)
