"""The verifier on hand-made graphs and models: it must prove what is equal and refute what is not, shortest first."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lsrl
from lsrl.diagnostics import LsrlError
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.ir.parser import parse_graph
from lsrl.types import Value
from lsrl.verify import machines, verify
from lsrl.verify.testing import Row, in_batches, run_model

PARITY = """graph parity
%0 = input bit : bool
%1 = read odd : bool
%2 = compare %0 != %1 : bool
state odd : bool = false -> %2
output out = %2
"""

# true until the third 1
UP_TO_TWO = """graph up_to_two
%0 = input bit : bool
%1 = read n : int[0..3]
%2 = affine 1*%1 + 1*%0 : int
%3 = const 3 : int
%4 = min %2 %3 : int
%5 = compare %4 < %3 : bool
state n : int[0..3] = 0 -> %4
output out = %5
"""

UNBOUNDED = """graph more_ones
%0 = input bit : bool
%1 = read d : int
%2 = affine 2*%0 + -1 : int
%3 = affine 1*%1 + 1*%2 : int
%4 = const 0 : int
%5 = compare %4 < %3 : bool
state d : int = 0 -> %3
output out = %5
"""


def graph_of(text: str) -> Graph:
    return parse_graph(text)


class Stepper(torch.nn.Module):
    """A one-unit recurrent module from two functions of (bit, hidden), in float32."""

    def __init__(self, output: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
                 update: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.output, self.update = output, update

    def initial_state(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, 1)

    def step(self, inputs: dict[str, torch.Tensor], state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bit = inputs["bit"].float()[:, None]
        return self.output(bit, state)[:, 0], self.update(bit, state)

    def forward(self, bits: torch.Tensor) -> torch.Tensor:
        state, outputs = self.initial_state(len(bits)), []
        for t in range(bits.shape[1]):
            out, state = self.step({"bit": bits[:, t]}, state)
            outputs.append(out)
        return torch.stack(outputs, 1)


def parity_model() -> Stepper:
    def flip(bit: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return (bit - h).abs()

    return Stepper(lambda b, h: flip(b, h) > 0.5, flip)


def counting_model(limit: int) -> Stepper:
    """Counts for ever, and answers as `up_to_two` with another limit."""
    return Stepper(lambda b, h: b + h < limit, lambda b, h: b + h)


class Whole(torch.nn.Module):
    """Hides `step`: a module that only takes sequences."""

    def __init__(self, inner: Stepper) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, bits: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.inner(bits)
        return answer


def test_equal_finite_machines_are_proved() -> None:
    verdict = verify(graph_of(PARITY), parity_model())
    assert verdict.kind == "PROVED"
    assert verdict.joint_states == 2
    assert verdict.transitions == 4
    assert verdict.covers["dtype"] == "none"
    assert verdict.covers["torch"] == torch.__version__


def test_unbounded_hidden_state_is_exhausted_to_a_length() -> None:
    verdict = verify(graph_of(UP_TO_TWO), counting_model(3), length=12)
    assert (verdict.kind, verdict.length) == ("EXHAUSTED", 12)
    assert verdict.headline == "EXHAUSTED to length 12"
    assert verdict.joint_states == 13  # one for each number of ones: polynomial, not 2**12


def test_a_difference_is_refuted_by_a_shortest_input() -> None:
    graph = graph_of(UP_TO_TWO)
    verdict = verify(graph, counting_model(5))
    assert not verdict.ok
    assert verdict.counterexample is not None
    assert [r["bit"] for r in verdict.counterexample.inputs] == [True, True, True]
    assert verdict.first_wrong == 3
    assert verdict.accuracy is not None
    assert 0 < verdict.accuracy < 1
    assert verdict.counterexample.render().splitlines() == [
        "the outputs differ; the shortest input that shows it has 3 tokens:",
        "  t  bit   program out  model out",
        "  0  true  true         true",
        "  1  true  true         true",
        "  2  true  false        true       ← differs",
    ]


@pytest.mark.parametrize("limit", [1, 2, 4, 6])
def test_counterexamples_are_shortest_by_brute_force(limit: int) -> None:
    graph, model = graph_of(UP_TO_TWO), counting_model(limit)

    def differs(bits: tuple[bool, ...]) -> bool:
        mine = [r["out"] for r in Interpreter(graph).run([{"bit": b} for b in bits])]
        return bool(mine != model(torch.tensor([bits])).tolist()[0])

    shortest = next(n for n in range(1, 8) if any(map(differs, itertools.product((False, True), repeat=n))))
    assert verify(graph, model).first_wrong == shortest


def test_a_module_without_step_is_exhausted_over_all_words() -> None:
    verdict = verify(graph_of(PARITY), Whole(parity_model()), length=6)
    assert (verdict.kind, verdict.length) == ("EXHAUSTED", 6)
    assert verdict.transitions == 2**7 - 2
    refuted = verify(graph_of(UP_TO_TWO), Whole(counting_model(5)), length=6)
    assert refuted.first_wrong == 3


def test_limits_stop_the_search_with_what_was_covered() -> None:
    walk = Stepper(lambda b, h: h + 2 * b - 1 > 0, lambda b, h: h + 2 * b - 1)
    verdict = verify(graph_of(UNBOUNDED), walk, states=50)
    assert verdict.kind == "EXHAUSTED"
    assert verdict.stopped == "50 joint states reached"
    assert verdict.length == 24  # the walk reaches 2 n + 1 heights in n steps


def test_unbounded_programs_are_searched_to_a_default_length() -> None:
    assert verify(graph_of(UNBOUNDED)).headline == "EXHAUSTED to length 64"


def with_check(text: str, line: str) -> Graph:
    return graph_of(text + line + "\n")


def test_asserts_are_proved_and_refuted_without_a_model() -> None:
    more = UP_TO_TWO.replace("%5 =", "%6 = compare %4 <= %3 : bool\n%5 =")
    holds = with_check(more, 'assert L501 %6 of %4 "at most 3"')
    assert verify(holds).kind == "PROVED"
    breaks = with_check(UP_TO_TWO, 'assert L501 %5 of %4 "below 3"')
    verdict = verify(breaks)
    assert verdict.counterexample is not None
    assert len(verdict.counterexample.inputs) == 3
    assert verdict.counterexample.reason == "the program stops: below 3"


def test_assumes_restrict_the_search() -> None:
    no_ones = UP_TO_TWO.replace("%5 =", "%6 = not %0 : bool\n%5 =")
    assumed = with_check(no_ones, 'assume L601 %6 "no ones"')
    verdict = verify(assumed, counting_model(5))
    assert verdict.kind == "PROVED"
    assert verdict.joint_states == 1


def test_two_programs_are_compared() -> None:
    a = graph_of(UP_TO_TWO)
    b = graph_of(UP_TO_TWO.replace("%3 = const 3", "%3 = const 2").replace("up_to_two", "up_to_one"))
    assert verify(a, against=graph_of(UP_TO_TWO)).kind == "PROVED"
    verdict = verify(a, against=b)
    assert verdict.first_wrong == 2
    assert "up_to_one out" in verdict.render()


def test_different_interfaces_are_an_error() -> None:
    renamed = graph_of(PARITY.replace("bit", "tok"))
    with pytest.raises(LsrlError, match=r"L502.*different inputs: bit against tok") as error:
        verify(graph_of(PARITY), against=renamed)
    assert error.value.diagnostics[0].code == "L502"


SUM = """graph total
%0 = input x : int
%1 = read s : int
%2 = affine 1*%0 + 1*%1 : int
state s : int = 0 -> %2
output out = %2
"""


class Adder(torch.nn.Module):
    """A running sum that forgets everything beyond `limit`."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.cumsum(1).clamp(max=int(self.limit))


def test_inputs_without_end_are_tested_and_shrunk() -> None:
    assert verify(graph_of(SUM), Adder(2**40), tests=20).headline == "TESTED 20"
    verdict = verify(graph_of(SUM), Adder(150), tests=20)
    assert verdict.counterexample is not None
    inputs = [r["x"] for r in verdict.counterexample.inputs]
    assert sum(x for x in inputs if isinstance(x, int)) > 150
    assert len(inputs) <= 8  # nothing that could be left out is left in


def test_a_compiled_model_runs_random_inputs_in_batches() -> None:
    """Few calls for many inputs; what one of them shows is shrunk on its own."""
    model = lsrl.parse("program p(x: int) -> int:\n    return running_sum(x)\n").compile("rnn_relu")
    shapes: list[tuple[int, int]] = []
    hook = model.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    assert verify(model.graph, model, tests=100).headline == "TESTED 100"
    assert len(shapes) < 20 and sum(b for b, _ in shapes) == 100 and shapes[-1] == (1, 512)
    assert all(b * t <= 1024 for b, t in shapes)
    hook.remove()
    with torch.no_grad():
        weights = max(model.parameters(), key=torch.Tensor.numel)
        weights[weights != 0] *= 1.5
    verdict = verify(model.graph, model, tests=100)
    assert verdict.kind == "REFUTED" and verdict.counterexample is not None
    rows = verdict.counterexample.inputs
    assert len(rows) <= 2 and list(run_model(model, model.graph, rows)) != list(Interpreter(model.graph).run(rows))


def test_inputs_are_put_together_as_far_as_they_fit() -> None:
    inputs: list[list[Row]] = [[{"x": 0}] * n for n in (1, 2, 3, 9, 1, 20, 1)]
    assert [[len(rows) for rows in group] for group in in_batches(inputs, 10)] == [[1, 2, 3], [9], [1], [20], [1]]


def test_a_counterexample_is_saved_to_be_replayed(tmp_path: Path) -> None:
    verdict = verify(graph_of(UP_TO_TWO), counting_model(5))
    assert verdict.counterexample is not None
    verdict.counterexample.save(tmp_path / "c.jsonl")
    rows: list[dict[str, Value]] = [json.loads(x) for x in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert rows == [{"bit": True}] * 3
    outputs = [r["out"] for r in Interpreter(graph_of(UP_TO_TWO)).run(rows)]
    assert outputs == [r["out"] for r in verdict.counterexample.expected]


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    verify(graph_of(UP_TO_TWO), counting_model(3), length=5, progress=lambda d, n: told.append((d, n)))
    assert told == [(0, 2), (1, 3), (2, 4), (3, 5), (4, 6)]


@pytest.mark.parametrize("colliding", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_rows_of_equal_bits_have_one_number(dtype: type, colliding: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the hash that they are sorted by tells nothing apart."""
    if colliding:
        monkeypatch.setattr(machines, "_factors", lambda words: np.zeros(words, np.uint64))
    rng = np.random.default_rng(1)
    rows, known = machines._Rows(), dict[bytes, int]()
    for _ in range(20):
        batch: np.ndarray[Any, Any] = rng.integers(0, 3, (50, 3)).astype(dtype)
        numbers = rows.number(batch)
        assert numbers.tolist() == [known.setdefault(row.tobytes(), len(known)) for row in batch]
        assert np.array_equal(rows.rows[numbers], batch)


def test_the_program_is_run_once_for_several_models(monkeypatch: pytest.MonkeyPatch) -> None:
    program = lsrl.parse("program p(a: bool) -> bool:\n    state s: bool = false\n    s := s != a\n    return s\n")
    steps: list[object] = []
    step = Interpreter.step

    def counted(self: Interpreter, *args: Any) -> Any:
        steps.append(args)
        return step(self, *args)

    monkeypatch.setattr(Interpreter, "step", counted)
    assert {lsrl.verify(program, program.compile(t)).kind for t in ("lstm", "gru", "rnn_relu")} == {"PROVED"}
    assert len(steps) == 4  # two states, two letters
    other = lsrl.parse("program p(a: bool) -> bool:\n    state s: bool = false\n    s := s or a\n    return s\n")
    assert lsrl.verify(program, against=other.graph).kind == "REFUTED"
    assert lsrl.verify(other, other.compile("lstm")).kind == "PROVED"
