"""Partial evaluation of graph nodes: what a cell computes, as a decision diagram over the variables it reads.

Nodes are evaluated on demand, conditions first, so that a variable is asked for only where it matters. Unbounded
numbers (registers) stay symbolic, as linear combinations of integer atoms; comparing one asks for a threshold
variable [F ≥ k], where F is the combination in lowest terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lsrl.arithmetic import Operation, operation
from lsrl.backends.circuit import Rational
from lsrl.backends.cubes import Diagrams
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
    Read,
    Table,
    Unary,
    operands,
)
from lsrl.types import Value

__all__ = ["Atom", "Combination", "Evaluator", "Leaf", "Linear", "NotHostedError", "Result", "Variables", "linear",
           "lowest_terms"]

Atom: TypeAlias = tuple[str, str]  # a register's name and "old" or "new"
Combination: TypeAlias = tuple[tuple[int, Atom], ...]  # coprime coefficients, the first positive


@dataclass(frozen=True, slots=True)
class Linear:
    """Σ coefficient · atom + bias; `terms` are ordered by atom and not empty."""

    terms: tuple[tuple[Fraction, Atom], ...]
    bias: Fraction


Result: TypeAlias = "Value | Linear"
_MOST_REMAINDERS = 256
_SEVERAL = 64  # an observed number known up to so many values is asked for
_FEW = 3  # a register known up to so many values is asked for, to make a step of a reset


@dataclass(frozen=True, slots=True)
class _Need:
    variable: int


_Found: TypeAlias = "Value | Linear | _Need"


class NotHostedError(Exception):
    """The technology cannot compute a node; `reason` says why, as the end of a sentence."""

    def __init__(self, node: Node, reason: str) -> None:
        super().__init__(reason)
        self.node, self.reason = node, reason


def linear(terms: Sequence[tuple[Rational, Result]], bias: Rational) -> Result:
    """Σ coefficient · value + bias, a plain number if no atom remains."""
    weights: dict[Atom, Fraction] = {}
    total = Fraction(bias)
    for c, x in terms:
        if isinstance(x, Linear):
            total += c * x.bias
            for w, atom in x.terms:
                weights[atom] = weights.get(atom, Fraction(0)) + c * w
        else:
            assert isinstance(x, int | Fraction)
            total += Fraction(c) * x
    left = tuple((w, atom) for atom, w in sorted(weights.items()) if w)
    return Linear(left, total) if left else total


class Variables:
    """The variables of one diagram table, with their values; threshold variables are made as they are asked for."""

    def __init__(self, diagrams: Diagrams) -> None:
        self.diagrams = diagrams
        self.domains: list[tuple[Hashable, ...]] = []
        self.thresholds: dict[Combination, dict[int, int]] = {}
        self.remainders: dict[Combination, dict[int, int]] = {}

    def add(self, domain: tuple[Hashable, ...]) -> int:
        """A new variable with those values."""
        self.domains.append(domain)
        return self.diagrams.variable(len(domain))

    def threshold(self, combination: Combination, k: int) -> int:
        """The variable [combination ≥ k]."""
        known = self.thresholds.setdefault(combination, {})
        if k not in known:
            known[k] = self.add((False, True))
        return known[k]


    def remainder(self, combination: Combination, divisor: int) -> int:
        """The variable combination mod divisor."""
        known = self.remainders.setdefault(combination, {})
        if divisor not in known:
            known[divisor] = self.add(tuple(range(divisor)))
        return known[divisor]


class Evaluator:
    """Evaluates nodes under a growing assignment of variables."""

    def __init__(self, variables: Variables, leaf: Callable[[Node], Result | Leaf | None],
                 bounds: Callable[[Atom], tuple[Fraction | None, Fraction | None]],
                 operations: dict[Node, Operation] | None = None) -> None:
        """leaf: for a node that is not to be evaluated through its operands, `Leaf(variable)` or its value, else None.

        bounds: least and greatest value of an atom, None where there is none. operations: a table of what nodes apply,
        to be shared between evaluators of one graph.
        """
        self._variables, self._leaf, self._bounds = variables, leaf, bounds
        self._own: dict[str, Result] = {}
        self.read_own = False  # whether some function so far depends on the cell's own states
        self._operations = {} if operations is None else operations
        self._values: dict[Node, Result] = {}
        self._needs: dict[Node, _Need] = {}
        self._trail: list[Node] = []
        self._assigned: list[tuple[int, int]] = []  # (variable, length of the trail before)
        self._point: dict[int, int] = {}

    def function(self, roots: Sequence[Node], own: dict[str, Result],
                 registers: Mapping[int, str] | None = None) -> int:
        """The diagram of the tuple of the roots' values, given the values of the cell's own states.

        registers: for places in `roots` that are new values of registers, the register's name. Where such a value is
        a constant and the old value is known too, the result is old + their difference: a step and not a reset.
        """
        self._own = own
        stepping = registers or {}
        self._values.clear()
        self._trail.clear()
        results: list[Result] = []

        def evaluate() -> int | None:
            self._needs.clear()
            results.clear()
            for i, root in enumerate(roots):
                found = self._run(root)
                if not isinstance(found, _Need):
                    found = self._as_step(found, stepping[i]) if i in stepping else self._pinned(found)
                if isinstance(found, _Need):
                    return found.variable
                results.append(found)
            return None

        return self._variables.diagrams.build(evaluate, self._assign, self._retract, lambda: tuple(results))

    def _pinned(self, value: Result) -> Result | _Need:
        """A number that is known up to a few values, such as a clamped one: which of them it is, is asked for."""
        if not isinstance(value, Linear):
            return value
        combination, scale = lowest_terms(value)
        low, high = self._known_range(combination)
        if low is None or high is None or high - low > _SEVERAL:
            return value
        if low < high:
            return _Need(self._variables.threshold(combination, math.floor((low + high) / 2) + 1))
        return _plain(scale * low + value.bias)

    def _as_step(self, new: Result, register: str) -> Result | _Need:
        """A constant new value as old value + difference, where the old one is known or can be asked for."""
        old = self._own[register]
        if isinstance(new, Linear) or not isinstance(old, Linear):
            return new
        combination, scale = lowest_terms(old)
        low, high = self._known_range(combination)
        if low is None or high is None or high - low > _FEW:
            return new
        if low < high:
            return _Need(self._variables.threshold(combination, math.ceil(low) + 1))
        return Linear(old.terms, _number(new) - scale * low)

    def _assign(self, variable: int, value: int) -> None:
        self._assigned.append((variable, len(self._trail)))
        self._point[variable] = value

    def _retract(self) -> None:
        variable, length = self._assigned.pop()
        del self._point[variable]
        while len(self._trail) > length:
            del self._values[self._trail.pop()]

    def _run(self, root: Node) -> _Found:
        """The value of a node, or the first variable it needs; without recursion."""
        known = self._known(root)
        if known is not None:
            return known
        stack: list[tuple[Node, Generator[Node, _Found, _Found]]] = [(root, self._steps(root))]
        answer: _Found | None = None
        while True:
            node, steps = stack[-1]
            try:
                asked = next(steps) if answer is None else steps.send(answer)
            except StopIteration as stop:
                stack.pop()
                answer = stop.value
                assert answer is not None
                if isinstance(answer, _Need):
                    self._needs[node] = answer
                else:
                    self._values[node] = answer
                    self._trail.append(node)
                if not stack:
                    return answer
                continue
            answer = self._known(asked)
            if answer is None:
                stack.append((asked, self._steps(asked)))

    def _known(self, node: Node) -> _Found | None:
        """The value of a node, or the variable it needs, if that takes no evaluation of operands."""
        found: _Found | None = self._values.get(node)
        if found is None:
            found = self._needs.get(node)
        if found is not None:
            return found
        if isinstance(node, Const):
            value: Result = self._operation(node)()
            return value
        if isinstance(node, Read) and node.state in self._own:
            self.read_own = True
            return self._own[node.state]
        leaf = self._leaf(node)
        return self._variable(leaf.variable) if isinstance(leaf, Leaf) else leaf

    def _operation(self, node: Node) -> Operation:
        found = self._operations.get(node)
        if found is None:
            found = self._operations[node] = operation(node)
        return found

    def _variable(self, variable: int) -> _Found:
        place = self._point.get(variable)
        if place is None:
            return _Need(variable)
        value = self._variables.domains[variable][place]
        assert isinstance(value, int | Fraction)
        return value

    def _steps(self, node: Node) -> Generator[Node, _Found, _Found]:
        match node:
            case Mux():
                chosen = yield node.condition
                if isinstance(chosen, _Need):
                    return chosen
                found = yield (node.then if chosen else node.other)
                return found
            case Logic(op="not"):
                inner = yield node.args[0]
                return inner if isinstance(inner, _Need) else not inner
            case Logic():
                absorbing, need, open_ = node.op == "or", None, 0
                for x in node.args:
                    v = yield x
                    if isinstance(v, _Need):
                        need, open_ = need or v, open_ + 1
                        if open_ > _SEVERAL:
                            return need
                    elif v == absorbing:
                        return absorbing
                return need or (not absorbing)
            case Index():
                place = yield node.index
                if isinstance(place, _Need):
                    return place
                if isinstance(place, Linear) or not isinstance(node.vector, Pack):
                    raise NotHostedError(node, "an element of a vector is chosen by an unbounded number")
                elements = node.vector.elements
                found = yield elements[min(max(int(_number(place)), 0), len(elements) - 1)]
                return found
            case Read() | Input() | Param() | Unary():
                raise NotHostedError(node, _why_not(node))
            case _:
                args: list[_Found] = []
                for x in operands(node):
                    v = yield x
                    args.append(v)
                return self._combine(node, args)

    def _combine(self, node: Node, args: list[_Found]) -> _Found:
        """A node that needs all its operands, up to shortcuts."""
        need = next((a for a in args if isinstance(a, _Need)), None)
        if need is not None:
            if isinstance(node, Mul) and any(not isinstance(a, Linear | _Need) and a == 0 for a in args):
                return 0
            if isinstance(node, Table):
                return _table_shortcut(node, args) or need
            return need
        known = [a for a in args if not isinstance(a, _Need)]
        if not any(isinstance(a, Linear) for a in known):
            result: Result = self._operation(node)(*known)
            return result
        match node:
            case Affine():
                return _plain(linear([(c, a) for (c, _), a in zip(node.terms, known, strict=True)], node.bias))
            case Compare():
                return self._compare(node, *known)
            case MinMax():
                return self._extreme(node, known)
            case Mul():
                a, b = known
                if isinstance(a, Linear) and isinstance(b, Linear):
                    raise NotHostedError(node, "two unbounded numbers are multiplied")
                factor, number = (b, a) if isinstance(a, Linear) else (a, b)
                return _plain(linear([(_number(factor), number)], 0))
            case Table():
                return self._table(node, known)
            case FloorDiv():
                return self._divide(node, known[0])
            case _:
                raise NotHostedError(node, "an unbounded number is used by more than sums and comparisons")

    def _divide(self, node: FloorDiv, x: Result) -> _Found:
        """Quotient and remainder of an unbounded number: s F + b by m needs F mod M, M the least with s M / m whole."""
        assert isinstance(x, Linear)
        combination, scale = lowest_terms(x)
        ratio = scale / Fraction(node.divisor)
        if ratio.denominator > _MOST_REMAINDERS:
            raise NotHostedError(node, f"a number is divided, and {ratio.denominator} remainders are too many")
        rest: Rational = 0
        if ratio.denominator > 1:
            found = self._variable(self._variables.remainder(combination, ratio.denominator))
            if isinstance(found, _Need):
                return found
            assert isinstance(found, int)
            rest = found
        remainder = (scale * rest + x.bias) % node.divisor
        if node.op == "%":
            return _plain(remainder)
        return _plain(linear([(1 / Fraction(node.divisor), x)], -remainder / Fraction(node.divisor)))

    def _compare(self, node: Compare, a: Result, b: Result) -> _Found:
        if node.op in ("<", "<="):
            # a < b iff not a − b ≥ 0; a <= b iff b − a ≥ 0
            found = self._at_least_zero(*((a, b) if node.op == "<" else (b, a)))
            return found if isinstance(found, _Need) else found == (node.op == "<=")
        up = self._at_least_zero(a, b)
        if isinstance(up, _Need):
            return up
        down = self._at_least_zero(b, a)
        if isinstance(down, _Need):
            return down
        return (up and down) == (node.op == "==")

    def _at_least_zero(self, a: Result, b: Result) -> bool | _Need:
        """Whether a − b ≥ 0."""
        d = linear([(1, a), (-1, b)], 0)
        if not isinstance(d, Linear):
            return _number(d) >= 0
        combination, scale = lowest_terms(d)
        if scale > 0:
            return self._threshold(combination, math.ceil(-d.bias / scale))
        found = self._threshold(combination, math.floor(-d.bias / scale) + 1)
        return found if isinstance(found, _Need) else not found

    def _threshold(self, combination: Combination, k: int) -> bool | _Need:
        """[combination ≥ k], from what is known of it, or as a new variable."""
        low, high = self._known_range(combination)
        if low is not None and k <= low:
            return True
        if high is not None and k > high:
            return False
        return _Need(self._variables.threshold(combination, k))

    def _known_range(self, combination: Combination) -> tuple[Fraction | int | None, Fraction | int | None]:
        """The range of a combination, narrowed by the thresholds assigned."""
        low, high = self._range(combination)
        for at, variable in self._variables.thresholds.get(combination, {}).items():
            value = self._point.get(variable)
            if value == 1:
                low = at if low is None else max(low, at)
            elif value == 0:
                high = at - 1 if high is None else min(high, at - 1)
        return low, high

    def _range(self, combination: Combination) -> tuple[Fraction | int | None, Fraction | int | None]:
        low: Fraction | int | None = 0
        high: Fraction | int | None = 0
        for c, atom in combination:
            a, b = self._bounds(atom)
            a, b = (a, b) if c > 0 else (b, a)
            low = None if low is None or a is None else low + c * a
            high = None if high is None or b is None else high + c * b
        return low, high

    def _extreme(self, node: MinMax, args: list[Result]) -> _Found:
        best = args[0]
        for x in args[1:]:
            # In a tie the unbounded number is taken, so that a clamp at its bound is a step and not a reset.
            first, second = (x, best) if isinstance(x, Linear) else (best, x)
            order = (first, second) if node.op == "max" else (second, first)
            taken = self._at_least_zero(*order)
            if isinstance(taken, _Need):
                return taken
            best = first if taken else second
        return best

    def _table(self, node: Table, args: list[Result]) -> _Found:
        """An unbounded number in a table counts as the nearest of its domain."""
        plain: list[Value] = []
        for x, low, size in zip(args, node.los, node.sizes, strict=True):
            if not isinstance(x, Linear):
                plain.append(x)
                continue
            at = low
            while at < low + size - 1:
                more = self._at_least_zero(x, at + 1)
                if isinstance(more, _Need):
                    return more
                if not more:
                    break
                at += 1
            plain.append(at)
        result: Result = self._operation(node)(*plain)
        return result


@dataclass(frozen=True, slots=True)
class Leaf:
    """A node that is a variable."""

    variable: int


def lowest_terms(x: Linear) -> tuple[Combination, Fraction]:
    """The combination F of coprime integers, the first positive, and the scale s, so that Σ terms = s · F."""
    denominator = math.lcm(*(c.denominator for c, _ in x.terms))
    whole = [int(c * denominator) for c, _ in x.terms]
    common = math.gcd(*whole) * (1 if whole[0] > 0 else -1)
    combination = tuple((w // common, atom) for w, (_, atom) in zip(whole, x.terms, strict=True))
    return combination, Fraction(common, denominator)


def _table_shortcut(node: Table, args: list[_Found]) -> _Found | None:
    """The table's value if the arguments known decide it."""
    if len(node.entries) > 4096 or any(isinstance(a, Linear) for a in args):
        return None
    places = [0]
    for a, low, size in zip(args, node.los, node.sizes, strict=True):
        if isinstance(a, _Need):
            places = [p * size + i for p in places for i in range(size)]
        else:
            assert not isinstance(a, Linear)
            at = min(max(int(_number(a)) - low, 0), size - 1)
            places = [p * size + at for p in places]
    first = node.entries[places[0]]
    return first if all(node.entries[p] == first for p in places) else None


def _plain(x: Result) -> Result:
    """A whole rational as an int."""
    return int(x) if isinstance(x, Fraction) and x.denominator == 1 else x


def _number(x: Result) -> int | Fraction:
    assert isinstance(x, int | Fraction)
    return x


def _why_not(node: Node) -> str:
    match node:
        case Input():
            return f"`{node.name}` is a number without bounds, and a threshold layer sees bits only"
        case Param():
            return f"`{node.name}` is a learnable constant"
        case Unary():
            return f"`{node.function}` has no exact value in thresholds"
        case _:
            return "its value is not known here"
