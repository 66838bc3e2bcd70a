"""The meaning of each node kind, against values worked out by hand."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest

from lsrl.arithmetic import apply, operation
from lsrl.diagnostics import NOWHERE
from lsrl.ir.nodes import (
    UNARY_FUNCTIONS,
    Affine,
    Compare,
    Const,
    Divide,
    FloorDiv,
    Index,
    Input,
    Logic,
    MatMul,
    MinMax,
    Mul,
    Mux,
    Node,
    Pack,
    Param,
    Read,
    Slice,
    Table,
    Unary,
)
from lsrl.types import BOOL, INT, REAL, Symbols, Type, Value, Vector

PAIR, MATRIX, BITS = Vector(INT, 2), Vector(Vector(INT, 3), 2), Vector(BOOL, 2)
AB = Symbols(("a", "b"), other=True)
INF, NAN = math.inf, math.nan


def of(t: Type, name: str = "x") -> Input:
    return Input(name, t, NOWHERE)


I, R, B, S, V, M, BB = (of(t) for t in (INT, REAL, BOOL, AB, PAIR, MATRIX, BITS))
RV = of(Vector(REAL, 2))

EXACT: list[tuple[Node, tuple[Value, ...], Value]] = [
    (Const(3, REAL, NOWHERE), (), Fraction(3)),
    (Const((True, False), BITS, NOWHERE), (), (True, False)),
    (Affine((), 5, INT, NOWHERE), (), 5),
    (Affine(((2, I), (-3, B)), 4, INT, NOWHERE), (10, True), 21),
    (Affine(((1, B),), 0, INT, NOWHERE), (True,), 1),
    (Affine(((Fraction(1, 3), I),), Fraction(1, 6), REAL, NOWHERE), (2,), Fraction(5, 6)),
    (Affine(((1, I),), 0, REAL, NOWHERE), (2,), Fraction(2)),
    (Affine(((1, V), (10, I)), 1, PAIR, NOWHERE), ((1, 2), 3), (32, 33)),
    (Mul(I, I, INT, NOWHERE), (10**30, 10**30), 10**60),
    (Mul(I, R, REAL, NOWHERE), (3, Fraction(1, 9)), Fraction(1, 3)),
    (Mul(V, I, PAIR, NOWHERE), ((2, 3), 4), (8, 12)),
    (MatMul(V, V, INT, NOWHERE), ((1, 2), (3, 4)), 11),
    (MatMul(M, of(Vector(INT, 3)), PAIR, NOWHERE), (((1, 2, 3), (4, 5, 6)), (1, 0, -1)), (-2, -2)),
    (MatMul(V, M, Vector(INT, 3), NOWHERE), ((1, 10), ((1, 2, 3), (4, 5, 6))), (41, 52, 63)),
    (MatMul(M, of(Vector(PAIR, 3)), Vector(PAIR, 2), NOWHERE),
     (((1, 2, 3), (4, 5, 6)), ((1, 0), (0, 1), (1, 1))), ((4, 5), (10, 11))),
    (Compare("==", I, R, BOOL, NOWHERE), (1, Fraction(1)), True),
    (Compare("!=", S, S, BOOL, NOWHERE), (1, 2), True),
    (Compare("<", I, I, BOOL, NOWHERE), (2, 2), False),
    (Compare("<=", R, I, BOOL, NOWHERE), (Fraction(1, 3), 0), False),
    (Compare("<", V, I, BITS, NOWHERE), ((1, 5), 3), (True, False)),
    (Logic("not", (B,), BOOL, NOWHERE), (True,), False),
    (Logic("and", (B, B, B), BOOL, NOWHERE), (True, True, False), False),
    (Logic("or", (BB, B), BITS, NOWHERE), ((True, False), False), (True, False)),
    (Mux(B, I, I, INT, NOWHERE), (True, 1, 2), 1),
    (Mux(B, I, R, REAL, NOWHERE), (True, 1, Fraction(1, 2)), Fraction(1)),
    (Mux(BB, I, V, PAIR, NOWHERE), ((True, False), 9, (1, 2)), (9, 2)),
    (Mux(B, S, S, AB, NOWHERE), (False, 0, 2), 2),
    (MinMax("min", (I, I, I), INT, NOWHERE), (3, -1, 2), -1),
    (MinMax("max", (I, R), REAL, NOWHERE), (3, Fraction(7, 2)), Fraction(7, 2)),
    (MinMax("max", (V, I), PAIR, NOWHERE), ((1, 5), 3), (3, 5)),
    (MinMax("min", (I,), INT, NOWHERE), (4,), 4),
    (FloorDiv("//", I, 3, INT, NOWHERE), (-7,), -3),
    (FloorDiv("%", I, 3, INT, NOWHERE), (-7,), 2),
    (FloorDiv("//", R, Fraction(1, 10), REAL, NOWHERE), (Fraction(1),), Fraction(10)),
    (FloorDiv("%", R, Fraction(2, 3), REAL, NOWHERE), (Fraction(-1, 3),), Fraction(1, 3)),
    (FloorDiv("//", R, 2, INT, NOWHERE), (Fraction(-5, 2),), -2),
    (Table((S,), (0,), (3,), (5, 6, 7), INT, NOWHERE), (2,), 7),
    (Table((I,), (-1,), (3,), (5, 6, 7), INT, NOWHERE), (-9,), 5),
    (Table((I,), (-1,), (3,), (5, 6, 7), INT, NOWHERE), (9,), 7),
    (Table((I, B), (2, 0), (2, 2), (1, 2, 3, 4), REAL, NOWHERE), (3, False), Fraction(3)),
    (Table((B,), (0,), (2,), (True, False), BOOL, NOWHERE), (True,), False),
    (Pack((I, I), PAIR, NOWHERE), (1, 2), (1, 2)),
    (Pack((I, R), Vector(REAL, 2), NOWHERE), (1, Fraction(1, 2)), (Fraction(1), Fraction(1, 2))),
    (Pack((V, V), Vector(PAIR, 2), NOWHERE), ((1, 2), (3, 4)), ((1, 2), (3, 4))),
    (Index(V, I, INT, NOWHERE), ((7, 8), 1), 8),
    (Index(V, I, INT, NOWHERE), ((7, 8), -1), 7),
    (Index(M, I, Vector(INT, 3), NOWHERE), (((1, 2, 3), (4, 5, 6)), 99), (4, 5, 6)),
    (Slice(of(Vector(INT, 4)), 1, 2, PAIR, NOWHERE), ((1, 2, 3, 4),), (2, 3)),
]


@pytest.mark.parametrize("node, args, wanted", EXACT, ids=lambda x: type(x).__name__ if hasattr(x, "span") else None)
def test_exact(node: Node, args: tuple[Value, ...], wanted: Value) -> None:
    got = apply(node, args)
    assert got == wanted and same_types(got, wanted), got


def same_types(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return all(map(same_types, a, b))
    return type(a) is type(b)


NUMERIC: list[tuple[Node, tuple[Value, ...], Value]] = [
    (Const(Fraction(1, 10), REAL, NOWHERE), (), 0.1),
    (Affine(((Fraction(1, 10), R), (1, I)), Fraction(1, 5), REAL, NOWHERE), (0.3, 1), 0.1 * 0.3 + 1.0 + 0.2),
    (Affine(((1, R), (-1, R)), 0, REAL, NOWHERE), (INF, INF), NAN),
    (Affine(((1, I),), 0, REAL, NOWHERE), (10**400,), INF),
    (Mul(R, R, REAL, NOWHERE), (1e200, 1e200), INF),
    (Mul(I, I, INT, NOWHERE), (10**30, 2), 2 * 10**30),
    (Divide(R, R, REAL, NOWHERE), (1.0, 3.0), 1 / 3),
    (Divide(R, R, REAL, NOWHERE), (1.0, 0.0), INF),
    (Divide(R, R, REAL, NOWHERE), (-1.0, 0.0), -INF),
    (Divide(R, R, REAL, NOWHERE), (1.0, -0.0), -INF),
    (Divide(I, I, REAL, NOWHERE), (0, 0), NAN),
    (Divide(R, R, REAL, NOWHERE), (NAN, 0.0), NAN),
    (MatMul(RV, RV, REAL, NOWHERE), ((0.1, 0.2), (0.3, 0.4)), 0.1 * 0.3 + 0.2 * 0.4),
    (Compare("<", R, I, BOOL, NOWHERE), (NAN, 1), False),
    (Compare("!=", R, R, BOOL, NOWHERE), (NAN, NAN), True),
    (Compare("==", I, R, BOOL, NOWHERE), (2**53 + 1, 2.0**53), True),
    (MinMax("min", (R, R), REAL, NOWHERE), (NAN, 1.0), NAN),
    (MinMax("min", (R, R), REAL, NOWHERE), (1.0, NAN), NAN),
    (MinMax("max", (R, I, R), REAL, NOWHERE), (1.0, 7, 3.0), 7.0),
    (FloorDiv("//", R, 2, REAL, NOWHERE), (-3.0,), -2.0),
    (FloorDiv("//", R, 2, REAL, NOWHERE), (INF,), INF),
    (FloorDiv("//", R, 2, INT, NOWHERE), (NAN,), 0),
    (FloorDiv("%", R, 2, REAL, NOWHERE), (-3.0,), 1.0),
    (FloorDiv("%", R, 2, REAL, NOWHERE), (INF,), NAN),
    (Mux(B, I, R, REAL, NOWHERE), (True, 1, 0.5), 1.0),
    (Table((B,), (0,), (2,), (Fraction(1, 2), 3), REAL, NOWHERE), (True,), 3.0),
    (Pack((I, R), Vector(REAL, 2), NOWHERE), (1, 0.5), (1.0, 0.5)),
]


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return all(map(equal, a, b))
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return type(a) is type(b) and bool(a == b)


@pytest.mark.parametrize("node, args, wanted", NUMERIC, ids=lambda x: type(x).__name__ if hasattr(x, "span") else None)
def test_numeric(node: Node, args: tuple[Value, ...], wanted: Value) -> None:
    assert equal(apply(node, args, numeric=True), wanted), apply(node, args, numeric=True)


# Values of the functions themselves: from the definitions, evaluated to 20 digits.
FUNCTIONS = {
    "exp": {0.0: 1.0, 1.0: 2.718281828459045, 1000.0: INF, -INF: 0.0},
    "log": {1.0: 0.0, 2.0: 0.6931471805599453, 0.0: -INF, -1.0: NAN, INF: INF},
    "sqrt": {4.0: 2.0, 2.0: 1.4142135623730951, -1.0: NAN, INF: INF},
    "sigmoid": {0.0: 0.5, 2.0: 0.8807970779778823, -2.0: 0.11920292202211755, -1000.0: 0.0, 1000.0: 1.0, INF: 1.0},
    "tanh": {0.0: 0.0, 1.0: 0.7615941559557649, -INF: -1.0},
    "softplus": {0.0: 0.6931471805599453, 1000.0: 1000.0, -1000.0: 0.0, 1.0: 1.3132616875182228, -INF: 0.0},
    "silu": {0.0: 0.0, 1.0: 0.7310585786300049, -1000.0: 0.0, -INF: 0.0, INF: INF},
    "sin": {0.0: 0.0, 1.0: 0.8414709848078965, INF: NAN},
    "cos": {0.0: 1.0, 1.0: 0.5403023058681398, -INF: NAN},
}


@pytest.mark.parametrize("name", UNARY_FUNCTIONS)
def test_functions(name: str) -> None:
    f = operation(Unary(name, R, REAL, NOWHERE), numeric=True)
    for x, wanted in FUNCTIONS[name].items():
        assert f(x) == pytest.approx(wanted, rel=1e-15, abs=0, nan_ok=True), x
    assert math.isnan(f(NAN))
    assert f(1) == f(1.0)  # an int operand becomes a float


@pytest.mark.parametrize("name", UNARY_FUNCTIONS)
@pytest.mark.parametrize("x", [0.0, -0.0, 1e-320, 1e308, -1e308, 745.2, -745.2, 5e-324, INF, -INF, NAN])
def test_functions_are_total(name: str, x: float) -> None:
    assert isinstance(operation(Unary(name, R, REAL, NOWHERE), numeric=True)(x), float)


@pytest.mark.parametrize("node", [I, Read("s", INT, NOWHERE), Param("w", ("zeros", ()), REAL, NOWHERE)])
def test_leaves_have_no_operation(node: Node) -> None:
    with pytest.raises(ValueError, match="has no operands"):
        operation(node)
