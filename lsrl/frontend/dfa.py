"""Finite automata: from a non-deterministic one with guards to the minimal deterministic one.

Sources: Rabin and Scott 1959 (subset construction); Hopcroft 1971 (n log n minimisation).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["NEWLINE", "OTHER", "WORD", "Dfa", "Nfa", "SizeError", "determinise", "minimise"]

# What stands before or after a position. START and END share a value: one is only ever before, the other after.
EDGE, NEWLINE, WORD, OTHER = range(4)


class SizeError(Exception):
    """The automaton has more states, or takes more work, than allowed."""


@dataclass(frozen=True, slots=True)
class Dfa:
    """A complete deterministic automaton.

    States are 0 to n−1, `start` is 0, numbered breadth first in the order of the letters. `next[q][x]` is the
    state after letter x; `accepting` holds the states after which the text so far belongs to the language.
    """

    n: int
    start: int
    next: tuple[tuple[int, ...], ...]
    accepting: frozenset[int]

    def accepts(self, letters: Sequence[int]) -> bool:
        """Is this word in the language?"""
        q = self.start
        for x in letters:
            q = self.next[q][x]
        return q in self.accepting


@dataclass
class Nfa:
    """A non-deterministic automaton; state 0 is the start, state 1 accepts, without edges unless `loop` is called.

    epsilon[q]: (guard, target) pairs, taken without a letter where the guard holds ("" always holds).
    letter[q]: (set of letters, target) pairs.
    Guards: "start", "line_start", "end", "line_end", "boundary", "not_boundary", as re's `\\A ^ \\Z $ \\b \\B`, the
    line ones with its flag MULTILINE; "dollar" is `$` without it: the end, or before a newline that is the end.
    """

    epsilon: list[list[tuple[str, int]]] = field(default_factory=lambda: [[], []])
    letter: list[list[tuple[frozenset[int], int]]] = field(default_factory=lambda: [[], []])
    limit: int = 100_000

    def state(self) -> int:
        """A new state."""
        if len(self.epsilon) >= self.limit:
            raise SizeError(f"more than {self.limit} positions")
        self.epsilon.append([])
        self.letter.append([])
        return len(self.epsilon) - 1


def determinise(nfa: Nfa, kinds: Sequence[int], limit: int = 10_000, work: int = 5_000_000) -> Dfa:
    """The automaton of `nfa` by subset construction, complete, not minimal.

    kinds: for each letter, NEWLINE, WORD or OTHER, which the guards look at. Raises SizeError beyond `limit`
    states or `work` steps.
    """
    classes, members = _letter_classes(nfa, kinds)
    guards = {g for edges in nfa.epsilon for g, _ in edges}
    prevs = _distinguished(guards)
    member_kinds = sorted({kinds[x] for x in members})
    searcher = _Searcher(nfa, work)
    # A state of the result: NFA states reached, doubled (odd: only the end may follow), and the letter before.
    start = (frozenset({0}), EDGE if prevs & {EDGE} else OTHER)
    index: dict[tuple[frozenset[int], int], int] = {start: 0}
    queue = deque([start])
    rows: list[tuple[int, ...]] = []
    accepting: set[int] = set()
    while queue:
        states, prev = queue.popleft()
        if searcher.accepts(states, prev):
            accepting.add(len(rows))
        targets: list[int] = []
        closures = {kind: searcher.closure(states, prev, kind) for kind in member_kinds}
        for x in members:
            kind = kinds[x]
            key = (searcher.step(closures[kind], x, kind), kind if kind in prevs else OTHER)
            if key not in index:
                if len(index) >= limit:
                    raise SizeError(f"more than {limit} states")
                index[key] = len(index)
                queue.append(key)
            targets.append(index[key])
        rows.append(tuple(targets[c] for c in classes))
    return Dfa(len(rows), 0, tuple(rows), frozenset(accepting))


def _letter_classes(nfa: Nfa, kinds: Sequence[int]) -> tuple[list[int], list[int]]:
    """For each letter its class, for each class one letter: letters that no edge tells apart share a class."""
    sets = list(dict.fromkeys(s for edges in nfa.letter for s, _ in edges))
    index: dict[tuple[object, ...], int] = {}
    classes: list[int] = []
    members: list[int] = []
    for x, kind in enumerate(kinds):
        key = (kind, *(x in s for s in sets))
        if key not in index:
            index[key] = len(members)
            members.append(x)
        classes.append(index[key])
    return classes, members


def _distinguished(guards: set[str]) -> set[int]:
    """What the guards can see in the letter before a position."""
    seen: set[int] = set()
    if guards & {"start", "line_start"}:
        seen.add(EDGE)
    if "line_start" in guards:
        seen.add(NEWLINE)
    if guards & {"boundary", "not_boundary"}:
        seen.add(WORD)
    return seen


class _Searcher:
    """Closures and steps of an NFA. Items are 3·state + mode; mode 1: exactly a newline may follow; 2: nothing may."""

    def __init__(self, nfa: Nfa, work: int) -> None:
        self.nfa = nfa
        self.work = work

    def closure(self, items: frozenset[int], prev: int, after: int) -> list[int]:
        seen = {3 * (i // 2) + 2 * (i % 2) for i in items}
        stack = sorted(seen)
        order: list[int] = []
        while stack:
            item = stack.pop()
            order.append(item)
            q, mode = divmod(item, 3)
            for guard, target in self.nfa.epsilon[q]:
                to = _through(guard, mode, prev, after)
                if to is not None and 3 * target + to not in seen:
                    seen.add(3 * target + to)
                    stack.append(3 * target + to)
        self.work -= len(order)
        if self.work < 0:
            raise SizeError("too many steps")
        return order

    def accepts(self, items: frozenset[int], prev: int) -> bool:
        return any(i // 3 == 1 and i % 3 != 1 for i in self.closure(items, prev, EDGE))

    def step(self, closure: list[int], letter: int, kind: int) -> frozenset[int]:
        """The items after one letter of that kind, from their closure before it."""
        out: set[int] = set()
        for item in closure:
            q, mode = divmod(item, 3)
            if mode == 2 or (mode == 1 and kind != NEWLINE):
                continue
            out.update(2 * target + mode for letters, target in self.nfa.letter[q] if letter in letters)
        # Nothing can be lost once the accepting state is reached and keeps itself: the other items do not matter.
        if 2 in out and any(target == 1 for _, target in self.nfa.letter[1]):
            return frozenset({2})
        return frozenset(out)


def _through(guard: str, mode: int, prev: int, after: int) -> int | None:
    """The mode after passing a guard, None where it does not hold."""
    match guard:
        case "":
            holds = True
        case "start":
            holds = prev == EDGE
        case "line_start":
            holds = prev in (EDGE, NEWLINE)
        case "end":
            holds = after == EDGE
        case "line_end":
            holds = after in (EDGE, NEWLINE)
        case "boundary":
            holds = (prev == WORD) != (after == WORD)
        case "not_boundary":
            holds = (prev == WORD) == (after == WORD)
        case "dollar":
            if after == NEWLINE and mode < 2:
                return 1
            holds = after == EDGE
        case _:
            raise ValueError(f"unknown guard {guard!r}")
    return mode if holds else None


def minimise(dfa: Dfa) -> Dfa:
    """The minimal complete automaton of the same language, by Hopcroft's algorithm, numbered breadth first."""
    letters = len(dfa.next[0])
    columns = list(dict.fromkeys(tuple(row[x] for row in dfa.next) for x in range(letters)))
    before: list[list[list[int]]] = []
    for column in columns:
        preimage: list[list[int]] = [[] for _ in range(dfa.n)]
        for q, target in enumerate(column):
            preimage[target].append(q)
        before.append(preimage)
    block, blocks = [0] * dfa.n, [{q for q in range(dfa.n) if q not in dfa.accepting}, set(dfa.accepting)]
    for q in dfa.accepting:
        block[q] = 1
    pending = deque((b, c) for b in range(len(blocks)) for c in range(len(columns)))
    waiting = set(pending)
    while pending:
        splitter = pending.popleft()
        waiting.discard(splitter)
        b, c = splitter
        touched: dict[int, set[int]] = {}
        for target in blocks[b]:
            for q in before[c][target]:
                touched.setdefault(block[q], set()).add(q)
        for old, inside in touched.items():
            if len(inside) == len(blocks[old]):
                continue
            new = len(blocks)
            blocks.append(inside)
            blocks[old] -= inside
            for q in inside:
                block[q] = new
            for d in range(len(columns)):
                small = new if (old, d) in waiting or len(inside) <= len(blocks[old]) else old
                if (small, d) not in waiting:
                    waiting.add((small, d))
                    pending.append((small, d))
    return _breadth_first(dfa, block)


def _breadth_first(dfa: Dfa, block: list[int]) -> Dfa:
    """The automaton of the blocks that the start reaches."""
    index = {block[dfa.start]: 0}
    members = [dfa.start]
    rows: list[tuple[int, ...]] = []
    for q in members:
        for target in dfa.next[q]:
            if block[target] not in index:
                index[block[target]] = len(members)
                members.append(target)
        rows.append(tuple(index[block[t]] for t in dfa.next[q]))
    return Dfa(len(rows), 0, tuple(rows), frozenset(i for i, q in enumerate(members) if q in dfa.accepting))
