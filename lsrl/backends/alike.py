"""Machines that are alike but for the numbers of their variables: what was found for one of them holds for all.

A program of n places that act alike makes n such machines; the sums of thresholds that tell one are looked for once.
So are those of machines that are the same in several layouts of a program.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from lsrl.backends.finite import STATE, Cover, Machine
from lsrl.backends.scores import Sum, Sweep, Term
from lsrl.backends.sums import Slot, Sums, Wanted, sums
from lsrl.ir.graph import Graph
from lsrl.ir.remembered import remembered

__all__ = ["KnownSums", "known_sums"]


@remembered(2)
def known_sums(graph: Graph) -> KnownSums:
    """Those of a graph, for all its layouts."""
    return KnownSums()


class KnownSums:
    """`sums`, with what it found so far."""

    def __init__(self) -> None:
        self._found: dict[Hashable, tuple[tuple[int, ...], tuple[int, ...], Sums | None]] = {}

    def sums(self, cover: Cover, wanted: Wanted, bits: Sequence[int]) -> Sums | None:
        """As `lsrl.backends.sums.sums`. bits: the variables for places in codes so far, ascending; `wanted.bit` adds to
        them. In another layout the same ones are added as in the first."""
        machine = cover.machine
        sweep = Sweep(machine.diagrams, machine.functions)
        variables = tuple(v for v in sweep.sizes if v != STATE)
        key = _shape(cover, wanted, sweep, variables, bits)
        if key not in self._found:
            found = sums(cover, wanted)
            self._found[key] = variables, tuple(bits), found
        before, bits_before, found = self._found[key]
        if len(bits_before) > len(bits):
            wanted.bit(len(bits_before) - 1)
        if found is None or found.machine is machine:
            return found
        names = dict(zip(bits_before, bits, strict=False)) | dict(zip(before, variables, strict=True))
        return _renamed(found, machine, names)


def _shape(cover: Cover, wanted: Wanted, sweep: Sweep, variables: Sequence[int], bits: Sequence[int]) -> Hashable:
    """All that `sums` looks at, variables by their place in the order; codes' bits stand somewhere between them."""
    place = {STATE: STATE, **{v: i for i, v in enumerate(variables)}}
    machine = cover.machine
    cubes = tuple((tuple((place[v], s) for v, s in c.literals), c.leaf) for c in cover.cubes)
    numbers = tuple(sorted((place[v], n) for v, n in wanted.numbers.items()))
    return (sweep.shape, sweep.leaves, machine.start, machine.labels, cubes, cover.default, numbers, wanted.general,
            wanted.asked, wanted.kept, wanted.own, tuple(bisect_left(variables, b) for b in bits))


def _renamed(found: Sums, machine: Machine, names: Mapping[int, int]) -> Sums:
    def term(t: Term) -> Term:
        return replace(t, weights=tuple((names.get(v, v), w) for v, w in t.weights))

    def slot(s: Slot) -> Slot:
        return Slot(s.values, tuple((members, Sum(tuple((c, term(t)) for c, t in x.terms), x.bias))
                                    for members, x in s.basis))

    code = found.code and replace(found.code, bits=tuple((names.get(v, v), s) for v, s in found.code.bits))
    return Sums(machine, slot(found.next), tuple(map(slot, found.observed)), tuple(map(term, found.terms)),
                {q: tuple(map(term, p)) for q, p in found.patterns.items()}, found.cost, code)
