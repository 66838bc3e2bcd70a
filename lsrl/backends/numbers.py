"""Technology R: maps on finite values and numbers, node by node, as levels of ReLU units.

Every node gets a `Holding` when something asks for it. Functions of a few finite variables stay tables (`Fold`)
until something reads them, so that a whole cone of logic costs one layer, and a function of a single variable none.
With integers a, b, a bit c and ranges from the analysis: [a > k] = ReLU(a − k) − ReLU(a − k − 1),
max(a, b) = b + ReLU(a − b), a if c else b = b + ReLU(a − b − lo + M(c − 1)) + lo·c with lo = min(a − b) and
M = max(a − b) − lo.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from lsrl.arithmetic import convert, operation
from lsrl.backends.holdings import JOINT, Fold, common, domain_of, rational, samples, spread, union
from lsrl.backends.linear_form import Form, constant
from lsrl.backends.picks import Picks
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.structure import input_scalar
from lsrl.backends.wiring import Choice, Quantum, Staircase, gate_above
from lsrl.ir.nodes import (
    Affine,
    Compare,
    Const,
    FloorDiv,
    Index,
    Input,
    Logic,
    MinMax,
    Mul,
    Mux,
    Node,
    Pack,
    Param,
    Table,
    Unary,
    operands,
)
from lsrl.types import Bool, Int, Real, Symbols

__all__ = ["Maps"]

_CLEAN = 2**20  # sums of unclean bits beyond this cost a layer that cleans them
_STEPS = 64  # of a staircase in one layer; more are taken bit by bit


class Maps(Picks):
    """Lowers nodes that look at the present only."""

    def lower(self, node: Node) -> None:
        """Decides how a node is held, all its operands being so. Raises NotHostedError."""
        scalar = input_scalar(node)
        if scalar is not None:
            self.held[node] = self._input(scalar, node)
            return
        if isinstance(node, Const | Pack) or (isinstance(node, Input) and not isinstance(node.type, Bool | Int | Real
                                                                                        | Symbols)):
            return
        if isinstance(node, Param | Unary):
            raise NotHostedError(node, "it has no exact value on a grid")
        self.held[node] = self._folded(node) or self._number(node)

    def _folded(self, node: Node) -> Fold | None:
        """The node as a table over finite variables, if its operands are finite and the table small."""
        parts = operands(node)
        if isinstance(node, Index) or not parts:
            return None
        live = [x for x in parts if not isinstance(x, Const)]
        if any(isinstance(self.held[x], Quantum) for x in live):
            return None
        found = self.folds(live, JOINT)
        if found is None:
            return None
        folds, roots = dict(zip(live, found[0], strict=True)), found[1]
        count = math.prod(len(r.domain) for r in roots)
        columns = [[x.value] * count if isinstance(x, Const) else spread(folds[x], roots) for x in parts]
        of = operation(node)
        return Fold(roots, tuple(convert(of(*row), node.type) for row in zip(*columns, strict=True)))

    def _number(self, node: Node) -> Choice | Quantum:
        match node:
            case Affine():
                return self._sum(node, [(Fraction(c), self.quantum(x)) for c, x in node.terms], Fraction(node.bias))
            case Compare():
                return self._compare(node)
            case Logic():
                return self._logic(node)
            case Mux():
                return self._choose(node)
            case MinMax():
                return self._extreme(node)
            case FloorDiv():
                return self._divide(node)
            case Mul():
                return self._product(node)
            case Table():
                return self._table(node)
            case Index():
                return self._element(node)
            case _:
                raise NotHostedError(node, "no exact ReLU construction is known for it")

    def _sum(self, node: Node, terms: Sequence[tuple[Fraction, Quantum]], bias: Fraction) -> Quantum:
        layer = max((q.layer for _, q in terms), default=0)
        form = Form.total((q.at(layer).scale(c) for c, q in terms), bias)
        grid, lo, hi = bias, bias, bias
        low: Fraction | None = lo
        high: Fraction | None = hi
        for c, q in terms:
            grid = common(grid, c * q.grid)
            a, b = (q.lo, q.hi) if c > 0 else (q.hi, q.lo)
            low = None if low is None or a is None else low + c * a
            high = None if high is None or b is None else high + c * b
        return self._result(node, layer, form, low, high, abs(grid) or Fraction(1))

    def _difference(self, node: Node, a: Node, b: Node) -> Quantum:
        """a − b; `node` is what it is made for."""
        x, y = self.quantum(a), self.quantum(b)
        layer = max(x.layer, y.layer)
        lo = None if x.lo is None or y.hi is None else x.lo - y.hi
        hi = None if x.hi is None or y.lo is None else x.hi - y.lo
        return Quantum(self.wiring, self.symbol(node), layer, x.at(layer) - y.at(layer), lo, hi,
                       common(x.grid, y.grid))

    def _compare(self, node: Compare) -> Choice:
        if self.is_fine(node.a) or self.is_fine(node.b):
            raise NotHostedError(node, "a real without a grid is compared, and next to the threshold a continuous "
                                       "network cannot tell the sides apart")
        a, b = (node.b, node.a) if node.op in ("<", "<=") else (node.a, node.b)
        d = self._difference(node, a, b)  # b − a for < and <=
        g, one, zero = d.grid, Fraction(1), Fraction(0)
        match node.op:
            case "<":
                stairs = Staircase(((zero, zero), (g, one)), zero, zero)
            case "<=":
                stairs = Staircase(((-g, zero), (zero, one)), zero, zero)
            case _:
                stairs = Staircase(((-g, zero), (zero, one), (g, zero)), zero, zero)
        symbol = self.symbol(node)
        if node.op == "!=":
            return self._truth(node, d.layer + 1, lambda: constant(1) - gate_above(d, stairs, symbol))
        return self._truth(node, d.layer + 1, lambda: gate_above(d, stairs, symbol))

    def _truth(self, node: Node, layer: int, make: Callable[[], Form]) -> Choice:
        """A bool whose form over `layer` is made when something reads it."""
        return Choice(self.wiring, self.symbol(node), (False, True), layer,
                      lambda places: make() if places == {1} else constant(1) - make())

    def _logic(self, node: Logic) -> Choice:
        layer = max(self.level(x) for x in node.args) + 1
        symbol = self.symbol(node)

        def make() -> Form:
            bits = [self.bit(x, layer - 1) for x in node.args]
            join = self.wiring.all_of if node.op == "and" else self.wiring.any_of
            return join(layer, bits, symbol)

        if node.op == "not":
            return self._truth(node, layer - 1, lambda: constant(1) - self.bit(node.args[0], layer - 1))
        return self._truth(node, layer, make)

    def _choose(self, node: Mux) -> Choice | Quantum:
        self._chosen.add(node)
        picked = None if isinstance(node.type, Bool) else self._picked(node)
        if picked is not None:
            return picked
        if isinstance(node.type, Bool):
            layer = max(self.level(x) for x in (node.condition, node.then, node.other)) + 1

            def make() -> Form:
                c = self.bit(node.condition, layer - 1)
                branches = ([c, self.bit(node.then, layer - 1)], [constant(1) - c, self.bit(node.other, layer - 1)])
                return Form.total(self.wiring.all_of(layer, bits, self.symbol(node)) for bits in branches)

            return self._truth(node, layer, make)
        d, other = self._difference(node, node.then, node.other), self.quantum(node.other)
        c_level = self.level(node.condition)
        gate_level = self.gate_level(node.condition, d)
        if d.form.is_constant:
            layer = max(c_level, other.layer)
            form = other.at(layer) + self.bit(node.condition, layer).scale(d.form.bias)
            return self._result(node, layer, form, None, None, common(other.grid, Fraction(d.form.bias)))
        self.require_bound(node, d)
        layer = max(gate_level, d.layer, other.layer)
        part = self.gated(d, self.bit(node.condition, layer), layer, self.symbol(node))
        lifted = self.bit(node.condition, layer + 1).scale(d.lo) if d.lo else constant(0)
        return self._result(node, layer + 1, other.at(layer + 1) + part + lifted, None, None,
                            common(d.grid, other.grid))

    def _extreme(self, node: MinMax) -> Quantum:
        sign = 1 if node.op == "max" else -1
        best = self.quantum(node.args[0])
        for x in node.args[1:]:
            best = self._larger(node, best, self.quantum(x), sign)
        return best

    def _larger(self, node: Node, a: Quantum, b: Quantum, sign: int) -> Quantum:
        """max(a, b) = b + ReLU(a − b), or min(a, b) = b − ReLU(b − a)."""
        if a.form.is_constant:
            a, b = b, a
        layer = max(a.layer, b.layer)
        g = common(a.grid, b.grid)
        d = (a.at(layer) - b.at(layer)).scale(sign / g)
        ends = (a.hi, b.lo) if sign > 0 else (b.hi, a.lo)
        reach = None if ends[0] is None or ends[1] is None else (ends[0] - ends[1]) / g
        form = b.at(layer + 1) + self.wiring.relu(layer + 1, d, reach, self.symbol(node)).scale(sign * g)
        if sign > 0:
            lo = a.lo if b.lo is None else b.lo if a.lo is None else max(a.lo, b.lo)
            hi = None if a.hi is None or b.hi is None else max(a.hi, b.hi)
        else:
            lo = None if a.lo is None or b.lo is None else min(a.lo, b.lo)
            hi = a.hi if b.hi is None else b.hi if a.hi is None else min(a.hi, b.hi)
        return Quantum(self.wiring, self.symbol(node), layer + 1, form, lo, hi, g)

    def _divide(self, node: FloorDiv) -> Quantum:
        if self.is_fine(node.x):
            raise NotHostedError(node, "a real without a grid is divided with a jump at each multiple of the divisor")
        x, d = self.quantum(node.x), Fraction(node.divisor)
        if x.lo is None or x.hi is None:
            raise NotHostedError(node, "a number without a bound is divided; ReLU layers divide within a range")
        first, last = math.floor(x.lo / d), math.floor(x.hi / d)
        if last - first > 2**40:
            raise NotHostedError(node, "the quotient has too many values")
        layer, rest, quotient, width = x.layer, x, constant(first), last - first
        low = first * d
        while width > 0:
            # [rest ≥ low + k d] for a few k at once; what is left over is smaller
            part = 1 if width < _STEPS else 2 ** max(0, (width + 1).bit_length() - 6)
            steps = [k * part for k in range(1, width // part + 1)]
            knots: list[tuple[Fraction, Fraction]] = []
            for n, k in enumerate(steps):
                edge = _on_grid(low + k * d, rest.grid)
                knots += [(edge - rest.grid, Fraction(n)), (edge, Fraction(n + 1))]
            stairs = Staircase(tuple(dict(knots).items()), Fraction(0), Fraction(0))
            layer = rest.layer + 1
            # Each unit of the staircase is as large as the range, and stands in the next sums with weight part · d.
            if len(steps) * part * d * (x.hi - x.lo) / rest.grid**2 > _CLEAN:
                layer += 1
                q = Form.total(self._threshold(rest, x, node) for x, _ in knots[1::2])
            else:
                q = gate_above(rest, stairs, self.symbol(node))
            for at in range(rest.layer + 1, layer + 1):
                quotient = self._carry(node, quotient, at, last)
            quotient += q.scale(part)
            left = rest.at(layer) - q.scale(part * d)
            high = low + part * d if rest.hi is None else min(rest.hi, low + part * d)
            rest = Quantum(self.wiring, self.symbol(node), layer, left, low, high, common(rest.grid, d))
            width = part - 1
        if node.op == "//":
            return self._result(node, layer, quotient, Fraction(first), Fraction(last), Fraction(1))
        return self._result(node, layer, rest.at(layer) - low, Fraction(0), d,
                            common(x.grid, d))

    def _threshold(self, x: Quantum, edge: Fraction, node: Node) -> Form:
        """[x ≥ edge] as one unit, two layers after x."""
        stairs = samples([(edge - x.grid, Fraction(0)), (edge, Fraction(1))])
        return self.wiring.bit(x.layer + 2, gate_above(x, stairs, self.symbol(node)), self.symbol(node))

    def _carry(self, node: Node, form: Form, layer: int, hi: int) -> Form:
        """A whole number, at least its bias, as a form one layer on."""
        low = form.bias
        return self.wiring.relu(layer, form - low, hi - low, self.symbol(node)) + low

    def _product(self, node: Mul) -> Quantum:
        a, b = node.a, node.b
        finite = [x for x in (a, b) if not isinstance(x, Const) and not isinstance(self.held[x], Quantum)]
        if isinstance(a, Const) or isinstance(b, Const):
            value, x = (a, b) if isinstance(a, Const) else (b, a)
            assert isinstance(value, Const)
            return self._sum(node, [(Fraction(rational(value.value)), self.quantum(x))], Fraction(0))
        small = [x for x in (a, b) if domain_of(x, self.ranges[x], _STEPS) is not None]
        if not small:
            raise NotHostedError(node, "two numbers of many values are multiplied")
        by = (finite or small)[0] if (finite or small)[0] in small else small[0]
        x = b if by is a else a
        c, q = self.choice(by), self.quantum(x)
        self.require_bound(node, q)
        layer = max(c.layer + (q.lo is None or q.hi is None), q.layer)
        parts = [constant(0)]
        for i, v in enumerate(c.domain):
            if rational(v):
                here = frozenset({i})
                parts.append(self.gated(q, c.member(here, layer), layer, self.symbol(node)).scale(rational(v)))
                parts.append(c.member(here, layer + 1).scale(rational(v) * (q.lo or 0)))
        return self._result(node, layer + 1, Form.total(parts), None, None, q.grid)

    def _table(self, node: Table) -> Choice | Quantum:
        live = [x for x in node.args if not isinstance(x, Const)]
        if len(live) == 1 and isinstance(self.held[live[0]], Quantum):
            at = node.args.index(live[0])
            q = self.quantum(live[0])
            knots: list[tuple[Fraction, Fraction]] = []
            of = operation(node)
            for i in range(node.sizes[at]):
                args = [x.value if isinstance(x, Const) else node.los[at] + i for x in node.args]
                knots.append((Fraction(node.los[at] + i), Fraction(rational(convert(of(*args), node.type)))))
            stairs = Staircase(tuple(knots), Fraction(0), Fraction(0))
            if isinstance(node.type, Bool):
                return self._truth(node, q.layer + 1, lambda: gate_above(q, stairs, self.symbol(node)))
            values = [v for _, v in knots]
            grid = Fraction(0)
            for v in values:
                grid = common(grid, v)
            return self._result(node, q.layer + 1, gate_above(q, stairs, self.symbol(node)), min(values), max(values),
                                grid or Fraction(1))
        # All arguments one-hot first, then a table of them.
        for x in live:
            self.choice(x)
        folds = [Fold((self.choice(x),), self.choice(x).domain) for x in live]
        roots = union(f.roots for f in folds)
        if math.prod(len(r.domain) for r in roots) > 64 * JOINT:
            raise NotHostedError(node, "a table of numbers has too many entries")
        known = {x: spread(f, roots) for x, f in zip(live, folds, strict=True)}
        count = math.prod(len(r.domain) for r in roots)
        columns = [[x.value] * count if isinstance(x, Const) else known[x] for x in node.args]
        of = operation(node)
        table = tuple(convert(of(*row), node.type) for row in zip(*columns, strict=True))
        return self._unfold(Fold(roots, table), self.symbol(node))


def _on_grid(x: Fraction, g: Fraction) -> Fraction:
    """The first multiple of g that is not less than x."""
    return -((-x) // g) * g
