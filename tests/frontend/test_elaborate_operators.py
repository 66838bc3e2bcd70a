"""What operators, functions and `match` compute, each against plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import pytest

from lsrl.ir.nodes import Const, Table
from tests.frontend.elaboration import graph_of, outputs

F = Fraction
INTS = [{"x": x, "y": y} for x in (-7, -1, 0, 2, 5) for y in (-3, 0, 4)]
REALS = [{"x": F(x, 2), "y": F(y, 3)} for x in (-7, 0, 1, 5) for y in (-4, 0, 3)]
BOOLS = [{"p": p, "q": q} for p in (False, True) for q in (False, True)]
VECTORS = [{"u": [1, -2, 3], "v": [4, 0, -2]}, {"u": [0, 0, 0], "v": [5, 5, 1]}, {"u": [2, 9, 9], "v": [-1, -3, -3]}]


def check(inputs: str, result: str, expression: str, rows: Sequence[dict[str, Any]],
          oracle: Callable[..., Any]) -> None:
    got = outputs(f"program p({inputs}) -> {result}:\n    return {expression}\n", rows)
    want = [oracle(**row) for row in rows]
    assert got == want
    assert [type(g) for g in got] == [type(w) for w in want]


@pytest.mark.parametrize("result, expression, oracle", [
    ("int", "x + y - 3 - (x - 2 * y)", lambda x, y: x + y - 3 - (x - 2 * y)),
    ("int", "-x * y", lambda x, y: -x * y),
    ("int", "x * 3 * y", lambda x, y: x * 3 * y),
    ("int", "x // 3", lambda x, y: x // 3),
    ("int", "x % 3", lambda x, y: x % 3),
    ("int", "x - x", lambda x, y: 0),
    ("int", "x ** 3 - y ** 0", lambda x, y: x**3 - 1),
    ("int", "2 ** 5 * x", lambda x, y: 32 * x),
    ("real", "x / 4 + y", lambda x, y: F(x, 4) + y),
    ("real", "x / (1/3)", lambda x, y: F(3 * x)),
    ("real", "x", lambda x, y: F(x)),
    ("real", "0.5 * x", lambda x, y: F(x, 2)),
    ("real", "1e-3", lambda x, y: F(1, 1000)),
    ("bool", "x < y", lambda x, y: x < y),
    ("bool", "x <= y", lambda x, y: x <= y),
    ("bool", "x > y", lambda x, y: x > y),
    ("bool", "x >= y", lambda x, y: x >= y),
    ("bool", "x == y", lambda x, y: x == y),
    ("bool", "x != y", lambda x, y: x != y),
    ("bool", "x == 2.0", lambda x, y: x == 2),
    ("int", "x if x < y else y", lambda x, y: min(x, y)),
    ("real", "x if x < y else 0.5", lambda x, y: F(x) if x < y else F(1, 2)),
    ("int", "min(x, y, 1)", lambda x, y: min(x, y, 1)),
    ("int", "max(x, y)", lambda x, y: max(x, y)),
    ("int", "abs(x)", lambda x, y: abs(x)),
    ("int", "sign(x)", lambda x, y: (x > 0) - (x < 0)),
    ("int", "clamp(x, -2, 3)", lambda x, y: max(-2, min(3, x))),
    ("int", "clamp(x, y, 5)", lambda x, y: min(5, max(x, y))),
    ("int", "relu(x)", lambda x, y: max(x, 0)),
    ("int", "step(x)", lambda x, y: int(x > 0)),
    ("int", "int(bool(x))", lambda x, y: int(x != 0)),
    ("real", "real(x > 0)", lambda x, y: F(int(x > 0))),
    ("int", "eq(x, y) + 10 * larger(x, y)", lambda x, y: int(x == y) + 10 * int(x > y)),
])
def test_ints(result: str, expression: str, oracle: Callable[..., Any]) -> None:
    check("x: int, y: int", result, expression, INTS, oracle)


@pytest.mark.parametrize("result, expression, oracle", [
    ("real", "x * y + 1/7", lambda x, y: x * y + F(1, 7)),
    ("int", "x // 1", lambda x, y: math.floor(x)),
    ("int", "x // 0.75", lambda x, y: math.floor(x / F(3, 4))),
    ("real", "x % 0.75", lambda x, y: x % F(3, 4)),
    ("real", "max(x, 1)", lambda x, y: max(x, F(1))),
    ("real", "clamp(x, 0, 1/2)", lambda x, y: min(F(1, 2), max(F(0), x))),
    ("int", "step(x - y)", lambda x, y: int(x > y)),
    ("bool", "x < y < 1", lambda x, y: x < y < 1),
])
def test_reals(result: str, expression: str, oracle: Callable[..., Any]) -> None:
    check("x: real, y: real", result, expression, REALS, oracle)


@pytest.mark.parametrize("result, expression, oracle", [
    ("bool", "p and not q", lambda p, q: p and not q),
    ("bool", "p or q and p", lambda p, q: p or (q and p)),
    ("bool", "p == q", lambda p, q: p == q),
    ("bool", "p != true", lambda p, q: not p),
    ("int", "int(p) + int(q)", lambda p, q: p + q),
    ("bool", "and(p, q)", lambda p, q: p and q),
    ("bool", "or(p, q, false)", lambda p, q: p or q),
    ("bool", "q if p else not q", lambda p, q: q if p else not q),
    ("int", "match p: true => 3, false => 4", lambda p, q: 3 if p else 4),
    ("int", "match p: true => int(q), _ => 4", lambda p, q: int(q) if p else 4),
])
def test_bools(result: str, expression: str, oracle: Callable[..., Any]) -> None:
    check("p: bool, q: bool", result, expression, BOOLS, oracle)


def dot(u: Sequence[Any], v: Sequence[Any]) -> Any:
    return sum(a * b for a, b in zip(u, v, strict=True))


@pytest.mark.parametrize("result, expression, oracle", [
    ("int[3]", "u + v * 2 - 1", lambda u, v: tuple(a + 2 * b - 1 for a, b in zip(u, v, strict=True))),
    ("int[3]", "u * v", lambda u, v: tuple(a * b for a, b in zip(u, v, strict=True))),
    ("bool[3]", "u < v", lambda u, v: tuple(a < b for a, b in zip(u, v, strict=True))),
    ("bool[3]", "not (u < v) or u == 0", lambda u, v: tuple(not a < b or a == 0 for a, b in zip(u, v, strict=True))),
    ("int[3]", "u if u[0] > 0 else v", lambda u, v: tuple(u if u[0] > 0 else v)),
    ("int[3]", "u if u > v else 7", lambda u, v: tuple(a if a > b else 7 for a, b in zip(u, v, strict=True))),
    ("int", "u @ v", dot),
    ("int[2]", "[[1, 2, 3], [0, 1, 0]] @ u", lambda u, v: (dot([1, 2, 3], u), u[1])),
    ("real[2]", "[[1/2, 2, 3], [0, 1, 0]] @ u", lambda u, v: (dot([F(1, 2), F(2), F(3)], u), F(u[1]))),
    ("int[2, 2]", "[[1, 0, 1], [0, 1, 1]] @ [[1, 2], [3, 4], u[0..1]]",
     lambda u, v: ((1 + u[0], 2 + u[1]), (3 + u[0], 4 + u[1]))),
    ("int", "sum(u) + prod(v)", lambda u, v: sum(u) + math.prod(v)),
    ("int", "min(u) + max(v)", lambda u, v: min(u) + max(v)),
    ("int", "10 * argmax(u) + argmin(v)", lambda u, v: 10 * u.index(max(u)) + v.index(min(v))),
    ("bool", "any(u > 2) and not all(v == 5)", lambda u, v: any(a > 2 for a in u) and not all(b == 5 for b in v)),
    ("int[3]", "max(u, v)", lambda u, v: tuple(map(max, u, v))),
    ("int[3]", "abs(u) % 2", lambda u, v: tuple(abs(a) % 2 for a in u)),
    ("int[5]", "concat(u[1..2], 4, v[0..1])", lambda u, v: (*u[1:], 4, *v[:2])),
    ("int", "u[2] - [u, v][1][0]", lambda u, v: u[2] - v[0]),
    ("int", "[u, v][0, 1]", lambda u, v: u[1]),
    ("int[2]", "[u, v][0..1, 2]", lambda u, v: (u[2], v[2])),
    ("int[3]", "[a * 2 for a in u]", lambda u, v: tuple(2 * a for a in u)),
    ("int[3]", "[u[i] * i for i in 0..2]", lambda u, v: tuple(u[i] * i for i in range(3))),
    ("int[2, 3]", "[[u[j] + i for j in 0..2] for i in 0..1]",
     lambda u, v: tuple(tuple(a + i for a in u) for i in (0, 1))),
    ("int[3]", "zeros(3) + ones(3) + u", lambda u, v: tuple(a + 1 for a in u)),
    ("real[3]", "u / 2", lambda u, v: tuple(F(a, 2) for a in u)),
    ("real[3]", "u / [1, 2, 4]", lambda u, v: (F(u[0]), F(u[1], 2), F(u[2], 4))),
    ("real[3]", "[u[0], 1/2, v[0]]", lambda u, v: (F(u[0]), F(1, 2), F(v[0]))),
    ("int[3]", "u - u + 3", lambda u, v: (3, 3, 3)),
    ("int[3]", "u - u + v[0]", lambda u, v: (v[0],) * 3),
    ("real[3]", "0 * v + u[1] * [0, 0.5, 1]", lambda u, v: (F(0), F(u[1], 2), F(u[1]))),
    ("int[3]", "int(u > v)", lambda u, v: tuple(int(a > b) for a, b in zip(u, v, strict=True))),
])
def test_vectors(result: str, expression: str, oracle: Callable[..., Any]) -> None:
    check("u: int[3], v: int[3]", result, expression, VECTORS, oracle)


def test_symbols() -> None:
    rows = [{"t": t, "n": n} for t in "abc?" for n in (0, 3, 5)]
    alphabet = 't: {"a".."c", *}, n: int[0..5]'
    check(alphabet, "bool", 't == "b" or "c" != t', rows, lambda t, n: t == "b" or t != "c")
    check(alphabet, "int", "code(t)", rows, lambda t, n: "abc?".index(t))
    check(alphabet, "int[4]", "onehot(t)", rows, lambda t, n: tuple(int(t == c) for c in "abc?"))
    check(alphabet, "int", 'match t: "a".."b" => n, "c" => 7, _ => -n', rows,
          lambda t, n: n if t in "ab" else 7 if t == "c" else -n)
    check(alphabet, "int", "match n: 0 | 3 => 1, 1..2 | 4 => 2, 5 => 3", rows, lambda t, n: {0: 1, 3: 1, 5: 3}[n])
    check(alphabet, "int", "match n * 7: -9..0 => 1, 21 => 2, _ => 3", rows, lambda t, n: {0: 1, 21: 2}.get(7 * n, 3))
    check(alphabet, "int", "match n / 3: 0 => 1, 1 => 2, _ => 3", rows, lambda t, n: {0: 1, 3: 2}.get(n, 3))
    check(alphabet, "int[2]", "match n: 0..2 => [1, 2], _ => [3, n]", rows, lambda t, n: (1, 2) if n < 3 else (3, n))
    check(alphabet, "int[2]", "match n: 0..2 => [1, 2], _ => [3, 2]", rows, lambda t, n: (1, 2) if n < 3 else (3, 2))
    check(alphabet, "int", "code(n > 2) + code(n) + size({\"x\"}) + size(int[2..4])", rows,
          lambda t, n: (n > 2) + n + 1 + 3)


def test_symbols_as_results() -> None:
    text = ('type T = {"a", "b", "c"}\nprogram p(t: T, n: int) -> T:\n'
            '    return match t: "a" => "b", "b" => "c", _ => ("a" if n > 0 else t)\n')
    rows = [{"t": "a", "n": 0}, {"t": "b", "n": 0}, {"t": "c", "n": 0}, {"t": "c", "n": 1}]
    assert outputs(text, rows) == ["b", "c", "c", "a"]


def test_a_match_of_constants_is_one_table() -> None:
    graph = graph_of('program p(t: {"a", "b", *}) -> real:\n    return match t: "a" => 1, "b" => 1/2, _ => -1\n')
    (table,) = [n for n in graph.nodes if isinstance(n, Table)]
    assert table.entries == (1, F(1, 2), -1) and str(table.type) == "real[-1..1 by 1/2]"


def test_arguments_that_are_constant_are_folded() -> None:
    graph = graph_of("def f(x: int) -> int:\n    return max(x * x, 2) + (match x: 3 => 1, _ => x)\n\n"
                     "program p() -> int:\n"
                     "    return f(3) + [1, 2, 3][1] + (5 // 2) * sum([1, 1]) + argmax([1, 4, 4])\n")
    (only,) = graph.nodes
    assert isinstance(only, Const) and only.value == 9 + 1 + 2 + 4 + 1


def test_transcendentals_equal_python() -> None:
    rows = [{"x": F(x, 4)} for x in (-8, -1, 0, 3, 9)]
    functions: dict[str, Callable[[float], float]] = {
        "exp": math.exp, "tanh": math.tanh, "sin": math.sin, "cos": math.cos,
        "sigmoid": lambda x: 1 / (1 + math.exp(-x)), "softplus": lambda x: math.log1p(math.exp(x)),
        "silu": lambda x: x / (1 + math.exp(-x)),
    }
    for name, f in functions.items():
        got = outputs(f"program p(x: real) -> real:\n    return {name}(x)\n", rows)
        assert got == pytest.approx([f(float(r["x"])) for r in rows], rel=1e-15, abs=1e-15)
    got = outputs("program p(x: real) -> real:\n"
                  "    return log(exp(x)) + sqrt(x * x) + 1 / exp(x) + exp(x) ** -1\n", rows)
    assert got == pytest.approx([float(r["x"]) + abs(float(r["x"])) + 2 * math.exp(-r["x"]) for r in rows], rel=1e-12)


def test_a_constant_transcendental_is_its_float() -> None:
    graph = graph_of("const A = exp(-1)\n\nprogram p(x: real) -> real:\n    return A * x\n")
    assert not graph.numeric
    assert outputs("const A = exp(-1)\n\nprogram p(x: real) -> real:\n    return A * x\n", [1]) == [F(math.exp(-1))]


def test_selectors_equal_their_definition() -> None:
    text = ("program p(k: int[0..3], q: int[-1..4], t: {\"a\", \"b\"}) -> int:\n"
            "    return width((select(k, q, <) or select(k, 2, ==)) and not select(t, t, !=))\n")
    rows: list[dict[str, Any]] = [{"k": (3 * i) % 4, "q": i % 6 - 1, "t": "abb"[i % 3]} for i in range(20)]
    want = [sum((r["k"] < now["q"] or r["k"] == 2) and r["t"] == now["t"] for r in rows[: i + 1])
            for i, now in enumerate(rows)]
    assert outputs(text, rows) == want
    shifted = "program p(k: int[-2..1], j: int[5..6]) -> int:\n    return width(select(k, k, <) or select(j, j, >))\n"
    pairs = [{"k": (3 * i) % 4 - 2, "j": 5 + (i // 3) % 2} for i in range(20)]
    assert outputs(shifted, pairs) == [sum(r["k"] < now["k"] or r["j"] > now["j"] for r in pairs[: i + 1])
                                       for i, now in enumerate(pairs)]
