"""Values that nodes of a graph take together, drawn at random: what is seen to happen need not be proved possible.

A row gives every read and every input one of the values of its range, and all other nodes what follows from those.
Any sound range of a node holds all that is seen of it, so a bool that is seen to be true and false can be no constant.
What is drawn decides how long an analysis takes, never what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsrl.analysis.arrays import evaluate_columns
from lsrl.analysis.interval import Range
from lsrl.ir.nodes import Input, Logic, Mux, Node, Read, Table, operands
from lsrl.types import Bool, Int, Symbols

__all__ = ["EVERY", "Samples"]

EVERY = (1 << 512) - 1  # all rows, a bit each
_ROWS = EVERY.bit_length()
_LARGEST = 2**31  # of a number that is drawn

_Numbers: TypeAlias = NDArray[np.int64]
_Column: TypeAlias = "int | _Numbers | None"  # of a bool a bit a row; None: nothing is known


class Samples:
    """512 rows, for a graph with exact values; nodes are evaluated when they are asked for.

    ranges: of the nodes, those of reads and inputs being there before anything that needs them is asked for. entries:
    a table's as an array, None for those that are no integers.
    """

    def __init__(self, ranges: Mapping[Node, Range], entries: Callable[[Table], _Numbers | None]) -> None:
        self._ranges, self._entries = ranges, entries
        self._columns: dict[Node, _Column] = {}
        self._bits_of, self._numbers = Random(0).getrandbits, np.random.default_rng(0)

    def forget(self, nodes: Iterable[Node]) -> None:
        """Drops what was drawn for nodes whose ranges change."""
        for n in nodes:
            self._columns.pop(n, None)

    def seen(self, node: Node, truth: bool) -> int:
        """The rows in which a bool has this value, a bit each; 0 where nothing is known of it."""
        column = self._column(node)
        return 0 if not isinstance(column, int) else column if truth else EVERY ^ column

    def _column(self, node: Node) -> _Column:
        known = self._columns
        if node not in known:
            stack = [node]
            while stack:
                missing = [x for x in operands(stack[-1]) if x not in known]
                if missing:
                    stack += missing
                else:
                    n = stack.pop()
                    if n not in known:
                        known[n] = self._evaluated(n)
        return known[node]

    def _evaluated(self, node: Node) -> _Column:
        if not isinstance(node.type, Bool | Int | Symbols):
            return None
        if isinstance(node, Read | Input):
            return self._drawn(node)
        parts = [self._columns[x] for x in operands(node)]
        if any(p is None for p in parts):
            return None
        bits = [p for p in parts if isinstance(p, int)]
        if len(bits) == len(parts) and isinstance(node, Logic):
            return _logic(node.op, bits)
        if len(bits) == len(parts) and isinstance(node, Mux):
            condition, then, other = bits
            return condition & then | (EVERY ^ condition) & other
        numbers = [_numbers(p) for p in parts if p is not None]
        if isinstance(node, Table):
            return _kept(node, self._looked_up(node, numbers))
        if not isinstance(node.type, Bool) and node not in self._ranges:
            return None
        known = dict(zip(operands(node), numbers, strict=True))
        return _kept(node, evaluate_columns([node], known, _ROWS, self._ranges)[node])

    def _drawn(self, node: Node) -> _Column:
        r = self._ranges.get(node)
        if isinstance(node.type, Bool) and (r is None or r.constant is None):
            return self._bits()
        if r is None or r.lo is None or r.hi is None or not (r.grid == 1 or r.lo == r.hi) or \
                max(abs(r.lo), abs(r.hi)) > _LARGEST:
            return None
        lo, hi = int(r.lo), int(r.hi)
        return _kept(node, self._numbers.integers(lo, hi, _ROWS, endpoint=True))

    def _bits(self) -> int:
        """A bit that is on in half of some rows, in few of others, and in most of the rest."""
        draw = self._bits_of
        few, part = draw(_ROWS) & draw(_ROWS) & draw(_ROWS), _ROWS // 4
        half, mostly = draw(_ROWS), EVERY ^ draw(_ROWS) & draw(_ROWS) & draw(_ROWS)
        low, high = (1 << 2 * part) - 1, EVERY ^ (1 << 3 * part) - 1
        return half & low | few & (EVERY ^ low ^ high) | mostly & high

    def _looked_up(self, node: Table, args: list[_Numbers]) -> _Numbers | None:
        entries = self._entries(node)
        if entries is None:
            return None
        places = tuple(np.clip(a - lo, 0, n - 1) for a, lo, n in zip(args, node.los, node.sizes, strict=True))
        return np.asarray(entries[places])


def _logic(op: str, args: list[int]) -> int:
    total = args[0]
    if op == "not":
        return EVERY ^ total
    for a in args[1:]:
        total = total & a if op == "and" else total | a
    return total


def _numbers(column: int | _Numbers) -> _Numbers:
    if not isinstance(column, int):
        return column
    packed = np.frombuffer(column.to_bytes(_ROWS // 8, "little"), np.uint8)
    return np.unpackbits(packed, bitorder="little").astype(np.int64)


def _kept(node: Node, column: _Numbers | None) -> _Column:
    """A column in the form of its type; None for one that is no array of small integers."""
    if column is None or column.dtype == object:
        return None
    if not isinstance(node.type, Bool):
        return column
    return int.from_bytes(np.packbits(column != 0, bitorder="little").tobytes(), "little")
