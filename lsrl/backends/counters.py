"""Registers that no threshold of their own feeds back to: how a combination of them is counted.

Three ways, the first that fits: saturation (it only grows or only shrinks between resets, so that values past the last
threshold need not be told apart: a finite machine), one register per threshold (steps of at most 1), and a register
of the quotient by D beside a finite machine for the remainder (larger steps, resets to far values).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from lsrl.backends.cubes import Diagrams
from lsrl.backends.finite import Leaf, Machine, Step

__all__ = ["Tracker", "largest_step", "needs_remainder", "remainder_machine", "saturate", "threshold_map"]

_MOST_SATURATED = 64
_MOST_REMAINDER = 64


@dataclass(eq=False)
class Tracker:
    """A combination of free registers. after, before: k → variable [F ≥ k], as of this token and the one before.

    remainders: (divisor, whether after the token) → variable F mod divisor.
    """

    registers: tuple[tuple[int, str], ...]
    after: dict[int, int] = field(default_factory=dict)
    before: dict[int, int] = field(default_factory=dict)
    remainders: dict[tuple[int, bool], int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        parts = [f"{'' if abs(c) == 1 else abs(c)}{s}" for c, s in self.registers]
        signs = ["" if c > 0 else "-" for c, _ in self.registers]
        return " ".join([signs[0] + parts[0], *(f"{'-' if s else '+'} {p}" for s, p in
                                                zip(signs[1:], parts[1:], strict=True))])

    @property
    def levels(self) -> list[int]:
        """Every k that is compared with."""
        return sorted({*self.after, *self.before})


def largest_step(steps: Sequence[Step]) -> int:
    return max((abs(s.by) for s in steps if not s.sets), default=0)


def needs_remainder(steps: Sequence[Step], levels: Sequence[int], start: int) -> int:
    """The divisor D that keeps steps within 1 and resets within 1 of every register's zero; 1 if none is needed.

    Raises ValueError if none up to the limit does.
    """
    for divisor in range(max(1, largest_step(steps)), _MOST_REMAINDER + 1):
        if all(abs(s.by // divisor - at) <= 1 for s in steps if s.sets for at in _offsets(levels, divisor)):
            return divisor
    raise ValueError("no divisor")


def _offsets(levels: Sequence[int], divisor: int) -> set[int]:
    """Where registers of the quotient Q have their zero: F ≥ k is Q ≥ q = ⌈(k − r)/D⌉: Q − q + 1 > 0 or Q − q < 0."""
    quotients = {-((r - k) // divisor) for k in levels for r in range(divisor)}
    return quotients | {q - 1 for q in quotients}


def saturate(diagrams: Diagrams, steps: int, tracker: Tracker, start: int) -> Machine | None:
    """A finite machine that observes [F ≥ k] after and before each token; None if F moves both ways or it is large.

    steps: diagram with `Step` values.
    """
    every = [s for s in diagrams.leaves(steps) if isinstance(s, Step)]
    moves = [s.by for s in every if not s.sets]
    up = all(d >= 0 for d in moves)
    if not up and not all(d <= 0 for d in moves):
        return None
    top, bottom = max(tracker.levels), min(tracker.levels) - 1
    points = [start, *(s.by for s in every if s.sets)]
    low, high = (min([bottom, *points]), top) if up else (bottom, max([top, *points]))
    if high - low >= _MOST_SATURATED:
        return None

    def cut(value: int) -> int:
        return max(low, min(value, high))

    values = list(range(low, high + 1))

    def function(old: int) -> int:
        def outcome(s: Hashable) -> Leaf:
            assert isinstance(s, Step)
            new = cut(s.by if s.sets else old + s.by)
            return Leaf(new - low, (), (*(new >= k for k in tracker.after), *(old >= k for k in tracker.before)))

        return diagrams.map(steps, outcome)

    return Machine(diagrams, tuple(function(v) for v in values), cut(start) - low, tuple(((v,),) for v in values))


def remainder_machine(diagrams: Diagrams, steps: int, divisor: int, start: int) -> Machine:
    """F mod D. Observes what the quotient does (a `Step`), and the remainder after and before the token."""
    def function(old: int) -> int:
        def outcome(s: Hashable) -> Leaf:
            assert isinstance(s, Step)
            total = s.by if s.sets else old + s.by
            return Leaf(total % divisor, (), (Step(total // divisor, s.sets), total % divisor, old))

        return diagrams.map(steps, outcome)

    return Machine(diagrams, tuple(function(r) for r in range(divisor)), start % divisor,
                   tuple(((r,),) for r in range(divisor)))


def threshold_map(diagrams: Diagrams, k: int, divisor: int, remainder: int, quotient: dict[int, int]) -> int:
    """The diagram of [F ≥ k], F = D·Q + r, from the variable of r and those of [Q ≥ q] by q."""
    yes, no = diagrams.leaf(True), diagrams.leaf(False)
    return diagrams.case(remainder, [
        diagrams.case(quotient[-((r - k) // divisor)], [no, yes]) for r in range(divisor)])
