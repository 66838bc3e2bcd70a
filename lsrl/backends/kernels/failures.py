"""What a failed check of a kernel means to the user, in the interpreter's words."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.operator import FailedError, Operator
from lsrl.diagnostics import LsrlError
from lsrl.interpreter import Interpreter, RunError, check_failure
from lsrl.ir.graph import Graph
from lsrl.types import Bool, Real, Type, Value, scalar_of
from lsrl.values import as_tuples

__all__ = ["explain", "number_value", "program_value"]


def explain(failed: FailedError, graph: Graph, operator: Operator, streams: list[Tensor], before: list[Tensor],
            params: list[Tensor], resets: Tensor | None, offsets: Tensor | None) -> LsrlError:
    """The error of the check that failed: the tokens before it are run again, and that one by the interpreter."""
    row, token = failed.row, failed.token
    first = 0 if offsets is None else int(offsets[row])
    head = [x[row : row + 1, :token] if offsets is None else x[first : first + token].unsqueeze(0) for x in streams]
    here = [x[row, token] if offsets is None else x[first + token] for x in streams]
    start = [x[row : row + 1] for x in before]
    own_resets = None if resets is None else \
        (resets[row : row + 1] if offsets is None else resets[first:].unsqueeze(0))
    _, after = operator.run(head, start, params, None if own_resets is None else own_resets[:, :token].contiguous(),
                            None, 1, token, False)
    known = {p.name: x for p, x in zip(operator.lanes.params, params, strict=True)}
    meaning = Interpreter(graph, {n: _nested(x) for n, x in known.items()})
    state = {p.name: program_value(x[0], p, operator) for p, x in zip(operator.lanes.states, after, strict=True)}
    if own_resets is not None and bool(own_resets[0, token]):
        state = meaning.initial_state()
    scales = {n.name: operator.parts.storage.scale(n) for n in operator.parts.graph.inputs}
    inputs = {p.name: _input(x, p, scales[p.name], operator) for p, x in zip(operator.lanes.inputs, here, strict=True)}
    try:
        meaning.step(state, inputs, token)
    except RunError as error:
        check = error.check
        if check is None:
            return error
        subject = None if check.subject is None else meaning.evaluate(state, inputs, token)[check.subject]
        return check_failure(graph, check, subject, state, inputs, token, row)
    message = f"a state of `{graph.name}` has grown beyond the numbers of its kernel at token {token} of row {row}"
    return LsrlError.of("L411", message, graph.span, help="give the state a declared range, or start anew before")


def _nested(x: Tensor) -> Any:
    return as_tuples(x.detach().double().tolist())


def _input(x: Tensor, port: Port, scale: int, operator: Operator) -> Any:
    t = scalar_of(port.type)
    floats = operator.parts.storage.floats
    numbers = x.detach().to("cpu", torch.float64 if isinstance(t, Real) else torch.int64).tolist()

    def one(v: Any) -> Any:
        if isinstance(v, list):
            return tuple(one(e) for e in v)
        return number_value(v if floats or not isinstance(t, Real) else round(v * scale), t, scale, floats)

    return one(numbers)


def number_value(x: Any, t: Type, scale: int, floats: bool) -> Value:
    """A number of a kernel as the interpreter holds it: a real is a float, or counts of 1/scale."""
    if isinstance(t, Bool):
        return bool(x)
    if isinstance(t, Real):
        return float(x) if floats else Fraction(int(x), scale)
    return int(x)


def program_value(x: Tensor, port: Port, operator: Operator) -> Value:
    """A final state of a kernel as the interpreter holds it."""
    registers = {r.name: r for r in operator.parts.registers}
    scales = [registers[n].scale for n in port.parts]
    t = scalar_of(port.type)
    flat = x.detach().cpu().reshape(-1).tolist()

    def one(i: int) -> Value:
        return number_value(flat[i], t, scales[0 if port.lane else i], operator.parts.storage.floats)

    def build(dims: tuple[int, ...], at: int) -> Value:
        if not dims:
            return one(at)
        stride = 1
        for n in dims[1:]:
            stride *= n
        return tuple(build(dims[1:], at + i * stride) for i in range(dims[0]))

    return build(port.dims, 0)
