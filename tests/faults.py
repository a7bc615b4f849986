"""Small faults of a source file: a comparison at its border or turned round, a number one off, a condition or a sign turned, mean
for sum, a named argument left out, a line dropped.
"""

import ast
import re
from collections.abc import Iterator

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
ASIDE = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)  # messages
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
                if isinstance(child, ast.AST) and not isinstance(child, ASIDE):
                    for text in _instead(child):
                        put(child, text)
                    if isinstance(child, ast.If) and isinstance(child.test, ast.Name | ast.Attribute | ast.Call):
                        put(child.test, f"(not {ast.unparse(child.test)})")
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
