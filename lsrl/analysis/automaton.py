"""A cell of finitely many reachable states as a Mealy automaton, and the least automaton that acts like it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, product
from math import prod

import numpy as np
from numpy.typing import NDArray

from lsrl.analysis.arrays import Column, distinct_rows, evaluate_columns, python_values, value_column
from lsrl.analysis.interval import Range
from lsrl.analysis.letters import NotFinite, find_letters, node_values
from lsrl.analysis.partition import coarsest_partition
from lsrl.analysis.ranges import analyse
from lsrl.analysis.structure import Region, output_nodes
from lsrl.ir.graph import Graph, State
from lsrl.ir.nodes import Const, Node, Read, operands
from lsrl.ir.remembered import remembered
from lsrl.types import Bool, Int, Real, Type, Value, Vector

__all__ = ["Automaton", "NotFinite", "endless", "explore", "extract", "minimise"]

_STATES = 4096
_UNBOUNDED_STATES = 100  # where the ranges give no bound, to find cells that are finite all the same
_UNBOUNDED_PAIRS = 1 << 14  # of such a state and a letter
_PAIRS = 1 << 22
_LETTERS = 4096
_CHUNK = 1 << 18  # pairs of a state and a letter that are evaluated at once
_BITS = 256  # of a number in a state

Letter = tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Automaton:
    """n states, k letter classes. A state is the joint old value of the cell's states before a token.

    names: the cell's states; states[q]: their joint values (of the first one met where minimising merged several).
    boundary: the nodes whose joint value is a letter; members[x]: the letters of class x, which all act alike.
    next[q, x]: the state after the token, −1 where the pair cannot occur, as a check fails there or a declared
    range is left. observations[node][q, x]: the value at that token of a node outside that only this cell and its
    letters decide (None where the pair cannot occur).
    """

    names: tuple[str, ...]
    boundary: tuple[Node, ...]
    states: tuple[tuple[Value, ...], ...]
    start: int
    members: tuple[tuple[Letter, ...], ...]
    next: NDArray[np.int64]
    observations: dict[Node, NDArray[np.object_]]
    _class_of: dict[Letter, int] = field(repr=False)

    @property
    def letters(self) -> range:
        """The letter classes."""
        return range(len(self.members))

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Every (q, x) that can occur, by state and then by letter."""
        return tuple((int(q), int(x)) for q, x in np.argwhere(self.next >= 0))

    def letter_of(self, letter: Letter) -> int:
        """The class of a joint value of `boundary`. Raises KeyError for one that cannot occur."""
        return self._class_of[letter]

    def run(self, word: Sequence[int]) -> Iterator[int]:
        """The state before each letter of the word, and the one after the last; ends where a pair cannot occur."""
        q = self.start
        yield q
        for x in word:
            q = int(self.next[q, x])
            if q < 0:
                return
            yield q


def extract(graph: Graph, region: Region, ranges: Mapping[Node, Range] | None = None,
            limit: int = _STATES) -> Automaton | None:
    """The automaton of a cell, None if it has more than `limit` reachable states or letters, or not finitely many."""
    found = explore(graph, region, ranges, limit)
    return None if isinstance(found, NotFinite) else found


def explore(graph: Graph, region: Region, ranges: Mapping[Node, Range] | None = None, limit: int = _STATES,
            checks: bool = False) -> Automaton | NotFinite:
    """The automaton of a cell, or why it has none. States in the order of a breadth-first search from the start.

    checks: whether the conditions of checks count as observations; without, only what outputs and other cells see.
    What was found is kept for the next who asks the same of the graph, or with another limit.
    """
    known = analyse(graph)
    if ranges is not None and ranges != known:
        found = _searched(graph, region, ranges, limit)
        return found if isinstance(found, NotFinite) else found.automaton(checks)
    return _explorations(graph).automaton(region, limit, checks and bool(graph.checks))


class _Explorations:
    """What was found out about the cells of a graph so far."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._automata: dict[tuple[Hashable, bool], Automaton] = {}  # by cell and `checks`
        self._searched: dict[Hashable, _Explorer] = {}  # those whose automaton with the other `checks` may be asked for
        self._refused: dict[tuple[Hashable, int], NotFinite] = {}  # by cell and limit

    def automaton(self, region: Region, limit: int, checks: bool) -> Automaton | NotFinite:
        cell = region.states, region.reads, region.inside, region.boundary
        known = next((a for c in (False, True) if (a := self._automata.get((cell, c))) is not None), None)
        if known is None or len(known.states) > limit:
            if (cell, limit) in self._refused:
                return self._refused[cell, limit]
            found = _searched(self._graph, region, analyse(self._graph), limit)
            if isinstance(found, NotFinite):
                self._refused[cell, limit] = found
                return found
            self._searched[cell] = found
        if (cell, checks) not in self._automata:
            explorer = self._searched[cell]
            self._automata[cell, checks] = explorer.automaton(checks)
            if not self._graph.checks or (cell, not checks) in self._automata:
                del self._searched[cell]
        return self._automata[cell, checks]


@remembered(64)
def _explorations(graph: Graph) -> _Explorations:
    return _Explorations(graph)


def _searched(graph: Graph, region: Region, ranges: Mapping[Node, Range], limit: int) -> _Explorer | NotFinite:
    """The explorer of a cell that has visited every state, or why the cell has no automaton."""
    own: list[Node] = [*region.boundary, *region.reads, *region.inside, *region.nexts]
    if any(isinstance(n.type, Vector) for n in own):
        return NotFinite("it holds a whole vector")
    if graph.numeric and any(isinstance(n.type, Real) for n in own):
        return NotFinite("its values are floats")
    if any(s.free for s in region.members):
        return NotFinite("it may start anywhere")
    letters = find_letters(region.boundary, ranges, _LETTERS)
    if isinstance(letters, NotFinite):
        return letters
    explorer = _Explorer(graph, region, ranges, letters)
    unbounded = [r for r in region.reads if ranges[r].count is None]
    few = max(8, min(_UNBOUNDED_STATES, 4000 // max(1, len(region.inside)), _UNBOUNDED_PAIRS // len(letters)))
    reason = explorer.search(min(limit, few) if unbounded else limit)
    if reason is not None and unbounded:
        return endless(unbounded[0], ranges[unbounded[0]])
    return explorer if reason is None else reason


def endless(read: Read, r: Range) -> NotFinite:
    """The reason that a state of that range has no end of values."""
    return NotFinite(f"`{read.state}` has no {'grid' if r.bounded else 'bound'}", read)


class _Explorer:
    """Breadth-first search over the joint values of the cell's states, all letters at once."""

    def __init__(self, graph: Graph, region: Region, ranges: Mapping[Node, Range], letters: list[Letter]) -> None:
        self.region, self.ranges, self.letters = region, ranges, letters
        absorbed = _absorbed(graph, region)
        self.observed = _observed(graph, region, absorbed, True)
        self.without_checks = set(_observed(graph, region, absorbed, False) if graph.checks else self.observed)
        stops = [c.condition for c in graph.checks if c.condition in absorbed]
        self.stops = list(dict.fromkeys(stops))
        wanted = {*self.observed, *self.stops, *(s.next for s in region.members)}
        self.nodes = _cone(wanted, [n for n in graph.nodes if n in absorbed])
        self.columns = {n: value_column(n, [x[i] for x in letters], ranges) for i, n in enumerate(region.boundary)}
        self.index: dict[tuple[Value, ...], int] = {}
        self.next: list[NDArray[np.int64]] = []
        self.codes: list[list[NDArray[np.int64]]] = [[] for _ in self.observed]
        self.values: list[dict[Value, int]] = [{} for _ in self.observed]

    def search(self, limit: int) -> NotFinite | None:
        """Visits every reachable state; a reason if there are more than `limit`."""
        self.index[tuple(_as_type(s.init, s.type) for s in self.region.members)] = 0
        if self._guess(limit):
            for state in product(*([_as_type(v, s.type) for v in node_values(r, self.ranges[r])]
                                   for s, r in self._reads())):
                self.index.setdefault(state, len(self.index))
        done = 0
        step = max(1, _CHUNK // max(1, len(self.letters)))
        while done < len(self.index):
            if len(self.index) > limit:
                return NotFinite(f"it has more than {limit} reachable states")
            if len(self.index) * len(self.letters) > _PAIRS:
                return NotFinite(f"it has {len(self.index)} states or more, and {len(self.letters)} letters")
            batch = list(islice(self.index, done, done + step))
            if any(_bits(v) > _BITS for q in batch for v in q):
                return NotFinite(f"its values grow past {_BITS} bits")
            if not self._expand(batch, limit):
                return NotFinite(f"it has more than {limit} reachable states")
            done += len(batch)
        return None

    def _reads(self) -> list[tuple[State, Read]]:
        reads = {r.state: r for r in self.region.reads}
        return [(s, reads[s.name]) for s in self.region.members if s.name in reads]

    def _guess(self, limit: int) -> bool:
        """Whether to evaluate all values in range at once: quicker than layer by layer where they are few."""
        counts = [self.ranges[r].count for _, r in self._reads()]
        if len(counts) < len(self.region.states) or any(c is None for c in counts):
            return False
        size = prod(c for c in counts if c is not None)
        return size < limit and size * len(self.letters) <= _CHUNK

    def _expand(self, batch: list[tuple[Value, ...]], limit: int) -> bool:
        """Adds the states that follow these; False if they alone are more than `limit`."""
        n, k = len(batch), len(self.letters)
        known: dict[Node, Column] = {b: np.tile(c, n) for b, c in self.columns.items()}
        place = {name: i for i, name in enumerate(self.region.states)}
        for read in self.region.reads:
            known[read] = np.repeat(value_column(read, [q[place[read.state]] for q in batch], self.ranges), k)
        full = evaluate_columns(self.nodes, known, n * k, self.ranges)
        alive = np.ones(n * k, bool)
        for stop in self.stops:
            alive &= full[stop] != 0
        following = [self._get(full, s.next, n * k) for s in self.region.members]
        for s, column in zip(self.region.members, following, strict=True):
            alive &= _within(column, s.type, n * k)
        where = np.flatnonzero(alive)
        after = np.full(n * k, -1, np.int64)
        firsts, inverse = distinct_rows([c[where] for c in following])
        if len(firsts) > limit:
            return False
        columns = [[_as_type(v, s.type) for v in python_values(s.next, c[where[firsts]])]
                   for s, c in zip(self.region.members, following, strict=True)]
        found = [self.index.setdefault(row, len(self.index)) for row in zip(*columns, strict=True)]
        after[where] = np.array(found, np.int64)[inverse]
        self.next.append(after.reshape(n, k))
        for codes, known_values, node in zip(self.codes, self.values, self.observed, strict=True):
            column = self._get(full, node, n * k)[where]
            firsts, inverse = distinct_rows([column])
            seen = [known_values.setdefault(v, len(known_values)) for v in python_values(node, column[firsts])]
            coded = np.full(n * k, -1, np.int64)
            coded[where] = np.array(seen, np.int64)[inverse]
            codes.append(coded.reshape(n, k))
        return True

    def _get(self, full: dict[Node, Column], node: Node, rows: int) -> Column:
        return full[node] if node in full else evaluate_columns([node], {}, rows, self.ranges)[node]

    def automaton(self, checks: bool) -> Automaton:
        """What was found, states that are not reached left out and the others in breadth-first order.

        checks: whether the conditions of checks are observed.
        """
        order, rename = _breadth_first(np.concatenate(self.next), 0)
        seen = [i for i, n in enumerate(self.observed) if checks or n in self.without_checks]
        codes = [np.concatenate(self.codes[i])[order] for i in seen]
        states = list(self.index)
        parts = {self.observed[i]: _decode(c, list(self.values[i])) for i, c in zip(seen, codes, strict=True)}
        whole = Automaton(self.region.states, self.region.boundary, tuple(states[q] for q in order), 0,
                          tuple((x,) for x in self.letters), rename[np.concatenate(self.next)[order]], parts,
                          {x: i for i, x in enumerate(self.letters)})
        return _merge_letters(whole, codes)


def _bits(v: Value) -> int:
    """The length of a number: a cell that multiplies its own value would double it at every step."""
    if isinstance(v, Fraction):
        return max(v.numerator.bit_length(), v.denominator.bit_length())
    return v.bit_length() if isinstance(v, int) else 0


def _breadth_first(table: NDArray[np.int64], start: int) -> tuple[list[int], NDArray[np.int64]]:
    """The rows reached from the start in breadth-first order, and the new number of each old one (−1: not reached)."""
    rename = np.full(len(table) + 1, -1, np.int64)
    rename[start] = 0
    order = [start]
    for q in order:
        for to in table[q].tolist():
            if to >= 0 and rename[to] < 0:
                rename[to] = len(order)
                order.append(to)
    return order, rename


def _as_type(v: Value, t: Type) -> Value:
    """A value in the form the state's type holds it in: a state of reals may be given an int."""
    assert not isinstance(v, tuple)
    return Fraction(v) if isinstance(t, Real) else bool(v) if isinstance(t, Bool) else int(v)


def _within(column: Column, t: Type, rows: int) -> NDArray[np.bool_]:
    """Which values a declared type allows."""
    lo, hi = (t.lo, t.hi) if isinstance(t, Int | Real) else (None, None)
    ok = np.ones(rows, bool)
    if lo is not None:
        ok &= np.asarray(column >= lo, bool)
    if hi is not None:
        ok &= np.asarray(column <= hi, bool)
    return ok


def _absorbed(graph: Graph, region: Region) -> set[Node]:
    """The scalar nodes that the cell's reads and letters decide; floats are left outside."""
    known: set[Node] = {*region.boundary}
    own: set[Node] = {*region.reads, *region.inside}
    for n in graph.nodes:
        parts = operands(n)
        if n in own or n in known or any(isinstance(x.type, Vector) for x in (n, *parts)):
            continue
        if graph.numeric and any(isinstance(x.type, Real) for x in (n, *parts)):
            continue
        if any(x in own for x in parts) and all(x in own or x in known or isinstance(x, Const) for x in parts):
            own.add(n)
    return own


def _observed(graph: Graph, region: Region, absorbed: set[Node], checks: bool) -> list[Node]:
    """The absorbed nodes that something else uses, in graph order."""
    own_names = set(region.states)
    users: list[Node] = [n for _, n in graph.outputs]
    users += [s.next for s in graph.states if s.name not in own_names]
    live = set(graph.nodes) if checks else set(output_nodes(graph))
    if checks:
        users += [c.condition for c in graph.checks]
    for n in graph.nodes:
        if n in live and n not in absorbed:
            users += operands(n)
    wanted = {n for n in users if n in absorbed}
    return [n for n in graph.nodes if n in wanted]


def _cone(wanted: set[Node], nodes: Sequence[Node]) -> list[Node]:
    """The nodes among `nodes` (operands first) that a wanted one needs, reads excepted."""
    needed = set(wanted)
    for n in reversed(nodes):
        if n in needed:
            needed.update(operands(n))
    return [n for n in nodes if n in needed and not isinstance(n, Read)]


def _decode(codes: NDArray[np.int64], known: list[Value]) -> NDArray[np.object_]:
    table = np.empty(len(known) + 1, object)
    table[:-1] = known
    table[-1] = None
    return table[codes]


def _codes(automaton: Automaton) -> list[NDArray[np.int64]]:
    """Each observation as small integers, equal where the values are; −1 where the pair cannot occur."""
    out = []
    for table in automaton.observations.values():
        index: dict[Value, int] = {}
        flat = table.ravel().tolist()
        coded = np.fromiter((-1 if v is None else index.setdefault(v, len(index)) for v in flat), np.int64, len(flat))
        out.append(coded.reshape(table.shape))
    return out


def _merge_letters(automaton: Automaton, codes: Sequence[NDArray[np.int64]]) -> Automaton:
    """One class for letters that act alike in every state; classes in the order of their first member."""
    acts = np.ascontiguousarray(np.concatenate([automaton.next, *codes]).T)
    groups: dict[bytes, list[int]] = {}
    for x, row in enumerate(acts):
        groups.setdefault(row.tobytes(), []).append(x)
    chosen = [g[0] for g in groups.values()]
    members = tuple(tuple(m for x in g for m in automaton.members[x]) for g in groups.values())
    return Automaton(automaton.names, automaton.boundary, automaton.states, automaton.start, members,
                     automaton.next[:, chosen], {n: t[:, chosen] for n, t in automaton.observations.items()},
                     {m: i for i, group in enumerate(members) for m in group})


def minimise(automaton: Automaton) -> Automaton:
    """The least automaton with the same observations on every word, by partition refinement (Hopcroft 1971).

    Pairs that cannot occur are kept apart from those that can. States in breadth-first order from the start, letters
    in the order of their first member; letters that act alike once states are merged become one class.
    """
    codes = _codes(automaton)
    block = coarsest_partition(automaton.next, _rows(automaton, codes))
    blocks = np.full((int(block.max()) + 1, automaton.next.shape[1]), -1, np.int64)
    first = np.unique(block, return_index=True)[1]
    blocks[:] = np.append(block, -1)[automaton.next[first]]
    reached, rename = _breadth_first(blocks, int(block[automaton.start]))
    order = first[reached]
    small = Automaton(automaton.names, automaton.boundary, tuple(automaton.states[q] for q in order), 0,
                      automaton.members, rename[blocks[reached]],
                      {n: t[order] for n, t in automaton.observations.items()}, automaton._class_of)
    return _merge_letters(small, [c[order] for c in codes])


def _rows(automaton: Automaton, codes: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """For each state a number, equal for states whose observations and possible letters are the same."""
    look = np.ascontiguousarray(np.concatenate([(automaton.next >= 0).astype(np.int64), *codes], axis=1))
    known: dict[bytes, int] = {}
    return np.fromiter((known.setdefault(row.tobytes(), len(known)) for row in look), np.int64, len(look))

