"""A graph as one generated Python function: the interpreter's meaning, many times faster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from lsrl.arithmetic import convert
from lsrl.interpreter import RunError, check_failure, initial_state, param_values, read_inputs
from lsrl.ir.graph import Graph
from lsrl.ir.remembered import remembered
from lsrl.step_source import CheckFailedError, StepSource, step_source
from lsrl.types import Value

__all__ = ["CheckFailedError", "CompiledStep", "compile_step", "step_source"]


def compile_step(graph: Graph, params: Mapping[str, object] | None = None) -> CompiledStep:
    """A fast step function with the meaning of `Interpreter(graph, params).step`; the same one for the same graph."""
    return CompiledStep(graph, params) if params else _step_of(graph)


@remembered(16)
def _step_of(graph: Graph) -> CompiledStep:
    return CompiledStep(graph)


class CompiledStep:
    """`step(state, inputs, position)` is that of the interpreter; `transition` and `run_block` work on tuples.

    Tuples hold one value a state (input, output) in the graph's order. In them a whole rational may be an int.
    """

    def __init__(self, graph: Graph, params: Mapping[str, object] | None = None) -> None:
        self.graph = graph
        self._params = param_values(graph, params)
        self._source = StepSource(graph, self._params)

    def __call__(self, state: Mapping[str, Value], inputs: Mapping[str, object],
                 position: int = 0) -> tuple[dict[str, Value], dict[str, Value]]:
        """Outputs and new state of one token, as `Interpreter.step`; raises RunError as it does."""
        read = read_inputs(self.graph, inputs, position)
        try:
            outputs, after = self.transition(self.pack_state(state), tuple(read.values()))
        except CheckFailedError as failed:
            raise self.error(failed, position) from None
        return self.unpack_outputs(outputs), self.unpack_state(after)

    def run(self, rows: Iterable[Mapping[str, object]], state: Mapping[str, Value] | None = None,
            position: int = 0) -> Iterator[dict[str, Value]]:
        """The outputs of each token in turn, as `Interpreter.run`."""
        now = self.pack_state(self.initial_state() if state is None else state)
        for at, row in enumerate(rows, position):
            try:
                outputs, now = self.transition(now, tuple(read_inputs(self.graph, row, at).values()))
            except CheckFailedError as failed:
                raise self.error(failed, at) from None
            yield self.unpack_outputs(outputs)

    @cached_property
    def transition(self) -> Callable[[tuple[Any, ...], tuple[Any, ...]], tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """(states, inputs) → (outputs, new states), all tuples. Inputs are not validated. Raises CheckFailedError."""
        return self._source.compile("transition")

    @cached_property
    def run_block(self) -> Callable[[tuple[Any, ...], Iterable[Any], list[Any]], tuple[Any, ...]]:
        """(states, inputs of many tokens, out) → states after them; appends the outputs of each token to `out`.

        A program of one input takes bare values, one of several takes tuples; likewise for outputs.
        Where it raises CheckFailedError, `out` holds the outputs of the tokens before.
        """
        return self._source.compile("run_block")

    def initial_state(self) -> dict[str, Value]:
        """The value of every state before the first token."""
        return initial_state(self.graph)

    def pack_state(self, state: Mapping[str, Value]) -> tuple[Value, ...]:
        return tuple(state[s.name] for s in self.graph.states)

    def unpack_state(self, state: Sequence[Any]) -> dict[str, Value]:
        """States by name, rationals as Fractions again."""
        return {s.name: convert(v, s.type, self.graph.numeric)
                for s, v in zip(self.graph.states, state, strict=True)}

    def unpack_outputs(self, outputs: Sequence[Any]) -> dict[str, Value]:
        """Outputs by name, rationals as Fractions again."""
        return {name: convert(v, node.type, self.graph.numeric)
                for (name, node), v in zip(self.graph.outputs, outputs, strict=True)}

    def error(self, failed: CheckFailedError, position: int) -> RunError:
        """What a failed check means to the user."""
        graph = self.graph
        inputs = {n.name: v for n, v in zip(graph.inputs, failed.inputs, strict=True)}
        check = graph.checks[failed.check]
        subject = None if check.subject is None else convert(failed.subject, check.subject.type, graph.numeric)
        return check_failure(graph, check, subject, self.unpack_state(failed.state), inputs, position)


