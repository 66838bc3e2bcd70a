"""Results are kept for the same graph, not for equal ones, and only for the last."""

from __future__ import annotations

from lsrl.ir.graph import Graph
from lsrl.ir.parser import parse_graph
from lsrl.ir.remembered import remembered

TEXT = "graph g\n%0 = input x : bool\noutput out = %0\n"


def test_each_object_has_a_result_of_its_own() -> None:
    calls: list[tuple[Graph, int]] = []

    @remembered(2)
    def f(graph: Graph, k: int = 0) -> int | None:
        """Of f."""
        calls.append((graph, k))
        return None if k else len(calls)

    a, b, c = (parse_graph(TEXT) for _ in range(3))
    assert a == b and f.__doc__ == "Of f."
    assert [f(a), f(a), f(b), f(a), f(b)] == [1, 1, 2, 1, 2]
    assert f(a, 1) is None and f(a, 1) is None and len(calls) == 3  # the first result, of `a`, is gone
    assert [f(b), f(a)] == [2, 4]
    assert f(c) == 5 and f(a) == 4 and f(b) == 6
