"""Regular expressions in an adapter's configuration: a stranger's may take for ever to match, so doubtful ones are timed first."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from despur.core.errors import BadInput

_KEYS = ("target_modules", "exclude_modules", "layers_pattern", "rank_pattern", "alpha_pattern")
_LONGEST = 4000  # letters of an honest pattern
_SECONDS = 1.0  # of processor time that matching all names may take
_MOST = 20_000  # names that are tried
_TRY = r"""
import json, re, signal, sys
patterns, names, seconds = json.load(sys.stdin)
if hasattr(signal, "setitimer"):
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)  # ends this process, inside a match too
for p in patterns:
    for form in (p, rf"(.*\.)?({p})$", rf".*\.{p}\.(\d+)\."):
        try:
            form = re.compile(form)
        except (re.error, OverflowError, RecursionError):
            continue
        for n in names:
            form.fullmatch(n), form.match(n)
"""


def check_patterns(config: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    r"""Refuse a pattern that cannot be matched in time.

    Most patterns cannot explode and cost nothing here; a doubtful one is matched in a process of its own, which is ended after
    a second of work.

    Args:
        config: The contents of `adapter_config.json`.
        names: Names of modules that it will be matched with.
        where: The file, for the message.

    Raises:
        BadInput: too long a pattern, or one that takes too long.

    Example:
        >>> check_patterns({"target_modules": r".*\.(q|k)_proj"}, ["model.layers.0.self_attn.q_proj"], "a file")
    """
    doubtful: list[str] = []
    for pattern in _patterns(config):
        if len(pattern) > _LONGEST:
            raise _endless(pattern, where, f"it has {len(pattern)} letters")
        if may_explode(pattern):
            doubtful.append(pattern)
    if not doubtful:
        return
    some = list(dict.fromkeys(names))[:_MOST]
    some += [f"{n}.{n}" for n in some[:: max(1, len(some) // 8)]]  # a base's own names may be longer than a file's
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRY],
            input=json.dumps([doubtful, some, _SECONDS]),
            text=True,
            capture_output=True,
            timeout=60 * _SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        done = None
    if done is None or done.returncode != 0:
        raise _endless(doubtful[0], where, f"matching the modules' names takes more than {_SECONDS:g} s of work")


def may_explode(pattern: str) -> bool:
    r"""Whether matching may take exponential time: a repeated group with a repeat or a choice inside, or many repeats.

    Example:
        >>> may_explode("(.+)+q_proj"), may_explode(r".*\.q_proj")
        (True, False)
    """
    bare = re.sub(r"\[\^?\]?[^\]]*\]|\\.", "x", pattern)
    bare = re.sub(r"\(\?(?:[:=!>]|<[=!]|P<\w*>|[aiLmsux-]*:)", "(", bare)  # what kind of group is no repeat
    bare = re.sub(r"([*+?}])[?+]", r"\1", bare)  # nor is laziness
    groups, repeats = [False], 0
    for i, sign in enumerate(bare):
        if sign == "(":
            groups.append(False)
        elif sign == ")" and len(groups) > 1:
            inner = groups.pop()
            if inner and bare[i + 1 : i + 2] in ("*", "+", "{"):
                return True
            groups[-1] |= inner
        elif sign in "*+{|?":
            groups[-1] = True
            repeats += sign != "|"
    return repeats > 6


def _patterns(config: Mapping[str, Any]) -> Iterator[str]:
    for key in _KEYS:
        value = config.get(key)
        if key.endswith("_modules") and not isinstance(value, str):
            continue  # a list of names, which are compared and not matched
        for part in (value,) if isinstance(value, str) else value if isinstance(value, dict | list) else ():
            if isinstance(part, str):
                yield part


def _endless(pattern: str, where: str, why: str) -> BadInput:
    text = repr(pattern)
    short = text if len(text) <= 60 else text[:57] + "..."
    return BadInput(
        f"{where} has the pattern {short}, which may take very long to match: {why}. Name the modules in a list"
    )
