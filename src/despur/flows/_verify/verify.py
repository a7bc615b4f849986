"""Does an adapter's certificate hold? Recomputed from the weights alone."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from despur.core import fingerprint, load_factors
from despur.core.adapter.adapter import plain_adapter
from despur.core.adapter.peft_config import CONFIG, read_config
from despur.core.adapter.peft_folder import Opened, open_folder
from despur.core.adapter.plain_config import check_plain
from despur.core.errors import BadInput, DespurError
from despur.core.model.fingerprint import remember_fingerprint
from despur.core.model.states import bare
from despur.core.results import Judged, Record
from despur.flows._verify.begun import parts_as_certified
from despur.flows._verify.certificate import (
    Certificate,
    base_dtype,
    deciding,
    factors_digest,
    guarded_leaks,
    tensors_digest,
)
from despur.flows._verify.differences import other, other_base, other_config
from despur.flows._verify.text_digests import other_texts, text_digests
from despur.flows.load import load_base
from despur.flows.verb import Tune, verb

_UNKNOWN = "tokenizer and chat template: the certificate records none"
_NOT_AT_HAND = (
    "tokenizer and chat template: there is no tokenizer in the adapter's folder, and a base in memory has none"
)
_DTYPES = ("bfloat16", "float16", "float32", "float64")


@dataclass(frozen=True, repr=False)
class Verified(Judged):
    """Result of each check of a certificate.

    Args:
        verdict: `holds`, `broken`, or `nothing to verify in the weights` for a guard that promises nothing of them.
        sentence: The verdict's reason in one sentence; the first failed check where several failed.
        checks: Checked part (base, factors, configuration, weights, leak, tokenizer, chat
            template) -> "" where it holds, else what is wrong.
        leak: Module to its leak as recomputed, with that of a random subspace and the one allowed.
        certificate: The certificate.
        notes: What could not be compared, one sentence each.
    """

    verdict: str
    sentence: str
    checks: dict[str, str]
    leak: dict[str, dict[str, Any]]
    certificate: Certificate
    notes: tuple[str, ...] = ()

    @property
    def details(self) -> list[str]:
        """Each check, and notes."""
        return [*(f"{part}: {wrong or 'holds'}" for part, wrong in self.checks.items()), *self.notes]

    def records(self) -> list[Record]:
        """One row a check."""
        return [{"check": part, "holds": not wrong, "wrong": wrong} for part, wrong in self.checks.items()]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "certificate": self.certificate.to_dict()}


@verb
def verify(base: nn.Module | Path | str, adapter: Tune) -> Verified:
    """Check from the weights alone whether an adapter still keeps what its guard promised.

    Base, factors, configuration, weights, leak, tokenizer and chat template are compared with the certificate next to the
    adapter. The leak of every module is measured again from the weights and the factors; what the certificate says of it
    does not count; where the run went on with an adapter, that is the first part of each update, compared by its digest, and
    the leak is that of the rest. Tokenizer and template are those in the adapter's folder, or else the base's; a tokenizer is another one
    where it gives other tokens, however its files are written. Data, settings and versions cannot be checked and are not.

    **Verdicts**: *holds*; *broken* (another base, other factors, configuration, weights, tokenizer or chat template than those
    certified, or a module that leaks); *nothing to verify in the weights* (a guard that acts on what the model says: only
    identity is checked).

    Args:
        base: Folder, GGUF file, hub id or name (`smollm2`) of the base model; in Python also the model.
        adapter: Folder of an adapter with `guard.json`, as `despur train` writes it.

    Raises:
        BadInput: base, adapter, factors or certificate cannot be read.

    Example:
        $ despur verify base/ run/adapter
        >>> # verify("base/", "run/adapter").verdict
    """
    folder = Path(adapter)
    certificate = Certificate.read(folder)
    model: Any
    model, tokenizer = (base, None) if isinstance(base, nn.Module) else load_base(str(base))
    model = bare(model if isinstance(base, nn.Module) else _as_certified(model, certificate.base["dtype"]))
    checks: dict[str, str] = {}
    leak: dict[str, dict[str, Any]] = {}
    notes: tuple[str, ...] = ()
    try:
        for name, wrong in _checked(certificate, model, folder, leak):
            checks[name] = wrong
        if (found := text_digests(folder, tokenizer) if certificate.text else None) and certificate.text:
            checks |= other_texts(found, certificate.text)
        else:
            notes = (_NOT_AT_HAND if certificate.text else _UNKNOWN,)
    except DespurError as error:
        if not any(checks.values()):
            raise
        checks["reading"] = str(error)  # it was tampered with, and that is why it cannot be read
    broken = [wrong for wrong in checks.values() if wrong]
    if broken:
        more = f" ({len(broken) - 1} more do not hold)" if len(broken) > 1 else ""
        return Verified("broken", f"{broken[0]}{more}", checks, leak, certificate, notes)
    *first, last = (name for name in checks if name != "leak")
    same = f"{', '.join(first)} and {last} are those certified"
    if "." not in str(certificate.base["fingerprint"]):
        same += (
            " (the base by a sample of its weights, as an earlier version recorded it: certify again for all of them)"
        )
    if certificate.side is None:
        nothing = "nothing to verify in the weights"
        return Verified(nothing, f"{certificate.promise} {same.capitalize()}", checks, leak, certificate, notes)
    worst, random = (max(m[key] for m in leak.values()) for key in ("leak", "random"))
    figures = (
        f"{len(leak)} modules leak at most {worst:.1e} of their update, along random directions up to {random:.2f}"
    )
    if (start := certificate.start) is not None:
        figures = f"beyond the adapter {start.get('name')!r} (weights {str(start.get('weights'))[:16]}…) that it went on with, {figures}"
    return Verified("holds", f"{figures}; {same}", checks, leak, certificate, notes)


def _as_certified(model: Any, dtype: str) -> Any:
    """The base with norms as the guard saw them."""
    quantised = getattr(model, "hf_quantizer", None) is not None
    return (
        model.to(getattr(torch, dtype)) if dtype in _DTYPES and dtype != base_dtype(model) and not quantised else model
    )


def _checked(
    certificate: Certificate, model: Any, folder: Path, leak: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Name each check and what is wrong with it; the measured leaks go into `leak`."""
    found = fingerprint(model)
    remember_fingerprint(model, found)
    yield "base", other_base(found, str(certificate.base["fingerprint"]))
    factors = ()
    if certificate.factors is not None:
        factors = load_factors(folder)
        digest = factors_digest(factors)
        yield (
            "factors",
            other("the factors next to the adapter have the digest", digest, certificate.factors["digest"]),
        )
    yield "configuration", other_config(deciding(read_config(folder / CONFIG)), certificate.adapter["config"])
    opened = open_folder(folder)
    weights = tensors_digest(opened.tensors)
    yield "weights", other("the adapter's weights have the digest", weights, certificate.adapter["weights"])
    if certificate.side is not None:
        yield "leak", _leaks(opened, model, factors, certificate, leak)


def _leaks(opened: Opened, model: Any, factors: Any, certificate: Certificate, leak: dict[str, dict[str, Any]]) -> str:
    check_plain(opened.config, repr(str(opened.folder / CONFIG)), experts=True)
    adapter = plain_adapter(opened, model)
    adapter.check(model)
    if certificate.start is not None:
        adapter, other = parts_as_certified(adapter, certificate.start)
        if other:
            return other
    try:
        leak |= guarded_leaks(adapter, model, factors, str(certificate.side), certificate.roles)
    except (RuntimeError, TypeError) as error:  # factors of another width
        raise BadInput(f"the factors do not fit this base: {error}. Give the base that they were found on") from error
    if not leak:
        return "no module of the adapter meets a factor on the certified side"
    over = {n: m for n, m in leak.items() if not m["leak"] <= m["allowed"]}
    if not over:
        return ""
    worst = max(over, key=lambda n: over[n]["leak"])
    m = over[worst]
    return (
        f"{worst!r} {m['side']}s {m['leak']:.2g} of its update along the factor, where {m['allowed']:.1g} is allowed "
        f"(a random subspace: {m['random']:.2f}); {len(over)} of {len(leak)} modules leak"
    )
