"""Tallies of tables: each is the table, and tables that count bits have one."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsrl.backends.registry import find_target
from lsrl.backends.tallies import Tally, find_tally
from lsrl.passes import run_pipeline
from tests.backends.gated.checks import check_program
from tests.backends.texts import graph_of

MAJORITY = ("program p(a: bool, b: bool, c: bool, d: bool, e: bool) -> bool:\n"
            "    return (int(a) + int(b) + int(c) + int(d) + int(not e)) >= 3\n")
MASKED = ("program p(go: bool, x: {\"u\", \"v\", \"w\"}, a: bool, b: bool, c: bool) -> bool:\n"
          "    return go and x != \"v\" and (int(a) + int(b) + int(c)) == 2\n")


def value(tally: Tally, places: tuple[int, ...]) -> int:
    return tally.values[sum(weight for root, ones, weight in tally.bits if places[root] in ones)]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_tally_is_its_table(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(2, 3), min_size=3, max_size=4))
    ones = [data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=n - 1)) for n in sizes]
    heavy = data.draw(st.integers(0, 2))
    weights = [len(sizes) + 1 if i < heavy else 1 for i in range(len(sizes))]
    steps = data.draw(st.lists(st.integers(0, 2), min_size=len(sizes) + 1, max_size=len(sizes) + 1))
    beyond = data.draw(st.integers(0, 2))
    points = list(product(*map(range, sizes)))
    sums = [sum(w for w, s, p in zip(weights, ones, point, strict=True) if p in s) for point in points]
    leaves = [steps[s] if s < len(steps) else beyond for s in sums]
    found = find_tally(sizes, leaves)
    known = dict(zip(points, leaves, strict=True))
    left = [i for i, n in enumerate(sizes) if any(
        x != known[*p[:i], j, *p[i + 1 :]] for p, x in known.items() for j in range(n))]
    assert found is not None or len(left) < 3
    if found is not None:
        assert [value(found, p) for p in points] == leaves


@given(st.lists(st.integers(0, 2), min_size=16, max_size=16))
def test_any_table_is_its_tally_if_it_has_one(leaves: list[int]) -> None:
    found = find_tally((2,) * 4, leaves)
    if found is not None:
        assert [value(found, p) for p in product((0, 1), repeat=4)] == leaves


def test_what_counts_no_bits_has_none() -> None:
    """Of two pairs of bits one is equal: no sum tells that."""
    assert find_tally((2,) * 4, [int(a == b or c == d) for a, b, c, d in product((0, 1), repeat=4)]) is None


@pytest.mark.parametrize(("text", "units"), [(MAJORITY, 2), (MASKED, 3)])
def test_programs_that_count_bits_take_few_units(text: str, units: int) -> None:
    check_program("mingru", text, length=40)
    circuit = find_target("mingru").lower(run_pipeline(graph_of(text)), "mingru", torch.float32)
    assert [len(layer) for layer in circuit.layers] == [units]
