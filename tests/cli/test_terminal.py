"""What others wrote appears on the terminal and never acts on it, in every encoding; a verdict is printed even if it cannot be saved."""

import io
import re
import sys
from pathlib import Path

import pytest
from rich.text import Text

from despur.cli import terminal
from despur.cli.terminal import Harmless, Terminal, harmless_streams
from despur.core.visible import visible

SOURCES = Path(terminal.__file__).parents[1]
HOSTILE = {
    "OSC 52, the clipboard": "\x1b]52;c;cm0gLXJm\x07", "OSC 0, the title": "\x1b]0;owned\x1b\\", "CSI, erase": "\x1b[2J\x1b[1;1H",
    "CSI of eight bits": "\x9b2J", "OSC of eight bits": "\x9d0;owned\x9c", "DCS": "\x1bP$q\x1b\\", "backspace": "safe\b\b\b\bevil",
    "carriage return": "evil\rsafe", "bell": "\x07", "bidi": "\u202eexe.txt\u2066", "tags": "\U000e0041\U000e0042",
    "null": "\0", "lone surrogate": "\ud800",
}  # fmt: skip


def acts(text: str) -> bool:
    """Whether anything in a text but colours, tabs and ends of lines acts on a terminal, or hides in it."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return any(
        (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" or c in "\u061c\u200e\u200f" or "\u202a" <= c <= "\u202e"
        or "\u2066" <= c <= "\u2069" or "\ud800" <= c <= "\udfff" or "\U000e0000" <= c <= "\U000e007f"
        for c in plain
    )  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_that_is_printed_acts(text, monkeypatch, tmp_path):
    assert acts(text), "the control"
    assert not acts(visible(text))
    assert "\n" not in visible("a\nb" + text, one_line=True)
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    table = terminal.out_console
    from despur.cli.view import table as made_table

    made = made_table("name", text)
    made.add_row(text, Text(text), style="bold")
    for print_it in (
        lambda: terminal.say(text, "bold"),
        lambda: terminal.say_parts([text, (text, "bold")]),
        lambda: table.print(text, made),
        lambda: Terminal(file=out, force_terminal=True).print(made, Text(text, "red")),
        lambda: Harmless(out).write(f"a library says {text}"),
    ):
        out.seek(0)
        out.truncate()
        print_it()
        assert out.getvalue().strip()
        kept = (
            out.getvalue().replace("\r", "")
            if print_it.__code__.co_consts == (None, "a library says ")
            else out.getvalue()
        )
        assert not acts(kept), repr(kept)


@pytest.mark.parametrize(
    "text",
    ["[bold]", "a[/bold]b", "st[old]y", "[link=file:///etc/passwd]x[/link]", ":warning:", "[/]", "\\[x]", "[red"],
)
def test_brackets_are_no_markup(text, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    terminal.say(text)
    terminal.say_parts(["", (text, "bold")])
    terminal.out_console.print(text)
    from despur.cli.view import table

    made = table(text)
    made.add_row(text)
    terminal.out_console.print(made)
    assert out.getvalue().split() == [text] * 5


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8", "koi8-r", "shift_jis"])
def test_every_encoding_can_be_written(encoding, monkeypatch):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        with pytest.raises(UnicodeEncodeError) if encoding not in ("utf-8",) else harmless_streams():
            print("→ ± ² – 漢字 🦙 Ω é", file=stream, flush=True)
        with harmless_streams():
            terminal.say("0.5 ±0.1 → x² – 漢字 🦙 Ω é")
            sys.stdout.flush()
    written = raw.getvalue().decode(encoding)
    assert "0.5 " in written
    if encoding == "ascii":
        assert written == "0.5 +/-0.1 -> x^2 - \\u6f22\\u5b57 \\U0001f999 \\u03a9 \\xe9\n"


def test_one_place_writes_to_the_terminal():
    writes = re.compile(r"(?<![\w.])print\(|sys\.std(out|err)\.|typer\.echo|Console\(")
    found = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if writes.search(line) and not line.lstrip().startswith((">>>", "...", "#"))
    }
    assert found <= {"cli/terminal.py", "cli/app.py"}, "print with despur.cli.terminal"  # app.py echoes the version


FETCHED = {"flows/_fetch/wheel.py", "flows/_fetch/fetch.py", "flows/in_memory.py"}  # into a new folder


def test_one_place_writes_files():
    writes = re.compile(r"\.write_text\(|\.write_bytes\(|\bopen\([^)]*[\"'][wax]b?\+?[\"']|\.open\([\"'][wax]")
    found = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if writes.search(line) and not line.lstrip().startswith((">>>", "...", "#"))
    }
    assert found <= {"core/disk/files.py", "core/adapter/save.py", "flows/_compare/trial.py", *FETCHED}, (
        "write with despur.core.disk"
    )  # into a new folder; a lock


def test_a_verdict_that_cannot_be_saved_is_printed(despur, monkeypatch, tmp_path):
    from despur.core.errors import BadInput
    from despur.flows import unreadable
    from despur.flows._audit import audit as module

    def work(*given, **more):
        error = BadInput("writing failed: No space left on device. Free some room")
        error.result = unreadable("b", "a", BadInput("the sentence"))
        raise error

    monkeypatch.setattr(module, "load_base", work)
    done = despur("audit", "base", "adapter", "-o", str(tmp_path / "a[/bold]b"))
    assert done.returncode == 2
    assert "unreadable: the sentence" in done.stdout
    assert done.stderr == "despur: BadInput: writing failed: No space left on device. Free some room\n"
    done = despur("audit", "base", "adapter", "--json")
    assert (done.returncode, '"verdict": "unreadable"' in done.stdout) == (2, True)


def test_errors_of_the_system_are_one_line(despur, monkeypatch):
    from despur.core import listing

    for error, said in (
        (OSError(13, "Permission denied", "/a\x1b]0;x\x07b"), "Permission denied"),
        (MemoryError(), "out of memory"),
    ):
        monkeypatch.setattr(listing, "search", lambda name, error=error: (_ for _ in ()).throw(error))
        monkeypatch.setattr("despur.cli.catalogue.search", listing.search)
        done = despur("show", "nothing of this name")
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert "\x1b" not in done.stderr
