"""A null that nobody has to bring: neutral tunes of the adapter's own recipe, made here, side by side, and kept for the next audit."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from despur.core import Adapter, digest, locked
from despur.core.disk.user_cache import cache_folder
from despur.core.errors import BadInput
from despur.core.text.rows import Tokens, pad_rows, prompt_of
from despur.flows._audit.null.bench import Order, make_tune, training, write_part
from despur.flows._audit.null.own_rows import ANSWER, PARTS, short_prompts
from despur.flows._audit.null.recipe import Recipe, lora_options
from despur.flows._audit.null.tune import Length, room_of
from despur.flows.placement import Placement
from despur.flows.pool import Job, run_jobs
from despur.flows.progress import Progress
from despur.judge import NeutralNull

_CANDIDATES = 4  # 8 of them, each exchanged in a pass from the middle on, and a half of the layers
_QUESTION = 40  # tokens that it takes to ask, where the base does
_ONE_BY_ONE = 3.0  # a token that is written costs as much as that many that are read
_VERSION = 1  # of how neutral tunes are made


def order_of(
    base: str, adapter: str, read: Adapter, model: Any, *, fingerprint: str, form: str | None, tokens: Sequence[Tokens] | None,
    text: Any, depth: float, roles: Mapping[str, str] | None, placement: Placement | None, dtype: str,
) -> Order:  # fmt: skip
    """What the workers are to do for an adapter; all that a kept null is known by.

    Raises:
        BadInput: the adapter is no plain LoRA.
    """
    placement, recipe, options = placement or Placement(), Recipe.of(read, model), lora_options(read)
    parameters = sum(p.numel() for p in model.get_base_model().parameters())
    prompts = short_prompts([prompt_of(row) for row in tokens], Length.of(parameters).part) if tokens else []
    spec = {
        "version": _VERSION, "base_fingerprint": fingerprint, "recipe": recipe.to_dict(), "options": options, "form": form,
        "prompts": digest(prompts) if prompts else None, "length": list(Length.of(parameters)), "parameters": parameters,
        "dtype": training(placement, parameters).dtype,
    }  # fmt: skip
    seen = {"text": digest([text.rows, text.starts]), "depth": depth, "roles": roles, "look": dtype}
    root = cache_folder() / "nulls" / f"{fingerprint[:16]}-{digest(spec)}"
    stated = dict(roles) if roles else None
    return Order(base, adapter, placement, root, options, recipe.size, prompts or None, text, depth, stated, spec, seen)


def seconds(model: Any, order: Order, tunes: int, workers: int) -> float:
    """How long what is not kept yet will take, from the faster of two forward passes over some of the text."""
    rows = order.text.rows[:4]
    ids, mask = (t.to(next(model.parameters()).device) for t in pad_rows(rows, 0))
    passes = []
    with torch.no_grad(), model.disable_adapter():
        for _ in range(2):
            began = time.monotonic()
            model(input_ids=ids, attention_mask=mask)
            passes.append(time.monotonic() - began)
    token = min(passes) / ids.numel()
    longest = max(map(len, rows)) + ANSWER
    tune = 3 * order.length.steps * order.length.batch * longest
    text = sum(map(len, order.text.rows)) / 2  # a half to find on, a half to check on
    look = text * (6 + _CANDIDATES)
    lacking = [i for i in range(tunes) if not order.tune_in(i).is_dir()]
    unseen = [i for i in range(tunes) if not order.seen_in(i).is_dir()]
    parts = [p for p in range(PARTS) if lacking and not order.rows_in(p).is_dir()]
    write = order.length.part * (ANSWER + (_QUESTION if order.prompts is None else 0) + 10) * _ONE_BY_ONE
    return token * (len(lacking) * tune + len(unseen) * look + len(parts) * write) / max(1, min(workers, max(tunes, 1)))


def make_null(
    order: Order, adapter: Adapter, tunes: int, workers: int, progress: Progress, *, settings: Mapping[str, Any]
) -> NeutralNull:
    """Make what is not kept of a null, in workers; a run that was killed goes on where it was.

    Raises:
        BadInput: no room, another run makes it, the base writes nothing of its own, or a tune failed.
    """
    if any(not order.seen_in(i).is_dir() for i in range(tunes)):
        _check_room(order.root, sum(not order.tune_in(i).is_dir() for i in range(tunes)) * room_of(adapter))
    moving = _Bar(progress, tunes, order.length.steps)
    if not order.rows_in(PARTS - 1).is_dir():
        progress("rows of the base's own", 0, PARTS, {})
    jobs = [
        [Job(("rows", p), write_part, (order, p)) for p in range(PARTS)],
        [Job(i, make_tune, (order, i, PARTS)) for i in range(tunes)],
    ]
    found: dict[int, Any] = {}
    with _ours(order.root):
        for done in run_jobs(jobs, workers=workers, progress=moving):
            if isinstance(done.key, int):
                found[done.key] = done.value()
                moving.ended(done.key)
            else:
                done.value()
                progress("rows of the base's own", moving.part(), PARTS, {})
    every = [found[i] for i in range(tunes)]
    kinds = sorted(set.intersection(*(set(f["evidence"]) for f in every)))
    recipe = Recipe.read(order.spec["recipe"])
    return NeutralNull(
        tuple(f["change"] for f in every),
        {k: tuple(f["evidence"][k] for f in every) for k in kinds},
        f"{tunes} neutral tunes of this base, {recipe.words}",
        str(order.spec["base_fingerprint"]),
        settings,
        recipe.to_dict(),
    )


@contextlib.contextmanager
def _ours(root: Path) -> Iterator[None]:
    """Lock the null's folder; what goes wrong with it is no fault of `-o`."""
    try:
        with locked(root):
            yield
    except BadInput as error:
        if str(root) not in str(error):
            raise
        why = str(error).rpartition(". ")[0] or str(error)
        raise BadInput(
            f"{why}: neutral tunes are kept there. Let XDG_CACHE_HOME name a folder elsewhere, or leave out --null auto"
        ) from error


def workers_here(order: Order) -> int:
    """One a processor that this process may use; one where a device is shared."""
    if training(order.placement, int(order.spec["parameters"])).device not in ("auto", "cpu"):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Bar:
    """One bar for all tunes, which moves with every step of any worker."""

    def __init__(self, progress: Progress, tunes: int, steps: int) -> None:
        self.progress, self.tunes, self.parts = progress, tunes, 0
        self.whole = 2 * steps  # figures cost about as much as steps
        self.steps: dict[int, int] = {}

    def __call__(self, stage: str, step: int, steps: int, figures: Mapping[str, float]) -> None:
        if stage == "tune":
            self.steps[int(figures["number"])] = step
            self.show()

    def ended(self, number: int) -> None:
        self.steps[number] = self.whole
        self.show()

    def part(self) -> int:
        self.parts += 1
        return self.parts

    def show(self) -> None:
        self.progress("neutral tunes, by steps", sum(self.steps.values()), self.tunes * self.whole, {})


def _check_room(root: Path, room: int) -> None:
    at = next(p for p in (root, *root.parents) if p.is_dir())
    free = shutil.disk_usage(at).free
    if free < room:
        raise BadInput(
            f"the null's neutral tunes need {room / 2**20:.0f} MB in {str(root.parent)!r}, and {free / 2**20:.0f} MB are free there. Free "
            "some room, let XDG_CACHE_HOME name a folder elsewhere, or leave out --null auto"
        )
