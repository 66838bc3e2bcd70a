"""What is known of a cell of each class: the parts of its update that a target builds it from.

The nodes named here are nodes of the graph, or new ones over those (`lsrl.analysis.expressions`): compile them
like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lsrl.analysis.automaton import Automaton
from lsrl.analysis.spectrum import Matrix, Spectrum
from lsrl.ir.nodes import Compare, Node

__all__ = ["Accumulator", "Affine", "AffineDense", "Counters", "Delay", "Detail", "Gated", "Latch", "Test", "Tropical"]


@dataclass(frozen=True, slots=True, eq=False)
class Delay:
    """s := u."""

    u: Node


@dataclass(frozen=True, slots=True, eq=False)
class Accumulator:
    """s := s + u, u from outside the cell."""

    u: Node


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """s := A s + u, A constant. matrix[i][j]: the weight of state j in state i, in the order of `Cell.states`."""

    matrix: Matrix
    u: tuple[Node, ...]
    spectrum: Spectrum


@dataclass(frozen=True, slots=True, eq=False)
class Gated:
    """s := g s + u, both from outside the cell. binary: g is 0 or 1 at every token."""

    g: Node
    u: Node
    binary: bool


@dataclass(frozen=True, slots=True, eq=False)
class Latch:
    """s := value where `write` holds, else s; both from outside the cell."""

    write: Node
    value: Node


@dataclass(frozen=True, slots=True, eq=False)
class AffineDense:
    """s := M s + u, both from outside the cell. matrix[i][j] as in `Affine`; structure: what all matrices that occur
    are, such as "permutation", "0/1", "rank-one update", "diagonal"; empty where that is not known."""

    matrix: tuple[tuple[Node, ...], ...]
    u: tuple[Node, ...]
    structure: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Tropical:
    """s := value where `reset` holds, else min(max(s + u, lo), hi), all from outside the cell.

    lo, hi: None is no bound. reset, value: None where there is no such case."""

    u: Node
    lo: Node | None
    hi: Node | None
    reset: Node | None
    value: Node | None


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """The comparison `node`: Σ weight · register + rest  op  0, over the new values of registers if `new`, else over
    the old ones.

    rest depends on no register of the cell, but through other tests; bounded: it has finitely many values.
    """

    node: Compare
    op: str
    new: bool
    weights: dict[str, Fraction]
    rest: Node
    bounded: bool


@dataclass(frozen=True, slots=True, eq=False)
class Counters:
    """Registers with finite control.

    keep[r], add[r]: register r becomes keep · r + add, keep being 0 or 1 and add one of finitely many integers.
    control[s]: the next value of the other states. These depend on what is outside the cell, on the control and on
    the nodes of `tests` only, never on a register otherwise. seen: the comparisons through which all else sees the
    registers; None if something sees the values of registers themselves. `tests` look at old values; `seen` at new
    values where it can.
    """

    registers: tuple[str, ...]
    keep: dict[str, Node]
    add: dict[str, Node]
    control: dict[str, Node]
    tests: tuple[Test, ...]
    seen: tuple[Test, ...] | None


Detail: TypeAlias = Delay | Accumulator | Affine | Gated | Latch | AffineDense | Tropical | Counters | Automaton
