"""Machines by general thresholds: what a machine keeps and shows, each as a sum of units, where that takes fewer units.

A slot is the next control state or one observation. It is told by [its value ∈ set] for the sets of a basis: each value
alone, the sets that its readers ask for, or, of control states, the bits of a code. Each set is a sum of thresholds:
one if the set is a linear threshold function, several along one score (`scores`), or a product term for each disjoint
cube. A basis of single values may also be a thermometer: the values in an order, a threshold for each cut.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import permutations

from lsrl.backends.codes import Code, LinearSpan, asked_sets, coded, codes, combination
from lsrl.backends.cubes import Cube
from lsrl.backends.finite import STATE, Cover, Leaf, Machine, disjoint_cubes
from lsrl.backends.guessed_scores import scores
from lsrl.backends.linear_form import Rational
from lsrl.backends.scores import Sum, Sweep, Term

__all__ = ["Slot", "Sums", "Wanted", "is_in", "numbers_of", "sums"]

_MOST_WORK = 12_000  # edges of a function times its values, beyond which thresholds are not looked for
_MOST_EDGES = 150_000  # beyond which no score is tried
_ALL_ORDERS = 4  # values of which every order is tried
_MOST_CODED = 300  # control states


@dataclass(frozen=True)
class Slot:
    """basis: sets of values, and for each set the sum that is 1 where the value is in it, else 0."""

    values: tuple[Hashable, ...]
    basis: tuple[tuple[frozenset[Hashable], Sum], ...]

    def total(self, numbers: Callable[[Hashable], Rational]) -> Sum | None:
        """The number of the slot's value, as a sum; None if the basis does not span it."""
        wanted = [numbers(x) for x in self.values]
        if len(self.basis) == len(self.values) and all(len(s) == 1 for s, _ in self.basis):
            places = {x: i for i, x in enumerate(self.values)}
            weights = [wanted[places[next(iter(s))]] for s, _ in self.basis]
            return combined(zip(weights, (s for _, s in self.basis), strict=True), 0)
        found = combination([s for s, _ in self.basis], self.values, wanted)
        if found is None:
            return None
        return combined(zip(found[0], (s for _, s in self.basis), strict=True), found[1])


@dataclass(frozen=True)
class Sums:
    """A machine's slots, the terms they are made of, and of each control state the terms that are on in it.

    code: where control states are told by bits, variables of terms that stand for the old bits. cost: in units. Where
    no token leads to the start there is no pattern for it.
    """

    machine: Machine
    next: Slot
    observed: tuple[Slot, ...]
    terms: tuple[Term, ...]
    patterns: dict[int, tuple[Term, ...]]
    cost: int
    code: Code | None = None

    def sets(self) -> dict[int, list[frozenset[int]]]:
        """For each outside variable, the sets of values that some term tells from others."""
        own = {STATE} | ({v for v, _ in self.code.bits} if self.code else set())
        out: dict[int, dict[frozenset[int], None]] = {}
        for term in self.terms:
            for v, weights in term.weights:
                if v not in own:
                    out.setdefault(v, {}).update((s, None) for s in asked_sets(weights))
        return {v: list(s) for v, s in sorted(out.items())}


@dataclass(frozen=True)
class Wanted:
    """numbers: what the places of variables, and the control states, stand for where that is a whole number.

    general: what a threshold that is no "and" costs, where an "and" costs 1. asked: for each observation the sets of
    its values that readers ask for. kept: the sets of control states that readers ask for as they were. bit: the
    variable for a place in a code. own: those that are in use.
    """

    numbers: Mapping[int, tuple[int, ...]]
    general: int
    asked: tuple[tuple[frozenset[Hashable], ...], ...]
    kept: tuple[frozenset[Hashable], ...]
    bit: Callable[[int], int]
    own: frozenset[int] = frozenset({STATE})


_Parts = tuple[Slot, tuple[Slot, ...]]


def sums(cover: Cover, wanted: Wanted) -> Sums | None:
    """The cheapest way that is found; None if the cover's cubes are as cheap."""
    machine = cover.machine
    if len(cover.cubes) < 2:
        return None
    best: tuple[_Parts, Code | None] | None = None
    least = len(cover.cubes)
    ways = _ways(machine, cover, wanted, lambda: least)
    for parts, code in ways:
        cost = _cost([parts[0], *parts[1]], wanted.general)
        if cost < least and all(parts[0].total(is_in(s)) is not None for s in wanted.kept):
            best, least = (parts, code), cost
    if best is None:
        return None
    (following, observed), code = best
    terms = tuple(dict.fromkeys(t for slot in (following, *observed) for _, s in slot.basis for _, t in s.terms))
    sweep = Sweep(machine.diagrams, machine.functions)
    patterns: dict[int, tuple[Term, ...]] = {}
    for leaf in sweep.leaves:
        assert isinstance(leaf, Leaf)
        if leaf.next not in patterns:
            point = sweep.point(leaf)
            if code is not None:
                point.update(code.point(point.get(STATE, 0)))
            patterns[leaf.next] = tuple(t for t in terms if t.on(point))
    return Sums(machine, following, observed, terms, patterns, least, code)


def _ways(machine: Machine, cover: Cover, wanted: Wanted,
          most: Callable[[], int]) -> Iterator[tuple[_Parts, Code | None]]:
    """most: the cost that a way has to stay below."""
    functions = machine.functions
    sweep = Sweep(machine.diagrams, functions)
    states = tuple(range(machine.size))
    places = range(len(wanted.asked))
    for told in _partitions(sweep, cover.cubes, cover.default, wanted):
        shown = tuple(_project(told, _observation(i)) for i in places)
        yield (_project(told, lambda leaf: leaf.next, states), shown), None
    if wanted.asked and (machine.size > 1 or len(wanted.asked) > 1 or any(len(s) > 1 for s in wanted.asked)):
        slots = _slotwise(machine, functions, wanted, None, most())
        if slots is not None:
            yield slots, None
    if 3 <= machine.size <= _MOST_CODED:
        for code in codes(machine, wanted.bit):
            if len(code.bits) >= most():
                continue
            numbers = {v: n for v, n in wanted.numbers.items() if v != STATE}
            numbers.update((v, (0, w)) for (v, _), w in zip(code.bits, code.weights, strict=True))
            own = frozenset(v for v, _ in code.bits)
            found = _slotwise(machine, (coded(machine, code),), replace(wanted, numbers=numbers, own=own), code, most())
            if found is not None:
                yield found, code


def _slotwise(machine: Machine, functions: Sequence[int], wanted: Wanted, code: Code | None,
              most: int) -> _Parts | None:
    """Each slot on its own, after the other; terms of slots before are free. None if that cannot cost less than `most`.
    """
    chosen: set[Term] = set()
    known: dict[tuple[int, ...], list[Slot]] = {}

    def dear(terms: Collection[Term]) -> bool:
        return _cost_of(chosen.union(terms), wanted.general) >= most

    def cheapest(options: Iterable[Slot]) -> Slot:
        slot = min(options, key=lambda s: _cost([s], wanted.general, chosen))
        chosen.update(t for _, s in slot.basis for _, t in s.terms)
        return slot

    after = _mapped(machine, functions, lambda leaf: leaf.next)
    states = tuple(range(machine.size))
    if code is not None:
        bits = _asked_slot(machine, after, states, [s for _, s in code.bits], wanted, dear)
        if bits is None:
            return None
        following = cheapest([bits])
    elif machine.size == 1:
        following = Slot(states, ((frozenset(states), Sum((), 1)),))
    else:
        following = cheapest(_single_values(machine, after, states, wanted))
    observed: list[Slot] = []
    known[after] = [following] if code is None else []
    for i, asked in enumerate(wanted.asked):
        mine = _mapped(machine, functions, _observation(i))
        values = tuple(dict.fromkeys(x for f in dict.fromkeys(mine) for x in machine.diagrams.leaves(f)))
        if dear(()):
            return None
        if mine not in known:
            known[mine] = list(_single_values(machine, mine, values, wanted))
        options = [Slot(values, s.basis) for s in known[mine]]
        if len(values) > 2:
            sets = _asked_slot(machine, mine, values, asked, wanted, dear)
            options += [] if sets is None else [sets]
        if not options:
            return None
        observed.append(cheapest(options))
    return following, tuple(observed)


def _observation(slot: int) -> Callable[[Leaf], Hashable]:
    return lambda leaf: leaf.observed[slot]


def is_in(members: frozenset[Hashable]) -> Callable[[Hashable], int]:
    """[value ∈ members]."""
    return lambda x: int(x in members)


def _mapped(machine: Machine, functions: Sequence[int], of: Callable[[Leaf], Hashable]) -> tuple[int, ...]:
    def change(leaf: Hashable) -> Hashable:
        assert isinstance(leaf, Leaf)
        return of(leaf)

    return tuple(machine.diagrams.map_all(functions, change))


def _single_values(machine: Machine, functions: Sequence[int], values: Sequence[Hashable],
                   wanted: Wanted) -> Iterator[Slot]:
    sweep = Sweep(machine.diagrams, functions)
    if len(sweep.leaves) == 2:
        one = _one_unit(sweep, sweep.leaves[0], wanted.general)
        if one is not None:
            told = {sweep.leaves[0]: one, sweep.leaves[1]: combined([(-1, one)], 1)}
            yield Slot(tuple(values), tuple((frozenset([x]), told.get(x, Sum(()))) for x in values))
            return
    cubes, default = disjoint_cubes(machine.diagrams, functions, 2)
    for told in _partitions(sweep, cubes, default, wanted):
        yield Slot(tuple(values), tuple((frozenset([x]), told.get(x, Sum(()))) for x in values))


def _asked_slot(machine: Machine, functions: Sequence[int], values: Sequence[Hashable],
                asked: Iterable[frozenset[Hashable]], wanted: Wanted,
                dear: Callable[[Collection[Term]], bool]) -> Slot | None:
    """[value ∈ set] for each set, but for those that the sets before determine; None if its terms are too dear."""
    terms: set[Term] = set()
    basis: list[tuple[frozenset[Hashable], Sum]] = []
    span = LinearSpan(len(values))
    for members in asked:
        if not span.add([int(x in members) for x in values]):
            continue
        mine = _in_set(machine, functions, members)
        sweep = Sweep(machine.diagrams, mine)
        best = _one_unit(sweep, 1, wanted.general)
        if best is None:
            cubes, default = disjoint_cubes(machine.diagrams, mine, 2)
            ways = _partitions(sweep, cubes, default, wanted)
            best = min((told.get(1, Sum(())) for told in ways), key=lambda s: _sum_cost(s, wanted.general))
        basis.append((members, best))
        terms.update(t for _, t in best.terms)
        if dear(terms):
            return None
    return Slot(tuple(values), tuple(basis))


def _one_unit(sweep: Sweep, value: Hashable, general: int) -> Sum | None:
    """[the function has that value] by at most one unit of cost 1, if that can be seen at once; of two values."""
    if len(sweep.leaves) == 1:
        return Sum((), int(sweep.leaves[0] == value))
    for leaf in reversed(sweep.leaves):
        mine = is_in(frozenset([leaf]))
        term = sweep.conjunction(mine)
        if term is None and sweep.work * 2 <= _MOST_WORK:
            term = sweep.threshold(mine)
        if term is not None and (general == 1 or term.is_and):
            return Sum(((1, term),)) if leaf == value else Sum(((-1, term),), 1)
    return None


def _in_set(machine: Machine, functions: Sequence[int], members: frozenset[Hashable]) -> tuple[int, ...]:
    return tuple(machine.diagrams.map_all(functions, is_in(members)))


def _cost_of(terms: Iterable[Term], general: int) -> int:
    return sum(1 if t.is_and else general for t in terms)


def _sum_cost(s: Sum, general: int) -> int:
    return _cost_of({t for _, t in s.terms}, general)


def _cost(slots: Iterable[Slot], general: int, free: set[Term] | None = None) -> int:
    terms = {t for slot in slots for _, s in slot.basis for _, t in s.terms} - (free or set())
    return _cost_of(terms, general)


def combined(parts: Iterable[tuple[Rational, Sum]], bias: Rational) -> Sum:
    """Σ coefficient · sum + bias."""
    weights: dict[Term, Rational] = {}
    for c, s in parts:
        bias += c * s.bias
        for w, t in s.terms:
            weights[t] = weights.get(t, 0) + c * w
    return Sum(tuple((_plain(w), t) for t, w in weights.items() if w), _plain(bias))


def _plain(x: Rational) -> Rational:
    return int(x) if x.denominator == 1 else x


def _project(told: Mapping[Hashable, Sum], of: Callable[[Leaf], Hashable],
             values: Sequence[Hashable] | None = None) -> Slot:
    """The slot that a function of the leaf is, from sums for the leaves."""
    parts: dict[Hashable, list[tuple[Rational, Sum]]] = {x: [] for x in values or ()}
    for leaf, s in told.items():
        assert isinstance(leaf, Leaf)
        parts.setdefault(of(leaf), []).append((1, s))
    return Slot(tuple(parts), tuple((frozenset([x]), combined(p, 0)) for x, p in parts.items()))


# A function's values, each as a sum


def _partitions(sweep: Sweep, cubes: Sequence[Cube], default: Hashable,
                wanted: Wanted) -> Iterator[dict[Hashable, Sum]]:
    """default: the value without cubes."""
    leaves = sweep.leaves
    if len(leaves) == 1:
        yield {leaves[0]: Sum((), 1)}
        return
    searched = sweep.work * len(leaves) <= _MOST_WORK
    yield _by_value(sweep, cubes, default, wanted.general if searched else None)
    if not cubes or sweep.work > _MOST_EDGES:
        return
    if searched and len(leaves) > 2:
        cuts: dict[frozenset[Hashable], Term | None] = {}
        for order in _orders(leaves, wanted.numbers):
            found = _thermometer(sweep, order, cuts)
            if found is not None:
                yield found
    for weights in scores(sweep, wanted.numbers, wanted.own):
        changes = sweep.changes(weights)
        if changes is not None:
            yield changes


def _by_value(sweep: Sweep, cubes: Sequence[Cube], default: Hashable, general: int | None) -> dict[Hashable, Sum]:
    """Each value by one threshold, or by its cubes if there is none; the dearest value by all others.

    general: as in `Wanted`; None: no thresholds are looked for.
    """
    mine: dict[Hashable, list[Cube]] = {x: [] for x in sweep.leaves}
    for c in cubes:
        mine[c.leaf].append(c)
    parts: dict[Hashable, tuple[Term, ...]] = {}
    for value, group in mine.items():
        if general is not None and len(group) != 1:
            term = sweep.threshold(is_in(frozenset([value])))
            if term is not None and (not group or (1 if term.is_and else general) < len(group)):
                parts[value] = (term,)
                continue
        if group:
            parts[value] = tuple(_as_term(c, sweep.sizes) for c in group)
    last = default
    if default in parts:
        last = max(parts, key=lambda x: _sum_cost(_sum(parts[x]), general or 1))
        del parts[last]
    others = tuple((-1, t) for terms in parts.values() for t in terms)
    return {**{value: _sum(terms) for value, terms in parts.items()}, last: Sum(others, 1)}


def _sum(terms: Sequence[Term]) -> Sum:
    return Sum(tuple((1, t) for t in terms))


def _as_term(cube: Cube, sizes: Mapping[int, int]) -> Term:
    weights = tuple(sorted((v, tuple(int(p in places) for p in range(sizes[v]))) for v, places in cube.literals))
    return Term(weights, len(weights))


def _orders(leaves: Sequence[Hashable], numbers: Mapping[int, tuple[int, ...]]) -> Iterator[tuple[Hashable, ...]]:
    """Orders of the values, reversed ones left out."""
    if len(leaves) <= _ALL_ORDERS:
        yield from (x for x in permutations(leaves) if leaves.index(x[0]) < leaves.index(x[-1]))
        return
    states = numbers.get(STATE, ())

    def by_next(x: Hashable) -> tuple[object, ...]:
        if isinstance(x, Leaf):
            return (states[x.next] if states else x.next, *map(repr, x.observed))
        return (states[x] if states and isinstance(x, int) and x < len(states) else 0, repr(x))

    def by_value(x: Hashable) -> tuple[int, ...]:
        shown = x.observed if isinstance(x, Leaf) else (x,)
        return tuple(y if isinstance(y, int) else -1 for y in shown)

    yield tuple(sorted(leaves, key=by_next))
    yield tuple(sorted(leaves, key=by_value))


def _thermometer(sweep: Sweep, order: Sequence[Hashable],
                 cuts: dict[frozenset[Hashable], Term | None]) -> dict[Hashable, Sum] | None:
    terms: list[Term] = []
    for i in range(1, len(order)):
        above: frozenset[Hashable] = frozenset(order[i:])
        if above not in cuts:
            cuts[above] = sweep.threshold(is_in(above))
        term = cuts[above]
        if term is None:
            return None
        terms.append(term)
    out = {order[0]: Sum(((-1, terms[0]),), 1), order[-1]: Sum(((1, terms[-1]),))}
    for i in range(1, len(order) - 1):
        out[order[i]] = Sum(((1, terms[i - 1]), (-1, terms[i])))
    return out


def numbers_of(values: Sequence[Hashable]) -> tuple[int, ...] | None:
    """Values as whole numbers of their common grid, None if they are none. A tuple counts by its one element."""
    plain = [x[0] if isinstance(x, tuple) and len(x) == 1 else x for x in values]
    if not all(isinstance(x, int | Fraction) for x in plain):
        return None
    exact = [Fraction(x) for x in plain if isinstance(x, int | Fraction)]
    grid = 1
    for x in exact:
        grid = max(grid, x.denominator)
    whole = [x * grid for x in exact]
    return tuple(map(int, whole)) if all(x.denominator == 1 for x in whole) else None
