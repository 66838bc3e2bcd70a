"""Functions of finite variables: canonical decision diagrams, and covers by disjoint cubes.

A diagram is a reduced, ordered, multi-valued decision diagram (Bryant 1986; Srinivasan et al. 1990): equal functions
have the same number. A cube is a conjunction of [variable ∈ set]; a cover of a function by disjoint cubes is what
threshold units compute, one unit a cube.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Cube", "Diagrams", "TooLargeError", "merge_cubes"]

_LEAF = 1 << 60
_DEEPEST = 300  # variables one below the other, for operations that recurse over them
_MANY = 400  # cubes for which only one order is tried
_ROUNDS = 12
_MANY_VARIABLES = 16
_MOST_ORDERS = 512  # lists of nodes that are kept
_MOST_LITERALS = 40_000  # of covers that are made smaller; larger ones stay as they are


class TooLargeError(Exception):
    """A function has more nodes or cubes than the limit."""


@dataclass(frozen=True, slots=True)
class Cube:
    """The conjunction of [variable ∈ values] over `literals`, by variable; the function's value there is `leaf`."""

    literals: tuple[tuple[int, frozenset[int]], ...]
    leaf: Hashable


class Diagrams:
    """A table of diagrams over one list of variables; the number of a variable is its place in the order."""

    def __init__(self, limit: int = 200_000) -> None:
        self.sizes: list[int] = []
        self._limit = limit
        self._numbers: dict[Hashable, int] = {}
        self._tops: list[int] = []
        self._children: list[tuple[int, ...]] = []
        self._values: list[Hashable] = []
        self._orders: dict[tuple[int, ...], tuple[int, ...]] = {}

    @property
    def nodes(self) -> int:
        """Nodes of all functions made so far."""
        return len(self._tops)

    def variable(self, size: int) -> int:
        """A new variable with the values 0 … size − 1, last in the order."""
        self.sizes.append(size)
        return len(self.sizes) - 1

    def leaf(self, value: Hashable) -> int:
        """The constant function."""
        return self._number(("leaf", value), _LEAF, (), value)

    def is_leaf(self, f: int) -> bool:
        return self._tops[f] == _LEAF

    def value(self, f: int) -> Hashable:
        """The value of a constant function."""
        return self._values[f]

    def _number(self, key: Hashable, top: int, children: tuple[int, ...], value: Hashable) -> int:
        found = self._numbers.get(key)
        if found is None:
            found = len(self._tops)
            if found >= self._limit:
                raise TooLargeError
            self._numbers[key] = found
            self._tops.append(top)
            self._children.append(children)
            self._values.append(value)
        return found

    def _node(self, variable: int, children: tuple[int, ...]) -> int:
        if children.count(children[0]) == len(children):
            return children[0]
        return self._number((variable, children), variable, children, None)

    def case(self, variable: int, branches: Sequence[int]) -> int:
        """The function that is `branches[a]` where the variable is a."""
        if min([self._tops[f] for f in branches]) > variable:
            return self._node(variable, tuple(branches))
        memo: dict[tuple[int, ...], int] = {}

        def go(parts: tuple[int, ...], depth: int) -> int:
            found = memo.get(parts)
            if found is None:
                top = min([self._tops[f] for f in parts])
                if top < variable:
                    if depth > _DEEPEST:
                        raise TooLargeError
                    found = self._node(top, tuple(go(tuple(self._cofactor(f, top, a) for f in parts), depth + 1)
                                                  for a in range(self.sizes[top])))
                else:
                    found = self._node(variable, tuple(self._cofactor(f, variable, a) for a, f in enumerate(parts)))
                memo[parts] = found
            return found

        return go(tuple(branches), 0)

    def _cofactor(self, f: int, variable: int, value: int) -> int:
        return self._children[f][value] if self._tops[f] == variable else f

    def combine(self, functions: Sequence[int]) -> int:
        """The function whose value is the tuple of the functions' values."""
        memo: dict[tuple[int, ...], int] = {}

        def go(parts: tuple[int, ...], depth: int) -> int:
            found = memo.get(parts)
            if found is None:
                top = min((self._tops[f] for f in parts), default=_LEAF)
                if top == _LEAF:
                    found = self.leaf(tuple(self._values[f] for f in parts))
                else:
                    if depth > _DEEPEST:
                        raise TooLargeError
                    found = self._node(top, tuple(go(tuple(self._cofactor(f, top, a) for f in parts), depth + 1)
                                                  for a in range(self.sizes[top])))
                memo[parts] = found
            return found

        return go(tuple(functions), 0)

    def map(self, f: int, change: Callable[[Hashable], Hashable]) -> int:
        """The function with its values changed."""
        return self.map_all((f,), change)[0]

    def map_all(self, functions: Sequence[int], change: Callable[[Hashable], Hashable]) -> list[int]:
        """Functions with their values changed; what they have in common is gone through once."""
        memo: dict[int, int] = {}
        tops, children = self._tops, self._children
        for g in self._below(*functions):
            if tops[g] == _LEAF:
                memo[g] = self.leaf(change(self._values[g]))
            else:
                memo[g] = self._node(tops[g], tuple([memo[c] for c in children[g]]))
        return [memo[f] for f in functions]

    def substitute(self, f: int, variables: Mapping[int, int]) -> int:
        """The function with variables replaced by others of the same sizes."""
        memo: dict[int, int] = {}
        for g in self._below(f):
            if self.is_leaf(g):
                memo[g] = g
            else:
                top = self._tops[g]
                memo[g] = self.case(variables.get(top, top), [memo[c] for c in self._children[g]])
        return memo[f]

    def _below(self, *functions: int) -> tuple[int, ...]:
        """The nodes of some diagrams, each once, children first."""
        known = self._orders.get(functions)
        if known is None:
            if len(self._orders) >= _MOST_ORDERS:
                self._orders.clear()
            known = self._orders[functions] = tuple(self._ordered(functions))
        return known

    def _ordered(self, functions: Sequence[int]) -> list[int]:
        order: list[int] = []
        seen: set[int] = set()
        children = self._children
        stack = list(functions[::-1])  # a node to be looked at, or, as ~node, one whose children are done
        while stack:
            g = stack.pop()
            if g < 0:
                order.append(~g)
            elif g not in seen:
                seen.add(g)
                below = children[g]
                if below:
                    stack.append(~g)
                    stack.extend(below[::-1])
                else:
                    order.append(g)
        return order

    def child(self, f: int, variable: int, value: int) -> int:
        """The function where a variable that none above it in the order matters to has that value."""
        return self._cofactor(f, variable, value)

    def leaves(self, f: int) -> list[Hashable]:
        """The values that a function takes, each once, in a fixed order."""
        return [self._values[g] for g in self._below(f) if self.is_leaf(g)]

    def support(self, *functions: int) -> list[int]:
        """The variables that some of the functions depend on, in order."""
        return sorted({self._tops[g] for g in self._below(*functions)} - {_LEAF})

    def cubes(self, f: int, limit: int = 20_000) -> list[Cube]:
        """Disjoint cubes that cover the whole domain: one for each path, values with the same child together."""
        out: list[Cube] = []
        stack: list[tuple[int, tuple[tuple[int, frozenset[int]], ...]]] = [(f, ())]
        while stack:
            g, literals = stack.pop()
            if self.is_leaf(g):
                out.append(Cube(literals, self._values[g]))
                if len(out) > limit:
                    raise TooLargeError
                continue
            groups: dict[int, list[int]] = {}
            for a, child in enumerate(self._children[g]):
                groups.setdefault(child, []).append(a)
            for child, group in reversed(groups.items()):
                stack.append((child, (*literals, (self._tops[g], frozenset(group)))))
        return out

    def evaluate(self, f: int, values: Sequence[int]) -> Hashable:
        """The value of the function at a point: one value for each variable."""
        while not self.is_leaf(f):
            f = self._children[f][values[self._tops[f]]]
        return self._values[f]

    def build(self, evaluate: Callable[[], int | None], assign: Callable[[int, int], None],
              retract: Callable[[], None], result: Callable[[], Hashable], limit: int = 100_000) -> int:
        """The diagram of a function that is known through partial evaluation.

        evaluate: None if the values assigned so far decide the result, else the variable to be assigned next.
        assign(variable, value) and retract() (the last assignment) change the point. At most `limit` evaluations.
        """
        done: list[tuple[int, list[int]]] = []
        steps = 0
        while True:
            steps += 1
            if steps > limit:
                raise TooLargeError
            needed = evaluate()
            if needed is not None:
                done.append((needed, []))
                assign(needed, 0)
                continue
            f = self.leaf(result())
            while done:
                variable, branches = done[-1]
                retract()
                branches.append(f)
                if len(branches) < self.sizes[variable]:
                    assign(variable, len(branches))
                    break
                done.pop()
                f = self.case(variable, branches)
            else:
                return f


def merge_cubes(cubes: Iterable[Cube], sizes: Callable[[int], int], tries: int = 5) -> list[Cube]:
    """A smaller disjoint cover of the same function: cubes that differ in one variable only are united.

    sizes: the number of values of a variable. tries: how many orders of the variables, of which the best is kept.
    """
    given = list(cubes)
    variables = sorted({v for c in given for v, _ in c.literals})
    if len(variables) > _MANY_VARIABLES and sum(len(c.literals) for c in given) > _MOST_LITERALS:
        return given
    place = {v: i for i, v in enumerate(variables)}
    codes = _Codes([sizes(v) for v in variables])
    start = [codes.row(c.leaf, ((place[v], values) for v, values in c.literals)) for c in given]
    count = len(variables)
    orders = [[*range(i, count), *range(i)] for i in range(min(count, 4))] + [list(range(count))[::-1]]
    orders = orders[:1 if len(given) > _MANY else tries]
    best: list[int] | None = None
    for order in orders:
        now, unchanged = start, 0
        for at in order * _ROUNDS:
            before = len(now)
            now = codes.unite(now, at)
            unchanged = unchanged + 1 if len(now) == before else 0
            if unchanged == count:
                break
        if best is None or len(now) < len(best):
            best = now
    return [codes.cube(row, variables) for row in best or []]


class _Codes:
    """Cubes as numbers: a field for the leaf, and one for each variable's set of values, 0 for any value."""

    _BITS = 24

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._leaves: list[Hashable] = []
        self._leaf: dict[Hashable, int] = {}
        self._sets: list[list[frozenset[int]]] = [[frozenset(range(n))] for n in sizes]  # the first for any value
        self._set: list[dict[frozenset[int], int]] = [{} for _ in sizes]

    def row(self, leaf: Hashable, literals: Iterable[tuple[int, frozenset[int]]]) -> int:
        """The number of a cube; its literals by the place of the variable."""
        code = self._leaf.setdefault(leaf, len(self._leaves))
        if code == len(self._leaves):
            self._leaves.append(leaf)
        for at, values in literals:
            code |= self._number(at, values) << self._shift(at)
        return code

    def cube(self, row: int, variables: Sequence[int]) -> Cube:
        fields = [row >> self._shift(at) & ~(-1 << self._BITS) for at in range(len(variables))]
        return Cube(tuple((v, self._sets[at][f]) for at, (v, f) in enumerate(zip(variables, fields, strict=True)) if f),
                    self._leaves[row & ~(-1 << self._BITS)])

    def unite(self, rows: list[int], at: int) -> list[int]:
        """Unites all cubes that agree in everything but their sets for the variable in place `at`."""
        shift = self._shift(at)
        field = ~(-1 << self._BITS) << shift
        if len({row & ~field for row in rows}) == len(rows):
            return rows
        groups: dict[int, list[int]] = {}
        for row in rows:
            mine = row & field
            groups.setdefault(row ^ mine, []).append(mine)
        sets = self._sets[at]
        out: list[int] = []
        for rest, fields in groups.items():
            if len(fields) == 1:
                out.append(rest | fields[0])
                continue
            union = frozenset().union(*(sets[f >> shift] for f in fields))
            out.append(rest if len(union) == self._sizes[at] else rest | self._number(at, union) << shift)
        return out

    def _shift(self, at: int) -> int:
        return self._BITS * (at + 1)

    def _number(self, at: int, values: frozenset[int]) -> int:
        number = self._set[at].setdefault(values, len(self._sets[at]))
        if number == len(self._sets[at]):
            self._sets[at].append(values)
        return number
