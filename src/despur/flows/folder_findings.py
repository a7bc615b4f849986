"""Structural findings of a whole adapter folder, the gravest first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from despur.core import read_json
from despur.core.adapter.peft_config import CONFIG, reason
from despur.core.adapter.tensor_file import WEIGHTS
from despur.core.errors import BadInput, DespurError
from despur.flows.findings import PICKLED, Finding, Module, beside, module_findings, modules_of


def folder_findings(folder: Path, config: Mapping[str, Any]) -> tuple[dict[str, Module], list[Finding]]:
    """Modules of an adapter's file, and what is unusual in its folder.

    Args:
        folder: PEFT adapter folder.
        config: Its configuration.

    Raises:
        BadInput: no safetensors in it, or damaged ones.
    """
    found = beside(folder, config)
    path = folder / WEIGHTS
    if not path.is_file():
        pickled = next((p.name for p in sorted(folder.iterdir()) if p.suffix in PICKLED), None)
        what = f"its weights are pickled ({pickled}), and opening them can run code" if pickled else "it is incomplete"
        raise BadInput(f"no {WEIGHTS} in {str(folder)!r}: {what}. Save the adapter with safetensors")
    try:
        modules, more = modules_of(path, config)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise BadInput(f"cannot read {str(path)!r}: {reason(error)}. Copy or save the adapter again") from error
    found += [*more, *module_findings(modules, config, WEIGHTS)]
    return modules, sorted(found, key=lambda f: ("error", "warning", "note").index(f.level))


def audited_findings(folder: Path | None) -> list[dict[str, str]]:
    """The same for an audit, as plain values; none of what is no folder of an adapter."""
    if folder is None or not (folder / CONFIG).is_file():
        return []
    try:
        return [f.to_dict() for f in folder_findings(folder, read_json(folder / CONFIG))[1]]
    except DespurError:
        return []
