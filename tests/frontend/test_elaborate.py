"""What programs mean: state, branches, loops, calls, generics, records."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from lsrl.interpreter import RunError
from lsrl.ir.nodes import Affine, Mux, Table
from tests.frontend.elaboration import graph_of, outputs

HALF = Fraction(1, 2)


def program(body: str, inputs: str = "x: int", result: str = "int", before: str = "") -> str:
    """A program of statements split by newlines."""
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    return f"{before}program p({inputs}) -> {result}:\n{lines}"


def test_balanced() -> None:
    text = '''type Char = {"(", ")", *}

program balanced(tok: Char) -> bool:
    """True while the text so far is a balanced bracket string."""
    state depth: int = 0
    state broken: bool = false
    depth := depth + match tok: "(" => 1, ")" => -1, _ => 0
    broken := broken or depth < 0
    return depth == 0 and not broken
'''
    graph = graph_of(text)
    assert [s.name for s in graph.states] == ["depth", "broken"]
    assert graph.doc == "True while the text so far is a balanced bracket string."
    assert dict(graph.names)["depth"] is graph.state["depth"].next
    got = "".join("ny"[v] for v in outputs(text, list("(a)") + list("())(")))
    assert got == "nnynynn"


def test_state_reads_old_above_and_new_below() -> None:
    body = ("state s: int = 5\nbefore = s\ns := s + x\nbetween = s\ns := s * 2\n"
            "return 10000 * before + 100 * between + s")
    assert outputs(program(body), [1, 2]) == [50612, 121428]


def test_a_state_not_assigned_keeps_its_value() -> None:
    body = "state s: int = 0\nif x > 0:\n    s := x\nreturn s"
    assert outputs(program(body), [0, 3, -1, 4]) == [0, 3, 3, 4]


def test_elif_chain_takes_the_first_branch_that_holds() -> None:
    body = ("state s: int = 0\nstate t: int = 0\nif x > 10:\n    s := 1\nelif x > 5:\n    s := 2\n    t := t + 1\n"
            "elif x > 7:\n    s := 3\nelse:\n    s := s + 10\nreturn 100 * t + s")
    assert outputs(program(body), [11, 6, 8, 0, 0]) == [1, 102, 202, 212, 222]


def test_nested_if_reads_what_the_branch_assigned() -> None:
    body = ("state s: int = 0\nif x > 0:\n    s := s + 1\n    if s > 2:\n        s := 0\n"
            "    else:\n        s := s + 1\nreturn s")
    assert outputs(program(body), [1, 1, 0, 1, 1]) == [2, 0, 0, 2, 0]


def test_a_branch_not_taken_keeps_what_was_assigned_above() -> None:
    body = ("state s: int = 0\nstate v: int[2] = 0\ns := x + 1\nv[0] := x\nif x > 2:\n    s := 0\n    v[1] := 5\n"
            "elif x > 1:\n    if x > 0:\n        v[0] := 7\nreturn 100 * s + 10 * v[0] + v[1]")
    assert outputs(program(body), [1, 3, 2]) == [210, 35, 375]


def test_names_in_branches_are_local() -> None:
    body = "state s: int = 0\nif x > 0:\n    y = x + 1\n    s := y\nelse:\n    y = x - 1\n    s := y\nreturn s"
    assert outputs(program(body), [3, -3]) == [4, -4]


def test_a_condition_known_at_compile_time_leaves_one_branch() -> None:
    before = "const WIDE = false\n"
    body = "state s: int = 0\nif WIDE:\n    s := x / 2\nelse:\n    s := x\nreturn s"
    assert outputs(program(body, before=before), [3]) == [3]


def test_operands_decided_at_compile_time_are_not_elaborated() -> None:
    body = ("a = 1 if n > 2 else v[7]\nb = int(n > 5 and v[7] > 0)\nc = int(n < 5 or v[7] > 0)\n"
            "d = match n: 3 => 4, _ => v[7]\nreturn 1000 * a + 100 * b + 10 * c + d")
    assert outputs(program(body, "v: int[2]", before="const n = 3\n"), [[0, 0]]) == [1014]


def test_calls_have_state_of_their_own() -> None:
    before = "def total(x: int) -> int:\n    state n: int = 0\n    n := n + x\n    return n\n\n"
    body = "a = total(x)\nb = total(2 * x)\nreturn a * 100 + b + total(0)"
    text = program(body, before=before)
    assert outputs(text, [1, 2]) == [102, 306]
    assert [s.name for s in graph_of(text).states] == ["total.n", "total#2.n", "total#3.n"]


def test_nested_calls_have_dotted_names() -> None:
    before = ("def inner(x: int) -> int:\n    state n: int = 0\n    n := n + x\n    return n\n\n"
              "def outer(x: int) -> int:\n    y = inner(x)\n    return inner(y) + y\n\n")
    graph = graph_of(program("return outer(x)", before=before))
    assert [s.name for s in graph.states] == ["outer.inner.n", "outer.inner#2.n"]
    assert [n for n, _ in graph.names] == ["x", "outer.x", "outer.inner.x", "outer.inner.n", "outer.y",
                                          "outer.inner#2.x", "outer.inner#2.n"]


def test_a_call_in_a_branch_steps_only_where_it_is_taken() -> None:
    body = "state s: int = 0\nif x > 0:\n    s := count(true)\nreturn s"
    assert outputs(program(body), [1, 0, 0, 1]) == [1, 1, 1, 2]


def test_a_call_in_an_elif_condition_belongs_to_the_else() -> None:
    body = "state s: int = 0\nif x > 0:\n    s := 100\nelif count(true) == 2:\n    s := 7\nelse:\n    s := 1\nreturn s"
    assert outputs(program(body), [0, 1, 0, 0]) == [1, 100, 7, 1]


@pytest.mark.parametrize("expression", [
    "count(true) if x > 0 else 0", "(match x > 0: true => count(true), false => 0)",
    "int(x > 0 and count(true) > 1) + int(x > 0)",
])
def test_operands_step_at_every_token(expression: str) -> None:
    assert outputs(program(f"return {expression}"), [0, 1, 0, 1])[1] == 2


def test_loops_are_unrolled_with_both_ends() -> None:
    body = "state s: int = 0\nfor i in 1..3:\n    s := s * 10 + i * x\nfor i in 3..2:\n    s := 0\nreturn s"
    assert outputs(program(body), [1, 0]) == [123, 123000]


def test_each_turn_of_a_loop_is_its_own_copy() -> None:
    body = "state s: int = 0\nfor i in 1..2:\n    s := s + count(x >= i)\nreturn s"
    assert outputs(program(body), [1, 2]) == [1, 4]
    assert [s.name for s in graph_of(program(body)).states] == ["s", "count.n", "count#2.n"]


def test_a_loop_over_a_vector_and_over_texts() -> None:
    body = ('state s: int = 0\nfor v in [x, 2 * x]:\n    s := s + v\n'
            'for c in ["a", "b"]:\n    s := s + int(t == c)\nreturn s')
    assert outputs(program(body, 'x: int, t: {"a", "b", "c"}'), [{"x": 1, "t": "b"}, {"x": 0, "t": "c"}]) == [4, 4]


def test_vector_elements_assigned_by_constant_and_stream() -> None:
    body = "state v: int[3] = [7, 8, 9]\nv[0] := v[1]\nv[i] := v[i] + 1\nreturn v"
    got = outputs(program(body, "i: int[0..2]", "int[3]"), [0, 2, 1])
    assert got == [(9, 8, 9), (8, 8, 10), (8, 9, 10)]


def test_vector_elements_by_symbol_and_bool() -> None:
    body = "state v: int[2] = 0\nstate w: int[2] = 0\nv[s] := v[s] + 1\nw[b] := w[b] + 1\nreturn 10 * v[s] + w[false]"
    rows = [{"s": "a", "b": True}, {"s": "b", "b": False}, {"s": "a", "b": False}]
    assert outputs(program(body, 's: {"a", "b"}, b: bool'), rows) == [10, 11, 22]


def test_matrix_elements_and_rows() -> None:
    body = "state m: int[2, 3] = 0\nm[i, 1] := x\nm[1] := [1, 2, 3]\nm[1, j] := 9\nreturn m"
    rows = [{"i": 0, "j": 2, "x": 5}, {"i": 1, "j": 0, "x": 6}]
    got = outputs(program(body, "i: int[0..1], j: int[0..2], x: int", "int[2, 3]"), rows)
    assert got == [((0, 5, 0), (1, 2, 9)), ((0, 5, 0), (9, 2, 3))]


def test_an_assignment_in_a_branch_keeps_the_other_elements() -> None:
    body = "state v: int[3] = 0\nif x > 0:\n    v[0] := x\nelse:\n    v[i] := -1\nreturn v"
    got = outputs(program(body, "x: int, i: int[0..2]", "int[3]"), [{"x": 4, "i": 0}, {"x": 0, "i": 2}])
    assert got == [(4, 0, 0), (4, 0, -1)]


def test_index_of_an_unbounded_int_is_checked_where_it_is_used() -> None:
    text = program("return v[i] if i < 3 and i >= 0 else -1", "v: int[3], i: int")
    assert outputs(text, [{"v": [5, 6, 7], "i": 2}, {"v": [5, 6, 7], "i": 100}]) == [7, -1]
    with pytest.raises(RunError) as error:
        outputs(program("return v[i]", "v: int[3], i: int"), [{"v": [5, 6, 7], "i": 3}])
    assert error.value.diagnostics[0].code == "L204"
    assert "the index `i` of a vector of 3 leaves 0..2" in str(error.value)


def test_ranges_of_states_are_checked_and_guarded_by_their_branch() -> None:
    body = "state d: int[0..2] = 0\nif x > 0:\n    d := d + 1\nreturn d"
    assert outputs(program(body), [1, 0, 1, 0]) == [1, 1, 2, 2]
    with pytest.raises(RunError) as error:
        outputs(program(body), [1, 1, 0, 1])
    assert error.value.position == 3
    assert "`d` leaves its range int[0..2]" in str(error.value)
    assert "becomes 3 when d is 2" in str(error.value)
    assert error.value.diagnostics[0].help == "widen the range, or clamp(d + 1, 0, 2)"


def test_ranges_that_types_show_need_no_check() -> None:
    before = "def f(q: int[0..9]) -> int[0..20]:\n    return q\n\n"
    body = "state s: int[0..9] = 0\ns := f(x) if f(x) == 3 else x\ns := x % 10\ns := clamp(x + 1, 2, 5)\nreturn s"
    assert graph_of(program(body.replace("f(x) if f(x) == 3 else ", ""), "x: int[0..9]", before=before)).checks == ()


def test_grids_are_checked() -> None:
    body = "state s: real[0..1 by 1/4] = 0\ns := x\nreturn s"
    assert outputs(program(body, "x: real", "real"), [Fraction(3, 4)]) == [Fraction(3, 4)]
    with pytest.raises(RunError):
        outputs(program(body, "x: real", "real"), [Fraction(1, 3)])


def test_annotated_names_give_matches_their_domain() -> None:
    body = "q: int[0..2] = x\nreturn match q: 0 => 5, 1 => 6, 2 => 7"
    text = program(body)
    assert outputs(text, [0, 2]) == [5, 7]
    assert any(isinstance(n, Table) for n in graph_of(text).nodes)


def test_assert_and_assume() -> None:
    text = program('assume x > 0\nassert x < 5, "small"\nreturn x')
    checks = graph_of(text).checks
    assert [(c.kind, c.code) for c in checks] == [("assume", "L601"), ("assert", "L501")]
    with pytest.raises(RunError, match="assertion failed: small at token 1"):
        outputs(text, [1, 7])
    with pytest.raises(RunError, match="assumption"):
        outputs(text, [0])


def test_assert_in_a_branch_holds_where_it_is_not_taken() -> None:
    assert outputs(program("if x > 0:\n    assert x > 5\nreturn x"), [0, 6]) == [0, 6]


def test_records() -> None:
    before = ("def both(x: int) -> (low: int, high: int):\n    return (high = x + 1, low = x - 1)\n\n")
    body = "r = both(x)\ns = r if x > 0 else both(0)\nreturn (a = r.low, b = s.high > 2)"
    got = outputs(program(body, result="(a: int, b: bool)", before=before), [1, 5, -1])
    assert got == [{"a": 0, "b": False}, {"a": 4, "b": True}, {"a": -2, "b": False}]


def test_a_record_is_passed_on() -> None:
    before = "def both(x: int) -> (low: int, high: int):\n    return (low = x, high = x)\n\n"
    got = outputs(program("return both(x)", result="(low: real, high: int)", before=before), [1])
    assert got == [{"low": 1, "high": 1}]
    assert isinstance(got[0]["low"], Fraction)


def test_generics_from_arguments() -> None:
    before = ("def total[n](v: int[n]) -> int:\n    state s: int[n] = 0\n    s := s + v\n    return sum(s) * n\n\n"
              "def codes[K](x: K) -> int[size(K)]:\n    return onehot(x)\n\n"
              "def rest[n](x: int[0..n]) -> int[0..n]:\n    return n - x\n\n")
    body = 'return total([x, 1]) + sum(codes(c)) * 100 + rest(d)'
    rows = [{"x": 3, "c": "a", "d": 1}, {"x": 0, "c": "b", "d": 6}]
    assert outputs(program(body, 'x: int, c: {"a", "b"}, d: int[0..7]', before=before), rows) == [114, 111]


def test_generic_arguments_join() -> None:
    before = ("def later[T](x: T, const init: T) -> T:\n    state s: T = init\n    old = s\n    s := x\n"
              "    return old\n\n")
    graph = graph_of(program("return later(x, -1)", "x: int[0..9]", before=before))
    assert str(graph.states[0].type) == "int[-1..9]"
    graph = graph_of(program("return later(x, 0)", "x: int[0..9]", before=before))
    assert str(graph.states[0].type) == "int[0..9]"
    assert outputs(program('return later(c, "b")', 'c: {"a", "b"}', '{"a", "b"}', before), ["a", "a"]) == ["b", "a"]


def test_generic_programs_take_their_sizes() -> None:
    text = "program wide[n](x: int[n]) -> int:\n    return sum(x) + n\n"
    assert outputs(text, [[1, 2, 3]], n=3) == [9]
    other = ("program first[n](x: int[n]) -> int:\n    return x[0]\n\n"
             "program q(x: int) -> int:\n    return first([x, 2])\n")
    assert outputs(other, [4], "q") == [4]


def test_const_parameters_and_constants() -> None:
    before = ("const N = 2 ** 4 - 1\nconst LIST: real[2] = [1, 1/2]\n"
              "def power(x: int, const k: int) -> int:\n    return x ** k\n\n"
              "def square(x: int) -> int:\n    return x * x\n\nconst M = square(N)\n")
    body = "return power(x, k = 3) + N + M + LIST[1]"
    assert outputs(program(body, result="real", before=before), [2]) == [8 + 15 + 225 + HALF]


def test_texts_take_the_alphabet_of_the_place() -> None:
    before = 'type T = {"a", "b", *}\ndef same(x: T, y: T) -> bool:\n    return x == y\n\n'
    body = 'kind: T = "a" if n > 0 else "b"\nreturn match same(x, "a"): true => kind, false => x'
    assert outputs(program(body, "x: T, n: int", "T", before), [{"x": "a", "n": 0}, {"x": "q", "n": 1}]) == ["b", "*"]


def test_texts_without_an_alphabet_form_one() -> None:
    body = 'kind = match x: 0 => "none", 1 => "one", _ => "many"\nreturn kind == "many" or kind == "one"'
    assert outputs(program(body, result="bool"), [0, 1, 2]) == [False, True, True]


def test_comparisons_chain() -> None:
    assert outputs(program("return 0 <= x < 5 != y", "x: int, y: int", "bool"),
                   [{"x": 3, "y": 1}, {"x": 5, "y": 1}, {"x": 0, "y": 5}]) == [True, False, False]


def test_own_names_hide_the_library_and_built_in_functions() -> None:
    before = "def count(x: int) -> int:\n    return x + 100\n\ndef abs(x: int) -> int:\n    return 7\n\n"
    assert outputs(program("return count(x) + abs(x)", before=before), [1]) == [108]
    assert outputs(program("count = count(x > 0)\nreturn count + count(x > 0)"), [1, 1]) == [2, 4]


def test_lsrl_multiplies_streams() -> None:
    """LSRL's own compiler read `x * x` as one input, and put both parts of `concat(x*x, 10*x)` in one place."""
    assert outputs(program("return x * x"), [3, -4]) == [9, 16]
    assert outputs(program("return concat(x * x, 10 * x)", result="int[2]"), [3, -4]) == [(9, 30), (16, -40)]
    assert outputs(program("return x * y - x", "x: int, y: int"), [{"x": 3, "y": 5}]) == [12]


def test_long_chains_are_flat() -> None:
    n = 5000
    text = program("return x" + " + x" * n + " - 1" * n)
    (affine,) = [m for m in graph_of(text).nodes if isinstance(m, Affine)]
    assert affine.terms[0][0] == n + 1 and affine.bias == -n
    assert outputs(text, [2]) == [2 * n + 2 - n]


def test_deep_chains_of_names_and_calls() -> None:
    n = 3000
    body = "y0 = x\n" + "".join(f"y{i + 1} = y{i} * y{i}\n" for i in range(n)) + f"return y{n}"
    assert len(graph_of(program(body)).nodes) == n + 1
    defs = "".join(f"def f{i}(x: int) -> int:\n    return f{i + 1}(x) + 1\n\n" for i in range(150))
    text = program("return f0(x)", before=f"{defs}def f150(x: int) -> int:\n    return x\n\n")
    assert outputs(text, [0]) == [150]


def test_branches_of_one_value_are_no_choice() -> None:
    graph = graph_of(program("state s: int = 0\nif x > 0:\n    s := x\nelse:\n    s := x\nreturn s"))
    assert not any(isinstance(n, Mux) for n in graph.nodes)


def test_params_and_transcendentals() -> None:
    text = program("param w: real[2] = [1/2, 2]\nparam b: real = zeros\nreturn tanh(w @ [x, 0] + b)", "x: real", "real")
    graph = graph_of(text)
    assert graph.numeric and [p.name for p in graph.params] == ["w", "b"]
    (value,) = outputs(text, [0])
    assert value == 0.0 and isinstance(value, float)


def test_sizes_of_inputs_types_are_kept() -> None:
    graph: Any = graph_of(program("return 0", 'a: byte, b: real[0..1 by 1/10], c: {"x".."z", *}, d: bool[2, 3]'))
    assert [str(i.type) for i in graph.inputs] == ["byte", "real[0..1 by 1/10]", '{"x", "y", "z", *}', "bool[2, 3]"]
