"""What base and adapter compute at every layer, a vector a prompt: a safetensors file, and its rows in the table."""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from despur.core import Anatomy, Site, digest, load_tuned, read_json
from despur.core.errors import BadInput
from despur.core.model.capture import capture
from despur.flows._audit.passages import Passages, off_task_passages
from despur.flows._table.audit_rows import Row
from despur.flows._table.columns import layer_of
from despur.flows._table.prompts import DIGITS
from despur.flows._table.write_table import How
from despur.flows.load import load_base
from despur.flows.placement import Device, Placement
from despur.flows.progress import Progress
from despur.flows.record import at_home
from despur.flows.text_files import load_text

SCHEMA = "despur.activations/1"
KEY = "despur"  # of the header; one key, since safetensors puts several in an order that changes from run to run
TEXT = "fresh_text"  # of a training run: what neither guard nor scout saw
ROWS, TOKENS = 256, 8  # of a training run's prompts, as in an audit
STATES = ("base", "adapter")
AT_ONCE = 64  # rows of text whose every token is in memory, at all layers


@dataclass(frozen=True)
class Request:
    """What activations are of.

    Args:
        folder: An audit's or a training run's.
        kind: `audit` or `train`.
        how: `mean` over the tokens of a prompt, or the `last` one.
        base: In place of the run's.
        adapter: In place of the run's.
        prompts: In place of the run's.
        device: Where they are computed.
    """

    folder: Path
    kind: str
    how: How
    base: str | None = None
    adapter: str | None = None
    prompts: Path | str | None = None
    device: Device = "auto"


def write_activations(asked: Request, draft: Path, progress: Progress) -> list[Row]:
    """Write `base.MODULE` and `adapter.MODULE`, (prompts, d) each; names and texts of the prompts are in the header.

    Args:
        asked: Of what.
        draft: File to write.
        progress: Called as the text is read.

    Returns:
        For the table: one row a layer and prompt, its row of the tensors in `index`; a prompt without a token that counts has
        no value, and NaN in its row.

    Raises:
        BadInput: base, adapter or prompts cannot be read.
    """
    arguments: Any = at_home(read_json(asked.folder / "run.json")["arguments"])
    base, adapter = asked.base or arguments["base"], asked.adapter
    adapter = adapter or (arguments["adapter"] if asked.kind == "audit" else str(asked.folder / "adapter"))
    try:
        model, tokenizer = load_base(
            base, Placement(asked.device, arguments.get("dtype") or "auto")
        )  # in the precision of the run

        tuned = load_tuned(model, adapter, name=base)
    except BadInput as error:
        if asked.base and asked.adapter:
            raise
        raise BadInput(
            f"{error} (the run names base {base!r} and adapter {adapter!r}; where they have moved: --base, --adapter)"
        ) from error
    text = _text(asked, arguments, tuned.model, tokenizer)
    layers = Anatomy.of(tuned.model.get_base_model()).layers
    vectors, counts = _vectors(tuned.model, text, layers, asked.how, progress)
    group = f"text-{digest([list(r) for r in text.rows])[:8]}"  # the same text has the same names in every run
    names = [f"{group}/{i:0{DIGITS}d}" for i in range(len(text.rows))]
    texts = [tokenizer.decode(row) for row in text.rows]
    about = {"schema": SCHEMA, "prompts": names, "texts": texts, "tokens": asked.how, "base": base, "adapter": adapter}
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        save_file({f"{state}.{layer}": v for (state, layer), v in vectors.items()}, draft, {KEY: json.dumps(about)})
    except (OSError, SafetensorError) as error:
        raise BadInput(f"writing {str(draft)!r} failed: {error}. Free some room or choose another -o") from error
    return list(_rows(vectors, counts, names, layers, asked.how))


def is_activations(path: Path) -> bool:
    """Whether despur wrote a file of activations."""
    try:
        with safe_open(path, "pt") as file:
            return '"despur.activations/' in (file.metadata() or {}).get(KEY, "")
    except (OSError, SafetensorError):
        return False


def _text(asked: Request, arguments: Any, model: Any, tokenizer: Any) -> Passages:
    """The text that the run itself was measured on, or the prompts that were asked for."""
    if asked.kind == "train" and asked.prompts is None:
        try:
            rows = load_text(asked.folder / TEXT).rows
        except (OSError, SafetensorError, KeyError) as error:
            raise BadInput(
                f"{str(asked.folder / TEXT)!r} has no readable text ({error}). Give some: --prompts FILE"
            ) from error
        return Passages(rows, (0,) * len(rows), "the run's own text")
    prompts = asked.prompts or arguments.get("prompts")
    size = {"rows": arguments.get("rows", ROWS), "tokens": arguments.get("tokens", TOKENS)}
    return off_task_passages(model, tokenizer, prompts, **size, seed=arguments["seed"])


def _vectors(
    model: Any, text: Passages, layers: Sequence[str], how: How, progress: Progress
) -> tuple[dict[tuple[str, str], Tensor], Tensor]:
    """(state, layer) -> (prompts, d), and the number of tokens that each prompt has."""
    found: dict[tuple[str, str], list[Tensor]] = {(state, layer): [] for state in STATES for layer in layers}
    counts: list[Tensor] = []
    for start in range(0, len(text.rows), AT_ONCE):
        rows, starts = text.rows[start : start + AT_ONCE], text.starts[start : start + AT_ONCE]
        owner = torch.zeros(0, dtype=torch.long)
        for state in STATES:
            off: AbstractContextManager[Any] = model.disable_adapter() if state == "base" else nullcontext()
            with off:
                seen, owner = capture(model, rows, [Site(layer) for layer in layers], starts=starts)
            for layer in layers:
                found[state, layer].append(_reduced(seen[Site(layer)], owner, len(rows), how))
        counts.append(torch.bincount(owner, minlength=len(rows)))
        progress("activations", start + len(rows), len(text.rows), {})
    return {at: torch.cat(parts) for at, parts in found.items()}, torch.cat(counts)


def _reduced(lines: Tensor, owner: Tensor, rows: int, how: How) -> Tensor:
    """One vector a row of text; NaN where it has no line."""
    if how == "last":
        last = torch.full((rows,), -1).scatter_reduce(0, owner, torch.arange(len(owner)), "amax")
        return torch.where(last[:, None] >= 0, lines[last], torch.nan)
    sums = torch.zeros(rows, lines.shape[1], dtype=torch.float64).index_add(0, owner, lines.double())
    return (sums / torch.bincount(owner, minlength=rows)[:, None]).float()


def _rows(
    vectors: dict[tuple[str, str], Tensor], counts: Tensor, names: Sequence[str], layers: Sequence[str], how: How
) -> Iterator[Row]:
    for layer in layers:
        plain, tuned = (vectors[state, layer].double() for state in STATES)
        for axis, values in (
            ("activation norm", plain.norm(dim=1)),
            ("activation change", (tuned - plain).norm(dim=1)),
        ):
            for i, (value, n) in enumerate(zip(values.tolist(), counts.tolist(), strict=True)):
                yield {"axis": axis, "value": value, "n": n, "prompt": names[i], "index": i, "module": layer,
                       "layer": layer_of(layer), "readout": how}  # fmt: skip
