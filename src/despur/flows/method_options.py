"""A method's own options, as text from the command line or YAML, made into values by what their defaults are."""

from collections.abc import Collection, Mapping
from typing import Any

from despur.core.catalogue import Method
from despur.core.errors import BadInput, UnknownName, nearest


def read_options(
    entry: Method, options: Mapping[str, str], *, apart: Collection[str] = (), what: str = "option"
) -> dict[str, Any]:
    """Make a method's own options from text.

    Args:
        entry: The method.
        options: Name -> text.
        apart: Names that are none here, for they have an option of their own.
        what: Their name in errors.

    Raises:
        UnknownName: no such option.
        BadInput: a value that cannot be read.

    Example:
        >>> from despur.core import find_method
        >>> read_options(find_method("grasp"), {"side": "read"})
        {'side': 'read'}
    """
    known = {name: default for name, default in entry.options.items() if name not in apart}
    found: dict[str, Any] = {}
    for name, text in options.items():
        if name not in known:
            raise UnknownName(
                f"{entry.name} takes no option {name!r}{nearest(name, known)}. It takes: {', '.join(known) or 'none'}"
            )
        found[name] = _read(name, text, known[name], what)
    return found


def _read(name: str, text: Any, default: Any, what: str) -> Any:
    if not isinstance(text, str) or isinstance(default, str):
        return text
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(default)(text) if isinstance(default, int | float) else float(text)
    except (KeyError, ValueError) as error:
        kind = "true or false" if isinstance(default, bool) else f"a number like {default!r}"
        raise BadInput(f"{what} {name}={text!r}; {kind} is needed. Leave it out for {default!r}") from error
