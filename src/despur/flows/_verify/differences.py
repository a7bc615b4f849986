"""What differs from a certificate, in words."""

from typing import Any

from despur.core import same_base
from despur.core.adapter.peft_config import CONFIG, short_repr


def other(what: str, found: str, certified: Any) -> str:
    return "" if found == certified else f"{what} {found[:16]}…, certified is {str(certified)[:16]}…"


def other_base(found: str, certified: str) -> str:
    if same_base(certified, found):
        return ""
    if certified.partition(".")[0] == found.partition(".")[0]:
        return f"some weights of the base differ (all of them: {found[17:33]}…, certified is {certified[17:33]}…)"
    return other("the base has the fingerprint", found, certified)


def other_config(found: dict[str, Any], certified: Any) -> str:
    certified = certified if isinstance(certified, dict) else {}
    for key in sorted({*found, *certified}):
        if found.get(key) != certified.get(key):
            return f"{CONFIG} says {key}={short_repr(found.get(key))}, certified is {short_repr(certified.get(key))}"
    return ""
