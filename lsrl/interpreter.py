"""The reference meaning of a program: one token at a time, exact, checked."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lsrl.arithmetic import Operation, convert, operation
from lsrl.diagnostics import NOWHERE, Diagnostic, LsrlError, did_you_mean
from lsrl.ir.graph import Check, Graph, reachable
from lsrl.ir.nodes import Input, Node, Param, Read, operands
from lsrl.types import Type, Value, shape
from lsrl.values import BadValueError, as_tuples, read_value, show_value

__all__ = ["Interpreter", "RunError", "check_failure", "initial_state", "param_values", "read_inputs"]

_SHOWN_STATES = 4


class RunError(LsrlError):
    """A check failed, or an input was not of its type, at token `position` (from 0).

    `check` is None for a bad input. `row` is the row of the batch, where there is one. `inputs` are those of the token.
    """

    def __init__(self, diagnostic: Diagnostic, position: int, check: Check | None,
                 inputs: Mapping[str, object], row: int | None = None) -> None:
        super().__init__(diagnostic)
        self.position = position
        self.check = check
        self.inputs = dict(inputs)
        self.row = row


class Interpreter:
    """Runs a graph. Values are as `lsrl.types` says; nothing is shared between two runs.

    params: values of the learnable constants by name, where they are not the initial ones of `param_values`.
    """

    def __init__(self, graph: Graph, params: Mapping[str, object] | None = None) -> None:
        self.graph = graph
        self.params = param_values(graph, params)
        self._slot = {node: i for i, node in enumerate(graph.nodes)}
        self._inputs: list[tuple[int, str]] = []
        self._reads: list[tuple[int, str]] = []
        self._steps: list[tuple[int, Operation, list[int]]] = []
        self._blank: list[Any] = [None] * len(graph.nodes)
        for node, slot in self._slot.items():
            match node:
                case Input():
                    self._inputs.append((slot, node.name))
                case Read():
                    self._reads.append((slot, node.state))
                case Param():
                    self._blank[slot] = self.params[node.name]
                case _ if not operands(node):
                    self._blank[slot] = operation(node, graph.numeric)()
                case _:
                    self._steps.append((slot, operation(node, graph.numeric), [self._slot[x] for x in operands(node)]))
        self._checks = [(self._slot[c.condition], c) for c in graph.checks]
        self._outputs = [(name, self._slot[n]) for name, n in graph.outputs]
        self._nexts = [(s.name, s.type, self._slot[s.next], s.next.type != s.type) for s in graph.states]

    def initial_state(self) -> dict[str, Value]:
        """The value of every state before the first token."""
        return initial_state(self.graph)

    def evaluate(self, state: Mapping[str, Value], inputs: Mapping[str, object],
                 position: int = 0) -> dict[Node, Value]:
        """The value of every node at one token. Checks are not applied. Raises RunError for a bad input."""
        return dict(zip(self.graph.nodes, self._run(state, read_inputs(self.graph, inputs, position)), strict=True))

    def step(self, state: Mapping[str, Value], inputs: Mapping[str, object],
             position: int = 0) -> tuple[dict[str, Value], dict[str, Value]]:
        """Outputs and new state of one token; `state` itself is left as it is.

        Inputs may be symbol names or codes, and any numbers that are exactly of the input's type.
        Raises RunError at the first check that fails, or for an input that is not of its type.
        """
        read = read_inputs(self.graph, inputs, position)
        values = self._run(state, read)
        for slot, check in self._checks:
            if not values[slot]:
                subject = None if check.subject is None else values[self._slot[check.subject]]
                raise check_failure(self.graph, check, subject, state, read, position)
        outputs = {name: values[slot] for name, slot in self._outputs}
        after = {name: convert(values[slot], t, self.graph.numeric) if other else values[slot]
                 for name, t, slot, other in self._nexts}
        return outputs, after

    def run(self, rows: Iterable[Mapping[str, object]], state: Mapping[str, Value] | None = None,
            position: int = 0) -> Iterator[dict[str, Value]]:
        """The outputs of each token in turn, from the initial state or the one given. Raises RunError as `step`."""
        now = self.initial_state() if state is None else dict(state)
        for at, row in enumerate(rows, position):
            outputs, now = self.step(now, row, at)
            yield outputs

    def _run(self, state: Mapping[str, Value], inputs: Mapping[str, Value]) -> list[Any]:
        values = self._blank.copy()
        for slot, name in self._inputs:
            values[slot] = inputs[name]
        for slot, name in self._reads:
            values[slot] = state[name]
        for slot, f, args in self._steps:
            values[slot] = f(*[values[a] for a in args])
        return values


def initial_state(graph: Graph) -> dict[str, Value]:
    """The value of every state before the first token, by name."""
    return {s.name: convert(_spread_constant(s.init, s.type), s.type, graph.numeric) for s in graph.states}


def param_values(graph: Graph, given: Mapping[str, object] | None = None) -> dict[str, Value]:
    """The learnable constants by name, as nested tuples of floats: those given, and the initial values of the rest.

    Initial values depend on the name of the param alone (a generator seeded by it), not on the rest of the program.
    Raises LsrlError (L602) for a value of another shape, (L606) for a param that the program has not.
    """
    known = {p.name: p for p in graph.params}
    for name in given or {}:
        if name not in known:
            raise LsrlError.of("L606", f"the program has no param `{name}`", help=did_you_mean(name, known))
    out: dict[str, Value] = {}
    for name, param in known.items():
        if given is not None and name in given:
            try:
                out[name] = read_value(given[name], param.type, numeric=True)
            except BadValueError as bad:
                raise LsrlError.of(bad.code, f"param `{name}`: {bad.message}", param.span, help=bad.help) from None
        else:
            out[name] = convert(_initial_param(param), param.type, numeric=True)
    return out


def _initial_param(param: Param) -> Value:
    import numpy as np

    kind, args = param.init
    dims = shape(param.type)
    if kind == "const":
        return _spread_constant(args[0], param.type)
    if kind in ("zeros", "ones"):
        return _spread_constant(0.0 if kind == "zeros" else 1.0, param.type)
    generator = np.random.default_rng([0, zlib.crc32(param.name.encode())])
    numbers = [float(a) for a in args if not isinstance(a, tuple)]
    if kind == "normal":
        drawn = generator.normal(0.0, numbers[0], dims)
    else:
        drawn = generator.uniform(numbers[0], numbers[1], dims)
    value: Value = as_tuples(np.asarray(drawn).tolist())
    return value


def _spread_constant(value: Value, t: Type) -> Value:
    """A scalar repeated over the shape of a vector type; a vector as it is."""
    if not isinstance(value, tuple):
        for n in reversed(shape(t)):
            value = (value,) * n
    return value


def read_inputs(graph: Graph, inputs: Mapping[str, object], position: int) -> dict[str, Value]:
    """The inputs of one token, each checked against its type. Raises RunError that names token and input."""
    out: dict[str, Value] = {}
    for node in graph.inputs:
        if node.name not in inputs:
            raise _bad_input("L606", f"input `{node.name}` is missing at token {position}", node, position, inputs,
                             did_you_mean(node.name, inputs))
        try:
            out[node.name] = read_value(inputs[node.name], node.type, graph.numeric)
        except BadValueError as bad:
            raise _bad_input(bad.code, f"input `{node.name}` at token {position}: {bad.message}", node, position,
                             inputs, bad.help) from None
    if len(out) != len(inputs):
        extra = next(name for name in inputs if name not in out)
        near = did_you_mean(extra, out)
        raise _bad_input("L606", f"the program has no input `{extra}`", None, position, inputs, near)
    return out


def _bad_input(code: str, message: str, node: Input | None, position: int, inputs: Mapping[str, object],
               help: str) -> RunError:
    span = NOWHERE if node is None else node.span
    return RunError(Diagnostic(code, message, span, help=help), position, None, inputs)


def check_failure(graph: Graph, check: Check, subject: Value | None, state: Mapping[str, Value],
                  inputs: Mapping[str, Value], position: int, row: int | None = None) -> RunError:
    """The error for a check that fails at a token, in the words of language.md.

    subject: the value of the check's subject; state: the states before the token; row: the row of a batch.
    """
    where = f"at token {position}" if row is None else f"at token {position} of row {row}"
    shown = "" if subject is None or check.subject is None else show_value(subject, check.subject.type)
    label = ""
    if check.subject is not None:
        read = [n.state for n in reachable([check.subject]) if isinstance(n, Read)]
        old = [f"{n} is {show_value(state[n], graph.state[n].type)}" for n in read[:_SHOWN_STATES]]
        verb = "becomes" if check.kind == "range" else "the value is"
        label = f"{verb} {shown}" + (f" when {_sentence(old)}" if old else "")
    given = [f"{n.name} = {show_value(inputs[n.name], n.type)}" for n in graph.inputs]
    notes = ((f"the inputs of that token: {', '.join(given)}", NOWHERE),) if given else ()
    message = f"{check.message.replace('{value}', shown)} {where}"
    diagnostic = Diagnostic(check.code, message, check.span, label, check.help, notes)
    return RunError(diagnostic, position, check, inputs, row)


def _sentence(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
