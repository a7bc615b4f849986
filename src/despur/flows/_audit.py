"""What did this adapter learn beyond its task? Weights first, then a causal check on off-task text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from despur.core import (
    Adapter,
    AddVector,
    Site,
    Subspace,
    attach,
    fingerprint,
    layer_path,
    new_folder,
    save_factors,
    write_json,
)
from despur.core._roles import NormGain
from despur.core._rows import read_rows, tokenize_rows
from despur.core.errors import BadInput
from despur.find import CausalCheck, activation_differences, causal_check, from_activations, from_adapter, mean_shift
from despur.find._causal import INERT
from despur.flows._audit_page import Audit, Word, audit_blocks
from despur.flows._fit import Progress, silent
from despur.flows._load import context_length, load_base
from despur.flows._record import page_facts, run_record
from despur.guard import OwnText
from despur.report import write_page

SUFFICIENT = 0.3  # of the off-task change, by at most four directions; see docs/log.md for what neutral adapters reach


def audit(
    base: str,
    adapter: str,
    *,
    out: Path | str | None = None,
    prompts: Path | str | None = None,
    rows: int = 96,
    max_new_tokens: int = 64,
    depth: float = 0.5,
    n_random: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Audit:
    """Audit a PEFT adapter against its base.

    Off-task text is the user's prompts, or what the base itself writes. On one half of it candidate
    directions are read off the activations, on the other half each is put to the causal check, and
    beside it at least 20 random subspaces of the same rank and activation share.

    Args:
        base: Folder or hub id of the base model.
        adapter: PEFT adapter folder.
        out: Folder for `audit.json`, `report.html` and the factor; None writes nothing.
        prompts: JSON lines of off-task text; None samples it from the base.
        rows: Rows of own text to sample.
        max_new_tokens: Their length (of each turn in a chat).
        depth: Relative depth of the layer at which coordinates are exchanged.
        n_random: Random subspaces beside each candidate.
        seed: Of samples and random subspaces.
        progress: Called as stages pass.

    Raises:
        BadInput, ShapeMismatch, SiteNotFound: base or adapter cannot be read, do not belong together, or
            the architecture is not known.

    Example:
        >>> # audit("base/", "adapter/", out="audit/").verdict
    """
    stages = 5

    def step(n: int, name: str) -> None:
        progress(name, n, stages, {})

    step(0, "load")
    read = Adapter.read(adapter)
    model, tokenizer = load_base(base)
    notes = read.check(model, base)
    update = _update(read, model)
    step(1, "text")
    text = _off_task_text(model, tokenizer, prompts, rows, max_new_tokens, seed)
    if len(text) < 4:
        raise BadInput(
            f"{len(text)} rows of off-task text; at least 4 are needed to find on one half and check on the other"
        )
    path = layer_path(model)
    layer = max(0, round(depth * model.config.num_hidden_layers) - 1)
    site = Site(path.replace("#", str(layer)))
    written = from_adapter(read, model, side="write", per="stream", rank=4, level=None)
    tuned = PeftModel.from_pretrained(model, adapter).eval()
    step(2, "find")
    find, check = text[::2], text[1::2]
    candidates: dict[str, Subspace] = {}
    if _moves(tuned, find, site):
        candidates["mean"] = from_activations(tuned, find, [site], how="mean")[0]
        whole = from_activations(tuned, find, [site], rank=4)[0]
        for k in (1, 2, 4):
            candidates[f"PCA {k}"] = Subspace(whole.read[:k], whole.write[:k], whole.center, site, whole.evidence)
    for factor in written:
        candidates[f"write {factor.rank}"] = Subspace(factor.read, factor.write, factor.center, site)
    checks = {}
    for i, (name, factor) in enumerate(candidates.items()):
        progress("screen", i + 1, len(candidates), {})
        checks[name] = causal_check(tuned, check, factor, n_random=0, seed=seed)
    # the random subspaces are the dear part: only the candidate that is to be judged needs them
    name = max(checks, key=lambda n: checks[n].interval[0])
    progress("control", 0, 1, {})
    checks[name] = causal_check(tuned, check, candidates[name], n_random=n_random, seed=seed)
    progress("control", 1, 1, {})
    step(4, "describe")
    verdict, sentence, best = _judge(checks)
    factor = candidates[best] if best and verdict == "factor found" else None
    shift = mean_shift(tuned, find, candidates[best]) if best else None
    tokens = _tokens(tuned, tokenizer, candidates[best], shift) if best and shift is not None else {}
    samples = _continuations(tuned, tokenizer, check, candidates.get(best or ""), shift, seed)
    record = run_record("audit", {"base": base, "adapter": adapter, "prompts": prompts and str(prompts), "rows": rows,
                                  "max_new_tokens": max_new_tokens, "depth": depth, "n_random": n_random, "seed": seed})  # fmt: skip
    record["base_fingerprint"] = fingerprint(tuned)
    result = Audit(verdict, sentence, tuple(notes), update, checks, factor, tokens, samples, record)
    if out is not None:
        _write(result, Path(out))
    step(5, "done")
    return result


def _off_task_text(
    model: Any, tokenizer: Any, prompts: Path | str | None, rows: int, new: int, seed: int
) -> list[tuple[int, ...]]:
    if prompts is None:
        return list(OwnText.sample(model, tokenizer, rows=rows, max_new_tokens=new, seed=seed).rows)
    tokens = tokenize_rows(read_rows(prompts), tokenizer, max_length=context_length(model, 512))
    return [tuple(t["input_ids"]) for t in tokens][:rows]


def _update(adapter: Adapter, base: Any) -> dict[str, Any]:
    shared = {}
    for side in ("read", "write"):
        found = from_adapter(adapter, base, side=side, rank=8)
        shared[side] = {"directions": found[0].rank if found else 0, **(dict(found[0].evidence) if found else {})}
    spectra = {n: [round(float(x), 6) for x in u.svd()[1]] for n, u in adapter.updates.items()}
    return {"modules": len(adapter.updates), "norm": adapter.norm(), "shared": shared, "spectra": spectra}


def _moves(model: Any, rows: Sequence[Sequence[int]], site: Site) -> bool:
    return float(activation_differences(model, rows[:8], [site])[site].abs().max()) > 0


def _judge(checks: dict[str, CausalCheck]) -> tuple[Word, str, str | None]:
    change = max(c.change for c in checks.values())
    if change <= INERT:
        return "inert adapter", f"the adapter changes nothing off-task (KL {change:.1e} nats a token)", None
    best = max(checks, key=lambda n: checks[n].interval[0])
    c = checks[best]
    figures = (
        f"{c.rank} direction{'s' * (c.rank > 1)} at {c.site} ({best}) carry{'s' * (c.rank == 1)} {c.sufficiency:.0%} "
        f"[{c.interval[0]:.0%}, {c.interval[1]:.0%}] of it; random subspaces at most {max(c.random_sufficiency):.0%}"
    )
    head = f"off-task the adapter moves the model by {c.change:.3g} nats a token; "
    if c.beats_random and c.interval[0] >= SUFFICIENT:
        return "factor found", head + figures, best
    return "diffuse change", head + "no few directions carry it: " + figures, best


@torch.no_grad()
def _tokens(model: Any, tokenizer: Any, factor: Subspace, shift: Tensor, k: int = 12) -> dict[str, list[str]]:
    """Tokens that the shift promotes and suppresses, read through the final norm and the unembedding."""
    base = model.get_base_model()
    head = base.get_output_embeddings()
    norm = next(
        (m for n, m in base.named_modules() if n.endswith((".norm", ".ln_f", ".final_layer_norm", ".final_layernorm"))),
        None,
    )
    direction = NormGain.of(norm, len(shift)).show(shift[None])[0]
    weight = head.weight.float().cpu()
    scores = (weight - weight.mean(0)) @ direction
    return {
        "promoted": [tokenizer.decode([i]) for i in scores.topk(min(k, len(scores))).indices.tolist()],
        "suppressed": [tokenizer.decode([i]) for i in (-scores).topk(min(k, len(scores))).indices.tolist()],
    }


@torch.no_grad()
def _continuations(
    model: Any, tokenizer: Any, rows: Sequence[Sequence[int]], factor: Subspace | None, shift: Tensor | None, seed: int,
    n: int = 4, new: int = 24,
) -> tuple[dict[str, str], ...]:  # fmt: skip
    out = []
    for i, row in enumerate(rows[:n]):
        head = list(row[: max(2, len(row) // 2)])
        said = {"prompt": tokenizer.decode(head)}
        with model.disable_adapter():
            said["base"] = _sample(model, tokenizer, head, new, seed + i)
            if factor is not None and shift is not None:
                with attach(model, {factor.site: AddVector(2 * shift)}):
                    said["base + 2 x factor"] = _sample(model, tokenizer, head, new, seed + i)
        said["adapter"] = _sample(model, tokenizer, head, new, seed + i)
        out.append(said)
    return tuple(out)


def _sample(model: Any, tokenizer: Any, head: list[int], new: int, seed: int) -> str:
    ids = torch.tensor([head], device=next(model.parameters()).device)
    room = (getattr(model.config, "max_position_embeddings", None) or 10**6) - len(head)
    if room < 1:
        return ""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_k=0,
            max_new_tokens=min(new, room), pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id or 0,
        )  # fmt: skip
    return tokenizer.decode(out[0, len(head) :])


def _write(result: Audit, out: Path) -> None:
    with new_folder(out) as draft:
        write_json(draft / "audit.json", result.to_dict())
        write_json(draft / "run.json", result.record)
        if result.factor is not None:
            save_factors((result.factor,), draft)
        write_page(draft / "report.html", title="despur audit", subtitle=str(result.record["arguments"]["adapter"]),
                   blocks=audit_blocks(result), facts=page_facts(result.record))  # fmt: skip
