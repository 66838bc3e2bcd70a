"""Cascades: an automaton as a chain of small components, each a permutation or a constant under every letter.

Krohn and Rhodes ("Algebraic theory of machines I", Trans. AMS 116, 1965): every automaton is covered by such a chain,
in which the letter of a component is the letter of the automaton together with the values of the components above it
before the token. If the automaton is aperiodic, identities do for the permutations: every component only keeps its
value or is set. The cascade is found in two stages: a chain of congruences, each of whose steps is simple, and the
holonomy method in every step (`lsrl.analysis.cascade_sets`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsrl.analysis.cascade_partitions import Blocks, Rows, congruence, congruence_chain, quotient
from lsrl.analysis.cascade_products import Part, join_parts, separating_congruences
from lsrl.analysis.cascade_sets import Action, Component, GroupFound, Sets
from lsrl.analysis.cascade_tiles import TooLargeError
from lsrl.analysis.groups import Group, closure, describe_group

__all__ = ["Action", "Cascade", "Component", "GroupLeft", "TooLargeError", "cascades", "check", "decompose",
           "side_by_side"]

_STATES = 256
_COMPONENTS = 512
_NODES = 4096  # sets of states at one level
_FEW_NODES = 128  # at first
_NODES_A_STATE = 8
_GROUP = 1000  # elements of a group that are listed to name it


@dataclass(frozen=True, eq=False)
class Cascade:
    """Components, the first on top, whose values together say the state of an automaton.

    letters: how many the automaton has. clock: c, if a clock that counts the tokens modulo c stands above all; 1 if
    none does. first[r]: the node of the first component when the clock stands at r. state_of[node]: the state that a
    node below the last component stands for.
    """

    letters: int
    clock: int
    first: tuple[int, ...]
    components: tuple[Component, ...]
    state_of: tuple[int, ...]

    @property
    def start(self) -> tuple[int, ...]:
        """The value of each component before the first token."""
        return tuple(c.start for c in self.components)

    @property
    def aperiodic(self) -> bool:
        """Whether every component only keeps its value or is set."""
        return all(_is_reset(a) for c in self.components for row in c.action for a in row if a is not None)

    @property
    def bits(self) -> int:
        """The number of latches, if an m-valued component takes ⌈log₂ m⌉."""
        return sum((c.size - 1).bit_length() for c in self.components)

    def nodes(self, values: Sequence[int], time: int = 0) -> tuple[int, ...]:
        """The node of each component, and the one below the last, for the values of all components before a token.

        time: how many tokens there were, modulo the clock.
        """
        out = [self.first[time % self.clock]]
        for c, v in zip(self.components, values, strict=True):
            out.append(c.child[out[-1]][v])
        return tuple(out)

    def state(self, values: Sequence[int], time: int = 0) -> int:
        """The state of the automaton that the values stand for."""
        return self.state_of[self.nodes(values, time)[-1]]

    def step(self, values: Sequence[int], letter: int, time: int = 0) -> tuple[int, ...]:
        """The values after a token; a value whose change does not matter is kept."""
        out = []
        for c, v, node in zip(self.components, values, self.nodes(values, time), strict=False):
            action = c.action[node][letter]
            out.append(v if action is None else action[v])
        return tuple(out)

    def run(self, word: Sequence[int]) -> Iterator[int]:
        """The state before each letter of a word, and the one after the last."""
        values = self.start
        for time, x in enumerate(word):
            yield self.state(values, time)
            values = self.step(values, x, time)
        yield self.state(values, len(word))


@dataclass(frozen=True, slots=True, eq=False)
class GroupLeft:
    """Why there is no cascade: a group that what was asked for does not allow.

    classes: the sets of states that the words permute, each the states of one point. words: letter words that generate
    the group, each with the permutation of the points that it is. group: None if it has more than 1,000 elements.
    """

    group: Group | None
    classes: tuple[tuple[int, ...], ...]
    words: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]

    @property
    def name(self) -> str:
        return f"a group of more than {_GROUP} elements" if self.group is None else str(self.group)


def _is_reset(action: Action) -> bool:
    return len(set(action)) == 1 or action == tuple(range(len(action)))


def _coarsest(rows: Rows, found: list[Blocks]) -> Blocks:
    return found[-1]


def _finest(rows: Rows, found: list[Blocks]) -> Blocks:
    return found[0]


def _paired(rows: Rows, found: list[Blocks]) -> Blocks:
    """As many of the minimal congruences as leave blocks of two states, put together: one bit tells those apart."""
    return _put_together(rows, sorted(found, key=_largest), max(2, min(map(_largest, found))))


def _joined(rows: Rows, found: list[Blocks]) -> Blocks:
    """As many of the minimal congruences as leave several blocks, put together."""
    return _put_together(rows, found, len(rows) - 1)


def _put_together(rows: Rows, found: Sequence[Blocks], largest: int) -> Blocks:
    """The join of some congruences, each taken if no block has more than `largest` states after it."""
    whole = found[0]
    for other in found[1:]:
        pairs = [(blocks.index(b), q) for blocks in (whole, other) for q, b in enumerate(blocks)]
        joined = congruence(rows, pairs)
        whole = joined if _largest(joined) <= largest else whole
    return whole


def _largest(blocks: Blocks) -> int:
    """How many states the largest block has."""
    return max(Counter(blocks).values())


_CHOICES: tuple[Callable[[Rows, list[Blocks]], Blocks] | None, ...] = (
    _paired, None, _joined, _coarsest, _finest)


def decompose(table: NDArray[np.int64], start: int = 0, groups: str = "none", clock: int = 1) -> Cascade | GroupLeft:
    """The smallest cascade that is found for an automaton, by the number of latches; proved equal to it.

    table: (n, k), the state after each letter, −1 where a pair cannot occur. groups: "none" allows components that keep
    their value or are set; "two" also ones of two values that swap them; "any" permutations; "delay" is "none" where no
    component needs to keep its value, as in definite automata. clock: the length of a
    clock above all components. Raises TooLargeError past 256 states or where the sets of states grow too many.
    """
    found = cascades(table, start, groups, clock)
    return found if isinstance(found, GroupLeft) else min(found, key=lambda c: c.bits)


def cascades(table: NDArray[np.int64], start: int = 0, groups: str = "none",
             clock: int = 1) -> tuple[Cascade, ...] | GroupLeft:
    """The cascades by several chains of congruences, and by none, as `decompose`."""
    if groups not in ("delay", "none", "two", "any"):
        raise ValueError(f"groups: {groups}")
    reached, rows, which = _reduced(table, start)
    if len(reached) > _STATES:
        raise TooLargeError(f"{len(reached)} states, more than {_STATES}")
    for most_nodes in (max(_FEW_NODES, _NODES_A_STATE * len(rows)), _NODES):
        small = _by_chains(rows, groups, clock, most_nodes)
        if isinstance(small, GroupLeft):
            return _in_letters(small, reached, which)
        if small:
            break
    else:
        raise TooLargeError(f"more than {_NODES} sets of states at one level of a cascade")
    return tuple(_whole(c, table, start, reached, which) for c in small)


def side_by_side(table: NDArray[np.int64], start: int = 0, groups: str = "none") -> Cascade | None:
    """The cascade of a product of quotients, each as small as is found, as `decompose`; None if there is no such."""
    reached, rows, which = _reduced(table, start)
    parts: list[Part] = []
    for blocks in separating_congruences(rows):
        found = _by_chains(quotient(rows, blocks), groups, 1, max(_FEW_NODES, _NODES_A_STATE * len(rows)), blocks[0])
        if isinstance(found, GroupLeft) or not found:
            return None
        c = min(found, key=lambda c: c.bits)
        parts.append(Part(blocks, c.first[0], c.components, c.state_of))
    if not parts:
        return None
    components, state_of = join_parts(rows, 0, parts)
    return _whole(Cascade(len(rows[0]), 1, (0,), components, state_of), table, start, reached, which)


def _whole(small: Cascade, table: NDArray[np.int64], start: int, reached: Sequence[int],
           which: Sequence[int]) -> Cascade:
    """The cascade with the states and letters of the whole automaton; proved equal to it."""
    components = tuple(Component(p.size, p.start, tuple(tuple(row[x] for x in which) for row in p.action), p.child)
                       for p in small.components)
    whole = Cascade(table.shape[1], small.clock, small.first, components, tuple(reached[q] for q in small.state_of))
    check(whole, table, start)
    return whole


def _reduced(table: NDArray[np.int64], start: int) -> tuple[list[int], list[list[int]], list[int]]:
    """The states that are reached, the table of those and of the letters that differ, and which each letter is."""
    reached = _reachable(table, start)
    place = {q: i for i, q in enumerate(reached)}
    columns = list(dict.fromkeys(tuple(place.get(int(to), -1) for to in column) for column in table[reached].T))
    which = [columns.index(tuple(place.get(int(to), -1) for to in column)) for column in table[reached].T]
    return reached, [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in reached], which


def _by_chains(rows: list[list[int]], groups: str, clock: int, most_nodes: int,
               start: int = 0) -> list[Cascade] | GroupLeft:
    """The cascades by each choice of congruences that stays within the limits and is not larger than those before."""
    found: list[Cascade] = []
    seen: list[list[Blocks]] = []
    best = _COMPONENTS
    least = (len(rows) - 1).bit_length()
    for choose in _CHOICES:
        if best <= least:
            break
        whole = tuple(range(len(rows)))
        chain = congruence_chain(rows, choose) if choose is not None and len(rows) > 1 else [whole]
        if chain in seen:
            continue
        seen.append(chain)
        try:
            small = _by_chain(rows, chain, groups, Sets(clock, len(rows[0]), most_nodes, best), start)
        except TooLargeError:
            continue
        if isinstance(small, Cascade):
            found.append(small)
            best = min(best, small.bits)
        elif chain == [whole]:
            # Only now: where pairs cannot occur, a quotient may have groups that the automaton has not.
            return small
    return found


def _reachable(table: NDArray[np.int64], start: int) -> list[int]:
    order = [start]
    seen = {start}
    for q in order:
        for to in table[q].tolist():
            if to >= 0 and to not in seen:
                seen.add(to)
                order.append(to)
    return order


def _by_chain(rows: list[list[int]], chain: Sequence[Blocks], groups: str, sets: Sets,
              start: int) -> Cascade | GroupLeft:
    for blocks in chain:
        small = quotient(rows, blocks)
        sets.follow(small, blocks[start])
        try:
            while sets.refine(groups):
                pass
        except GroupFound as found:
            elements = closure([np.array(g, np.intp) for _, g in found.words], len(found.points), _GROUP)
            classes = tuple(tuple(q for q, b in enumerate(blocks) if b == p) for p in found.points)
            return GroupLeft(None if elements is None else describe_group(elements), classes, found.words)
    return Cascade(len(rows[0]), len(sets.first), tuple(sets.first), tuple(sets.components),
                   tuple(s.bit_length() - 1 for s in sets.sets))


def _in_letters(left: GroupLeft, reached: Sequence[int], which: Sequence[int]) -> GroupLeft:
    """The same with the states and letters of the whole automaton."""
    words = tuple((tuple(which.index(x) for x in word), g) for word, g in left.words)
    return GroupLeft(left.group, tuple(tuple(reached[q] for q in c) for c in left.classes), words)


def check(cascade: Cascade, table: NDArray[np.int64], start: int = 0) -> None:
    """Proves that a cascade is equal to an automaton on every word; AssertionError if it is not.

    By composition, from the top down: nodes of one level with the letters are an automaton by themselves, whose steps
    those of the level below must agree with; the nodes below the last component run beside the automaton itself.
    """
    assert cascade.letters == table.shape[1]
    rows = table.tolist()
    letters = range(cascade.letters)
    after: dict[int, list[int]] = {}
    for r, node in enumerate(cascade.first):
        to = cascade.first[(r + 1) % cascade.clock]
        assert after.setdefault(node, [to] * cascade.letters) == [to] * cascade.letters
    node = cascade.first[0]
    for c in cascade.components:
        below: dict[int, list[int]] = {}
        seen = {(start, node, c.start)}
        work = list(seen)
        while work:
            q, n, v = work.pop()
            m = c.child[n][v]
            assert m >= 0, "a value occurs that has no node"
            row = below.setdefault(m, [-1] * cascade.letters)
            for x in letters:
                to = rows[q][x]
                if to < 0:
                    continue
                action, n_after = c.action[n][x], after[n][x]
                assert n_after >= 0, "a step is missing"
                assert action is None or len(set(action)) in (1, c.size), "neither a constant nor a permutation"
                for w in range(c.size) if action is None else (action[v],):
                    m_after = c.child[n_after][w]
                    assert row[x] in (-1, m_after), "nodes of one level do not follow from those above"
                    row[x] = m_after
                    if (to, n_after, w) not in seen:
                        seen.add((to, n_after, w))
                        work.append((to, n_after, w))
        node, after = c.child[node][c.start], below
    current = _current(rows, start, node, after)
    for n, states in current.items():
        assert states == {cascade.state_of[n]}, "a node does not stand for one state"


def _current(rows: list[list[int]], start: int, node: int, after: dict[int, list[int]]) -> dict[int, set[int]]:
    """The states that can be current at each node."""
    found = {node: {start}}
    work = [(node, start)]
    for n, q in work:
        for x, to in enumerate(rows[q]):
            if to < 0:
                continue
            m = after[n][x]
            assert m >= 0, "a step is missing"
            if to not in found.setdefault(m, set()):
                found[m].add(to)
                work.append((m, to))
    return found
