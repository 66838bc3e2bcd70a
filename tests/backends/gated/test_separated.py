"""Weights of latches that are thresholds: found for every linear threshold function of few bits, and for no other."""

from __future__ import annotations

from itertools import product

import pytest

from lsrl.backends.gated.threshold_latches import _separated, _summable


@pytest.mark.parametrize(("bits", "functions"), [(1, 4), (2, 14), (3, 104)])
def test_as_many_functions_are_thresholds_as_there_are(bits: int, functions: int) -> None:
    """The counts of Muroga 1971."""
    rows = tuple((*row, 1) for row in product((0, 1), repeat=bits))
    found = 0
    for off in product((False, True), repeat=len(rows)):
        weights = _separated(rows, off)
        found += weights is not None
        for row, is_off in zip(rows, off, strict=True):
            total = sum(w * x for w, x in zip(weights or (), row, strict=False))
            assert weights is None or (total <= 0 if is_off else total >= 1)
    assert found == functions


def test_sums_of_two_and_two_rows_tell_that_nothing_separates() -> None:
    rows = tuple((*row, 1) for row in product((0, 1), repeat=4))
    assert _summable(rows, tuple(bool(a and b or c and d) for a, b, c, d, _ in rows))
    assert not _summable(rows, tuple(bool(a or b and c) for a, b, c, _, _ in rows))
