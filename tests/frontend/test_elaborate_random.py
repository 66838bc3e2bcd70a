"""Random programs: the graph's meaning is that of the text, walked as it stands."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture.providers import HypothesisProvider

import lsrl
from lsrl.diagnostics import Diagnostic, LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.frontend.parser import parse
from lsrl.ir.graph import Graph
from lsrl.ir.validate import validate
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


def test_random_tests_do_not_depend_on_what_is_imported() -> None:
    """The setting in conftest.py holds: no constants of modules, which differ between processes that share tests."""
    assert len(HypothesisProvider(None)._local_constants) == 0


def test_the_reference_takes_a_boolean_without_a_declared_type() -> None:
    text = "program main(x: int[0..3]) -> bool[2]:\n    low = x <= 0\n    return seen(low)\n"
    reference = Reference(parse(Source("seen.lsrl", text)))
    assert [reference.step({"x": x})["out"] for x in (2, 0, 1)] == [(True, False), (True, True), (True, True)]


_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\w+|\s+|[^\w\s]+')
_EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
_TEXTS = [p.read_text(encoding="utf-8") for p in sorted(_EXAMPLES.rglob("*.lsrl"))]
_TOKENS = sorted({t for text in _TEXTS for t in _TOKEN.findall(text) if t.strip()})


def test_damaged_texts_give_errors_and_nothing_else() -> None:
    """Tokens replaced, left out or put in: the text is right, or every error has a place that can be shown."""
    rng = random.Random(0)
    right = 0
    for _ in range(800):
        tokens = _TOKEN.findall(rng.choice(_TEXTS))
        for i in rng.sample([i for i, t in enumerate(tokens) if t.strip()], rng.randint(1, 3)):
            tokens[i] = rng.choice(["", tokens[i] + " " + rng.choice(_TOKENS), rng.choice(_TOKENS)])
        diagnostics, graphs = _outcome("".join(tokens))
        assert diagnostics or graphs is not None
        assert all(d.code[0] == "L" and d.message and d.render() for d in diagnostics)
        for graph in graphs or ():
            right += 1
            validate(graph)
    assert 0 < right < 400


def _outcome(text: str) -> tuple[tuple[Diagnostic, ...], list[Graph] | None]:
    """What is wrong with a text, or its graphs."""
    try:
        return (), list(read_module(Source("damaged.lsrl", text), Path()).graphs.values())
    except LsrlError as error:
        return error.diagnostics, None
