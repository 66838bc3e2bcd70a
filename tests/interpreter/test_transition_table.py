"""The table of transitions: what it remembers, when it starts afresh, when it gives up."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from lsrl.diagnostics import NOWHERE
from lsrl.interpreter import Interpreter, RunError
from lsrl.ir.graph import Graph, State
from lsrl.ir.nodes import Const, Index, Input, Pack, Read
from lsrl.python_step import CheckFailedError, compile_step
from lsrl.transition_table import StreamRunner, TokenError, run_text
from lsrl.types import BYTE, INT, REAL, Int, Symbols, Vector
from lsrl.values import BadValueError
from tests.streams.graphs import ANY, depth, numeric, total

CODES = {"(": 0, ")": 1}


def runner(graph: Any, most: int = 1000, **options: Any) -> StreamRunner:
    step = compile_step(graph)

    def decode(letter: Any) -> tuple[Any, ...]:
        if letter == "?":
            raise BadValueError("L605", "no ?")
        return (CODES.get(letter, 2),) if isinstance(letter, str) else (letter,)

    return StreamRunner(step, step.pack_state(step.initial_state()), decode, lambda o: o[0], most=most, **options)


def test_it_looks_up_and_remembers() -> None:
    calls: list[Any] = []
    step = compile_step(depth())

    def decode(letter: str) -> tuple[int]:
        calls.append(letter)
        return (CODES.get(letter, 2),)

    table = StreamRunner(step, (0,), decode, lambda o: o[0])
    assert table.run("(())x") == [1, 2, 1, 0, 0] and len(calls) == 5
    assert table.run("(())x" * 100) == [1, 2, 1, 0, 0] * 100 and len(calls) <= 8
    assert table.state == (0,) and table.uses_table
    assert table.run("") == [] and table.run_last("((") == 2


def test_a_full_table_that_serves_starts_afresh() -> None:
    table = runner(depth(ANY, most=10**9), most=64)
    wave = "(" * 25 + ")" * 25  # 50 transitions
    assert table.run(wave * 100)[-1] == 0 and table.run("(" * 25)[-1] == 25
    assert max(table.run(wave * 100)) == 50  # 50 others: more than fit beside the first
    assert table.uses_table and table.state == (25,)


def test_a_table_that_does_not_serve_is_given_up() -> None:
    table = runner(total(Int(0, 9)), most=200)
    assert table.run([1] * 500) == list(range(1, 501))
    assert not table.uses_table
    assert table.run_last([1] * 500) == 1000 and table.state == (1000,)
    again = runner(total(Int(0, 9)), most=200)
    assert again.run_last([1] * 500) == 500 and not again.uses_table


@pytest.mark.parametrize("remember", [True, False])
def test_what_stops_it(remember: bool) -> None:
    table = runner(depth(most=2), remember=remember)
    assert table.uses_table is remember
    table.run("()")
    with pytest.raises(TokenError) as raised:
        table.run("()(((")
    assert (raised.value.index, raised.value.before) == (4, [1, 0, 1, 2])
    assert isinstance(raised.value.cause, CheckFailedError) and raised.value.cause.state == (2,)
    assert table.state == (0,) and table.run("(") == [1]
    with pytest.raises(TokenError) as raised:
        table.run_last(")?(")
    assert (raised.value.index, raised.value.before) == (1, [0]) and isinstance(raised.value.cause, BadValueError)
    assert table.state == (1,)


def test_floats_are_never_keys() -> None:
    table = runner(numeric("exp"))
    assert not table.uses_table
    reciprocal = runner(numeric("sqrt"))
    assert [str(v) for v in reciprocal.run([0.0, -0.0])] == ["0.0", "-0.0"]


def test_large_states_make_a_small_table() -> None:
    n = 320
    x = Input("x", Symbols(("a", "b")), NOWHERE)
    window = Read("w", Vector(INT, n), NOWHERE)
    first = Index(window, Const(0, INT, NOWHERE), INT, NOWHERE)
    rest = [Index(window, Const(i, INT, NOWHERE), INT, NOWHERE) for i in range(n)]
    pushed = Pack((*rest[1:], first), Vector(INT, n), NOWHERE)
    graph = Graph("turn", (x,), (State("w", Vector(INT, n), tuple(range(n)), pushed, NOWHERE),), (("out", first),), (),
                  (), NOWHERE)
    step = compile_step(graph)
    table = StreamRunner(step, step.pack_state(step.initial_state()), lambda c: (c,), lambda o: o[0], most=2100)
    assert table.run([0] * 640) == [*range(n), *range(n)]
    assert not table.uses_table  # 2100 // 21 entries are fewer than its states


def test_a_text_gives_what_the_interpreter_gives() -> None:
    graph = depth(ANY, most=3)
    rows = [{"tok": c} for c in "(()x)(("]
    wanted = list(Interpreter(graph).run(rows))
    assert run_text(graph, "(()x)((") == (wanted, {"depth": 2})
    assert run_text(graph, ")", {"depth": 3}, lambda o: o["out"]) == ([2], {"depth": 2})
    assert run_text(graph, "") == ([], {"depth": 0})
    assert run_text(total(BYTE), bytes([7, 8]))[0] == [{"out": 7}, {"out": 15}]
    exact = run_text(total(BYTE, REAL), b"\x03")[0][0]["out"]
    assert exact == 3 and type(exact) is Fraction


@pytest.mark.parametrize("text", ["(((()", "()()(((("])
def test_a_text_that_fails_fails_as_in_the_interpreter(text: str) -> None:
    graph = depth(Symbols(("(", ")")), most=3)
    with pytest.raises(RunError) as wanted:
        list(Interpreter(graph).run([{"tok": c} for c in text]))
    with pytest.raises(RunError) as got:
        run_text(graph, text)
    assert str(got.value) == str(wanted.value) and got.value.position == wanted.value.position
    with pytest.raises(RunError, match='input `tok` at token 1: "x" is not in the alphabet'):
        run_text(graph, "(x")
