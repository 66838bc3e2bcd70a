"""A batch of sequences at once, with NumPy: the interpreter's meaning, a token at a time over all rows.

Ints and rationals are held in 64 bits where it is proved that they fit (`lsrl.vector_plan`), and a state that grows
is watched. Where they do not, or no longer, fit, rows run one by one through the generated Python step: slower, and
still exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from lsrl.analysis.interval import BIT, Range
from lsrl.arithmetic import convert, to_float
from lsrl.diagnostics import LsrlError, did_you_mean
from lsrl.interpreter import RunError, check_failure, initial_state, param_values
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine, Const, Input, Param, Read, operands
from lsrl.python_step import CheckFailedError, compile_step
from lsrl.types import Bool, Int, Real, Symbols, Type, Value, scalar_of, shape
from lsrl.values import BadValueError, as_tuples, read_value
from lsrl.vector_ops import Array, batch_constant, batch_operation, rescale
from lsrl.vector_plan import Plan, is_float, make_plan

__all__ = ["run_batch"]

_INT64 = 1 << 63


def run_batch(graph: Graph, inputs: Mapping[str, Any], state: Mapping[str, Any] | None = None, *,
              params: Mapping[str, object] | None = None, exact: bool = False,
              position: int = 0) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs and final states of a batch of B sequences of T tokens.

    inputs: for each input an array (B, T, …), the last dimensions those of its type: bools, ints, floats, or
        objects such as Fractions; symbols as codes or names. Whole and gridded values pass as in the interpreter.
    state: for each state an array (B, …), as this function returns it; the initial state if None.
    exact: rationals as objects (Fractions) instead of the nearest float64.
    Returns for each output an array (B, T, …): bool, int64 (objects where a value needs more bits), float64; symbols
    as codes. States are exact.
    Raises RunError at the first token at which a row fails a check, for the first such row, naming both; LsrlError
    (L6xx) for inputs that are not of their types.
    """
    columns, rows, tokens = _read_batch(graph, inputs)
    states = _read_states(graph, state, rows)
    run = _Run(graph, columns, states, rows, tokens, params, exact, position)
    plan = None
    if rows and tokens and all(c.counts is not None for c in (*columns.values(), *states.values())):
        plan = make_plan(graph, {n: c.range for n, c in columns.items()}, {n: c.range for n, c in states.items()})
    done = 0
    if plan is not None:
        with np.errstate(all="ignore"):
            done = run.vectorized(plan)
    if done < tokens or not tokens:
        run.row_by_row(done)
    return run.outputs(), run.final


@dataclass
class _Column:
    """The values of an input (B, T, …) or a state (B, …). counts: int64 counts of 1/scale, bools or floats; None if
    they do not fit. objects: the values as Python objects, where counts are None."""

    type: Type
    counts: Array | None
    scale: int
    range: Range
    objects: Array | None = None

    def values(self) -> Array:
        """The values as an object array, rationals as Fractions."""
        if self.objects is not None:
            return self.objects
        assert self.counts is not None
        return _objects(self.counts, self.scale, self.type)


def _objects(counts: Array, scale: int, t: Type) -> Array:
    plain = counts.astype(object)
    if counts.dtype == np.float64 or not isinstance(scalar_of(t), Real):
        return plain
    return np.asarray(np.frompyfunc(lambda n: Fraction(n, scale), 1, 1)(plain), dtype=object).reshape(plain.shape)


class _Run:
    """One run: the pieces of output so far, and the states after them."""

    def __init__(self, graph: Graph, columns: dict[str, _Column], states: dict[str, _Column], rows: int, tokens: int,
                 params: Mapping[str, object] | None, exact: bool, position: int) -> None:
        self.graph, self.columns, self.states = graph, columns, states
        self.rows, self.tokens, self.params, self.exact, self.position = rows, tokens, params, exact, position
        self.final: dict[str, Array] = {}
        self._pieces: dict[str, list[Array]] = {name: [] for name, _ in graph.outputs}

    def outputs(self) -> dict[str, Array]:
        return {name: pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)
                for name, pieces in self._pieces.items()}

    def vectorized(self, plan: Plan) -> int:
        """Runs tokens in arrays until the end, or until a state leaves what the plan covers; how many were run."""
        graph = self.graph
        slots = {node: i for i, node in enumerate(graph.nodes)}
        values: list[Any] = [None] * len(slots)
        steps = []
        given = param_values(graph, self.params)
        streams = []
        for node, slot in slots.items():
            match node:
                case Input():
                    column = self.columns[node.name]
                    assert column.counts is not None
                    by_token = np.ascontiguousarray(np.moveaxis(column.counts, 1, 0))
                    streams.append((slot, rescale(by_token, column.scale, plan.scale[node])
                                    if by_token.dtype == np.int64 else by_token))
                case Const() | Param() | Affine(terms=()):
                    value = node.value if isinstance(node, Const) else \
                        given[node.name] if isinstance(node, Param) else node.bias
                    constant = batch_constant(value, node.type, plan.scale[node], graph.numeric)
                    values[slot] = np.broadcast_to(constant, (self.rows, *constant.shape))
                case Read():
                    pass
                case _:
                    steps.append((slot, batch_operation(node, plan.scale, graph.numeric),
                                  [slots[x] for x in operands(node)]))
        reads = [(slot, n.state, plan.state_scale[n.state], plan.scale[n])
                 for n, slot in slots.items() if isinstance(n, Read)]
        checks = [(i, slots[c.condition]) for i, c in enumerate(graph.checks)]
        now: dict[str, Array] = {}
        for name, column in self.states.items():
            assert column.counts is not None
            now[name] = rescale(column.counts, column.scale, plan.state_scale[name]) \
                if column.counts.dtype == np.int64 else column.counts
        collected = {name: np.empty((self.tokens, self.rows, *shape(node.type)), _array_type(node.type, graph.numeric))
                     for name, node in graph.outputs}
        done = 0
        while done < self.tokens:
            for slot, stream in streams:
                values[slot] = stream[done]
            for slot, name, old, new in reads:
                values[slot] = rescale(now[name], old, new) if old != new else now[name]
            for slot, f, args in steps:
                values[slot] = f(*[values[a] for a in args])
            self._check(checks, values, slots, now, plan, done)
            for name, node in graph.outputs:
                collected[name][done] = values[slots[node]]
            now = {s.name: self._next(values[slots[s.next]], s.type, plan.scale[s.next], plan.state_scale[s.name])
                   for s in graph.states}
            done += 1
            if any(np.abs(now[name]).max() > most for name, most in plan.guards.items()):
                break
        for name, node in graph.outputs:
            piece = np.moveaxis(collected[name][:done], 0, 1)
            self._pieces[name].append(self._shown(piece, plan.scale[node], node.type))
        self.final = {s.name: self._state_array(now[s.name], plan.state_scale[s.name], s.type) for s in graph.states}
        return done

    def _next(self, value: Array, t: Type, old: int, new: int) -> Array:
        full = np.broadcast_to(value, (self.rows, *shape(t)))
        if is_float(t, self.graph.numeric):
            return full.astype(np.float64)
        return rescale(full, old, new) if isinstance(scalar_of(t), Real) else full

    def _state_array(self, counts: Array, scale: int, t: Type) -> Array:
        if isinstance(scalar_of(t), Real) and not self.graph.numeric:
            return _objects(counts, scale, t)
        return np.array(counts)

    def _shown(self, counts: Array, scale: int, t: Type) -> Array:
        if not isinstance(scalar_of(t), Real) or self.graph.numeric:
            return counts
        if self.exact:
            return _objects(counts, scale, t)
        small = scale <= 1 << 53 and (not counts.size or int(np.abs(counts).max()) <= 1 << 53)
        return counts / scale if small else _nearest(_objects(counts, scale, t))

    def _check(self, checks: list[tuple[int, int]], values: list[Any], slots: Mapping[Any, int],
               now: Mapping[str, Array], plan: Plan, done: int) -> None:
        """Raises the error of the first row that fails a check at this token, for its first such check."""
        failing = [(int(np.argmin(np.broadcast_to(values[slot], (self.rows,)))), i) for i, slot in checks
                   if not np.all(values[slot])]
        if not failing:
            return
        row, number = min(failing)
        check = self.graph.checks[number]
        subject = None
        if check.subject is not None:
            whole = np.broadcast_to(values[slots[check.subject]], (self.rows, *shape(check.subject.type)))
            subject = self._one(whole[row], plan.scale[check.subject], check.subject.type)
        state = {s.name: self._one(now[s.name][row], plan.state_scale[s.name], s.type) for s in self.graph.states}
        given = {n.name: self._one(values[slots[n]][row], plan.scale[n], n.type) for n in self.graph.inputs}
        raise check_failure(self.graph, check, subject, state, given, self.position + done, row)

    def _one(self, counts: Any, scale: int, t: Type) -> Value:
        return convert(as_tuples(_objects(np.asarray(counts), scale, t).tolist()), t, self.graph.numeric)

    def row_by_row(self, start: int) -> None:
        """Runs the tokens from `start` on through the generated step, one row after the other."""
        graph = self.graph
        step = compile_step(graph, self.params)
        states = {n: c.values() for n, c in self.states.items()} if not self.final else self.final
        columns = [self.columns[n.name].values()[:, start:] for n in graph.inputs]
        gathered: list[list[Any]] = []
        after: list[tuple[Any, ...]] = []
        first: RunError | None = None
        for row in range(self.rows):
            now = tuple(convert(as_tuples(states[s.name][row].tolist() if shape(s.type) else states[s.name][row]),
                                s.type, graph.numeric) for s in graph.states)
            streams = [as_tuples(c[row].tolist()) for c in columns]
            out: list[Any] = []
            try:
                after.append(step.run_block(now, streams[0] if len(streams) == 1 else zip(*streams, strict=True), out))
            except CheckFailedError as failed:
                error = step.error(failed, self.position + start + len(out))
                if first is None or error.position < first.position:
                    check = graph.checks[failed.check]
                    subject = None if check.subject is None else convert(failed.subject, check.subject.type,
                                                                         graph.numeric)
                    given = {n.name: v for n, v in zip(graph.inputs, failed.inputs, strict=True)}
                    first = check_failure(graph, check, subject, step.unpack_state(failed.state), given,
                                          error.position, row)
            gathered.append(out)
        if first is not None:
            raise first
        length = self.tokens - start
        for place, (name, node) in enumerate(graph.outputs):
            table = [[v if len(graph.outputs) == 1 else v[place] for v in out] for out in gathered]
            self._pieces[name].append(self._array(table, (self.rows, length, *shape(node.type)), node.type, self.exact))
        self.final = {s.name: self._array([state[i] for state in after], (self.rows, *shape(s.type)), s.type, True)
                      for i, s in enumerate(graph.states)}

    def _array(self, nested: Any, dims: tuple[int, ...], t: Type, exact: bool) -> Array:
        """An array of values; int64 and float64 where the values allow it."""
        flat = np.empty(math.prod(dims), dtype=object)
        flat[:] = list(_leaves(nested, len(dims)))
        if isinstance(scalar_of(t), Real) and not self.graph.numeric:
            exactly = np.frompyfunc(Fraction, 1, 1)(flat) if flat.size else flat
            return np.asarray(exactly, dtype=object).reshape(dims) if exact else _nearest(flat).reshape(dims)
        if all(-_INT64 <= v < _INT64 for v in flat) or is_float(t, self.graph.numeric):
            return flat.astype(_array_type(t, self.graph.numeric)).reshape(dims)
        return flat.reshape(dims)


def _leaves(nested: Any, depth: int) -> Any:
    if depth == 0:
        yield nested
    else:
        for x in nested:
            yield from _leaves(x, depth - 1)


def _nearest(objects: Array) -> Array:
    flat = np.array([to_float(x) for x in objects.ravel()], dtype=np.float64)
    return flat.reshape(objects.shape)


def _array_type(t: Type, numeric: bool) -> Any:
    if isinstance(scalar_of(t), Bool):
        return np.bool_
    return np.float64 if is_float(t, numeric) else np.int64


def _read_batch(graph: Graph, inputs: Mapping[str, Any]) -> tuple[dict[str, _Column], int, int]:
    """The inputs, checked, and the size of the batch."""
    for name in inputs:
        if all(n.name != name for n in graph.inputs):
            raise LsrlError.of("L606", f"the program has no input `{name}`",
                               help=did_you_mean(name, [n.name for n in graph.inputs]))
    columns: dict[str, _Column] = {}
    size: tuple[int, ...] | None = None
    for node in graph.inputs:
        if node.name not in inputs:
            raise LsrlError.of("L606", f"input `{node.name}` is missing", node.span,
                               help=did_you_mean(node.name, inputs))
        array = np.asarray(inputs[node.name])
        dims = shape(node.type)
        if array.ndim != 2 + len(dims) or array.shape[2:] != dims:
            wanted = ", ".join(map(str, ("B", "T", *dims)))
            raise LsrlError.of("L602", f"input `{node.name}` has the shape {array.shape}, where ({wanted}) is wanted",
                               node.span)
        if size is not None and array.shape[:2] != size:
            raise LsrlError.of("L602", f"input `{node.name}` has {array.shape[:2]} rows and tokens, another {size}",
                               node.span)
        size = array.shape[:2]
        columns[node.name] = _read_column(array, node.type, graph.numeric, f"input `{node.name}`", True)
    if size is None:
        raise LsrlError.of("L606", f"`{graph.name}` has no inputs, so a batch has no length", graph.span)
    return columns, size[0], size[1]


def _read_states(graph: Graph, state: Mapping[str, Any] | None, rows: int) -> dict[str, _Column]:
    out: dict[str, _Column] = {}
    initial = initial_state(graph)
    for s in graph.states:
        dims = shape(s.type)
        if state is None:
            array = np.empty((rows, *dims), dtype=object)
            array[...] = _object_array(initial[s.name], dims)
        else:
            if s.name not in state:
                raise LsrlError.of("L606", f"the state `{s.name}` is missing", s.span)
            array = np.asarray(state[s.name])
            if array.shape != (rows, *dims):
                raise LsrlError.of("L602", f"the state `{s.name}` has the shape {array.shape}, "
                                           f"where {(rows, *dims)} is wanted", s.span)
        out[s.name] = _read_column(array, s.type, graph.numeric, f"the state `{s.name}`", False)
    return out


def _object_array(value: Value, dims: tuple[int, ...]) -> Array:
    array = np.empty(math.prod(dims), dtype=object)
    array[:] = list(_leaves(value, len(dims)))
    return array.reshape(dims)


def _read_column(array: Array, t: Type, numeric: bool, what: str, tokens: bool) -> _Column:
    """Values checked against a type, and held in 64 bits if they fit."""
    scalar = scalar_of(t)
    if isinstance(scalar, Bool) and array.dtype == np.bool_:
        return _Column(t, array, 1, BIT)
    if scalar == Real() and numeric and array.dtype == np.float64:
        return _Column(t, array, 1, Range(None, None, None, True))
    if array.dtype.kind in "iu" and not isinstance(scalar, Bool) and not numeric and array.size \
            and int(array.max()) < _INT64:
        lo, hi = int(array.min()), int(array.max())
        if _within(lo, scalar) and _within(hi, scalar) and (not isinstance(scalar, Real) or scalar.grid is None):
            return _Column(t, array.astype(np.int64), 1, Range(Fraction(lo), Fraction(hi), Fraction(1)))
    return _read_values(array, scalar, t, numeric, what, tokens)


def _within(value: int, scalar: Type) -> bool:
    try:
        read_value(value, scalar)
    except BadValueError:
        return False
    return True


def _read_values(array: Array, scalar: Type, t: Type, numeric: bool, what: str, tokens: bool) -> _Column:
    """Values read one by one, equal ones once."""
    flat = array.ravel()
    keys = flat if array.dtype.kind == "f" and array.dtype.itemsize != 8 else flat.tolist()
    known: dict[Any, Value] = {}
    out: list[Value] = []
    for at, key in enumerate(keys):
        kind = (type(key), key)
        if kind not in known or key != key or key == 0:  # NaN, and zeros that differ in sign
            try:
                known[kind] = read_value(key, scalar, numeric)
            except BadValueError as bad:
                place = np.unravel_index(at, array.shape)
                where = f"row {place[0]}, token {place[1]}" if tokens else f"row {place[0]}"
                raise LsrlError.of(bad.code, f"{what}, {where}: {bad.message}", help=bad.help) from None
        out.append(known[kind])
    listed = np.empty(len(out), dtype=object)
    listed[:] = out
    objects: Array = listed.reshape(array.shape)
    if isinstance(scalar, Bool):
        return _Column(t, objects.astype(np.bool_), 1, BIT)
    if is_float(t, numeric):
        return _Column(t, objects.astype(np.float64), 1, Range(None, None, None, True))
    distinct = [Fraction(v) for v in known.values() if not isinstance(v, tuple)] or [Fraction(0)]
    scale = math.lcm(*(v.denominator for v in distinct)) if isinstance(scalar, Real) else 1
    r = Range(min(distinct), max(distinct), Fraction(1, scale))
    assert isinstance(scalar, Int | Real | Symbols)
    magnitude = r.magnitude
    if magnitude is None or magnitude * scale >= 1 << 62:
        return _Column(t, None, scale, r, objects)
    counts = np.asarray(objects * scale).astype(np.int64)
    return _Column(t, counts, scale, r)
