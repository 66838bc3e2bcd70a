"""What is wrong with a text: code, line, column, message and help of every error of the elaborator."""

from __future__ import annotations

import pytest

from lsrl.frontend.elaborate import context
from tests.frontend.elaboration import errors, one_error, shown

P = "program p(x: int) -> int:\n"

# Texts, each with all its errors. The first line is line 1.
CASES: list[tuple[str, list[str]]] = [
    # L101, L102, L103
    (P + "    return y\n", ["L101 2:12 the name `y` is not known here"]),
    (P + "    return cuont(x > 0)\n", ["L101 2:12 the function `cuont` is not known here"]),
    ("program p(x: foo) -> int:\n    return 1\n", ["L101 1:14 the name `foo` is not known here"]),
    ("def f(x: int) -> (a: int):\n    return (a = x)\n\n" + P + "    return f(x).b\n",
     ["L101 5:17 the record `(a: int)` has no field `b`"]),
    ("const A = 1\nconst A = 2\n\nprogram p(x: int, x: int) -> int:\n    return A\n",
     ["L102 2:7 `A` is defined twice, on line 1 first", "L102 4:19 `x` stands twice among the parameters"]),
    ("program p(x: int) -> (a: int):\n    return (a = x, a = x)\n", ["L102 2:20 the field `a` stands twice"]),
    ("const A = B\nconst B = A\n\n" + P + "    return A\n", ["L103 1:7 the constant `A` is defined by itself"]),
    ("type A = B[2]\ntype B = A[2]\n\n" + P + "    return x\n", ["L103 1:6 the type `A` is defined by itself"]),
    (P + "    return f(x)\n\ndef f(x: int) -> int:\n    return g(x)\n\ndef g(x: int) -> int:\n    return f(x) + 1\n",
     ["L103 8:12 `f` calls itself: f → g → f"]),
    # L104, L110
    ("def f(x: int, const k: int) -> int:\n    return x + k\n\n" + P
     + "    return f(x) + f(x, 1, 2) + f(x, q = 3) + f(x, 1, k = 3)\n",
     ["L104 5:12 `f` takes 2 arguments, and `k` is missing", "L104 5:19 `f` takes 2 arguments, and here are 3",
      "L104 5:37 `f` has no parameter `q`", "L104 5:54 `k` of `f` is given twice"]),
    (P + "    return abs(x, x) + max() + max(x)\n",
     ["L104 2:12 `abs` takes 1 argument, and here are 2", "L104 2:24 `max` takes at least one argument",
      "L104 2:32 `max` takes several values or one vector"]),
    ("program p(x: int) -> (a: int, b: int):\n    return (a = x, c = x)\n", ["L104 2:24 the result has no field `c`"]),
    ("program p(x: int) -> (a: int, b: int):\n    return (a = x)\n", ["L104 2:12 the result lacks the field `b`"]),
    (P + "    return count + abs + x(2)\n",
     ["L110 2:12 `count` is a def: it stands only in a call", "L110 2:20 `abs` is a function: it stands only in a call",
      "L110 2:26 `x` is not a function"]),
    # L201, L202
    ("program p(x: int) -> bool:\n    return x\n", ["L201 2:12 the result is `bool`, and this is `int`"]),
    ("program p(x: real) -> int:\n    return x\n", ["L201 2:12 the result is `int`, and this is `real`"]),
    ("program p(x: int) -> (a: int):\n    return x\n", ["L201 2:12 the result is a record, and this is `int`"]),
    (P + "    y: bool = 3\n    z: real = 3\n    return x.foo\n",
     ["L201 2:15 `y` is `bool`, and this is `int`", "L201 4:12 only a record has fields, and this is `int`"]),
    (P + "    return prev(x, true)\n", ["L201 2:20 `init` of `prev` is `int`, and this is `bool`"]),
    (P + "    return [1, true][0]\n", ["L201 2:12 the elements of a vector are of different types: `int` and `bool`"]),
    (P + "    return (1 if x > 0 else true) + (match x: 0 => true, _ => 1)\n",
     ["L201 2:12 the branches are of different types: `int` and `bool`",
      "L201 2:37 the arms are of different types: `bool` and `int`"]),
    (P + "    return size(x)\n", ["L201 2:12 `size` takes a type, and this is a value"]),
    ("program p(x: int[0..3]) -> int:\n    return width(select(x, x, 3))\n",
     ["L201 2:31 `op` of `select` is one of == != < <= > >=, and this is `int`"]),
    ("program p(x: int, b: bool) -> int:\n    return x + b - b * 2\n",
     ["L202 2:16 `+` takes numbers, and this is `bool`", "L202 2:20 `*` takes numbers, and this is `bool`"]),
    ("program p(x: int) -> bool:\n    return x and true\n", ["L202 2:12 `and` takes bools, and this is `int`"]),
    (P + "    return 1 if x else 2\n", ["L202 2:17 a condition takes bools, and this is `int`"]),
    (P + "    if x:\n        y = z\n    return 2\n",
     ["L202 2:8 a condition takes bools, and this is `int`", "L101 3:13 the name `z` is not known here"]),
    ('program p(x: {"a", "b"}) -> bool:\n    return x < "b" or x == 3\n',
     ["L202 2:12 `<` takes numbers, and these are symbols", 'L202 2:23 `{"a", "b"}` and `int` cannot be compared']),
    ('program p(x: {"a"}, y: {"b"}) -> bool:\n    return x == y\n',
     ['L202 2:12 symbols of different alphabets are compared: `{"a"}` and `{"b"}`']),
    ("program p(x: real) -> real:\n    return x ** 0.5\n", ["L202 2:12 `**` takes an int exponent, not 1/2"]),
    ("program p(v: int[2], x: real) -> int:\n    return v[x]\n",
     ["L202 2:14 an index is an int, a bool or a symbol, not `real`"]),
    # L203, L209, L218
    ('program p(x: {"a", "b"}) -> int:\n    return match x: "a" => 1\n', ['L203 2:12 this match does not cover "b"']),
    ('program p(x: {"a", *}) -> int:\n    return match x: "a" => 1\n',
     ["L203 2:12 this match does not cover the symbols under `*`"]),
    ("program p(x: int[0..5]) -> int:\n    return match x: 0..3 => 1, 5 => 2\n",
     ["L203 2:12 this match does not cover 4"]),
    ("program p(x: bool) -> int:\n    return match x: false => 2\n", ["L203 2:12 this match does not cover true"]),
    (P + "    return match x: 0 => 1\n", ["L203 2:12 this match does not cover every int"]),
    (P + "    return match x: 1 => 1, 1 => 2, 5..9 => 4, 6 | 7 => 5, _ => 3, 4 => 4\n",
     ["L209 2:29 an earlier pattern takes all that this one matches",
      "L209 2:48 an earlier pattern takes all that this one matches",
      "L209 2:52 an earlier pattern takes all that this one matches",
      "L209 2:68 no value reaches the arms after `_`"]),
    ("program p(x: int[0..3]) -> int:\n    return match x: 0..3 => 1, 7 => 2\n",
     ["L218 2:32 the pattern 7 is outside `int[0..3]`"]),
    # L204, L213, L217
    (P + "    state s: int[0..8] = 9\n    y: int[0..3] = 5\n    s := 11\n    return s\n",
     ["L204 2:26 `s` leaves its range int[0..8]", "L204 3:20 `y` leaves its range int[0..3]",
      "L204 4:5 `s` leaves its range int[0..8]"]),
    ("const G: real[0..1 by 1/4] = 1/3\n\n" + P + "    return x\n",
     ["L204 1:30 `G` leaves its range real[0..1 by 1/4]"]),
    ("program p(x: int[5..3]) -> int:\n    return clamp(1, 3, 2)\n", ["L213 1:14 the range 5..3 is empty",
                                                                      "L213 2:12 the range 3..2 is empty"]),
    ("program p(v: int[3], i: int[0..9]) -> int:\n    state w: int[2] = 0\n    w[2] := 1\n"
     "    return v[3] + v[-1] + v[0..3]\n",
     ["L217 3:7 the index 2 is outside 0..1: the vector has 2 elements",
      "L217 4:14 the index 3 is outside 0..2: the vector has 3 elements",
      "L217 4:21 the index -1 is outside 0..2: the vector has 3 elements",
      "L217 4:32 the index 3 is outside 0..2: the vector has 3 elements"]),
    # L205
    ("program p(u: int[3], v: int[4]) -> int[3]:\n    return u + v\n",
     ["L205 2:12 these have different sizes: `[3]` and `[4]`"]),
    ("program p(u: int[3]) -> int[4]:\n    return u\n",
     ["L205 2:12 the result is `int[4]`, and this is `int[3]`: the sizes differ"]),
    ("program p(u: int[3]) -> int:\n    y = u[2..1]\n    return zeros(3) @ ones(2) + x[0]\n",
     ["L205 2:11 the slice 2..1 is empty, and a vector has at least one element",
      "L205 3:12 `int[3]` @ `int[2]`: 3 columns meet 2 rows", "L101 3:33 the name `x` is not known here"]),
    (P + "    return x[0] + sum(x)\n", ["L205 2:12 only a vector has elements, and this is `int`",
                                    "L205 2:19 a vector is needed, and this is `int`"]),
    ("program p(u: bool[2]) -> int:\n    return 1 if u[0..1] == u else zeros(0)\n",
     ["L205 2:41 a vector has at least one element, not 0"]),
    # L206, L207, L208
    (P + "    state s: int = x\n    for i in 0..x:\n        y = i\n    return s\n",
     ["L206 2:20 the initial value of `s` must be known at compile time, and this changes from token to token",
      "L206 3:17 the upper bound must be known at compile time, and this changes from token to token"]),
    ("const N = count(true)\n\nprogram p(x: int, y: int) -> int:\n    return x // y + delay(x, y, 0)\n",
     ["L206 1:11 a constant cannot be computed by a def that has state",
      "L206 4:12 `//` divides by one constant",
      "L206 4:30 `k` of `delay` must be known at compile time, and this changes from token to token"]),
    ("program p(x: int) -> real:\n    return x / 0 + x % -2 + log(0)\n",
     ["L207 2:12 division by zero", "L207 2:20 `%` divides by a positive constant, not -2",
      "L207 2:29 this constant has no finite value"]),
    ("def f[n](x: int) -> int:\n    return x + n\n\n" + P + "    return f(x)\n",
     ["L208 5:12 `n` of `f[n]` cannot be found from the arguments"]),
    # L210 to L216, L219
    (P + "    return sum([i for i in 1..1000000])\n",
     ["L210 2:28 1..1000000 has more than 100000 values, and each is unrolled"]),
    ("const A = 10 ** 1000\nconst B = A ** 1000\nconst C = 1 / A / A / A / A / A\n\n" + P + "    return x\n",
     ["L210 2:11 this constant has more than 4000 digits", "L210 3:11 this constant has more than 4000 digits"]),
    ("program p(x: (a: int)) -> int:\n    return 1\n",
     ["L211 1:14 a record can only be the result of a program or def"]),
    ("const A = 3\n\nprogram p(x: A) -> int:\n    return 1\n", ["L212 3:14 `A` is not a type, but `int`"]),
    ('program p(x: {"a", "a"}) -> int:\n    return 1\n',
     ['L214 1:20 the symbol "a" stands twice in this alphabet']),
    (P + '    return "a" + x\n', ['L215 2:12 which alphabet the text "a" belongs to is not known here']),
    ('program p(x: {"a", "b"}) -> bool:\n    return x == "c"\n',
     ['L216 2:17 the symbol "c" is not in the alphabet {"a", "b"}']),
    ("program p(x: int) -> int:\n    return size(int) + sum(onehot(x))\n",
     ["L219 2:12 there is no end of values of `int`",
      "L219 2:28 `onehot` takes a value of a finite type, and this is `int`"]),
    # L3
    (P + "    y = 3\n    y = 4\n    y := 5\n    z := 6\n    return y\n",
     ["L302 3:5 `y` is named on line 2 already, and a name is given once",
      "L301 4:5 `y` is not a state, so it has no new value", "L301 5:5 the state `z` is not declared"]),
    (P + "    state s: int = 0\n    s = 3\n    for x in 0..1:\n        s := 1\n    return s\n",
     ["L302 3:5 `s` is a state, declared on line 2", "L302 4:9 `x` is named already, and a name is given once"]),
    (P + "    y = s\n    s := 4\n    state s: int = 0\n    return s\n",
     ["L303 2:9 `s` is used before line 4 declares it", "L303 3:5 `s` is used before line 4 declares it"]),
    (P + "    y = x\n", ["L304 1:9 `p` returns nothing"]),
    (P + "    if x > 0:\n        return 1\n    return 2\n    y = 3\n",
     ["L305 3:9 `return` stands last in a body, outside `if` and `for`", "L305 5:5 nothing can follow `return`"]),
    (P + "    if x > 0:\n        state s: int = 0\n    return x\n",
     ["L306 3:9 `state` stands at the top of a body, not inside `if` or `for`"]),
    # L5, L6
    (P + '    assert 1 == 2, "no"\n    return x\n', ["L501 2:5 assertion failed: no"]),
]


@pytest.mark.parametrize("text, expected", CASES, ids=[c[1][0].split(" the ")[0][:40] for c in CASES])
def test_errors(text: str, expected: list[str]) -> None:
    assert shown(text) == expected


HELP = [
    (P + "    return cuont(x > 0)\n", "did you mean `count`?"),
    (P + "    return x + (x > 0)\n", "write int(…) for 0 or 1"),
    ('program p(x: {"open", "close"}) -> bool:\n    return x == "opne"\n', 'did you mean "open"?'),
    ('program p(x: {"a", *}) -> bool:\n    return x == "q"\n',
     "it falls under `*`, together with all others; name it in the alphabet to tell it apart"),
    ('program p(x: {"a", "b"}) -> int:\n    return match x: "a" => 1\n',
     'add an arm "b" => …, or _ => … for all that is left'),
    ('program p(x: {"a", "b"}) -> bool:\n    return x < "b"\n', "code(x) is its index in its alphabet"),
    (P + "    if x > 0:\n        return 1\n    return 2\n", "choose the value before: return a if c else b"),
    (P + "    state depht: int = 0\n    depth := 1\n    return x\n", "did you mean `depht`?"),
    ("def f(x: int, scale: int) -> int:\n    return x\n\n" + P + "    return f(x, 1, 2)\n",
     "its parameters are x, scale"),
    ("def f(x: int, scale: int) -> int:\n    return x\n\n" + P + "    return f(x, skale = 2)\n",
     "did you mean `scale`?"),
]


@pytest.mark.parametrize("text, expected", HELP)
def test_help(text: str, expected: str) -> None:
    assert one_error(text).help == expected


def test_an_error_is_shown_with_its_line_and_caret() -> None:
    assert one_error(P + "    state s: int[0..8] = 9\n    return s\n").render() == (
        "error[L204]: `s` leaves its range int[0..8]\n"
        "  ┌─ t:2:26\n"
        "  │\n"
        "2 │     state s: int[0..8] = 9\n"
        "  │                          ^ is 9\n"
        "  = help: widen the range, or clamp(9, 0, 8)")


def test_one_error_poisons_what_uses_it() -> None:
    text = (P + "    state s: int = q\n    y = r\n    z = y + s + (y if y else y)\n    s := y[z]\n"
            "    return [z, y][s].foo\n")
    assert shown(text) == ["L101 2:20 the name `q` is not known here", "L101 3:9 the name `r` is not known here"]


def test_all_errors_of_all_definitions_come_at_once() -> None:
    text = ("type T = int[a..3]\nconst C = 1 + true\n\ndef f(x: int) -> int:\n    return x and x\n\n"
            "program p(x: T) -> int:\n    return f(C) + y\n\nprogram q(x: int) -> bool:\n    return f(x)\n")
    assert [e.split()[1] for e in shown(text)] == ["1:14", "2:15", "5:12", "5:18", "8:19"]


def test_errors_inside_the_library_are_shown_at_the_call() -> None:
    found = one_error(P + "    return occurrences(x)\n")
    assert (found.code, found.span.line, found.span.column) == ("L219", 2, 12)
    assert found.notes[0][0] == "raised inside `counts` of the standard library"


def test_errors_in_a_generic_def_name_the_call() -> None:
    found = one_error("def f[K](x: K) -> int:\n    return x + 1\n\nprogram p(x: bool) -> int:\n    return f(x)\n")
    assert (found.code, found.span.line, found.span.column) == ("L202", 2, 12)
    assert [(text, str(place)) for text, place in found.notes] == [("in this call of `f`", "t:5:12")]


def test_an_error_in_a_def_called_twice_is_told_once() -> None:
    text = "def f(x: int) -> int:\n    return x + true\n\n" + P + "    return f(x) + f(2) + f(f(x))\n"
    assert shown(text) == ["L202 2:16 `+` takes numbers, and this is `bool`"]


def test_names_in_defs_that_nobody_calls_are_looked_up() -> None:
    text = ("def f[n](v: int[n], const k: int) -> int:\n    state s: int[m] = 0\n    for i in 0..n:\n"
            "        s := i + j\n    return sum([a + c for a in v]) + coutn(k)\n")
    assert shown(text) == ["L101 2:18 the name `m` is not known here", "L101 4:18 the name `j` is not known here",
                           "L101 5:21 the name `c` is not known here",
                           "L101 5:38 the function `coutn` is not known here"]


def test_a_generic_program_is_checked() -> None:
    assert shown("program p[n](v: int[n]) -> int:\n    return v\n")[0].startswith("L205 2:12")
    assert errors("program p[n](v: int[n]) -> int:\n    return v[6]\n") == ()
    assert errors("program p[n](v: int[n]) -> int:\n    return v[60]\n") == ()
    differing = "program p[n](v: int[n]) -> int:\n    return sum(v[0..2] + v[0..n - 2]) + true\n"
    assert shown(differing) == ["L202 2:41 `+` takes numbers, and this is `bool`"]
    assert errors("program p[K](x: K) -> int:\n    return size(K)\n") == ()


def test_what_expands_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "EXPANSION_LIMIT", 2000)
    defs = "".join(f"def f{i}(x: int) -> int:\n    return f{i + 1}(x) + f{i + 1}(x)\n\n" for i in range(60))
    (found,) = errors(P + "    return f0(x)\n\n" + defs + "def f60(x: int) -> int:\n    return x\n")
    assert found.code == "L210" and "expands to more than" in found.message


def test_long_chains_of_constants() -> None:
    n = 2000
    forward = "const A0 = 1\n" + "".join(f"const A{i} = A{i - 1} + 1\n" for i in range(1, n))
    assert errors(forward) == ()
    backward = "".join(f"const A{i} = A{i + 1} + 1\n" for i in range(n)) + f"const A{n} = 1\n"
    assert {d.code for d in errors(backward)} == {"L111"}


def test_calls_nested_too_deeply_are_refused() -> None:
    defs = "".join(f"def f{i}(x: int) -> int:\n    return f{i + 1}(x)\n\n" for i in range(250))
    found = errors(P + "    return f0(x)\n\n" + defs + "def f250(x: int) -> int:\n    return x\n")
    assert {d.code for d in found} == {"L111"}


def test_very_deep_expressions_inside_deep_calls() -> None:
    deep = "(" * 90 + "x" + " + 1)" * 90
    defs = "".join(f"def f{i}(x: int) -> int:\n    return f{i + 1}({deep})\n\n" for i in range(100))
    assert errors(P + "    return f0(x)\n\n" + defs + "def f100(x: int) -> int:\n    return x\n") == ()
