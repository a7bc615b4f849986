"""Plant small faults in the source, one at a time, and list those that no test notices: `make mutants`.

    python tests/mutants.py judge find/_ranked.py --sample 20 -o runs/mutants.json

Of each file a seeded sample of faults is tried: a comparison at its border or turned round, a number one off, a condition
or a sign turned, mean for sum, a named argument left out, a line dropped. A fault lives in memory only, in a process of its
own that runs the tests of that file: tests/<room>/test_<file>.py, those of the room that mention what the file defines, and
its docstrings. Results are written after each fault; started again, only what is new is tried, and what survived beside
tests that have changed since.
"""

import argparse
import ast
import hashlib
import importlib
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "despur"
ROOMS = ("core/text", "find", "measure", "judge", "guard")
WARM = (
    "torch",
    "scipy.stats",
    "sklearn.base",
    "transformers",
    "peft",
    "pytest",
    "beartype",
)  # imported once, not by each process
OPTIONS = (
    *("-q", "-x", "-p", "no:cacheprovider", "-m", "not slow and not gpu"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # of plugins that were imported with the rest
)
BORDER = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
TURNED = {
    ast.Lt: ">=", ast.LtE: ">", ast.Gt: "<=", ast.GtE: "<", ast.Eq: "!=", ast.NotEq: "==", ast.In: "not in", ast.NotIn: "in",
    ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
SWAPPED = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Pow: "*", ast.BitAnd: "|", ast.BitOr: "&",
    ast.And: "or", ast.Or: "and",
}  # fmt: skip
CALLS = {
    "mean": "sum", "sum": "mean", "min": "max", "max": "min", "any": "all", "all": "any", "argmin": "argmax", "argmax": "argmin",
    "minimum": "maximum", "maximum": "minimum", "nanmax": "nanmin", "floor": "ceil", "ceil": "floor", "sorted": "list",
    "exp": "expm1", "log": "log1p", "sf": "cdf", "flip": "roll", "clamp_min": "clamp_max", "ones": "zeros", "zeros": "ones",
}  # fmt: skip
Fault = tuple[int, int, int, int, str]  # first line, byte in it, last line, byte in it; and what stands there instead


def faults(source: str) -> list[Fault]:
    """Every fault that can be planted, in the order of the file; not in messages, annotations, decorators and docstrings."""
    found: list[Fault] = []

    def put(node: ast.AST, text: str) -> None:
        found.append((node.lineno, node.col_offset, node.end_lineno, node.end_col_offset, text))

    def walk(node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_comment"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not isinstance(
                    child, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom
                ):
                    for text in _instead(child):
                        put(child, text)
                    walk(child)

    walk(ast.parse(source))
    return sorted(found)


def _instead(node: ast.AST) -> Iterator[str]:
    say = ast.unparse
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            for table in (BORDER, TURNED):
                if type(op) in table:
                    yield f"({say(left)} {table[type(op)]} {say(right)})"
        case ast.BoolOp(op=op, values=values):
            yield "(" + f" {SWAPPED[type(op)]} ".join(f"({say(v)})" for v in values) + ")"
        case ast.BinOp(left=left, op=op, right=right) if type(op) in SWAPPED and not isinstance(left, ast.JoinedStr):
            yield f"(({say(left)}) {SWAPPED[type(op)]} ({say(right)}))"
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=inside):
            yield f"({say(inside)})"
        case ast.IfExp(test=test, body=body, orelse=other):
            yield f"(({say(other)}) if ({say(test)}) else ({say(body)}))"
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int(value)):
            yield str(value + 1)
        case ast.Constant(value=float(value)):
            yield repr(value / 2 if value else 1.0)
        case ast.Expr(value=ast.Call()):
            yield "pass"
        case ast.AugAssign(target=target, op=op, value=value) if type(op) in SWAPPED:
            yield f"{say(target)} {SWAPPED[type(op)]}= {say(value)}"
        case ast.Call(func=func, args=args, keywords=keywords):
            name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
            if name in CALLS:
                yield (
                    re.sub(rf"\b{name}$", CALLS[name], say(func)) + "(" + ", ".join(map(say, [*args, *keywords])) + ")"
                )
            for i in range(len(keywords)):
                rest = [*args, *keywords[:i], *keywords[i + 1 :]]
                yield f"{say(func)}({', '.join(map(say, rest))})"


def planted(source: str, fault: Fault) -> tuple[str, str]:
    """The source with a fault in it, and the fault in words."""
    first, start, last, end, text = fault
    lines = source.encode().splitlines(keepends=True)
    was = b"".join([*lines[first - 1 : last - 1], lines[last - 1][:end]])[start:].decode()
    head, tail = (
        b"".join([*lines[: first - 1], lines[first - 1][:start]]),
        b"".join([lines[last - 1][end:], *lines[last:]]),
    )
    return (head + text.encode() + tail).decode(), f"{' '.join(was.split())}  →  {' '.join(text.split())}"


def tests_of(path: Path) -> list[str]:
    """What tests a file: by its name, by what of it the room's tests mention, and its docstrings."""
    stem, room = path.stem.lstrip("_"), path.relative_to(SOURCE).parts[0]
    names = {n.name for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    asked = re.compile(
        r"\b(" + "|".join(sorted({re.escape(n) for n in names if n[0] != "_"} | {rf"{path.stem}"})) + r")\b"
    )
    by_name = [p for p in (ROOT / "tests" / room).glob(f"test_{stem}.py")]
    others = [p for p in sorted((ROOT / "tests" / room).glob("test_*.py")) if asked.search(p.read_text("utf-8"))]
    return [str(p) for p in dict.fromkeys([*by_name, *others, path])]


def run(tests: list[str], limit: float, path: Path | None = None, source: str = "") -> tuple[str, float]:
    """Run tests in a process of its own, with other source in one file: survived, killed, or timed out, and the seconds."""
    start, child = time.monotonic(), os.fork()
    if not child:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        code = 1
        try:
            sys.dont_write_bytecode = True
            read = SourceFileLoader.get_data

            def get_data(self: SourceFileLoader, name: str) -> bytes:
                if (
                    path
                    and Path(name).parent == path.parent / "__pycache__"
                    and Path(name).name.startswith(path.stem + ".")
                ):
                    raise OSError  # what was compiled of the file as it is
                return source.encode() if path and Path(name) == path else read(self, name)

            SourceFileLoader.get_data = get_data  # type: ignore[method-assign]
            import pytest

            code = int(pytest.main([*OPTIONS, *tests]))
        finally:
            os._exit(code)
    while time.monotonic() - start < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "killed" if status else "survived", time.monotonic() - start
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timed out", limit


def warm() -> None:
    """Import once what every process needs; despur itself is imported in each."""
    os.chdir(ROOT)
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MPLBACKEND": "agg",
    }
    for name in WARM:
        importlib.import_module(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("places", nargs="*", default=ROOMS, help="rooms, or files, below src/despur")
    parser.add_argument("--sample", type=int, default=8, help="faults of a file; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "runs" / "mutants.json")
    asked = parser.parse_args()
    warm()
    results = json.loads(asked.out.read_text("utf-8")) if asked.out.exists() else {}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    places = [SOURCE / p for p in asked.places]
    files = [f for p in places for f in (sorted(p.rglob("*.py")) if p.is_dir() else [p]) if f.name != "__init__.py"]
    current: list[str] = []
    for path in files:
        source, tests = path.read_text("utf-8"), tests_of(path)
        digest = hashlib.sha256("".join(Path(t).read_text("utf-8") for t in tests).encode()).hexdigest()[:12]
        every = faults(source)
        chosen = (
            every
            if not asked.sample
            else sorted(random.Random(asked.seed).sample(every, min(asked.sample, len(every))))
        )
        limit = 0.0
        for fault in chosen:
            text, words = planted(source, fault)
            key = f"{path.relative_to(SOURCE)}:{fault[0]} {hashlib.sha256(text.encode()).hexdigest()[:8]}"
            current.append(key)
            before = results.get(key)
            if before and (before["end"] != "survived" or before["tests"] == digest):
                continue
            if not limit:  # how long they take as the file is
                end, seconds = run(tests, 600)
                if end != "survived":
                    sys.exit(f"the tests of {path.relative_to(ROOT)} do not pass as it is ({end}): {' '.join(tests)}")
                limit = 20 + 5 * seconds
            end, seconds = run(tests, limit, path, text)
            results[key] = {"end": end, "fault": words, "tests": digest, "seconds": round(seconds, 1)}
            asked.out.write_text(json.dumps(results, indent=1, ensure_ascii=False), "utf-8")
            sys.stdout.write(f"{end:9} {seconds:5.1f} s  {key.split()[0]}  {words}\n")
            sys.stdout.flush()
    _report({key: results[key] for key in current})


def _report(results: dict[str, dict[str, str]]) -> None:
    rooms: dict[str, list[str]] = {}
    for key, one in results.items():
        rooms.setdefault(key.split("/")[0], []).append(one["end"])
    write = sys.stdout.write
    write("\n| room | faults | killed | timed out | survived |\n|---|---|---|---|---|\n")
    for room, ends in rooms.items():
        write(
            f"| {room} | {len(ends)} | "
            + " | ".join(str(ends.count(e)) for e in ("killed", "timed out", "survived"))
            + " |\n"
        )
    for key, one in results.items():
        if one["end"] == "survived":
            write(f"{key.split()[0]}: {one['fault']}\n")


if __name__ == "__main__":
    main()
