"""Which precision a processor computes fastest in."""

from typing import Literal

import torch

_OWN = ("avx512_bf16", "amx_bf16", "bf16")  # of x86 and of ARM, as torch names them


def fast_precision() -> Literal["bfloat16", "float32"]:
    """The precision in which this processor multiplies matrices fastest.

    One with instructions for bfloat16 takes .6 of the time that float32 takes; without them bfloat16 took 7 times as long
    (docs/log/audit-cost.md).
    Versions of torch that do not tell (before 2.10) count as without.

    Example:
        >>> fast_precision() in ("bfloat16", "float32")
        True
    """
    tell = getattr(torch.cpu, "get_capabilities", None)
    has = {} if tell is None else tell()
    return "bfloat16" if any(has.get(name) for name in _OWN) else "float32"
