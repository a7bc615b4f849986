"""The claim of `suv`: a tiny language model that knows 200 passages by heart forgets them, and keeps its language and its facts."""

from copy import deepcopy
from typing import Any

import torch

from despur.claims.tiny_runs import fresh_lora, rows_of, sharpen
from despur.core import Adapter, Report
from despur.core.claim import claim
from despur.core.margin import compared
from despur.core.model.capture import token_log_probs
from despur.unlearn import recall
from despur.unlearn import suv as unlearner
from despur.worlds.passages import Passages, as_rows, perplexity, skill

PREFIXES = (4, 6, 8)  # 6 is in no pair of the training
DRAWS = 4
STEPS = 60


@claim(
    method="suv",
    says="a model that recites 200 passages recites at most 5 % of them afterwards, greedily or in four samples, at prefixes of several "
    "lengths, with the rest's perplexity up by at most 2 %, and knows more of its facts than after either control",
    control="DPO towards the same rewrites for as many steps, without projection and penalty; gradient ascent for as many",
    margin=0.005,
    slow=True,
)
def suv(seed: int, *, whole: bool) -> tuple[Report, ...]:
    """The margin of rewrites over rows grows on a tiny model; with `whole`, three ways to unlearn passages."""
    if whole:
        return _unlearned(seed)
    model, rows = sharpen(fresh_lora(seed)), as_rows(rows_of(seed, n=6, length=10))
    kept = as_rows(rows_of(seed + 1, n=6, length=10))
    before = recall(model, rows, prefixes=(4,))
    put_on(model, unlearner(model, rows, kept, steps=15, match=0.0, prefixes=(4,), strength=5.0, seed=seed))
    after = recall(model, rows, prefixes=(4,))
    fell = (before.log_prob - after.log_prob).mean()
    return (compared("fall of the rows' log-probability", float(fell), control=0.0, n=len(rows), bound=1.0, margin=0.5, unit="nats",
                     control_is="the model as it was"),)  # fmt: skip


def put_on(model: Any, adapter: Adapter) -> Any:
    """Give a live model's LoRA the factors of an adapter of the same modules and rank."""
    with torch.no_grad():
        for name, update in Adapter.of(model).updates.items():
            update.down.copy_(adapter.updates[name].down)
            update.up.copy_(adapter.updates[name].up)
    return model


def wrapped(model: Any, seed: int) -> Any:
    """A copy of the model with a new LoRA on every linear map."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(r=8, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
        return get_peft_model(deepcopy(model), config).eval()  # type: ignore[arg-type]


def figures(model: Any, world: Passages) -> tuple[float, float, float]:
    """The largest share of passages recited under any prefix, greedily or in samples; the rest's perplexity; facts known."""
    rows = as_rows(world.passages)
    each = [recall(model, rows, prefixes=(k,)) for k in PREFIXES]
    recited = max(max(r.greedy, r.sampled(DRAWS)) for r in each)
    return recited, perplexity(model, world.language(512, seed=9)), skill(model, world.facts)


def ascended(model: Any, world: Passages, *, steps: int, rate: float, seed: int) -> Any:
    """Gradient ascent: the passages' loss is raised, behind their first four tokens."""
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate, betas=(0.9, 0.98))
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        texts = world.passages[torch.randperm(world.n, generator=draw)[:32]]
        token_log_probs(model, texts, torch.ones_like(texts))[:, 3:].mean().backward()
        adam.step()
        adam.zero_grad()
    return model


def _unlearned(seed: int) -> tuple[Report, ...]:
    world = Passages(seed=seed)
    reference, knows = world.models()
    forget, retain = as_rows(world.passages), as_rows(world.rest(256, seed=1))
    start = figures(knows, world)
    ours, dpo = (wrapped(knows, seed) for _ in range(2))
    put_on(ours, unlearner(ours, forget, retain, reference, steps=STEPS, seed=seed))
    put_on(dpo, unlearner(dpo, forget, retain, reference, steps=STEPS, seed=seed, projection=0.0, stiffness=0.0))
    ascent = ascended(wrapped(knows, seed), world, steps=STEPS, rate=1e-3, seed=seed)
    (recited, rest, facts), *others = (figures(m, world) for m in (ours, dpo, ascent))
    reports = [compared("recited of 200 passages", recited, control=start[0], n=world.n, bound=0.05, margin=0.9, higher_is_better=False,
                        control_is="before")]  # fmt: skip
    for name, (other_recited, other_rest, other_facts) in zip(("DPO alone", "gradient ascent"), others, strict=True):
        more: dict[str, Any] = {"recited": recited, "recited_control": other_recited}
        rise = compared(f"the rest's perplexity, beside {name}", rest / start[1], control=other_rest / start[1], n=512, bound=1.02,
                        higher_is_better=False, unit="of that before", **more)  # fmt: skip
        known = compared(
            f"facts, beside {name}", facts, control=other_facts, n=len(world.facts), margin=0.01, before=start[2]
        )
        reports += [rise, known]
    return tuple(reports)
