"""Strings and numbers as the reader sees them."""

import math
import unicodedata
from numbers import Integral, Real
from typing import Any

from despur.core.visible import VISIBLE
from despur.report.blocks import Number

MISSING = "–"
_WIDTHS = (("fijlrtI.,:;'|!()[]{}/-– ", 0.42), ("mwMW@%…—", 1.0), ("+−=<>≤≥~#&×⟨⟩←→", 0.88))


def clean(text: Any, limit: int = 300) -> str:
    """Plain text of at most `limit` characters; invisible characters are made visible, a cut is noted.

    Example:
        >>> clean("a" * 1000 + chr(0), 2)
        'aa … [999 more characters cut]'
        >>> clean("a" + chr(0x202E))
        'a⟨U+202E⟩'
    """
    text = text if isinstance(text, str) else str(text)
    rest = len(text) - limit
    visible = str.translate(
        str.__getitem__(text, slice(limit)), VISIBLE
    )  # `str.`: markup that poses as str is text too
    return f"{visible} … [{rest:,} more characters cut]" if rest > 0 else visible


def measured(value: Any) -> bool:
    """Whether a value can be drawn."""
    return isinstance(value, Real) and math.isfinite(value) and abs(float(value)) < 1e100


def show(value: Any) -> str:
    """Give a number two or three digits, an integer all of them; None and NaN are a dash.

    Example:
        >>> [show(x) for x in (0.98765, 0.0412, -12.34, 1234.5, 1.23e-7, 0.0, 4096, None, float("nan"))]
        ['0.988', '0.041', '−12.3', '1234', '1.2e−7', '0', '4096', '–', '–']
    """
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, Real):
        return {True: "yes", False: "no"}[value] if isinstance(value, bool) else clean(value)
    if isinstance(value, Integral):
        return str(int(value)).replace("-", "−")
    number = float(value)
    if not math.isfinite(number):
        return MISSING if math.isnan(number) else "∞" if number > 0 else "−∞"
    size = abs(float(f"{number:.3g}"))
    if size == 0:
        return "0"
    if not 1e-3 <= size < 1e5:
        mantissa, exponent = f"{number:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.01 else 4
    return f"{number:.{decimals}f}".replace("-", "−")


def interval(value: Any, low: Any, high: Any) -> str:
    """Show a value with its interval, where it has one.

    Example:
        >>> interval(0.5, 0.4, 0.6), interval(0.5, None, None)
        ('0.500 [0.400, 0.600]', '0.500')
    """
    return f"{show(value)} [{show(low)}, {show(high)}]" if measured(low) and measured(high) else show(value)


def room(text: str, size: Number) -> float:
    """Width that a line may take in the broadest of the common sans-serif fonts, in units of `size`."""
    ems = 0.0
    for char in text:
        if unicodedata.east_asian_width(char) in "WF":
            ems += 1.3 if ord(char) > 0xFFFF else 1.0
        else:
            ems += next((width for chars, width in _WIDTHS if char in chars), 0.72 if char.isupper() else 0.64)
    return ems * size


def fit(text: str, size: Number, width: Number) -> str:
    """Shorten a line to a width; what is lost is an ellipsis.

    Example:
        >>> fit("a rather long name", 10, 60)
        'a rather…'
    """
    text = " ".join(text.split())
    if room(text, size) <= width:
        return text
    while text and room(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"
