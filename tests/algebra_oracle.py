"""What each target can host of the finite automata, worked out from their transition monoids by brute force.

Nothing of `lsrl.analysis` is used here: this is the other side of the comparison. A machine is a complete table of
next states and one of outputs, both by state and letter, so that the output may show the state after the token.
"Hosts" means for inputs of any length: a sum that counts for ever is exact only to a horizon, and counts for nothing.

The theorems behind the rules:

- A layer of a nonlinear recurrence, or of a linear one whose matrix the input chooses freely, hosts every automaton.
- Krohn and Rhodes 1965: a cascade of components that only keep or set their values computes what a machine does iff
  the transition monoid of the least such machine has no group in it but trivial ones; if components of two values may
  also swap them, iff the groups in it are 2-groups, as the simple divisors of these are all Z2. A diagonal recurrence
  whose factors the input chooses from {0, 1}, or from {-1, 0, 1}, is such a component.
- Perles, Rabin and Shamir 1963: with constant factors of finite order, what is kept is the last letters and the time
  modulo a number (`least_clock`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

__all__ = ["AND_MORE", "RULES", "Facts", "Machine", "allowed", "facts_of", "group_orders", "least_clock", "monoid",
           "permutation_reset", "reduced", "turned"]

Map = tuple[int, ...]
Table = tuple[Map, ...]


@dataclass(frozen=True)
class Machine:
    """next[q][x] and output[q][x], of the token x in state q; it starts in state `start`."""

    next: Table
    output: tuple[tuple[Hashable, ...], ...]
    start: int = 0

    @property
    def letters(self) -> int:
        return len(self.next[0])


def reduced(machine: Machine) -> Machine:
    """The least machine that answers alike: states that are reached, merged where no word tells them apart; start 0."""
    reached = [machine.start]
    for q in reached:
        reached += [p for p in dict.fromkeys(machine.next[q]) if p not in reached]
    part = _numbered({q: machine.output[q] for q in reached})
    while True:
        finer = _numbered({q: (part[q], *(part[p] for p in machine.next[q])) for q in reached})
        if finer == part:
            break
        part = finer
    ones = {c: q for q, c in reversed(part.items())}
    order = [ones[c] for c in range(len(ones))]
    return Machine(tuple(tuple(part[p] for p in machine.next[q]) for q in order),
                   tuple(machine.output[q] for q in order))


def _numbered(values: dict[int, Hashable]) -> dict[int, int]:
    """Equal values as equal numbers, in the order in which they come first."""
    names: dict[Hashable, int] = {}
    return {q: names.setdefault(v, len(names)) for q, v in values.items()}


def columns(table: Table) -> list[Map]:
    """What each letter does to the states."""
    return list(dict.fromkeys(zip(*table, strict=True)))


def monoid(table: Table, limit: int = 50_000) -> set[Map] | None:
    """What each word does to the states, the empty one included; None if those are more than `limit`."""
    letters = columns(table)
    found = {tuple(range(len(table)))}
    queue = list(found)
    for m in queue:
        for a in letters:
            after = tuple(a[q] for q in m)
            if after not in found:
                if len(found) == limit:
                    return None
                found.add(after)
                queue.append(after)
    return found


def group_orders(elements: set[Map]) -> set[int]:
    """The orders of the maximal subgroups of a transformation monoid.

    Some power e of an element m is idempotent. If m is in a group, e is the identity of that, so e m = m; and if
    e m = m, the powers of m are a group. So the maximal subgroup at an idempotent e is the set of the m whose power it
    is and for which e m = m.
    """
    groups: Counter[Map] = Counter()
    for m in elements:
        e = m
        while tuple(e[q] for q in e) != e:
            e = tuple(e[q] for q in m)
        groups[e] += tuple(e[q] for q in m) == m
    return set(groups.values()) - {0}


def turned(table: Table) -> set[int]:
    """The primes p for which some word turns p states in a circle: those that divide orders of groups in the monoid.

    If a word m sends q1 to q2, … and qp to q1, then a power of m lies in a cyclic group whose order p divides. If p
    divides the order of a group in the monoid, an element of it has order p (Cauchy); on the states that its identity
    fixes it is a permutation of order p, and has a circle of p states. Found by a search over tuples of p states, of
    which there are few where the elements of the monoid are many.
    """
    n, letters = len(table), columns(table)
    return {p for p in range(2, n + 1) if all(p % d for d in range(2, p)) and _turns(n, letters, p)}


def _turns(n: int, letters: Sequence[Map], p: int) -> bool:
    """Whether a word takes some p different states each to the next, the last to the first.

    Then the tuple of the states reaches itself turned by one place, and from there, by the same word again and again,
    itself: so it is asked whether both are in one strong component of the graph of tuples under letters.
    """
    if all(len(set(a)) < p for a in letters):
        return False
    after: dict[Map, list[Map]] = {}
    for t in permutations(range(n), p):
        moved = (tuple(a[q] for q in t) for a in letters)
        after[t] = [m for m in moved if len(set(m)) == p]
    component = _strong_components(after)
    return any(component[t] == component[(*t[1:], t[0])] for t in after)


def _strong_components(after: Mapping[Map, Sequence[Map]]) -> dict[Map, Map]:
    """A member of the strong component of each node, one for all of them (Kosaraju and Sharir 1981)."""
    finished: dict[Map, None] = {}
    before: dict[Map, list[Map]] = {t: [] for t in after}
    seen: set[Map] = set()
    for root in after:
        stack = [(root, iter(after[root]))] if root not in seen else []
        seen.add(root)
        while stack:
            t, rest = stack[-1]
            for m in rest:
                before[m].append(t)
                if m not in seen:
                    seen.add(m)
                    stack.append((m, iter(after[m])))
                    break
            else:
                finished[t] = None
                stack.pop()
    component: dict[Map, Map] = {}
    for root in reversed(finished):
        queue = [root] if component.setdefault(root, root) == root else []
        for t in queue:
            queue += [m for m in before[t] if m not in component]
            component.update((m, root) for m in before[t] if m not in component)
    return component


def permutation_reset(table: Table) -> bool:
    """Whether every letter permutes the states or sends all of them to one."""
    return all(len(set(a)) in (1, len(a)) for a in columns(table))


def least_clock(table: Table, start: int = 0) -> int | None:
    """The least c such that, for some d, the last d letters and the time modulo c decide the state; None if none does.

    For a c, let R(i) be the states that are reached after i, i + c, i + 2c … letters. A pair of different states of
    one R(i) is bad if it is on a circle of pairs of different states, a step being one letter for both. If no pair of
    the R(i) reaches a bad one, words longer than all paths make both states one; so without bad pairs c will do.
    From a bad pair the word of the circle keeps two states apart for ever, after pasts of one time modulo c, so then c
    will not do.

    Which c can matter: the sets S(t) of states reached after t letters come round with some period P, from some time
    on. As bad pairs are on circles, they are found in sets of that time; and the S(t) in R(i) from that time on are
    those with t = i modulo gcd(c, P). So c will do iff gcd(c, P) does, and the least c is a divisor of P.
    """
    letters = columns(table)
    times: list[frozenset[int]] = [frozenset({start})]
    while (now := frozenset(a[q] for q in times[-1] for a in letters)) not in times:
        times.append(now)
    first = times.index(now)
    period = len(times) - first
    rounds = times[first:]
    for c in (c for c in range(1, period + 1) if period % c == 0):
        together = [frozenset().union(*rounds[i::c]) for i in range(c)]
        pairs = {(p, q) for r in together for p in r for q in r if p < q}
        if not _has_circle(pairs, letters):
            return c
    return None


def _has_circle(pairs: set[tuple[int, int]], letters: Sequence[Map]) -> bool:
    """Whether pairs of different states lead to one another for ever: taken away until each has a successor or none is
    left."""
    left = set(pairs)
    while True:
        stay = {(p, q) for p, q in left
                if any((min(a[p], a[q]), max(a[p], a[q])) in left for a in letters)}
        if stay == left:
            return bool(left)
        left = stay


@dataclass(frozen=True)
class Facts:
    """states: of the least machine. primes: those that divide the order of a group in its monoid. clock: `least_clock`.
    resets: every letter permutes its states or sends all to one."""

    states: int
    primes: frozenset[int]
    clock: int | None
    resets: bool

    @property
    def aperiodic(self) -> bool:
        return not self.primes

    @property
    def halves(self) -> bool:
        """All groups in the monoid are 2-groups."""
        return self.primes <= {2}


def facts_of(machine: Machine, most: int = 6) -> Facts:
    """The facts about the least machine: by its monoid up to `most` states, by tuples of states above that."""
    least = reduced(machine)
    n = len(least.next)
    elements = monoid(least.next) if n <= most else None
    primes = turned(least.next) if elements is None else {p for g in group_orders(elements) for p in _primes(g)}
    return Facts(n, frozenset(primes), least_clock(least.next), permutation_reset(least.next))


def _primes(n: int) -> set[int]:
    return {p for p in range(2, n + 1) if n % p == 0 and all(p % d for d in range(2, p))}


def _all(facts: Facts) -> bool:
    return True


def _aperiodic(facts: Facts) -> bool:
    return facts.aperiodic


def _timed(*clocks: int) -> Callable[[Facts], bool]:
    return lambda facts: facts.clock in clocks if clocks else facts.clock is not None


# For each target, whether it hosts a machine, by what its layer can do with the state that it keeps.
RULES: dict[str, Callable[[Facts], bool]] = {
    # a nonlinear recurrence
    "lstm": _all, "gru": _all, "rnn_tanh": _all, "rnn_relu": _all, "slstm": _all,
    # any matrix, chosen by the input
    "bilinear": _all,
    # permutations of states and resets of all, chosen by the input; cascades of two values
    "delta": lambda facts: facts.resets or facts.halves,
    # factors in [0, 1], chosen by the input
    "mingru": _aperiodic, "minlstm": _aperiodic, "hgrn": _aperiodic, "gla": _aperiodic, "mlstm": _aperiodic,
    "rwkv": _aperiodic, "mamba": _aperiodic, "rglru": _aperiodic,
    # factors -1 too
    "gateloop": lambda facts: facts.halves,
    # a constant matrix; constant factors -1, 0 and 1
    "linear": _timed(), "lru": _timed(1, 2), "retnet": _timed(1, 2),
}

# Targets that may host more than their rule promises: the theorem allows delta every machine, as a cascade of resets
# and permutations, but not all of these are found, and a program may come in parts, each of which is one of its kinds.
AND_MORE = {"delta"}


def allowed(target: str, hosted: bool) -> tuple[str, ...]:
    """The outcomes that agree with a rule's answer: a verdict, or the code of a refusal."""
    return ("PROVED",) if hosted else ("L402", "PROVED") if target in AND_MORE else ("L402",)
