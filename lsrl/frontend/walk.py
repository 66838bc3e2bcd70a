"""Walks over syntax trees that are as deep or as long as they like: none of them recurses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from lsrl.frontend.syntax import File

__all__ = ["children", "deepest", "same_tree"]

_NOT_COMPARED = frozenset({"span"})
_NOT_COMPARED_OF_FILE = frozenset({"source", "comments"})


_names: dict[type, tuple[str, ...]] = {}


def _field_names(node: Any) -> tuple[str, ...]:
    names = _names.get(type(node))
    if names is None:
        left_out = _NOT_COMPARED_OF_FILE if isinstance(node, File) else _NOT_COMPARED
        names = _names[type(node)] = tuple(f.name for f in fields(node) if f.name not in left_out)
    return names


def children(node: Any) -> Iterator[Any]:
    """The nodes directly below a node of syntax.py, in source order but for the parts of IfElse."""
    waiting = [getattr(node, name) for name in reversed(_field_names(node))]
    while waiting:
        value = waiting.pop()
        if isinstance(value, tuple):
            waiting.extend(reversed(value))
        elif is_dataclass(value):
            yield value


def deepest(node: Any, limit: int) -> Any:
    """The first node found that lies more than `limit` levels below `node`, or None."""
    waiting = [(node, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > limit:
            return node
        waiting += [(child, depth + 1) for child in children(node)]
    return None


def same_tree(a: Any, b: Any) -> bool:
    """Whether two nodes are the same but for spans, comments and source."""
    waiting = [(a, b)]
    while waiting:
        a, b = waiting.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, tuple):
            if len(a) != len(b):
                return False
            waiting += zip(a, b, strict=True)
        elif is_dataclass(a):
            waiting += [(getattr(a, name), getattr(b, name)) for name in _field_names(a)]
        elif a != b:
            return False
    return True
