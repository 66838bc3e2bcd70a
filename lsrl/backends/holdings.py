"""How a node of the graph is held while a ReLU circuit is built: one-hot, as a number, or as a table not yet read."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lsrl.analysis.interval import Range
from lsrl.backends.circuit import Column, Symbol
from lsrl.backends.cubes import Diagrams, merge_cubes
from lsrl.backends.linear_form import Form, Rational, constant
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.structure import InputScalar, input_scalar
from lsrl.backends.tallies import Tally, find_tally
from lsrl.backends.wiring import Choice, Quantum, Staircase, Wiring, gate_above
from lsrl.ir.nodes import Const, Node
from lsrl.types import Bool, Int, Real, Type, Value

__all__ = ["JOINT", "Fold", "Held", "Holdings", "common", "domain_of", "rational", "samples", "spread", "union"]

JOINT = 1024  # joint values of the variables of one table
_ONE_HOT = 256  # values of a variable that is held one-hot
_PRODUCTS = 2  # of a table for which nothing smaller is looked for


@dataclass(frozen=True, eq=False)
class Fold:
    """A function of finite variables that nothing has read yet: its value at every joint place, the last fastest."""

    roots: tuple[Choice, ...]
    table: tuple[Value, ...]


Held: TypeAlias = "Choice | Quantum | Fold"


def domain_of(node: Node, r: Range, most: int = _ONE_HOT) -> tuple[Value, ...] | None:
    """The values that a scalar node can have, None if they are more than `most`."""
    if r.count is None or r.count > most:
        return None
    return tuple(_typed(x, node.type) for x in r.values())


def _typed(x: Fraction, t: Type) -> Value:
    return bool(x) if isinstance(t, Bool) else x if isinstance(t, Real) else int(x)


class Holdings:
    """`held` is what every node so far is held by; reading it makes the units that are asked for."""

    def __init__(self, wiring: Wiring, ranges: Mapping[Node, Range], names: Mapping[Node, str], mask: Fraction,
                 fine: bool = False) -> None:
        """mask: the size of gates over numbers without a bound, in units of their grid. fine: reals without a grid
        are held too, as they stand."""
        self.wiring, self.ranges, self.names, self.mask, self.fine = wiring, ranges, names, mask, fine
        self.held: dict[Node, Held] = {}
        self._inputs: dict[InputScalar, Choice | Quantum] = {}
        self._choices: dict[Node, Choice] = {}
        self._rows: tuple[object, list[tuple[Value, ...]]] = None, []  # joint values asked about last, place by place
        self._joints: dict[tuple[tuple[Node, ...], frozenset[tuple[Value, ...]]], Choice] = {}

    def symbol(self, node: Node) -> Symbol:
        text = self.names.get(node) or " ".join(node.span.text.split())[:60] or type(node).__name__.lower()
        return Symbol(text, node.span)

    def choice(self, node: Node) -> Choice:
        """The node as a finite variable. Raises NotHostedError if it has too many values."""
        if isinstance(node, Const):
            return Choice(self.wiring, self.symbol(node), (node.value,), 0, lambda places: constant(1))
        found = self._choices.get(node)
        if found is None:
            held = self.held[node]
            if isinstance(held, Fold):
                held = self.held[node] = self._unfold(held, self.symbol(node))
            found = held if isinstance(held, Choice) else self._one_hot(node, held)
            self._choices[node] = found
        return found

    def quantum(self, node: Node) -> Quantum:
        """The node as a number; a bool as 0 and 1, a symbol as its code."""
        if isinstance(node, Const):
            value = Fraction(rational(node.value))
            return Quantum(self.wiring, self.symbol(node), 0, constant(value), value, value, abs(value) or Fraction(1))
        held = self.held[node]
        if isinstance(held, Quantum):
            return held
        scalar = input_scalar(node)
        if scalar is not None and isinstance(node.type, Int | Real):
            return self._column(scalar, node)
        c = self.choice(node)
        numbers = [rational(v) for v in c.domain]
        grid = Fraction(0)
        for x in numbers:
            grid = common(grid, Fraction(x))
        return Quantum(self.wiring, c.name, c.layer, c.total(numbers, c.layer), Fraction(min(numbers)),
                       Fraction(max(numbers)), grid or Fraction(1))

    def bit(self, node: Node, layer: int) -> Form:
        """A bool as a 0/1 form over a layer."""
        c = self.choice(node)
        return c.member(frozenset(i for i, v in enumerate(c.domain) if v), layer)

    def level(self, node: Node) -> int:
        """The first layer that shows the node."""
        if isinstance(node, Const):
            return 0
        held = self.held[node]
        if isinstance(held, Fold):
            return max((r.layer for r in held.roots), default=0) + (len(held.roots) > 1)
        return held.layer

    def joint(self, nodes: tuple[Node, ...], members: frozenset[tuple[Value, ...]]) -> Choice:
        """Whether the joint value of some finite nodes is one of `members`, as a variable."""
        found = self._joints.get((nodes, members))
        if found is None:
            found_folds = self.folds(nodes, 64 * JOINT)
            if found_folds is None:
                raise NotHostedError(nodes[0], "too many values decide it together")
            folds, roots = found_folds
            key = nodes, tuple(f.roots for f in folds)
            if self._rows[0] != key:
                self._rows = key, list(zip(*(spread(f, roots) for f in folds), strict=True))
            table = tuple([row in members for row in self._rows[1]])
            found = self._joints[nodes, members] = self._unfold(Fold(roots, table), self.symbol(nodes[0]))
        return found

    def gate_level(self, node: Node, d: Quantum) -> int:
        """The first layer where a bool can gate a number: one without bounds needs the bool in a single unit, since
        each unit of it stands in the sum with the weight of the mask."""
        level = self.level(node)
        if isinstance(node, Const) or (d.lo is not None and d.hi is not None):
            return level
        return level + (len(self.bit(node, level).terms) > 1)

    def _one_hot(self, node: Node, q: Quantum) -> Choice:
        """A number of few values as a one-hot variable, one layer on."""
        domain = domain_of(node, self.ranges[node])
        if domain is None:
            raise NotHostedError(node, "it has too many values to be told apart one by one")
        numbers = [Fraction(rational(v)) for v in domain]
        name = self.symbol(node)
        return Choice(self.wiring, name, domain, q.layer + 1, lambda places: gate_above(
            q, samples([(x, Fraction(int(i in places))) for i, x in enumerate(numbers)]), name))

    def _unfold(self, fold: Fold, name: Symbol) -> Choice:
        """A table as a variable: free for one root, else a unit for each cube but those of the commonest value."""
        domain = tuple(sorted(dict.fromkeys(fold.table), key=lambda v: rational(v)))
        place = {v: i for i, v in enumerate(domain)}
        if not fold.roots:
            return Choice(self.wiring, name, domain, 0, lambda places: constant(int(0 in places)))
        if len(fold.roots) == 1:
            root = fold.roots[0]
            back = [place[v] for v in fold.table]
            return Choice(self.wiring, name, domain, root.layer, lambda places: root.member(
                frozenset(i for i, p in enumerate(back) if p in places), root.layer))
        layer = 1 + max(r.layer for r in fold.roots)
        diagrams = Diagrams()
        sizes = [len(r.domain) for r in fold.roots]
        for n in sizes:
            diagrams.variable(n)
        leaves = {v: diagrams.leaf(place[v]) for v in dict.fromkeys(fold.table)}
        level = [leaves[v] for v in fold.table]
        for variable in reversed(range(len(sizes))):
            parts = list(zip(*[iter(level)] * sizes[variable], strict=True))
            cases = {p: diagrams.case(variable, p) for p in dict.fromkeys(parts)}
            level = [cases[p] for p in parts]
        cubes = merge_cubes(diagrams.cubes(level[0]), lambda v: sizes[v])
        count: dict[object, int] = {}
        for cube in cubes:
            count[cube.leaf] = count.get(cube.leaf, 0) + 1
        default = max(count, key=lambda leaf: count[leaf])

        def unit(literals: Sequence[tuple[int, frozenset[int]]]) -> Form:
            return self.wiring.all_of(layer, [fold.roots[v].member(s, layer - 1) for v, s in literals], name)

        def home(places: frozenset[int]) -> Form:
            if default in places:
                return constant(1) - home(frozenset(range(len(domain))) - places)
            return Form.total(unit(c.literals) for c in cubes if c.leaf in places)

        def cost(places: frozenset[int]) -> int:
            asked = frozenset(range(len(domain))) - places if default in places else places
            return sum(c.leaf in asked for c in cubes)

        products = Choice(self.wiring, name, domain, layer, home, cost)
        tally = find_tally(sizes, [place[v] for v in fold.table]) if len(cubes) > _PRODUCTS else None
        return products if tally is None else self._tallied(fold, tally, products)

    def _tallied(self, fold: Fold, tally: Tally, products: Choice) -> Choice:
        """A table that counts bits: by a staircase of their sum where that takes fewer units than products do."""
        layer, name, domain = products.layer, products.name, products.domain
        most = Fraction(len(tally.values) - 1)

        def stairs(weights: Sequence[Rational]) -> Staircase:
            return samples([(Fraction(i), Fraction(weights[v])) for i, v in enumerate(tally.values)])

        @functools.cache
        def steps(weights: tuple[Rational, ...]) -> int:
            return len(stairs(weights).terms(Fraction(0), most)[1])

        def shown(weights: Sequence[Rational]) -> Form:
            below = Form.total(fold.roots[r].member(places, layer - 1).scale(w) for r, places, w in tally.bits)
            return gate_above(Quantum(self.wiring, name, layer - 1, below, Fraction(0), most, Fraction(1)),
                              stairs(weights), name)

        def among(places: frozenset[int]) -> tuple[int, ...]:
            return tuple([int(v in places) for v in range(len(domain))])

        def home(places: frozenset[int]) -> Form:
            return shown(among(places)) if steps(among(places)) < products.cost(places) else products.home(places)

        def cost(places: frozenset[int]) -> int:
            return min(steps(among(places)), products.cost(places))

        numbers: dict[tuple[Rational, ...], Quantum | None] = {}

        def number(weights: Sequence[Rational]) -> Quantum | None:
            key = tuple(weights)
            if key not in numbers:
                values = [Fraction(w) for w in weights]
                groups = {w: frozenset(i for i, v in enumerate(weights) if v == w) for w in weights}
                if steps(key) >= sum(map(cost, groups.values())) - max(map(cost, groups.values())):
                    numbers[key] = None
                    return None
                grid = Fraction(0)
                for v in values:
                    grid = common(grid, v)
                numbers[key] = Quantum(self.wiring, name, layer, shown(weights), min(values), max(values),
                                       grid or Fraction(1))
            return numbers[key]

        return Choice(self.wiring, name, domain, layer, home, cost, number)

    def _input(self, scalar: InputScalar, node: Node) -> Choice | Quantum:
        found = self._inputs.get(scalar)
        if found is not None:
            return found
        name, element = scalar
        symbol = Symbol(name if element is None else f"{name}[{element}]", node.span)
        domain = domain_of(node, self.ranges[node])
        if domain is not None:
            found = Choice(self.wiring, symbol, domain, 0, lambda places: self.wiring.column(
                Column(name, element, tuple(domain[p] for p in sorted(places)), domain=domain)))
        else:
            found = self._column(scalar, node)
        self._inputs[scalar] = found
        return found

    def _column(self, scalar: InputScalar, node: Node) -> Quantum:
        """A number of the input as one column, divided by its declared grid."""
        name, element = scalar
        symbol = Symbol(name if element is None else f"{name}[{element}]", node.span)
        r = self.ranges[node]
        grid = node.type.grid if isinstance(node.type, Real) else Fraction(1)
        fine = grid is None and self.fine
        if fine:
            grid = Fraction(1)
        if grid is None:
            raise NotHostedError(node, f"`{symbol.text}` is a real without a grid, and exact weights need one: "
                                       "declare real[lo..hi by g]")
        size = None if r.magnitude is None else r.magnitude / grid
        form = self.wiring.column(Column(name, element, None, grid, size, fine))
        return Quantum(self.wiring, symbol, 0, form.scale(grid), r.lo, r.hi, grid)

    def is_fine(self, node: Node) -> bool:
        """Whether a number has no grid, so that what is made of it is not whole."""
        return self.fine and not isinstance(node, Const) and self.ranges[node].grid is None

    def folds(self, nodes: Sequence[Node], most: int) -> tuple[list[Fold], tuple[Choice, ...]] | None:
        """Finite nodes as tables, and the variables of all of them, with at most `most` joint values; None if there are
        more. Tables of one variable that they share are read together; where that has too many values, as variables of
        their own, and so are at last all tables."""
        for least in (0, 2, math.inf):
            folds = [self._as_fold(n, least) for n in nodes]
            roots = union(f.roots for f in folds)
            if math.prod(len(r.domain) for r in roots) <= most:
                return folds, roots
        return None

    def _as_fold(self, node: Node, least: float) -> Fold:
        """A node as a table: of its own variables if they are at least so many, else of itself."""
        held = self.held[node]
        if isinstance(held, Fold) and len(held.roots) >= least:
            return held
        c = self.choice(node)
        return Fold((c,), c.domain)


def samples(points: Sequence[tuple[Fraction, Fraction]]) -> Staircase:
    return Staircase(tuple(points), Fraction(0), Fraction(0))


def spread(fold: Fold, roots: Sequence[Choice]) -> list[Value]:
    """The fold's value at every joint place of some variables, its own among them; the last fastest."""
    step, steps = 1, {}
    for r in reversed(fold.roots):
        steps[r] = step
        step *= len(r.domain)
    places = [0]
    for r in roots:
        own = [k * steps.get(r, 0) for k in range(len(r.domain))]
        places = [p + k for p in places for k in own]
    return [fold.table[p] for p in places]


def union(groups: Iterable[Sequence[Choice]]) -> tuple[Choice, ...]:
    """Every variable once, in order."""
    out: dict[Choice, None] = {}
    for group in groups:
        for r in group:
            out[r] = None
    return tuple(out)


def rational(v: Value) -> Rational:
    assert isinstance(v, int | Fraction)
    return v if isinstance(v, Fraction) else int(v)


def common(a: Fraction, b: Fraction) -> Fraction:
    """The largest number of which both are multiples."""
    under = math.lcm(a.denominator, b.denominator)
    return Fraction(math.gcd(int(a * under), int(b * under)), under)
