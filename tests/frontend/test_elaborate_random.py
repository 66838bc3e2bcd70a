"""Random programs: the graph's meaning is that of the text, walked as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import lsrl
from lsrl.diagnostics import Source
from lsrl.frontend.modules import read_module
from lsrl.frontend.parser import parse
from lsrl.types import Symbols, Type, Vector
from tests.frontend.step_reference import Reference
from tests.strategies import programs, rows_for


def named(value: Any, t: Type) -> Any:
    """A symbol's name for its code."""
    if isinstance(t, Vector):
        return tuple(named(v, t.elem) for v in value)
    return t.name(value) if isinstance(t, Symbols) and isinstance(value, int) else value


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_the_graph_means_what_the_text_says(data: st.DataObject) -> None:
    text = data.draw(programs())
    note(text)
    graph = read_module(Source("random.lsrl", text), Path()).elaborate()
    rows = data.draw(rows_for(graph))
    reference = Reference(parse(Source("random.lsrl", text)))
    program = lsrl.Program(graph, text)
    for t, (row, got) in enumerate(zip(rows, program.run(rows), strict=True)):
        want = reference.step({i.name: named(row[i.name], i.type) for i in graph.inputs})
        assert (got if isinstance(got, dict) else {"out": got}) == want, f"token {t}"
