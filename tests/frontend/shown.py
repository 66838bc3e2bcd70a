"""Syntax trees as short text, for tests to pin."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from lsrl.frontend import syntax as s

__all__ = ["shown"]


def shown(node: Any) -> str:
    """The tree as nested parentheses: every grouping that the parser made can be seen."""
    match node:
        case None:
            return "-"
        case s.Name(id=id):
            return id
        case s.Number(value=value):
            return str(value) if isinstance(value, int) else f"r{value}"
        case s.Truth(value=value):
            return str(value).lower()
        case s.String(value=value):
            return repr(value)
        case s.Operator(op=op):
            return f"op{op}"
        case s.Chain(first=first, rest=rest) | s.Comparison(first=first, rest=rest):
            return "(" + shown(first) + "".join(f" {op} {shown(x)}" for op, x in rest) + ")"
        case s.BoolOp(op=op, args=args):
            return "(" + f" {op} ".join(map(shown, args)) + ")"
        case s.TypeName(name=name):
            return f"<{name.id}>"
        case tuple():
            return "[" + " ".join(map(shown, node)) + "]"
        case str() | bool():
            return str(node)
    assert is_dataclass(node)
    parts = (shown(getattr(node, f.name)) for f in fields(node) if f.name != "span")
    return f"({type(node).__name__} {' '.join(parts)})"
