"""Identities over every small case: comparisons of terms, tables, minima, choices."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest

from lsrl.arithmetic import apply
from lsrl.diagnostics import NOWHERE
from lsrl.ir.graph import GraphBuilder, reachable
from lsrl.ir.nodes import Affine, Compare, Const, Input, Logic, MinMax, Mux, Node, Table, operands
from lsrl.passes.fold_constants import fold
from lsrl.passes.simplify_logic import simplify_node
from lsrl.types import BOOL, INT, REAL, Bool, Type, Value

INTS = range(-4, 5)
X = Input("x", INT, NOWHERE)
R = Input("r", REAL, NOWHERE)
A, B, C = (Input(name, BOOL, NOWHERE) for name in "abc")


def value(node: Node, given: dict[Node, Value]) -> Value:
    """The value of a node from those of the inputs."""
    known = dict(given)
    for n in reachable([node]):
        if n not in known:
            known[n] = apply(n, [known[x] for x in operands(n)])
    return known[node]


def folded(node: Node) -> Node:
    builder = GraphBuilder()
    return fold(node, False, builder.add)


def simplified(node: Node) -> Node:
    builder = GraphBuilder()
    return simplify_node(node, False, builder.add)


def number(x: int | Fraction, t: Type) -> Const:
    return Const(x if t == INT else Fraction(x), t, NOWHERE)


@pytest.mark.parametrize("op", ["==", "!=", "<", "<="])
@pytest.mark.parametrize("constant_first", [False, True])
def test_a_term_against_a_constant(op: str, constant_first: bool) -> None:
    for c, b, limit in product((-3, -2, -1, 2, 3), (0, 2), (-3, 0, 1, 4)):
        for x, t in ((X, INT), (R, REAL)):
            term: Node = Affine(((c, x),), b, t, NOWHERE)
            bound: Node = number(limit, t)
            a, z = (bound, term) if constant_first else (term, bound)
            node = Compare(op, a, z, BOOL, NOWHERE)
            new = folded(node)
            assert not any(isinstance(n, Affine) for n in reachable([new])), "the term goes"
            values: list[int | Fraction] = [*INTS] if t == INT else [Fraction(i, 6) for i in range(-18, 19)]
            for v in values:
                assert value(new, {x: v}) == value(node, {x: v}), (op, constant_first, c, b, limit, v)


@pytest.mark.parametrize("op", ["==", "!=", "<", "<="])
def test_a_term_of_a_bool_against_a_constant(op: str) -> None:
    for c, b, limit, first in product((-2, -1, 1, 2), (-1, 0, 1), (-2, -1, 0, 1, 2), (False, True)):
        term: Node = Affine(((c, A),), b, INT, NOWHERE)
        bound: Node = number(limit, INT)
        a, z = (bound, term) if first else (term, bound)
        node = Compare(op, a, z, BOOL, NOWHERE)
        new = folded(node)
        assert isinstance(new, Const | Logic | Input)
        for v in (False, True):
            assert value(new, {A: v}) == value(node, {A: v}), (op, c, b, limit, first)


def test_every_table_of_a_bool() -> None:
    for entries in product((False, True), repeat=2):
        new = folded(Table((A,), (0,), (2,), entries, BOOL, NOWHERE))
        assert not isinstance(new, Table)
        assert [value(new, {A: v}) for v in (False, True)] == list(entries)
    for numbers in product((-1, 0, 3), repeat=2):
        new = folded(Table((A,), (0,), (2,), numbers, INT, NOWHERE))
        assert not isinstance(new, Table)
        assert [value(new, {A: v}) for v in (False, True)] == list(numbers)


def test_every_table_of_two_arguments() -> None:
    for entries in product((0, 1), repeat=6):
        node = Table((A, X), (0, -1), (2, 3), entries, INT, NOWHERE)
        new = folded(node)
        for a, x in product((False, True), INTS):
            assert value(new, {A: a, X: x}) == value(node, {A: a, X: x})


def test_a_table_of_one_node_twice() -> None:
    for los, sizes in product(product((-2, 0, 1), repeat=2), product((1, 2, 3), repeat=2)):
        node = Table((X, X), los, sizes, tuple(range(sizes[0] * sizes[1])), INT, NOWHERE)
        new = folded(node)
        for x in INTS:
            assert value(new, {X: x}) == value(node, {X: x})


@pytest.mark.parametrize("op", ["min", "max"])
def test_minima_with_constants(op: str) -> None:
    for limits in product(INTS, repeat=2):
        node = MinMax(op, (number(limits[0], INT), X, number(limits[1], INT), X), INT, NOWHERE)
        new = folded(node)
        assert isinstance(new, MinMax) and len(new.args) == 2
        assert [value(new, {X: x}) for x in INTS] == [value(node, {X: x}) for x in INTS]


def test_every_choice_between_truths() -> None:
    leaves: list[Node] = [A, B, C, Const(True, BOOL, NOWHERE), Const(False, BOOL, NOWHERE),
                          Logic("not", (A,), BOOL, NOWHERE)]
    inner: list[Node] = [*leaves, *(Mux(A, x, y, BOOL, NOWHERE) for x, y in product(leaves[:3], repeat=2))]
    conditions: list[Node] = [A, Logic("not", (A,), BOOL, NOWHERE)]
    for condition, then, other in product(conditions, inner, inner):
        node = Mux(condition, then, other, BOOL, NOWHERE)
        new = simplified(node)
        for bits in product((False, True), repeat=3):
            given: dict[Node, Value] = dict(zip((A, B, C), bits, strict=True))
            assert value(new, given) == value(node, given)


@pytest.mark.parametrize("op", ["and", "or"])
def test_every_junction(op: str) -> None:
    leaves: list[Node] = [A, B, Logic("not", (A,), BOOL, NOWHERE), Const(True, BOOL, NOWHERE),
                          Const(False, BOOL, NOWHERE)]
    for args in product(leaves, repeat=3):
        node = Logic(op, args, BOOL, NOWHERE)
        new = simplified(node)
        assert isinstance(new, Const | Input | Logic) and isinstance(new.type, Bool)
        assert not isinstance(new, Logic) or not any(isinstance(x, Const) for x in new.args)
        for bits in product((False, True), repeat=2):
            given: dict[Node, Value] = dict(zip((A, B), bits, strict=True))
            assert value(new, given) == value(node, given)
