"""Partial evaluation of graph nodes: what a cell computes, as a decision diagram over the variables it reads.

Nodes are evaluated on demand, conditions first, so that a variable is asked for only where it matters. Unbounded
numbers (registers) stay symbolic, as linear combinations of integer atoms; comparing one asks for a threshold
variable [F ≥ k], where F is the combination in lowest terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from lsrl.arithmetic import Operation, operation
from lsrl.backends.combinations import Atom, Linear, Result, Variables, linear, lowest_terms, number, plain
from lsrl.backends.comparisons import Comparisons, Found, Need
from lsrl.backends.refusal import NotHostedError
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

__all__ = ["Evaluator", "Leaf"]

_SEVERAL = 64  # an observed number known up to so many values is asked for
_FEW = 3  # a register known up to so many values is asked for, to make a step of a reset


class Evaluator:
    """Evaluates nodes under a growing assignment of variables."""

    def __init__(self, variables: Variables, leaf: Callable[[Node], Result | Leaf | None],
                 bounds: Callable[[Atom], tuple[Fraction | None, Fraction | None]],
                 operations: dict[Node, Operation] | None = None) -> None:
        """leaf: for a node that is not to be evaluated through its operands, `Leaf(variable)` or its value, else None.

        bounds: least and greatest value of an atom, None where there is none. operations: a table of what nodes apply,
        to be shared between evaluators of one graph.
        """
        self._variables, self._leaf = variables, leaf
        self._numbers = Comparisons(variables, bounds)
        self._own: dict[str, Result] = {}
        self.read_own = False  # whether some function so far depends on the cell's own states
        self._operations = {} if operations is None else operations
        self._values: dict[Node, Result] = {}
        self._needs: dict[Node, Need] = {}
        self._trail: list[Node] = []
        self._assigned: list[tuple[int, int]] = []  # (variable, length of the trail before)

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
                if not isinstance(found, Need):
                    found = self._as_step(found, stepping[i]) if i in stepping else self._pinned(found)
                if isinstance(found, Need):
                    return found.variable
                results.append(found)
            return None

        return self._variables.diagrams.build(evaluate, self._assign, self._retract, lambda: tuple(results))

    def _pinned(self, value: Result) -> Result | Need:
        """A number that is known up to a few values, such as a clamped one: which of them it is, is asked for."""
        if not isinstance(value, Linear):
            return value
        combination, scale = lowest_terms(value)
        low, high = self._numbers.known_range(combination)
        if low is None or high is None or high - low > _SEVERAL:
            return value
        if low < high:
            return Need(self._variables.threshold(combination, math.floor((low + high) / 2) + 1))
        return plain(scale * low + value.bias)

    def _as_step(self, new: Result, register: str) -> Result | Need:
        """A constant new value as old value + difference, where the old one is known or can be asked for."""
        old = self._own[register]
        if isinstance(new, Linear) or not isinstance(old, Linear):
            return new
        combination, scale = lowest_terms(old)
        low, high = self._numbers.known_range(combination)
        if low is None or high is None or high - low > _FEW:
            return new
        if low < high:
            return Need(self._variables.threshold(combination, math.ceil(low) + 1))
        return Linear(old.terms, number(new) - scale * low)

    def _assign(self, variable: int, value: int) -> None:
        self._assigned.append((variable, len(self._trail)))
        self._numbers.point[variable] = value

    def _retract(self) -> None:
        variable, length = self._assigned.pop()
        del self._numbers.point[variable]
        while len(self._trail) > length:
            del self._values[self._trail.pop()]

    def _run(self, root: Node) -> Found:
        """The value of a node, or the first variable it needs; without recursion."""
        known = self._known(root)
        if known is not None:
            return known
        stack: list[tuple[Node, Generator[Node, Found, Found]]] = [(root, self._steps(root))]
        answer: Found | None = None
        while True:
            node, steps = stack[-1]
            try:
                asked = next(steps) if answer is None else steps.send(answer)
            except StopIteration as stop:
                stack.pop()
                answer = stop.value
                assert answer is not None
                if isinstance(answer, Need):
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

    def _known(self, node: Node) -> Found | None:
        """The value of a node, or the variable it needs, if that takes no evaluation of operands."""
        found: Found | None = self._values.get(node)
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
        return self._numbers.variable(leaf.variable) if isinstance(leaf, Leaf) else leaf

    def _operation(self, node: Node) -> Operation:
        found = self._operations.get(node)
        if found is None:
            found = self._operations[node] = operation(node)
        return found

    def _steps(self, node: Node) -> Generator[Node, Found, Found]:
        match node:
            case Mux():
                chosen = yield node.condition
                if isinstance(chosen, Need):
                    return chosen
                found = yield (node.then if chosen else node.other)
                return found
            case Logic(op="not"):
                inner = yield node.args[0]
                return inner if isinstance(inner, Need) else not inner
            case Logic():
                absorbing, need, open_ = node.op == "or", None, 0
                for x in node.args:
                    v = yield x
                    if isinstance(v, Need):
                        need, open_ = need or v, open_ + 1
                        if open_ > _SEVERAL:
                            return need
                    elif v == absorbing:
                        return absorbing
                return need or (not absorbing)
            case Index():
                place = yield node.index
                if isinstance(place, Need):
                    return place
                if isinstance(place, Linear) or not isinstance(node.vector, Pack):
                    raise NotHostedError(node, "an element of a vector is chosen by an unbounded number")
                elements = node.vector.elements
                found = yield elements[min(max(int(number(place)), 0), len(elements) - 1)]
                return found
            case Read() | Input() | Param() | Unary():
                raise NotHostedError(node, _why_not(node))
            case _:
                args: list[Found] = []
                for x in operands(node):
                    v = yield x
                    args.append(v)
                return self._combine(node, args)

    def _combine(self, node: Node, args: list[Found]) -> Found:
        """A node that needs all its operands, up to shortcuts."""
        need = next((a for a in args if isinstance(a, Need)), None)
        if need is not None:
            if isinstance(node, Mul) and any(not isinstance(a, Linear | Need) and a == 0 for a in args):
                return 0
            if isinstance(node, Table):
                return _table_shortcut(node, args) or need
            return need
        known = [a for a in args if not isinstance(a, Need)]
        if not any(isinstance(a, Linear) for a in known):
            result: Result = self._operation(node)(*known)
            return result
        match node:
            case Affine():
                return plain(linear([(c, a) for (c, _), a in zip(node.terms, known, strict=True)], node.bias))
            case Compare():
                return self._numbers.compare(node, *known)
            case MinMax():
                return self._numbers.extreme(node, known)
            case Mul():
                a, b = known
                if isinstance(a, Linear) and isinstance(b, Linear):
                    raise NotHostedError(node, "two unbounded numbers are multiplied")
                factor, unbounded = (b, a) if isinstance(a, Linear) else (a, b)
                return plain(linear([(number(factor), unbounded)], 0))
            case Table():
                nearest = self._numbers.nearest(node, known)
                if isinstance(nearest, Need):
                    return nearest
                in_table: Result = self._operation(node)(*nearest)
                return in_table
            case FloorDiv():
                return self._numbers.divide(node, known[0])
            case _:
                raise NotHostedError(node, "an unbounded number is used by more than sums and comparisons")

@dataclass(frozen=True, slots=True)
class Leaf:
    """A node that is a variable."""

    variable: int


def _table_shortcut(node: Table, args: list[Found]) -> Found | None:
    """The table's value if the arguments known decide it."""
    if len(node.entries) > 4096 or any(isinstance(a, Linear) for a in args):
        return None
    places = [0]
    for a, low, size in zip(args, node.los, node.sizes, strict=True):
        if isinstance(a, Need):
            places = [p * size + i for p in places for i in range(size)]
        else:
            assert not isinstance(a, Linear)
            at = min(max(int(number(a)) - low, 0), size - 1)
            places = [p * size + at for p in places]
    first = node.entries[places[0]]
    return first if all(node.entries[p] == first for p in places) else None


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
