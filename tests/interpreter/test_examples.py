"""Every example program through every form of the interpreter."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from benchmarks.examples import weight_examples
from lsrl.frontend.modules import load_module
from lsrl.interpreter import Interpreter, RunError
from lsrl.ir.graph import Graph
from lsrl.passes import run_pipeline
from lsrl.python_step import compile_step
from lsrl.transition_table import StreamRunner, TokenError
from lsrl.types import Bool, Int, Real, Symbols, Type, Value, Vector
from lsrl.vectorized import run_batch
from tests.interpreter.test_vectorized import as_array, same, tuples

EXAMPLES = weight_examples()
ROWS, TOKENS = 4, 60


def draw(t: Type, rng: random.Random) -> Value:
    match t:
        case Vector(elem=elem, size=n):
            return tuple(draw(elem, rng) for _ in range(n))
        case Bool():
            return rng.random() < 0.5
        case Symbols():
            return rng.randrange(len(t.names) + t.other)
        case Int(lo=lo, hi=hi):
            return rng.randint(-9 if lo is None else lo, 9 if hi is None else hi)
        case Real(lo=lo, hi=hi, grid=grid):
            step = grid or Fraction(1, 8)
            low, high = Fraction(-2) if lo is None else lo, Fraction(2) if hi is None else hi
            return step * rng.randint(-(-low // step), high // step)
        case _:
            raise ValueError(t)


def graphs_of(path: Path) -> list[Graph]:
    module = load_module(path)
    return [module.elaborate(name) for name, d in module.programs.items() if not d.generics]


def run_until_error(graph: Graph, rows: list[dict[str, Value]]) -> tuple[list[dict[str, Value]], RunError | None]:
    interpreter = Interpreter(graph)
    state, out = interpreter.initial_state(), list[dict[str, Value]]()
    for t, row in enumerate(rows):
        try:
            outputs, state = interpreter.step(state, row, t)
        except RunError as error:
            return out, error
        out.append(outputs)
    return out, None


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_all_forms_agree(path: Path) -> None:
    for graph in graphs_of(path):
        rng = random.Random(7)
        rows = [[{n.name: draw(n.type, rng) for n in graph.inputs} for _ in range(TOKENS)] for _ in range(ROWS)]
        wanted = [run_until_error(graph, row) for row in rows]
        for form in (graph, run_pipeline(graph)):
            step = compile_step(form)
            for row, (outputs, error) in zip(rows, wanted, strict=True):
                runner = StreamRunner(step, step.pack_state(step.initial_state()), lambda x: x, lambda y: y)
                letters = [tuple(float(v) if form.numeric and isinstance(v, Fraction) else v for v in r.values())
                           for r in row]
                got: list[Any]
                try:
                    got, stopped = runner.run(letters), None
                except TokenError as stop:
                    got, stopped = stop.before, stop.index
                assert [step.unpack_outputs(o) for o in got] == outputs
                assert stopped == (None if error is None else error.position)
        check_batch(graph, rows, wanted)


def check_batch(graph: Graph, rows: list[list[dict[str, Value]]],
                wanted: list[tuple[list[dict[str, Value]], RunError | None]]) -> None:
    """The batch of the rows that pass, and the first error of those that fail."""
    def inputs(some: list[list[dict[str, Value]]]) -> dict[str, Any]:
        return {n.name: as_array([[r[n.name] for r in row] for row in some], n.type) for n in graph.inputs}

    passing = [i for i, (_, error) in enumerate(wanted) if error is None]
    if passing:
        got, _ = run_batch(graph, inputs([rows[i] for i in passing]), exact=True)
        for name, _ in graph.outputs:
            assert same(tuples(got[name].tolist()), tuple(tuple(o[name] for o in wanted[i][0]) for i in passing))
    errors = [(error.position, i) for i, (_, error) in enumerate(wanted) if error is not None]
    if errors:
        with pytest.raises(RunError) as raised:
            run_batch(graph, inputs(rows))
        assert (raised.value.position, raised.value.row) == min(errors)
