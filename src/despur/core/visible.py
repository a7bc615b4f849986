"""Text of others, as it may be shown: nothing in it moves a cursor, hides, reorders or speaks to a terminal."""

_HIDING = (
    *range(0x20), 0x7F, *range(0x80, 0xA0),  # control characters of both kinds
    0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A),  # reordering
    0x2028, 0x2029,  # other ends of lines
    *range(0xE0000, 0xE0080),  # tags: a second text that nobody sees
)  # fmt: skip
_UNWRITABLE = (*range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
VISIBLE = {code: f"⟨U+{code:04X}⟩" for code in _HIDING if chr(code) not in "\n\t\r"} | dict.fromkeys(
    _UNWRITABLE, "\ufffd"
)
_ONE_LINE = VISIBLE | {code: f"⟨U+{code:04X}⟩" for code in map(ord, "\n\r")}
_NO_RETURN = VISIBLE | {ord("\r"): _ONE_LINE[ord("\r")]}


def visible(text: str, *, one_line: bool = False) -> str:
    """Name the characters that would act on a terminal or hide in it.

    Args:
        text: Any text, of a model or of a stranger's file.
        one_line: Name ends of lines, too.

    Example:
        >>> visible("a" + chr(27) + "]0;title" + chr(7))
        'a⟨U+001B⟩]0;title⟨U+0007⟩'
    """
    return str.translate(text, _ONE_LINE if one_line else _NO_RETURN)
