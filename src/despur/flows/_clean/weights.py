"""An adapter on its base, its tensors exchanged, measured and restored; and where factors are removed from it."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from despur.core import Adapter, Anatomy, Context, LowRank, Report, Site, Subspace, load_tuned
from despur.core.adapter.peft_config import CONFIG
from despur.core.adapter.peft_folder import WEIGHTS
from despur.core.adapter.plain_config import beyond_plain
from despur.core.errors import BadInput, ShapeMismatch
from despur.core.text.learn import learn_rows
from despur.core.text.rows import Tokens, first_rows, tokenize_rows
from despur.core.text.turns import Turns
from despur.flows.adapter_tokenizer import form_of
from despur.flows.base_fingerprint import base_fingerprint
from despur.flows.load import context_length, load_base
from despur.flows.placement import Placement
from despur.flows.progress import Progress
from despur.guard import OwnText, grasp
from despur.measure import leakage, off_task
from despur.merge import truncate

State = dict[str, Tensor]  # the adapter's own tensors, by parameter name
Scores = Mapping[str, Mapping[str, Tensor]]
_HELD_OUT = 200


class Work:
    """The adapter on its base, loaded once; its tensors are exchanged, measured, and put back."""

    def __init__(
        self,
        base: str,
        adapter: str,
        progress: Progress,
        placement: Placement | None = None,
        *,
        roles: Mapping[str, str] | None = None,
    ) -> None:
        progress("load", 0, 1, {})
        model, tokenizer = load_base(base, placement)
        self.fingerprint = base_fingerprint(model, base)
        tuned = load_tuned(model, adapter, name=base)
        reason = beyond_plain(tuned.adapter.config, experts=True) if tuned.adapter.kind != "model" else "a whole model"
        if reason or tuned.adapter.kept or tuned.adapter.others or not isinstance(tuned.model, PeftModel):
            raise BadInput(
                f"{adapter!r} is not a plain LoRA adapter ({reason or 'it changes more than its LoRA matrices'}), and no other can "
                "be cleaned in place. Train it again with a guard: despur train BASE DATA --guard avert"
            )
        form = form_of(tokenizer, adapter, Anatomy.of(model).vocabulary)
        self.model, self.progress = tuned.model, progress
        self.before, self.folder = tuned.adapter, Path(adapter)
        self.tokenizer, self.notes = form.tokenizer, (*tuned.notes, *form.notes)
        self.width, self.roles = Anatomy.of(self.model).width, roles
        self.state: State = {n: p.detach().clone() for n, p in self.model.named_parameters() if "lora_" in n}
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in self.state)
        self.text: list[tuple[int, ...]] = []
        self.held_out: list[Tokens] = []

    def load_text(
        self,
        prompts: Path | str | None,
        rows: int,
        new: int,
        data: Path | str | None,
        seed: int,
        *,
        turns: Turns = "all",
    ) -> None:
        """Off-task text on which no factor was found, and rows of the task."""
        self.progress("text", 0, 1, {})
        length = context_length(self.model, 1024)
        if prompts is not None:
            tokens = tokenize_rows(first_rows(prompts, rows), self.tokenizer, max_length=length)
            self.text = [tuple(t["input_ids"]) for t in tokens]
        else:
            sampled = OwnText.sample(self.model, self.tokenizer, rows=rows, max_new_tokens=new, seed=seed + 1000)
            self.text = list(sampled.rows)
        if len(self.text) < 4:
            raise BadInput(f"{len(self.text)} rows of off-task text; at least 4 are needed. Give more with --prompts")
        self.load_data(data, turns)

    def load_data(self, data: Path | str | None, turns: Turns) -> None:
        """Rows of the task."""
        if data is not None:
            given, length = first_rows(data, _HELD_OUT), context_length(self.model, 1024)
            learned = learn_rows(given, self.tokenizer, max_length=length, turns=turns, name=data)
            self.held_out = list(learned.tokens)
            self.notes = (*self.notes, *(f"of the rows, {note}" for note in learned.notes))

    @torch.no_grad()
    def put(self, state: State) -> None:
        """Give the model these tensors."""
        parameters = dict(self.model.named_parameters())
        for name, tensor in state.items():
            parameters[name].copy_(tensor)

    def cleaned(self, factors: tuple[Subspace, ...], side: str) -> State:
        """The tensors with the factors projected out, as `grasp` does while training."""
        self.put(self.state)
        edit = grasp(factors, side=side, roles=self.roles)  # type: ignore[arg-type]
        edit.bind(self.model)
        return {n: t.detach().clone() for n, t in edit(self.state, Context(self.model)).items()}

    @torch.no_grad()
    def truncated(self, keep: int | None) -> State:
        """Each module's update cut to its leading singular directions, by default a quarter of its rank."""
        self.put(self.state)
        live = Adapter.of(self.model).updates  # views of the model's own tensors
        cuts: dict[str, LowRank] = {}
        for rank in {len(u.down) for u in live.values()}:
            alike = {n: u for n, u in live.items() if len(u.down) == rank}
            cuts |= truncate(Adapter(alike), rank=keep or max(1, rank // 4)).updates
        self.put({n: torch.zeros_like(t) for n, t in self.state.items()})
        for module, update in cuts.items():
            k = min(len(update.down), len(live[module].down))
            live[module].down[:k].copy_(update.down[:k])
            live[module].up[:, :k].copy_(update.up[:, :k] * update.scale / live[module].scale)
        state = {n: p.detach().clone() for n, p in self.model.named_parameters() if n in self.state}
        self.put(self.state)
        return state

    def score(self, state: State, factor: Subspace, shift: Tensor) -> Scores:
        """Four axes' readouts of one set of tensors; the adapter's own are put back."""
        self.put(state)
        try:
            scores = off_task(self.model, held_out=self.held_out, own_text=self.text, factor=factor, shift=shift)
        finally:
            self.put(self.state)
        return scores if self.held_out else {axis: s for axis, s in scores.items() if axis != "task"}

    def leak(self, state: State, factors: tuple[Subspace, ...]) -> dict[str, Report]:
        """What one set of tensors reads and writes along the factors."""
        self.put(state)
        try:
            return leakage(Adapter.of(self.model), self.model.get_base_model(), factors, roles=self.roles)
        finally:
            self.put(self.state)


def placed_factors(factors: Sequence[Subspace], width: int) -> tuple[Subspace, ...]:
    """Decide where factors act: those of one site in the whole stream, those of several sites each at its own, joined there.

    Raises:
        ShapeMismatch: another width than the model's stream.
    """
    for factor in factors:
        if factor.width != width:
            raise ShapeMismatch(
                f"the factor at {factor.site.module!r} has width d={factor.width}, this base's stream has {width}. "
                "Was it found on another model?"
            )
    sites: dict[str, list[Subspace]] = {}
    for factor in factors:
        sites.setdefault(factor.site.module, []).append(factor)
    joined = [_join(group) for group in sites.values()]
    return (replace(joined[0], site=Site()),) if len(joined) == 1 else tuple(joined)


def _join(group: Sequence[Subspace]) -> Subspace:
    if len(group) == 1:
        return group[0]
    rows = torch.cat([part for f in group for part in (f.read, f.write)]).double()
    _, sizes, axes = torch.linalg.svd(rows, full_matrices=False)
    return Subspace.orthonormal(axes[sizes > 1e-6 * sizes[0]], site=group[0].site)


def write_adapter(source: Path, folder: Path, state: State) -> None:
    """The same configuration and tensor names as before, the LoRA matrices in float32."""
    plain = {re.sub(r"(\.lora_(?:embedding_)?[AB])\.default", r"\1", n): t.cpu().contiguous() for n, t in state.items()}
    tensors = load_file(source / WEIGHTS)
    if missing := sorted(set(plain) - set(tensors)):
        raise BadInput(f"{str(source / WEIGHTS)!r} lacks {missing[0]!r}. Copy or save the adapter again")
    save_file({**tensors, **plain}, folder / WEIGHTS, metadata={"format": "pt"})
    shutil.copyfile(source / CONFIG, folder / CONFIG)
