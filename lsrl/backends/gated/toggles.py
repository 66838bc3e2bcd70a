"""Bits that inputs keep, set, clear or swap, as a factor and a term.

Of a bit's next value f(old, input) there are f(0, input) and f(1, input), and f = (f(1) − f(0)) · old + f(0): the
factor is 1 where the bit is kept, −1 where its values are swapped and 0 where it is written (Shannon's expansion,
1938).
"""

from __future__ import annotations

from lsrl.analysis.cells import Cell
from lsrl.analysis.expressions import Expressions
from lsrl.arithmetic import apply, convert
from lsrl.ir.graph import State
from lsrl.ir.nodes import Compare, Const, Logic, Mux, Node, map_operands, operands
from lsrl.types import Bool

__all__ = ["cofactors", "equal"]


def cofactors(cell: Cell, s: State, make: Expressions) -> tuple[Node, Node]:
    """The next value of the cell's one state, a bool, where the old one is false, and where it is true."""
    return _with(cell, s, make, False), _with(cell, s, make, True)


def _with(cell: Cell, s: State, make: Expressions, old: bool) -> Node:
    made: dict[Node, Node] = dict.fromkeys(cell.reads, make.truth(old))
    for n in cell.inside:
        new = map_operands(n, lambda x: made.get(x, x))
        if isinstance(new, Mux) and isinstance(new.condition, Const):
            new = new.then if new.condition.value else new.other
        elif isinstance(new, Compare) and isinstance(new.a.type, Bool) and new.op in ("==", "!="):
            same = equal(new.a, new.b, make)
            new = same if new.op == "==" else make.logic("not", [same])
        elif isinstance(new, Logic):
            new = make.logic(new.op, new.args)
        elif new is not n and all(isinstance(x, Const) for x in operands(new)):
            values = [x.value for x in operands(new) if isinstance(x, Const)]
            new = Const(convert(apply(new, values), n.type), n.type, n.span)
        made[n] = new
    return made.get(s.next, s.next)


def equal(a: Node, b: Node, make: Expressions) -> Node:
    """[a = b] of two bools."""
    for x, y in ((a, b), (b, a)):
        if isinstance(x, Const):
            return make.mux(x, y, make.logic("not", [y]))
    return make.compare("==", a, b)
