"""What every method promises, whatever it gives back: an entry that `despur ls`, `show` and `build` can work with."""

import inspect
import re
from typing import Any

from despur.core.catalogue import ROOMS, Method
from despur.core.materials import NEEDS, Materials
from despur.core.names import canonical
from despur.testing.require import require


def check_is_entered_in_full(method: Method, given: Materials, **options: Any) -> None:
    """Name, room, paper, one line of docstring; known materials by position, options by name with defaults."""
    require(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", method.name), f"{method.name!r} is not words joined by dashes")
    require(method.name == canonical(method.factory.__name__), "it is entered under another name than its function's")
    require(method.room in ROOMS, f"room {method.room!r} is none of {', '.join(ROOMS)}")
    require(method.paper, "it names no source")
    require(method.summary.endswith((".", ":")), "its docstring does not begin with one sentence")
    require(method.needs in NEEDS, f"it needs {method.needs!r}, which is none of {', '.join(NEEDS)}")
    for parameter in inspect.signature(method.factory).parameters.values():
        if parameter.name in method.takes:
            continue
        require(parameter.kind is parameter.KEYWORD_ONLY, f"option {parameter.name!r} can be given by position")
        require(parameter.default is not parameter.empty, f"option {parameter.name!r} has no default")
    for name in method.takes.values():
        require(given.has(name), f"there is no material {name!r} to check it with: give `checks` your own")
