"""Normal forms of a cell's update in its own states: linear, clamped, and held or written.

The coefficients and offsets of a form are expressions (`lsrl.analysis.expressions`); a condition that chooses
between two forms chooses between their parts, so an `if` inside an update needs no case of its own.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from lsrl.analysis.expressions import Expressions
from lsrl.ir.nodes import Affine, Compare, Logic, MinMax, Mul, Mux, Node, Read, operands
from lsrl.types import Bool, Int, Real

__all__ = ["Clamp", "Linear", "LinearForms", "Write", "clamp_forms", "dependent", "latch_forms"]


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Σ gain · state + offset. The gains and the offset hold no state of the form, but may hold conditions on them."""

    gains: dict[str, Node]
    offset: Node


@dataclass(frozen=True, slots=True, eq=False)
class Clamp:
    """`value` where `reset` holds, else min(max(state + u, lo), hi); None is no bound, and no reset."""

    u: Node
    lo: Node | None
    hi: Node | None
    reset: Node | None = None
    value: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """The new value is `value` where `condition` holds, and the old one elsewhere."""

    condition: Node
    value: Node


def dependent(nodes: Sequence[Node], names: Container[str]) -> list[Node]:
    """Those of the nodes (operands first) that depend on the old value of a state of these names, in order."""
    out: dict[Node, None] = {}
    for n in nodes:
        if (isinstance(n, Read) and n.state in names) or any(x in out for x in operands(n)):
            out[n] = None
    return list(out)


class LinearForms:
    """The forms of nodes in some variables, which stand for states, worked out when they are asked for.

    own: all nodes that depend on the variables. What is not among them counts as an offset, and so does a bool among
    them: whether an offset holds conditions on the variables is for the caller to look at.
    """

    def __init__(self, own: Container[Node], variables: Mapping[Node, str], make: Expressions) -> None:
        self.own = own
        self._variables = variables
        self._make = make
        self._forms: dict[Node, Linear | None] = {}

    def __getitem__(self, node: Node) -> Linear | None:
        """The form of a node, None if it has none."""
        if node not in self.own:
            return Linear({}, node)
        stack = [node]
        while stack:
            n = stack[-1]
            if n in self._forms:
                stack.pop()
            elif n in self._variables:
                self._forms[n] = Linear({self._variables[n]: self._make.one}, self._make.zero)
            elif isinstance(n.type, Bool) or not isinstance(n.type, Int | Real):
                self._forms[n] = Linear({}, n) if isinstance(n.type, Bool) else None
            else:
                below = [x for x in operands(n) if x in self.own and x not in self._forms]
                if below:
                    stack += below
                else:
                    self._forms[n] = _linear(n, self._forms, self._make)
        return self._forms[node]


def _linear(n: Node, forms: Mapping[Node, Linear | None], make: Expressions) -> Linear | None:
    parts = [forms.get(x, Linear({}, x)) for x in operands(n)]
    known = [p for p in parts if p is not None]
    if isinstance(n, Read) or len(known) < len(parts):
        return None
    match n:
        case Affine():
            names = dict.fromkeys(s for p in known for s in p.gains)
            gains = {s: make.affine([(c, p.gains[s]) for (c, _), p in zip(n.terms, known, strict=True)
                                     if s in p.gains], 0) for s in names}
            offset = make.affine([(c, p.offset) for (c, _), p in zip(n.terms, known, strict=True)], n.bias)
            return _tidy(gains, offset, make)
        case Mux():
            return _choose(n.condition, known[1], known[2], make)
        case Mul():
            for by, form in ((known[0], known[1]), (known[1], known[0])):
                if not by.gains:
                    return _tidy({s: make.mul(by.offset, g) for s, g in form.gains.items()},
                                 make.mul(by.offset, form.offset), make)
            return None
        case MinMax() if len(known) == 2:
            a, b = operands(n)
            less = make.compare("<=", a, b)
            first, second = (known[0], known[1]) if n.op == "min" else (known[1], known[0])
            return _choose(less, first, second, make)
        case MinMax() if len(known) == 1:
            return known[0]
        case _:
            return None


def _tidy(gains: dict[str, Node], offset: Node, make: Expressions) -> Linear:
    return Linear({s: g for s, g in gains.items() if make.number(g) != 0}, offset)


def _choose(condition: Node, a: Linear, b: Linear, make: Expressions) -> Linear:
    names = dict.fromkeys([*a.gains, *b.gains])
    gains = {s: make.mux(condition, a.gains.get(s, make.zero), b.gains.get(s, make.zero)) for s in names}
    return _tidy(gains, make.mux(condition, a.offset, b.offset), make)


def latch_forms(nodes: Sequence[Node], read: Node, make: Expressions) -> dict[Node, Write | None]:
    """When the nodes that depend on one state (operands first) take another value than the state's old one."""
    forms: dict[Node, Write | None] = {}
    needs = set(nodes)
    for n in nodes:
        if n is read:
            forms[n] = Write(make.truth(False), n)
        elif isinstance(n, Mux) and n.condition not in needs:
            forms[n] = _write(n, _form(forms, n.then, make), _form(forms, n.other, make), make)
        elif isinstance(n.type, Bool):
            forms[n] = _bool_write(n, forms, needs, make)
        else:
            forms[n] = None
    return forms


def _form(forms: Mapping[Node, Write | None], n: Node, make: Expressions) -> Write | None:
    return forms[n] if n in forms else Write(make.truth(True), n)


def _write(n: Mux, a: Write | None, b: Write | None, make: Expressions) -> Write | None:
    if a is None or b is None:
        return None
    condition = make.mux(n.condition, a.condition, b.condition)
    if make.number(a.condition) == 0:
        return Write(condition, b.value)
    if make.number(b.condition) == 0:
        return Write(condition, a.value)
    return Write(condition, make.mux(n.condition, a.value, b.value))


def _bool_write(n: Node, forms: Mapping[Node, Write | None], needs: set[Node], make: Expressions) -> Write | None:
    """`s or p` writes true where p holds, `s and p` writes false where it does not."""
    if not isinstance(n, Logic) or n.op == "not":
        return None
    held = [x for x in n.args if x in needs]
    others = [x for x in n.args if x not in needs]
    inner = forms.get(held[0]) if len(held) == 1 else None
    if inner is None or not others:
        return None
    together = make.logic(n.op, others)
    decided = together if n.op == "or" else make.logic("not", [together])
    condition = make.logic("or", [decided, inner.condition])
    if make.number(inner.condition) == 0:
        return Write(condition, make.truth(n.op == "or"))
    return Write(condition, make.mux(decided, make.truth(n.op == "or"), inner.value))


def clamp_forms(nodes: Sequence[Node], read: Node, make: Expressions) -> dict[Node, Clamp | None]:
    """The forms of the nodes that depend on one state of numbers (operands first)."""
    needs = set(nodes)
    forms: dict[Node, Clamp | None] = {}
    for n in nodes:
        forms[n] = Clamp(make.zero, None, None) if n is read else _clamp(n, forms, needs, make)
    return forms


def _clamp(n: Node, forms: Mapping[Node, Clamp | None], needs: set[Node], make: Expressions) -> Clamp | None:
    match n:
        case Affine():
            held = [(c, x) for c, x in n.terms if x in needs]
            inner = forms.get(held[0][1]) if len(held) == 1 and held[0][0] == 1 else None
            if inner is None:
                return None
            add = make.affine([(c, x) for c, x in n.terms if x not in needs], n.bias)
            return _shift(inner, add, make)
        case MinMax():
            return _bound(n.op, [x for x in n.args if x in needs], [x for x in n.args if x not in needs], forms, make)
        case Mux(condition=Compare() as test) if n.condition in needs and test.op in ("<", "<="):
            # `b if a < b else a` is max(a, b), `a if a < b else b` is min(a, b).
            if {n.then, n.other} != {test.a, test.b}:
                return None
            args = (test.a, test.b)
            return _bound("max" if n.then is test.b else "min", [x for x in args if x in needs],
                          [x for x in args if x not in needs], forms, make)
        case Mux() if n.condition not in needs:
            return _either(n.condition, _clamp_or_value(n.then, forms, needs, make),
                           _clamp_or_value(n.other, forms, needs, make), n, make)
        case _:
            return None


def _clamp_or_value(n: Node, forms: Mapping[Node, Clamp | None], needs: set[Node], make: Expressions) -> Clamp | None:
    return forms.get(n) if n in needs else Clamp(make.zero, None, None, make.truth(True), n)


def _shift(f: Clamp, add: Node, make: Expressions) -> Clamp:
    def moved(x: Node | None) -> Node | None:
        return None if x is None else make.affine([(1, x), (1, add)], 0)

    return Clamp(make.affine([(1, f.u), (1, add)], 0), moved(f.lo), moved(f.hi), f.reset, moved(f.value))


def _bound(op: str, held: Sequence[Node], others: Sequence[Node], forms: Mapping[Node, Clamp | None],
           make: Expressions) -> Clamp | None:
    """A clamp under another bound: min and max keep the form."""
    f = forms.get(held[0]) if len(held) == 1 else None
    if f is None:
        return None
    lo, hi, value = f.lo, f.hi, f.value
    for v in others:
        value = None if value is None else make.extreme(op, value, v)
        if op == "max":
            lo = v if lo is None else make.extreme("max", lo, v)
            hi = None if hi is None else make.extreme("max", hi, v)
        else:
            hi = v if hi is None else make.extreme("min", hi, v)
    return Clamp(f.u, lo, hi, f.reset, value)


def _either(condition: Node, a: Clamp | None, b: Clamp | None, n: Node, make: Expressions) -> Clamp | None:
    """One of two clamps; where only one has a bound, the least or greatest value of the node stands for none."""
    if a is None or b is None:
        return None
    reset, value = a.reset, a.value
    if a.reset is not None or b.reset is not None:
        reset = make.mux(condition, a.reset or make.truth(False), b.reset or make.truth(False))
        value = b.value if a.value is None else a.value if b.value is None else make.mux(condition, a.value, b.value)
        for always, form in ((a, b), (b, a)):
            if always.reset is not None and make.number(always.reset) == 1:
                return Clamp(form.u, form.lo, form.hi, reset, value)
    r = make.range(n)
    bounds: list[Node | None] = []
    for x, y, end in ((a.lo, b.lo, r.lo), (a.hi, b.hi, r.hi)):
        if x is None and y is None:
            bounds.append(None)
        elif x is not None and y is not None:
            bounds.append(make.mux(condition, x, y))
        elif end is None:
            return None
        else:
            far = make.const(end)
            bounds.append(make.mux(condition, far if x is None else x, far if y is None else y))
    return Clamp(make.mux(condition, a.u, b.u), bounds[0], bounds[1], reset, value)

