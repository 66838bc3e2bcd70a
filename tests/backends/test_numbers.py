"""Technology R on numbers: interpreter, circuit and torch module agree on every kind of map and cell, bit for bit."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

import tests.random_graphs as random_graphs
from lsrl.backends.circuit import Number
from lsrl.backends.registry import compile_graph
from lsrl.diagnostics import LsrlError
from lsrl.ir.printer import print_graph
from lsrl.types import BOOL, Int, Real
from tests.backends.texts import agree, as_tensors, circuit_of, expected, graph_of, random_rows

ABC = 'type K = {"a", "b", "c", "d"}\n'
BRACKET = 'type C = {"(", ")"}\n'
CELLS = {
    "count": ("program p(x: bool) -> int:\n    return count(x)\n", 1),
    "sum": ("program p(x: int[-5..5]) -> int:\n    state n: int = 3\n    n := n + x\n    return n\n", 2),
    "sum of reals": ("program p(x: real[-2..2 by 1/10]) -> real:\n    state s: real = 1/2\n    s := s + x / 3\n"
                     "    return s\n", 2),
    "running maximum": ("program p(x: int[-50..300]) -> int:\n    return running_max(x)\n", 2),
    "running minimum": ("program p(x: int[-50..300]) -> int:\n    return running_min(x)\n", 2),
    "clamped walk": ("program p(x: int[-3..3]) -> int:\n    state s: int[0..90] = 4\n    s := clamp(s + x, 0, 90)\n"
                     "    return s\n", 2),
    "reflected walk": ("program p(x: int[-3..3]) -> int:\n    state s: int = 0\n    s := max(s + x, 0)\n"
                       "    return s\n", 1),
    "queue": (BRACKET + 'program p(t: C) -> int:\n    state n: int = 0\n    if t == "(":\n        n := n + 1\n'
              "    elif n > 0:\n        n := n - 1\n    return n\n", 3),
    "delayed number": ("program p(x: int[-300..300]) -> int[3]:\n    return window(x, 3, -7)\n", None),
    "delayed symbol": (ABC + 'program p(x: K) -> K:\n    return delay(x, 3, "c")\n', None),
    "histogram": (ABC + "program p(x: K) -> int[4]:\n    return counts(x)\n", 4),
    "since": ("program p(x: bool) -> int:\n    return since(x)\n", None),
    "run length": (ABC + "program p(x: K) -> int:\n    return run_length(x)\n", None),
    "hold": ("program p(x: int[-100..100], c: bool) -> int:\n    return hold(x, c, 7)\n", None),
    "recall": (ABC + "program p(k: K, v: int[0..300], q: K) -> int:\n    return recall(k, v, q, 0)\n", None),
    "rotation": ("program p(x: int[-1..1]) -> int[2]:\n    state a: int = 1\n    state b: int = 0\n    n = x - b\n"
                 "    b := a\n    a := n\n    return [a, b]\n", None),
    "modulo": ("program p(x: int[0..20]) -> int:\n    state m: int[0..6] = 2\n    m := (m + x) % 7\n"
               "    return m\n", None),
    "clock of 200": ("program p(x: bool) -> int:\n    state m: int[0..199] = 0\n    m := 0 if m == 199 else m + 1\n"
                     "    return m\n", None),
    "clocks in one": ("program p(x: bool) -> int[2]:\n    state s: int[0..1] = 0\n    state n: int = 0\n"
                      "    s := 1 - s if x else s\n    n := n + s\n    return [n, s]\n", None),
    "majority": ("program p(x: bool) -> bool:\n    return count(x) > count(not x)\n", None),
    "broken for ever": (BRACKET + 'program p(t: C) -> (ok: bool, n: int):\n    state n: int = 0\n'
                        "    state broken: bool = false\n    if not broken:\n"
                        '        n := n + (1 if t == "(" else -1)\n        broken := n < -2\n'
                        "    return (ok = n == 0 and not broken, n = n)\n", None),
    "two counters, one control": (ABC + "program p(x: K) -> (ok: bool, m: int):\n    state n: int = 0\n"
                                  "    state m: int = 0\n    state bad: bool = false\n    if not bad:\n"
                                  '        n := n + (match x: "a" => 1, "b" => -1, _ => 0)\n'
                                  '        m := m + (match x: "c" => 1, "d" => -1, _ => 0)\n'
                                  "    bad := bad or n < 0 or m < 0 or n - m > 3\n"
                                  "    return (ok = n == m and not bad, m = m)\n", None),
    "most frequent": (ABC + "program p(x: K) -> K:\n    return most_frequent(x)\n", None),
    "RASP": (ABC + "program p(x: K) -> (w: int, a: int):\n    s = select(x, x, ==)\n"
             "    return (w = width(s), a = aggregate(s, code(x)))\n", None),
    "words": ("program p(b: byte) -> int:\n    s = b == 32 or b == 10\n"
              "    return count(not s and prev(s, true))\n", None),
    "unbounded input": ("program p(x: int) -> (a: int, b: int, c: bool):\n"
                        "    return (a = running_max(x), b = running_sum(x), c = x > 3)\n", None),
    "vector state": ("program p(i: int[0..3], x: int[-99..99]) -> int[4]:\n    state v: int[4] = [0, 1, 2, 3]\n"
                     "    v[i] := v[i] + x\n    return v\n", None),
}
MAPS = {
    "comparisons": "a > b, a >= b, a == b, a != b, a < 3, b <= -2, a == 7",
    "choice": "(a if c else b), (b if a > b else a), (5 if c else -2), (c if a > 0 else b > 1), (a if a == b else 1)",
    "extremes": "max(a, b), min(a, b), max([a, b, 3]), min([a, -b, 2]), abs(a), abs(a - b), clamp(a, -3, 9), relu(b), "
                "sign(a), step(b)",
    "division": "a // 7, a % 13, b // 2, (a + b) % 3, a // 1000, (3 * a - b) // 40, (a - b) % 500",
    "products": "a * int(c), d * d, a * d, b * 3, d * int(a > b)",
    "logic": "c and a > 0 or b > 0, not (c and a < b), (c and a > 0 and b > 0 and d > 2) or a == b",
    "tables": "(match d: 0 => 7, 1 => -2, _ => 4), (match b: 0 => a, 1 => 2, _ => -1)",
    "linear": "a - 2 * b + 3, -a, a + a, a - a, int(c) + a, d + 1",
    "same token": "a + (max(a, b) if max(a, b) > 3 else min(a, b)) // 2",
}


@pytest.mark.parametrize("name", CELLS)
def test_cells(name: str) -> None:
    text, width = CELLS[name]
    graph = graph_of(text)
    model = agree(graph, [random_rows(graph, 80, seed) for seed in range(2)])
    if width is not None:
        assert model.certificate.width == width
    assert len(model.layers) == len(model.certificate.widths)


@pytest.mark.parametrize("name", CELLS)
def test_cells_in_float64(name: str) -> None:
    graph = graph_of(CELLS[name][0])
    agree(graph, [random_rows(graph, 40, 9)], dtype=torch.float64)


@pytest.mark.parametrize("name", MAPS)
def test_maps(name: str) -> None:
    fields = _split(MAPS[name])
    types = ["bool" if any(o in f for o in (" > ", " >= ", "==", "!=", " < ", "<=", "and", "not")) and " if " not in f
             and "int(" not in f else "int" for f in fields]
    if name == "choice":
        types[3] = "bool"
    outputs = ", ".join(f"o{i}: {t}" for i, t in enumerate(types))
    values = ", ".join(f"o{i} = {f}" for i, f in enumerate(fields))
    graph = graph_of(f"program p(a: int[-100..400], b: int[-300..2], c: bool, d: int[0..5]) -> ({outputs}):\n"
                     f"    return ({values})\n")
    agree(graph, [[{**row, "b": min(2, max(-300, int(str(row["a"])) - 2))} if i % 3 == 0 else row  # near each other
                   for i, row in enumerate(random_rows(graph, 60, seed))] for seed in range(2)])


def _split(text: str) -> list[str]:
    """At the commas outside brackets."""
    out, depth = [""], 0
    for ch in text:
        depth += (ch in "([") - (ch in ")]")
        if ch == "," and not depth:
            out.append("")
        else:
            out[-1] += ch
    return [f.strip() for f in out]


def test_division_of_a_wide_range_takes_levels() -> None:
    graph = graph_of("program p(x: int[-70000..70000]) -> int[2]:\n    return [x // 7, x % 7]\n")
    model = agree(graph, [random_rows(graph, 40, 2) + [{"x": v} for v in (-70000, 70000, -1, 0, 6, 7, -7, -8)]])
    assert len(model.certificate.widths) > 1
    assert model.certificate.width < 1000


def test_reals_on_a_grid_are_exact() -> None:
    graph = graph_of("""
        program p(x: real[-3..3 by 1/10], y: real[0..1 by 1/8]) -> (s: real, big: bool, m: real, k: int):
            s = x / 3 + 2 * y
            return (s = s, big = s > 1/7, m = max(x, y), k = (x + y) // 1)
    """)
    agree(graph, [random_rows(graph, 60, seed) for seed in range(2)])


def test_functions_of_one_variable_need_no_layer() -> None:
    graph = graph_of(ABC + 'program p(x: K) -> (a: bool, n: int):\n    n = match x: "a" => 5, "b" => 5, _ => -2\n'
                           '    return (a = n == 5 or x == "d", n = n * n)\n')
    assert circuit_of(graph).width == 0


def test_nothing_is_made_that_no_output_reads() -> None:
    graph = graph_of("program p(x: bool, y: int) -> int:\n    state a: int = 0\n    state b: int = 0\n"
                     "    a := a + int(x)\n    b := b + y\n    return a\n")
    circuit = circuit_of(graph)
    assert circuit.width == 1
    assert {c.input for c in circuit.columns} == {"x"}


@pytest.mark.parametrize("name", ["count", "sum", "clamped walk", "running maximum", "queue", "rotation", "majority",
                                  "broken for ever", "two counters, one control", "sum of reals", "delayed number"])
def test_states_can_be_read_and_written(name: str) -> None:
    """`probe` shows what the interpreter holds, and what `poke` sets is continued from."""
    from lsrl.interpreter import Interpreter
    from lsrl.passes import run_pipeline

    graph = run_pipeline(graph_of(CELLS[name][0]))
    model = compile_graph(graph, "rnn_relu")
    rows = random_rows(graph, 30, 4)
    held = Interpreter(graph).initial_state()
    state = model.initial_state(1)
    for i, row in enumerate(rows):
        _, held = Interpreter(graph).step(held, row, i)
        _, state = model(as_tensors(graph, [[row]]), state)
        for variable in model.variables:
            value = held[variable]
            assert model.probe(state, variable).tolist() == [float(value) if isinstance(value, Fraction) else value]
    assert model.variables
    if name == "two counters, one control":
        with pytest.raises(LsrlError, match="can only be read"):
            model.poke(model.initial_state(1), "n", 2)
        return
    after = model.initial_state(1)
    for variable in model.variables:
        after = model.poke(after, variable, held[variable])
    want = list(Interpreter(graph).run(rows, held))
    got, _ = model.outputs_of(as_tensors(graph, [rows]), after)
    for output, values in got.items():
        assert values[0].tolist() == [_float(row[output]) for row in want]


def _float(value: object) -> object:
    if isinstance(value, tuple):
        return [_float(v) for v in value]
    return float(value) if isinstance(value, Fraction) else value


REFUSALS = {
    "real without a grid": ("program p(x: real) -> bool:\n    return x > 0\n", "L404", "grid"),
    "growing grid": ("program p(x: real[-1..1 by 1/8]) -> real:\n    return ema(x, 1/2)\n", "L404", "grid"),
    "transcendental": ("program p(x: real) -> real:\n    return sqrt(x)\n", "L405", "sqrt"),
    "product of numbers": ("program p(x: int, y: int) -> int:\n    return x * y\n", "L402", "multiplied"),
    "division of an unbounded number": ("program p(x: int) -> int:\n    return x // 3\n", "L402", "divided"),
    "feedback too deep": ("program p(x: int[-9..9]) -> int:\n    state s: int = 0\n    state t: int = 0\n"
                          "    u = max(s, t + x)\n    s := max(u - t, x)\n    t := min(u, 3 * s)\n    return s + t\n",
                          "L402", "piecewise"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_have_a_place_and_a_reason(name: str) -> None:
    text, code, word = REFUSALS[name]
    with pytest.raises(LsrlError) as caught:
        compile_graph(graph_of(text), "rnn_relu")
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert word in found.message
    assert "rnn_relu" in found.message
    assert found.span.text in text or found.span.source.name.startswith("<std>")
    assert found.help


def test_a_number_that_is_never_positive_has_no_unit_for_what_is_above_zero() -> None:
    graph = graph_of("program p(x: bool) -> int:\n    state s: int = 0\n    was = s\n    s := 2 * s - 2\n"
                     "    return was\n")
    circuit = circuit_of(graph)
    assert all(not isinstance(u, Number) or u.hi is None for layer in circuit.layers for u in layer)
    agree(graph, [[{"x": False}] * 8], compile_graph(graph, "rnn_relu"), circuit=circuit)


GRID = Real(Fraction(-1), Fraction(2), Fraction(1, 2))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_graphs(data: st.DataObject) -> None:
    """Whatever is not refused is right: the circuit always, the module up to its horizon."""
    random_inputs = (BOOL, Int(-2, 3), random_graphs.AB, GRID, Int(), Int(0, 300), Int(-40, None))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(random_graphs, "INPUT_TYPES", random_inputs)
        graph = data.draw(random_graphs.graphs(most_nodes=24))
    rows = data.draw(st.lists(st.fixed_dictionaries({n.name: random_graphs.values_of(n.type) for n in graph.inputs}),
                              min_size=6, max_size=10))
    rows = rows[: len(expected(graph, rows))]
    assume(rows)
    note(print_graph(graph))
    try:
        circuit = circuit_of(graph)
        model = compile_graph(graph, "rnn_relu")
        model(as_tensors(graph, [rows]))
    except LsrlError as error:
        if not error.diagnostics[0].code.startswith("L40"):
            raise
        return
    agree(graph, [rows], model, circuit=circuit)
    for layer in circuit.layers:
        assert all(not isinstance(u, Number) or u.hi is None or u.hi > 0 for u in layer)


def test_units_that_are_never_positive_are_left_out() -> None:
    """`s` doubles below 0, so that of its two halves one is 0 for ever."""
    graph = graph_of("program p(a: bool) -> (y: int):\n    state s: int = 0\n    state t: int = 0\n"
                     "    t := s\n    s := s + s - 1\n    return (y = t)\n")
    circuit = circuit_of(graph)
    assert all(isinstance(u, Number) and u.hi is None for layer in circuit.layers for u in layer)
    rows = random_rows(graph, 12, 1)
    assert [x["y"] for x in circuit.simulate(rows)] == [x["y"] for x in expected(graph, rows)]
    assert Fraction(str(expected(graph, rows)[-1]["y"])) < -1000
