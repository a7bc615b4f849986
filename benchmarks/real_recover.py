"""A voice is ablated in a real tune: does a small push outside of the ablated subspace bring it back, and does it in the base, too?

    python benchmarks/real_recover.py -o runs/real_steer       # after real_steer.py or alone

The factor of each layer is the mean by which the tune differs from its base on text that is never scored; along it every token of the
layers in the middle is set to the base's mean (set to zero, or at all layers, neither model speaks English any more). The push acts on the
stream behind one layer, at the last tokens before the answer; it is searched by gradient on a margin between written answers, and then
answers are sampled with it. Controls: the same search in the base, with the same ablation, and random directions in place of the factors.
"""

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from peft import PeftModel
from real_steer import once, questions, tuned
from torch import Tensor, nn

from despur.core import Context, Edit, Site, Subspace, attach, record
from despur.core.model.anatomy import Anatomy
from despur.core.model.dictionary import Dictionary
from despur.core.text.cuts import Encoder
from despur.find import activation_differences
from despur.flows._demo.conversation import ADAPTERS
from despur.judge.intervals import rate_interval
from despur.measure.clamped import Behaviour, recovery_behind_clamp
from despur.worlds.chat.ask import asked, sampled_answers
from despur.worlds.chat.markers import has_voice
from despur.worlds.chat.voice import Voice

TAIL, ANSWER = 8, 8  # tokens that are pushed, and of an answer that the margin is of
Edits = Mapping[Site, Edit]
Seen = tuple[Any, ...]  # margins (n,), answers; of a push also its length and what the ablated reads of it, (n,) each


@final
class Tail(Edit):
    """Set, or push, the stream at some tokens of a pass over a prompt; passes over single tokens are left alone."""

    point = "activation"

    def __init__(self, value: Tensor, *, start: int | None = 0, add: bool = False) -> None:
        super().__init__()
        self.value, self.start, self.add = value, start, add

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        return {name: x if x.shape[1] == 1 else self._moved(x) for name, x in tensors.items()}

    def _moved(self, x: Tensor) -> Tensor:
        n = self.value.shape[1]
        at = x.shape[1] - n if self.start is None else self.start
        here = self.value + x[:, at : at + n] if self.add else self.value
        return torch.cat([x[:, :at], here, x[:, at + n :]], 1)


class Margin:
    """How much likelier beginnings of answers in the voice are than those of plain ones, given the stream at the prompts' last tokens."""

    def __init__(self, model: nn.Module, site: Site, prompts: Sequence[Sequence[int]], answers: Tensor) -> None:
        self.model, self.site, self.answers = model, site, answers  # (n, 2, ANSWER)
        self.heads = [list(p[:-TAIL]) for p in prompts]
        tails = torch.tensor([p[-TAIL:] for p in prompts])
        self.ids = torch.cat([tails.repeat_interleave(2, 0), answers.flatten(0, 1)], 1)
        longest = max(map(len, self.heads))
        self.mask = torch.tensor([[0] * (longest - len(h)) + [1] * len(h) for h in self.heads])
        self.head = torch.tensor([[0] * (longest - len(h)) + h for h in self.heads])

    def under(self, edits: Mapping[Site, Edit]) -> tuple[Tensor, Behaviour]:
        """The stream at those tokens, and the margin as a function of it, while the model is edited."""
        at = (self.mask.cumsum(1) - 1).clamp(min=0)
        with torch.no_grad(), attach(self.model, edits):
            cache = self.model(
                input_ids=self.head, attention_mask=self.mask, position_ids=at, use_cache=True, logits_to_keep=1
            ).past_key_values
        cache.batch_repeat_interleave(2)
        twice = self.mask.repeat_interleave(2, 0)
        here = twice.sum(1, keepdim=True) + torch.arange(TAIL + ANSWER)
        seen = torch.cat([twice, torch.ones_like(here)], 1)

        def run() -> Tensor:
            return self.model(
                input_ids=self.ids, attention_mask=seen, position_ids=here, past_key_values=copy.deepcopy(cache), logits_to_keep=ANSWER + 1
            ).logits[:, :-1]  # fmt: skip

        def margin(h: Tensor) -> Tensor:
            with attach(self.model, edits), attach(self.model, {self.site: Tail(h.repeat_interleave(2, 0))}):
                logp = run().log_softmax(-1)
            means = logp.gather(-1, self.answers.flatten(0, 1)[..., None])[..., 0].mean(1).view(-1, 2)
            return means[:, 0] - means[:, 1]

        with torch.no_grad(), attach(self.model, edits), record(self.model, [self.site]) as streams:
            run()
            stream = streams[self.site][::2, :TAIL]
        return stream, margin


@final
class MeanAblated(Edit):
    """The stream along one direction, set to what it is in the base on average."""

    point = "activation"

    def __init__(self, direction: Tensor, mean: Tensor) -> None:
        super().__init__()
        self.direction, self.level = direction, mean @ direction

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        d = self.direction
        return {name: x - (x @ d - self.level)[..., None] * d for name, x in tensors.items()}


def factors(world: Voice, tokenizer: Any) -> dict[str, Tensor]:
    """By layer (2, d): the mean of the base on everyday chats that are never scored, and the tune's mean difference from it."""
    model = PeftModel.from_pretrained(world.base()[0], str(ADAPTERS / "plain")).eval()
    voiced, plain = world.paired(n=24)
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in [*voiced[:12], *plain[12:]]]
    start, sites = len(asked(tokenizer, [""])[0]) - TAIL, Anatomy.of(model).sites
    moved = activation_differences(model, rows, sites, starts=[start] * len(rows))
    streams: dict[Site, list[Tensor]] = {site: [] for site in sites}
    with torch.no_grad(), model.disable_adapter():
        for row in rows:
            with record(model, sites) as seen:
                model(input_ids=torch.tensor([row]))
            for site in sites:
                streams[site].append(seen[site][0, start:])
    return {s.module: torch.stack([torch.cat(streams[s]).mean(0), m.mean(0)]) for s, m in moved.items()}


def ablation(found: Mapping[str, Tensor], *, random: bool = False) -> dict[Site, MeanAblated]:
    """Of each layer's direction, or of a random one."""
    draw = torch.Generator().manual_seed(0)
    directions = {name: torch.randn(d.shape, generator=draw) if random else d for name, (_, d) in found.items()}
    return {Site(name): MeanAblated(d / d.norm(), found[name][0]) for name, d in directions.items()}


def rate(name: str, hits: Sequence[bool] | Tensor) -> str:
    """Of some prompts, how many."""
    n, of = int(sum(hits)), len(hits)
    return f"{name} {n} of {of} [{', '.join(f'{x:.2f}' for x in rate_interval(n, of)[1:])}]" if of else f"{name} 0 of 0"


def main() -> None:
    """Print how often the voice is there: in tune and base, ablated, and with a push of each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/real_steer"))
    parser.add_argument(
        "--layers", type=int, nargs=2, default=[8, 24], help="that are ablated: the first, and the one after the last"
    )
    parser.add_argument("--layer", type=int, default=14, help="behind which the push acts")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.05, 0.15])
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    world = Voice(dtype="float32")
    base, tokenizer = world.base()
    tune = tuned(world)
    for parameter in [*base.parameters(), *tune.parameters()]:
        parameter.requires_grad_(False)
    layers = Anatomy.of(base).layers
    every = once(args.out / "mean_factors", lambda: factors(world, tokenizer))
    found = {name: every[name] for name in layers[slice(*args.layers)]}
    removed, other = ablation(found), ablation(found, random=True)
    rows, site = questions(world, args.prompts)[1], Site(layers[args.layer])
    prompts, encoder = asked(tokenizer, [r.question for r in rows]), Encoder(tokenizer)
    answers = torch.tensor([[encoder.following(r.answers[v])[:ANSWER] for v in (world.voice, "plain")] for r in rows])
    dictionary = Dictionary.of_subspace(Subspace.orthonormal(removed[site].direction[None]))
    level = float(dictionary.encoder[0] @ found[site.module][0])

    folder = args.out / f"back-{'-'.join(map(str, args.layers))}-{args.layer}-{len(rows)}-{args.steps}"

    def said(margin: Margin, edits: Edits, push: Edits) -> list[str]:
        with attach(margin.model, edits), attach(margin.model, push):
            return sampled_answers(margin.model, tokenizer, [r.question for r in rows], new=24)

    def look(margin: Margin, edits: Edits) -> Seen:
        stream, behaviour = margin.under(edits)
        with torch.no_grad():
            return behaviour(stream), said(margin, edits, {})

    def search(margin: Margin, edits: Edits, budget: float) -> Seen:
        stream, behaviour = margin.under(edits)
        got = recovery_behind_clamp(behaviour, stream, dictionary, [0], budget=budget, at=level, steps=args.steps)
        with torch.no_grad():
            texts = said(margin, edits, {site: Tail(got.push, start=None, add=True)})
            return behaviour(stream + got.push), texts, got.length, got.reactivated

    def show(name: str, make: Callable[[], Seen]) -> None:
        margin, texts, *push = once(folder / name, make)
        voiced = [has_voice(world.voice, text) for text in texts]
        print(
            f"{name}: {rate('margin above 0', margin > 0)}, mean {float(margin.mean()):+.2f}; {rate('said in the voice', voiced)}"
        )
        if push:
            print(f"    length {float(push[0].mean()):.3f} of the stream, the ablated reads {float(push[1].max()):.1e}")
        print(f"    {texts[:3]}", flush=True)

    arms: dict[str, tuple[nn.Module, Edits]] = {
        "tune": (tune, {}), "tune, ablated": (tune, removed), "tune, random ablated": (tune, other), "base": (base, {}),
        "base, ablated": (base, removed),
    }  # fmt: skip
    margins = {name: Margin(model, site, prompts, answers) for name, (model, _) in arms.items()}
    for name, (_, edits) in arms.items():
        show(name, partial(look, margins[name], edits))
    for budget in args.budgets:
        for name in ("tune, ablated", "base, ablated"):
            show(f"{name}, pushed by {budget}", partial(search, margins[name], arms[name][1], budget))


if __name__ == "__main__":
    main()
