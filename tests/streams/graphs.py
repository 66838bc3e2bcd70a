"""Small graphs that the tests of streams run."""

from __future__ import annotations

import io

from lsrl.diagnostics import NOWHERE
from lsrl.ir.graph import Check, Graph, State
from lsrl.ir.nodes import Affine, Compare, Const, Input, Node, Pack, Read, Table, Unary
from lsrl.streams import open_input, open_output, run_stream
from lsrl.types import BOOL, BYTE, INT, REAL, Int, Symbols, Type, Value, Vector

BRACKETS = Symbols(("(", ")"))
ANY = Symbols(("(", ")"), other=True)


def depth(alphabet: Symbols = ANY, most: int = 8) -> Graph:
    """The depth of brackets; a check fails above `most`."""
    tok = Input("tok", alphabet, NOWHERE)
    count = len(alphabet.names) + alphabet.other
    delta = Table((tok,), (0,), (count,), (1, -1, *([0] * (count - 2))), INT, NOWHERE)
    new = Affine(((1, Read("depth", INT, NOWHERE)), (1, delta)), 0, INT, NOWHERE)
    small = Compare("<=", new, Const(most, INT, NOWHERE), BOOL, NOWHERE)
    check = Check("range", small, f"`depth` leaves its range int[..{most}]", "L204", new, NOWHERE)
    return Graph("depth", (tok,), (State("depth", INT, 0, new, NOWHERE),), (("out", new),), (check,), (), NOWHERE)


def echo(**inputs: Type) -> Graph:
    """A program whose outputs are its inputs; one input comes out as `out`."""
    nodes = tuple(Input(name, t, NOWHERE) for name, t in inputs.items())
    outputs = tuple((n.name, n) for n in nodes) if len(nodes) > 1 else (("out", nodes[0]),)
    return Graph("echo", nodes, (), outputs, (), (), NOWHERE)


def total(t: Type = INT, kind: Type = INT) -> Graph:
    """The running sum of an input."""
    x = Input("x", t, NOWHERE)
    new = Affine(((1, Read("sum", kind, NOWHERE)), (1, x)), 0, kind, NOWHERE)
    return Graph("total", (x,), (State("sum", kind, 0, new, NOWHERE),), (("out", new),), (), (), NOWHERE)


def numeric(function: str = "exp") -> Graph:
    """A transcendental function of a real, which makes the program numeric."""
    x = Input("x", REAL, NOWHERE)
    return Graph("numeric", (x,), (), (("out", Unary(function, x, REAL, NOWHERE)),), (), (), NOWHERE)


def everything() -> Graph:
    """A graph with states of every type."""
    x = Input("x", Int(0, 9), NOWHERE)
    states: list[tuple[str, Type, Value, Node]] = [
        ("bit", BOOL, True, Compare("<", x, Const(5, INT, NOWHERE), BOOL, NOWHERE)),
        ("count", INT, 0, Affine(((3, Read("count", INT, NOWHERE)), (1, x)), 10**30, INT, NOWHERE)),
        ("part", REAL, 0, Affine((), 0, REAL, NOWHERE)),
        ("letter", ANY, 2, Table((x,), (0,), (2,), (1, 2), ANY, NOWHERE)),
        ("pair", Vector(INT, 2), (1, 2), Pack((x, x), Vector(INT, 2), NOWHERE)),
        ("raw", BYTE, 255, x)]
    return Graph("everything", (x,), tuple(State(n, t, i, node, NOWHERE) for n, t, i, node in states), (("out", x),),
                 (), (), NOWHERE)


def run(graph: Graph, data: bytes, *, format: str | None = None, to: str | None = None, last: bool = False,
        exact: bool = False, state: dict[str, Value] | None = None) -> tuple[bytes, dict[str, Value]]:
    """What a program writes for some input, and its state after it."""
    out = io.BytesIO()
    with open_output(graph, out, to, exact) as target:
        final = run_stream(graph, open_input(graph, io.BytesIO(data), format), target, last=last, state=state)
    return out.getvalue(), final
