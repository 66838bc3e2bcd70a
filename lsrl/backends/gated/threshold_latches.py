"""Latches whose gates are thresholds: right above what decides them, with no map between.

A saturated gate is a step, and so a threshold unit for whole sums: it keeps where Σ w · [place] ≥ 1. Where the gate
also scales what is added by 1 − keep, that need be right only where the latch is written. So a latch reads the
variables that say whether and what is written, if the one is a linear threshold function of them, the other a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain, product
from typing import TYPE_CHECKING

import numpy as np

from lsrl.backends.codes import reduced_row
from lsrl.backends.holdings import Fold, spread
from lsrl.backends.linear_form import Form, Rational, constant
from lsrl.backends.wiring import Choice
from lsrl.ir.nodes import Const, Node
from lsrl.types import Value

if TYPE_CHECKING:
    from lsrl.backends.gated.gates import Gates
    from lsrl.backends.numbers import Maps

__all__ = ["ThresholdLatch", "threshold_latch", "whole_weights"]

_ROWS = 512  # joint values of what decides a latch
_FEATURES = 24
_PASSES = 60  # of the perceptron rule
_LARGEST = 64  # of a weight

_Row = tuple[int, ...]  # 0 or 1 for each feature, and 1 for the bias


@dataclass(frozen=True)
class ThresholdLatch:
    """layer: of the unit. keep: over the layer below. step: whether it stands for [keep ≥ 1]. masked: whether `add` is
    right only where the latch is written. adds: for each value of the latch [it is written]; None for one at most."""

    layer: int
    keep: Form
    step: bool
    masked: bool
    adds: tuple[Form | None, ...]

    @property
    def rest(self) -> int:
        """The value that has no unit where the others have one."""
        return self.adds.index(None) if None in self.adds else 0


@dataclass(frozen=True)
class _Table:
    """Whether and what is written for each joint class of places. features: (variable, places that are in it)."""

    features: tuple[tuple[Choice, frozenset[int]], ...]
    rows: tuple[_Row, ...]
    written: tuple[bool, ...]
    values: tuple[Value, ...]


def threshold_latch(maps: Maps, gates: Gates, write: Node, value: Node,
                    domain: Sequence[Value]) -> ThresholdLatch | None:
    """The latch that takes `value` where `write` holds, as a threshold; None if it is none, or one variable decides it,
    of which everything is a sum."""
    if gates.steps == "no" or maps.fine:
        return None
    live = [n for n in (write, value) if not isinstance(n, Const)]
    found = maps.folds(live, _ROWS)
    if found is None:
        return None
    folds: dict[Node, Fold] = dict(zip(live, found[0], strict=True))
    roots = found[1]
    if len(roots) < 2:
        return None
    layer = max(r.layer for r in roots)
    table = _table(roots, *(_rows_of(n, folds, roots) for n in (write, value)))
    if len(table.features) > _FEATURES:
        return None
    exact = whole_weights(table.rows, [int(not w) for w in table.written])
    options = [False]
    if gates.masks == "steps" or (gates.masks == "bits" and exact is not None):
        options.append(True)
    for masked in options:
        adds = [_added(table, v, masked) for v in domain]
        if adds.count(None) <= 1:
            keep = exact or _threshold(table, gates)
            return None if keep is None else ThresholdLatch(
                layer + 1, _form(table, keep, layer), exact is None, masked,
                tuple(None if a is None else _form(table, a, layer) for a in adds))
    return None


def _rows_of(node: Node, folds: dict[Node, Fold], roots: Sequence[Choice]) -> list[Value]:
    if isinstance(node, Const):
        count = 1
        for r in roots:
            count *= len(r.domain)
        return [node.value] * count
    return spread(folds[node], roots)


def _table(roots: Sequence[Choice], write: Sequence[Value], value: Sequence[Value]) -> _Table:
    """Places of a variable between which nothing tells are one class; a feature for each class but the largest."""
    seen = [value[i] if w else None for i, w in enumerate(write)]
    keys: list[list[int]] = []  # of each place its class
    features: list[tuple[Choice, frozenset[int]]] = []
    step = len(seen)
    codes: list[list[_Row]] = []
    for r in roots:
        n = len(r.domain)
        step //= n
        same: dict[tuple[object, ...], list[int]] = {}
        for p in range(n):
            there = tuple(x for at in range(p * step, len(seen), n * step) for x in seen[at : at + step])
            same.setdefault(there, []).append(p)
        classes = sorted(same.values(), key=lambda c: (-len(c), c))
        features += [(r, frozenset(c)) for c in classes[1:]]
        keys.append([next(k for k, c in enumerate(classes) if p in c) for p in range(n)])
        codes.append([tuple(int(k == c) for c in range(1, len(classes))) for k in range(len(classes))])
    rows: dict[_Row, int] = {}
    for i, parts in enumerate(product(*([code[k] for k in key] for key, code in zip(keys, codes, strict=True)))):
        rows.setdefault((*chain.from_iterable(parts), 1), i)
    at = tuple(rows.values())
    return _Table(tuple(features), tuple(rows), tuple(bool(write[i]) for i in at), tuple(value[i] for i in at))


def _added(table: _Table, value: Value, masked: bool) -> list[Rational] | None:
    """Weights of [the value is written], or where it is written of [it is the value]."""
    wanted = [w and v == value for w, v in zip(table.written, table.values, strict=True)]
    rows = [(r, int(y)) for r, y, w in zip(table.rows, wanted, table.written, strict=True) if w or not masked]
    return whole_weights([r for r, _ in rows], [y for _, y in rows])


def whole_weights(rows: Sequence[_Row], wanted: Sequence[int]) -> list[Rational] | None:
    """Whole weights with Σ w · feature = wanted in every row; None if there are none that are small."""
    found = _solved(tuple(rows), tuple(wanted))
    return None if found is None else list(found)


@lru_cache(256)
def _solved(rows: tuple[_Row, ...], wanted: tuple[int, ...]) -> tuple[int, ...] | None:
    """By Gauss and Jordan on whole numbers; several ways to factor a program ask for the same."""
    width = len(rows[0]) if rows else 1
    pivots: dict[int, list[int]] = {}
    for row, y in zip(rows, wanted, strict=True):
        left = [*row, y]
        for at, pivot in pivots.items():
            if left[at]:
                left = reduced_row(left, at, pivot)
        # The bias and what stands alone come last, so that what is left free is 0.
        lead = next((i for i in reversed(range(width)) if left[i]), None)
        if lead is None:
            if left[-1]:
                return None
            continue
        for at, pivot in pivots.items():
            if pivot[lead]:
                pivots[at] = reduced_row(pivot, lead, left)
        pivots[lead] = left
    weights = [Fraction(pivots[i][-1], pivots[i][i]) if i in pivots else Fraction(0) for i in range(width)]
    if any(w.denominator != 1 or abs(w) > _LARGEST for w in weights):
        return None
    return tuple(map(int, weights))


def _threshold(table: _Table, gates: Gates) -> list[Rational] | None:
    """Weights whose sum is at least 1 where the latch keeps its value and at most 0 where it is written; exactly 0
    there if gates demand it. By the perceptron rule, or where all of some features must be what they are."""
    both = _all_of(table)
    if both is not None or gates.steps == "above":
        return both
    found = _separated(table.rows, table.written)
    return None if found is None else list(found)


@lru_cache(64)
def _separated(rows: tuple[_Row, ...], off: tuple[bool, ...]) -> tuple[int, ...] | None:
    """By the perceptron rule the weights whose sum is at least 1 in all rows but those that are off; several ways to
    factor a program ask for the same."""
    if _summable(rows, off):
        return None
    weights = [0] * len(rows[0])
    for _ in range(_PASSES):
        done = True
        for row, written in zip(rows, off, strict=True):
            total = sum(w for w, x in zip(weights, row, strict=True) if x)
            if (total >= 1) == written:
                weights = [w + (-x if written else x) for w, x in zip(weights, row, strict=True)]
                done = False
        if done:
            return None if max(map(abs, weights)) > _LARGEST else tuple(weights)
    return None


def _summable(rows: Sequence[_Row], off: Sequence[bool]) -> bool:
    """Whether two rows that are off have together the features of two that are on, so that no weights separate them
    (Elgot 1961)."""
    codes = np.array(rows, np.int64) @ 4 ** np.arange(len(rows[0]))
    marks = np.array(off)
    sums = [np.add.outer(c, c).ravel() for c in (codes[marks], codes[~marks])]
    return bool(np.intersect1d(*sums).size)


def _all_of(table: _Table) -> list[Rational] | None:
    """Weights where what is written is one product: m − Σ over its m variables of [the variable is in its set]."""
    rows = [r for r, w in zip(table.rows, table.written, strict=True) if w]
    if not rows:
        return None
    sets: dict[Choice, list[int]] = {}
    for k, (r, _) in enumerate(table.features):
        sets.setdefault(r, []).append(k)
    weights: list[Rational] = [0] * len(table.rows[0])
    for features in sets.values():
        seen = {tuple(row[k] for k in features) for row in rows}
        if len(seen) == len(features) + 1:
            continue
        base = tuple(0 for _ in features) in seen
        for i, k in enumerate(features):
            inside = any(s[i] for s in seen)
            weights[k] = int(base) - int(inside)
        weights[-1] += int(not base)
    totals = [sum(w * x for w, x in zip(weights, row, strict=True)) for row in table.rows]
    good = all((t == 0) if w else t >= 1 for t, w in zip(totals, table.written, strict=True))
    return weights if good else None


def _form(table: _Table, weights: Sequence[Rational], layer: int) -> Form:
    parts = [r.member(places, layer).scale(w) for (r, places), w in zip(table.features, weights, strict=False) if w]
    return Form.total(parts, 0) + constant(weights[-1])
