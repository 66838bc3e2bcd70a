"""A whole program as one table: for each joint state and letter the state after it and the outputs.

Where all states of a program together take few values, and so do its inputs, a token is one look-up. The table is
found by running the step on arrays, over all pairs of a reached state and a letter, layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.code import Value, schedule
from lsrl.backends.kernels.pieces import Piece
from lsrl.backends.kernels.text import leaves
from lsrl.types import Real

__all__ = ["Digit", "StateTable", "evaluate_arrays", "find_table"]

Array: TypeAlias = NDArray[Any]

_STATES = 4096
_LETTERS = 4096
_ENTRIES = 1 << 16  # pairs of a state and a letter
_WORK = 1 << 25  # operations on array elements, a call on an array counting as many as it takes the time of
_CALL = 500


@dataclass(frozen=True)
class Digit:
    """An input that letters are made of: it takes `count` values from `low` on."""

    leaf: Value
    low: int
    count: int


@dataclass(frozen=True, eq=False)
class StateTable:
    """states[q]: the counts of all registers; 0 is the initial one. next[q, x]: −1 where a check fails.

    A letter is a number in mixed radix, the first digit being the most significant. outputs[i][q, x]: the counts of
    the i-th output element of the step.
    """

    states: tuple[tuple[int, ...], ...]
    digits: tuple[Digit, ...]
    next: Array
    outputs: tuple[Array, ...]
    code: Mapping[tuple[int, ...], int] = field(repr=False)

    @property
    def fails(self) -> bool:
        """Whether a check can fail."""
        return bool((self.next < 0).any())

    def by_state(self, i: int) -> Array | None:
        """The i-th output element as a function of the state after the token, if it is one; (states,)."""
        out = np.zeros(len(self.states), np.int64)
        alive = self.next >= 0
        after, shown = self.next[alive], self.outputs[i][alive]
        out[after] = shown
        return out if bool((out[after] == shown).all()) else None


@lru_cache(maxsize=8)
def find_table(parts: Parts, checks: bool = True) -> StateTable | None:
    """The table of a whole program with one lane; None if it has too many states or letters, or floats.

    checks: whether a check that fails ends a sequence.
    """
    if isinstance(parts, Piece) or parts.lanes.mixes:
        return None
    step = parts.step
    conditions = [v for _, v in step.checks] if checks else []
    roots = [*step.nexts, *(o.value for o in step.outputs), *conditions]
    order = schedule(roots)
    if parts.lanes.width > 1 or parts.storage.plan.guards or any(v.kind == "float" for v in order):
        return None
    digits = _digits(parts, leaves(roots, "input"))
    letters = 0 if digits is None else math.prod(d.count for d in digits)
    if digits is None or letters > _LETTERS:
        return None
    columns = _letter_columns(digits)
    states = [tuple(int(r.init) for r in parts.registers)]
    code = {states[0]: 0}
    place = {r.name: i for i, r in enumerate(parts.registers)}
    reads = leaves(roots, "state")
    nexts: list[Array] = []
    shown: list[list[Array]] = [[] for _ in step.outputs]
    done, work = 0, 0
    while done < len(states):
        batch = states[done:]
        work += len(order) * (len(batch) * letters + _CALL)
        if len(states) > _STATES or len(states) * letters > _ENTRIES or work > _WORK:
            return None
        done = len(states)
        held = np.array(batch, np.int64).reshape(len(batch), len(place))
        known = {d.leaf: np.tile(c, len(batch)) for d, c in zip(digits, columns, strict=True)}
        known.update({v: np.repeat(held[:, place[v.attribute[0]]], letters) for v in reads})
        found = evaluate_arrays(roots, known, len(batch) * letters)
        alive = np.ones(len(batch) * letters, bool)
        for x in found[len(states[0]) + len(shown):]:
            alive &= x != 0
        after = np.full(len(alive), -1, np.int64)
        joint = np.stack(found[: len(place)], 1) if place else np.zeros((len(alive), 0), np.int64)
        rows, inverse = np.unique(joint[alive], axis=0, return_inverse=True) if place else \
            (np.zeros((1, 0), np.int64), np.zeros(int(alive.sum()), np.int64))
        codes = []
        for row in map(tuple, rows.tolist()):
            if row not in code:
                code[row] = len(states)
                states.append(row)
            codes.append(code[row])
        after[alive] = np.array(codes, np.int64)[inverse.reshape(-1)]
        nexts.append(after.reshape(-1, letters))
        for into, x in zip(shown, found[len(place):], strict=False):
            into.append(x.reshape(-1, letters))
    return StateTable(tuple(states), digits, np.concatenate(nexts),
                      tuple(np.concatenate(x) for x in shown), code)


def _digits(parts: Parts, inputs: Sequence[Value]) -> tuple[Digit, ...] | None:
    """What the inputs that are read can be; None where that has no end or is no integer."""
    nodes = {n.name: n for n in parts.graph.inputs}
    out = []
    for v in inputs:
        node = nodes.get(v.attribute[0])
        port = next(p for p in parts.lanes.inputs if p.name == v.attribute[0])
        if node is None or port.dims or isinstance(node.type, Real):
            return None
        r = parts.storage.range(node)
        if v.kind == "bool":
            out.append(Digit(v, 0, 2))
        elif r.lo is None or r.hi is None:
            return None
        else:
            out.append(Digit(v, int(r.lo), int(r.hi - r.lo) + 1))
    return tuple(out)


def _letter_columns(digits: Sequence[Digit]) -> list[Array]:
    grids = np.meshgrid(*(np.arange(d.low, d.low + d.count) for d in digits), indexing="ij")
    return [g.reshape(-1) for g in grids]


def evaluate_arrays(roots: Sequence[Value], known: Mapping[Value, Array], rows: int) -> list[Array]:
    """Values without floats over `rows` rows at once, as int64 arrays; the same meaning as `code.evaluate`.

    A place outside a table counts as the nearest.
    """
    values: dict[Value, Array] = dict(known)
    for v in schedule(roots):
        if v not in values:
            values[v] = _wrapped(_evaluated(v, [values[a] for a in v.args], rows), v.kind)
    return [values[r] for r in roots]


def _evaluated(v: Value, args: list[Array], rows: int) -> Array:
    match v.op:
        case "const":
            return np.full(rows, int(v.attribute), np.int64)
        case "cast":
            return args[0]
        case "select":
            return np.where(args[0] != 0, args[1], args[2])
        case "lookup":
            entries = np.array([int(e) for e in v.attribute.entries], np.int64)
            return np.asarray(entries[np.clip(args[0], 0, len(entries) - 1)])
        case "not":
            return np.asarray(args[0] == 0)
        case "quotient":
            return np.asarray(args[0] // args[1])
        case "remainder":
            return np.asarray(args[0] % args[1])
        case _:
            result: Array = _UFUNCS[v.op](*args)
            return result


_UFUNCS: dict[str, np.ufunc] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "min": np.minimum, "max": np.maximum,
    "shl": np.left_shift, "shr": np.right_shift, "bitand": np.bitwise_and, "bitor": np.bitwise_or,
    "bitxor": np.bitwise_xor, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "and": np.bitwise_and, "or": np.bitwise_or}


def _wrapped(x: Array, kind: str) -> Array:
    if kind == "int32":
        return x.astype(np.int32).astype(np.int64)
    return x.astype(np.int64, copy=False)
