"""What an index picks of several cells: one variable, one layer deep, however many cells there are."""

from __future__ import annotations

import pytest

from lsrl.backends.lower import threshold_circuit
from lsrl.backends.registry import compile_graph
from lsrl.backends.selections import index_of, selection
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Mux, Read
from lsrl.passes import run_pipeline
from tests.backends.texts import agree, expected, graph_of, random_rows

CELLS = """program cells(put: int[0..{last}], x: int[{lo}..9], get: int[0..{last}]) -> int:
    state cell: int[{lo}..9][{n}] = zeros({n})
    cell[put] := x
    return cell[get]
"""
# whether a token is what was written `n` tokens before
AGAIN = """program again(x: int[0..9]) -> bool:
    state at: int[0..{last}] = 0
    state cell: int[0..9][{n}] = zeros({n})
    same = x == cell[at]
    cell[at] := x
    at := (at + 1) % {n}
    return same
"""

# as it was before the token
LATE = """program late(x: int[0..9], get: int[0..{last}]) -> int:
    state v: int[0..9][{n}] = zeros({n})
    out = v[get]
    v[0] := x
    for i in 1..{last}:
        v[i] := min(x, i)
    return out
"""


def cells(n: int, lo: int = 0) -> Graph:
    return graph_of(CELLS.format(n=n, last=n - 1, lo=lo))


def again(n: int) -> Graph:
    return graph_of(AGAIN.format(n=n, last=n - 1))


@pytest.mark.parametrize("n", [3, 4, 7])
def test_the_cases_of_a_tree_are_the_elements_of_the_vector(n: int) -> None:
    graph = run_pipeline(graph_of(LATE.format(n=n, last=n - 1)))
    ((_, root),) = graph.outputs
    found = selection(root, range(n), lambda _: False)
    assert found is not None and found.index is index_of(root) is graph.inputs[1]
    picked = {v: x for x, values in found.cases for v in values}
    assert [x.state for v in range(n) if isinstance(x := picked[v], Read)] == [f"v[{v}]" for v in range(n)]
    assert len(found.inner) == n - 1
    whole = selection(root, range(n), lambda _: True)
    assert whole is not None and isinstance(root, Mux) and {x for x, _ in whole.cases} == {root.then, root.other}


@pytest.mark.parametrize("target", ["rnn_relu", "lstm", "rnn_tanh"])
@pytest.mark.parametrize("make", [cells, again])
def test_more_cells_are_no_more_layers(target: str, make: object) -> None:
    assert callable(make)
    depths = set()
    for n in (4, 8):
        graph = make(n)
        model = compile_graph(graph, target)
        agree(graph, [random_rows(graph, 60, seed) for seed in range(3)], model)
        depths.add(len(model.certificate.widths))
    assert len(depths) == 1


@pytest.mark.parametrize("lo", [-3, 0])
def test_numbers_of_any_lower_bound_are_picked(lo: int) -> None:
    graph = cells(5, lo)
    rows = random_rows(graph, 80, 2)
    assert min(int(str(x["out"])) for x in expected(graph, rows)) == lo
    agree(graph, [rows], compile_graph(graph, "rnn_relu"))


def test_an_output_of_ten_values_is_read_as_four_bits() -> None:
    circuit = threshold_circuit(run_pipeline(cells(6)), "lstm")
    (form,) = circuit.outputs[0].forms
    assert sorted({abs(int(w)) for w, _ in form.terms}) == [1, 2, 4, 8]
    assert len(circuit.layers[-1]) <= 4 * 6
