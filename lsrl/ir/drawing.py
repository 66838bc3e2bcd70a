"""What a picture of a graph shows: boxes, arrows between them, and which boxes belong to which cell.

Constants are written into the boxes that use them. An arrow from a state's next value back to its box is a feedback:
the value of the token before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lsrl.analysis.structure import find_regions
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import (
    Affine,
    Compare,
    Const,
    FloorDiv,
    Index,
    Input,
    Logic,
    MinMax,
    Mux,
    Node,
    Param,
    Read,
    Slice,
    Table,
    Unary,
    operands,
)
from lsrl.ir.printer import print_value

__all__ = ["Arrow", "Box", "Drawing", "draw"]

_LONGEST = 40  # characters of a label's line


@dataclass(frozen=True, slots=True)
class Box:
    """kind: "input", "state", "output", "check" or "node". cell: the number of its cell, or None for a map."""

    label: str
    kind: str
    cell: int | None


@dataclass(frozen=True, slots=True)
class Arrow:
    """From box number `source` to box number `target`; `feedback` for the value that the next token reads."""

    source: int
    target: int
    feedback: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes, sources before targets but for feedback; arrows; the title of each cell."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    cells: tuple[str, ...]


def draw(graph: Graph) -> Drawing:
    """The drawing of a graph: a box a node, output and check."""
    regions = find_regions(graph)
    cell_of_state = {name: i for i, region in enumerate(regions) for name in region.states}
    cell_of: dict[Node, int] = {n: i for i, region in enumerate(regions) for n in region.inside}
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    number: dict[Node, int] = {}
    place: dict[str, int] = {}
    title = _titles(graph)
    for node in graph.nodes:
        if isinstance(node, Const) or (isinstance(node, Read) and node.state in place):
            if isinstance(node, Read):
                number[node] = place[node.state]
            continue
        at = number[node] = len(boxes)
        if isinstance(node, Read):
            place[node.state] = at
            boxes.append(Box(_short(f"{node.state}: {node.type}"), "state", cell_of_state.get(node.state)))
            continue
        kind = "input" if isinstance(node, Input) else "node"
        name = title.get(node, "")
        lines = [name, _label(node)] if name else [_label(node)]
        boxes.append(Box("\n".join(_short(x) for x in lines), kind, cell_of.get(node)))
        arrows += (Arrow(number[x], at, False) for x in dict.fromkeys(operands(node)) if not isinstance(x, Const))
    for name, node in graph.outputs:
        arrows += _into(number, node, len(boxes))
        shown = f" = {print_value(node.value, node.type)}" if isinstance(node, Const) else ""
        boxes.append(Box(_short(name + shown), "output", None))
    for check in graph.checks:
        arrows += _into(number, check.condition, len(boxes))
        boxes.append(Box(_short(f"{check.kind} {check.code}"), "check", None))
    arrows += (Arrow(number[s.next], place[s.name], True) for s in graph.states
               if s.name in place and s.next in number)
    return Drawing(graph.name, tuple(boxes), tuple(arrows),
                   tuple(_short(", ".join(region.states)) for region in regions))


def _into(number: Mapping[Node, int], node: Node, target: int) -> list[Arrow]:
    return [Arrow(number[node], target, False)] if node in number else []


def _titles(graph: Graph) -> dict[Node, str]:
    """The name of each node in the program: the first, and not of the outputs, which have boxes of their own."""
    out: dict[Node, str] = {}
    for name, node in graph.names:
        if not isinstance(node, Input | Const | Read):
            out.setdefault(node, name)
    return out


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _value(node: Node) -> str:
    """A constant as it is, anything else as a dot: an arrow comes in there."""
    return print_value(node.value, node.type) if isinstance(node, Const) else "·"


def _label(node: Node) -> str:
    match node:
        case Input(name=name):
            return f"{name}: {node.type}"
        case Param(name=name):
            return f"param {name}: {node.type}"
        case Affine():
            return _sum(node)
        case Compare(op=op, a=a, b=b):
            return f"{_value(a)} {op} {_value(b)}"
        case Logic(op="not"):
            return "not ·"
        case Logic(op=op, args=args):
            return f" {op} ".join(_value(x) for x in args)
        case MinMax(op=op, args=args):
            return f"{op}({', '.join(_value(x) for x in args)})"
        case Mux(then=then, other=other):
            return f"{_value(then)} if · else {_value(other)}"
        case FloorDiv(op=op, divisor=divisor):
            return f"· {op} {divisor}"
        case Table():
            return f"table of {len(node.entries)}"
        case Unary(function=function):
            return f"{function}(·)"
        case Index(index=index):
            return f"·[{_value(index)}]"
        case Slice(lo=lo, hi=hi):
            return f"·[{lo}..{hi}]"
        case _:
            signs = {"Mul": " × ", "Divide": " / ", "MatMul": " @ "}
            sign = signs.get(type(node).__name__)
            parts = [_value(x) for x in operands(node)]
            return sign.join(parts) if sign else f"[{', '.join(parts)}]"


def _sum(node: Affine) -> str:
    text = ""
    for c, x in node.terms:
        sign = " − " if c < 0 else " + " if text else ""
        factor = "" if abs(c) == 1 else str(abs(c))
        text += (sign if text else sign.strip()) + factor + _value(x)
    if node.bias or not text:
        text += f" {'−' if node.bias < 0 else '+'} {abs(node.bias)}" if text else str(node.bias)
    return text
