"""An audit without the base: what names, shapes and values of an adapter's file show, and what they cannot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from despur.core import read_json, write_json
from despur.core.adapter.peft_config import CONFIG
from despur.core.errors import BadInput
from despur.flows.findings import Finding, Module
from despur.flows.folder_findings import folder_findings
from despur.flows.record import private
from despur.flows.verb import Out, verb
from despur.flows.written import written

CANNOT = (
    "without its base nobody can know what it makes a model say: a voice, a slant and a trigger look like any task here. "
    "With the base: despur audit BASE ADAPTER",
    "whether its weights are of the base that it names was not compared",
)
_BESIDE = 8  # modules of most energy that are listed


@dataclass(frozen=True)
class Scan:
    """Result of a scan.

    Args:
        verdict: `findings` where something is at least a warning, else `nothing unusual`.
        sentence: The same in a sentence.
        findings: What was seen, the gravest first.
        notes: What the weights alone cannot say.
        modules: Module -> what its factors say.
        base: The base that the configuration names.
    """

    verdict: Literal["findings", "nothing unusual"]
    sentence: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = CANNOT
    modules: Mapping[str, Module] = field(default_factory=dict)
    base: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        most = sorted(self.modules.items(), key=lambda x: -x[1].norm)[:_BESIDE]
        return {
            "schema": "despur.scan/1", "verdict": self.verdict, "sentence": self.sentence, "notes": list(self.notes),
            "findings": [f.to_dict() for f in self.findings], "base": self.base, "modules": len(self.modules),
            "largest": [{"module": n, "rank": m.rank, "used": m.used, "norm": m.norm} for n, m in most],
        }  # fmt: skip


@verb
def scan(adapter: str, *, out: Out | None = None) -> Scan:
    """Look at an adapter's file without its base: names, shapes, ranks, and what lies beside the weights.

    Nothing is run, nothing is unpickled, and two tensors are in memory at a time. Choose it where the base is not at hand, or as a quick
    gate before an audit: it finds what no usual training leaves in a file. **It cannot know what the adapter says**: for that an audit
    needs the base.

    Args:
        adapter: PEFT adapter folder.
        out: Folder for `scan.json`; nothing is written if left out.

    Raises:
        BadInput: no such folder, no safetensors in it, or damaged ones.

    Example:
        $ despur scan adapter/
        >>> # scan("adapter/").verdict
    """
    folder = Path(adapter)
    if not (folder / CONFIG).is_file():
        raise BadInput(f"no {CONFIG} in {adapter!r}. Give the folder that PEFT's save_pretrained wrote")
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise BadInput(f"{str(folder / CONFIG)!r} contains no JSON object. Copy or save the adapter again")
    with written(out) as into:
        result = _scanned(folder, config)
        into.put(result, lambda draft: write_json(draft / "scan.json", private(result.to_dict())))
    return result


def _scanned(folder: Path, config: dict[str, Any]) -> Scan:
    modules, found = folder_findings(folder, config)
    grave = [f for f in found if f.level != "note"]
    acting = sum(m.norm > 0 for m in modules.values())
    sentence = f"{acting} of {len(modules)} LoRA modules act"
    if grave:
        sentence += f"; {len(grave)} {'finding' if len(grave) == 1 else 'findings'}: {grave[0].sentence}"
    named = config.get("base_model_name_or_path")
    return Scan(
        "findings" if grave else "nothing unusual", sentence, tuple(found), CANNOT, modules, str(named or "not named")
    )
