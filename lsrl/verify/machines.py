"""Programs and models as machines over numbered states and letters, so that a search handles integers only.

A machine gives the number of its start state, and `step(states, letters)` gives for a batch of (state, letter) pairs
the numbers of the next states and of the outputs. Equal states have equal numbers, and outputs are numbered by one
`Outputs` table for all machines of a search, so that equality of machines is equality of integers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from lsrl.interpreter import Interpreter, RunError
from lsrl.ir.graph import Graph
from lsrl.types import Real, Type, Value, Vector, scalar_of

if TYPE_CHECKING:
    import torch

__all__ = ["BATCH", "FORBIDDEN", "Ids", "Letters", "Machine", "ModelMachine", "Outputs", "ProgramMachine",
           "SequenceMachine", "as_tensor", "split_outputs"]

Ids = npt.NDArray[np.int64]
BATCH = 4096  # pairs that a model steps at once
FORBIDDEN = -1  # the next state where an `assume` rules the letter out


class Letters:
    """The values that one token of input can take: every row of the inputs' product."""

    def __init__(self, graph: Graph, rows: Sequence[Mapping[str, Value]]) -> None:
        self.rows = [dict(r) for r in rows]
        self.types: dict[str, Type] = {i.name: i.type for i in graph.inputs}
        self._tensors: dict[str, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def tensors(self, letters: Ids) -> dict[str, torch.Tensor]:
        """The input tensors of a batch of letters: (B,) or (B, …) a name, as a model takes them."""
        import torch

        if not self._tensors:
            self._tensors = {n: as_tensor([r[n] for r in self.rows], t) for n, t in self.types.items()}
        index = torch.from_numpy(letters)
        return {n: x[index] for n, x in self._tensors.items()}


def as_tensor(values: Sequence[Value], t: Type) -> torch.Tensor:
    """Values of one type as a tensor: bool, int64 (codes of symbols too) or float64."""
    import torch

    scalar = scalar_of(t)
    if isinstance(scalar, Real):
        return torch.tensor(_floats(list(values)), dtype=torch.float64)
    return torch.tensor(values, dtype=torch.bool if str(scalar) == "bool" else torch.int64)


def _floats(values: Any) -> Any:
    return [_floats(v) for v in values] if isinstance(values, list | tuple) else float(values)


class Outputs:
    """Numbers for output rows: equal rows, equal numbers."""

    def __init__(self) -> None:
        self._ids: dict[Hashable, int] = {}
        self.rows: list[dict[str, Value]] = []

    def number(self, row: dict[str, Value]) -> int:
        key = tuple(row.items())
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self.rows)
            self.rows.append(row)
        return found


class Machine(Protocol):
    """See the module."""

    start: int

    def step(self, states: Ids, letters: Ids) -> tuple[Ids, Ids]:
        """Next states and outputs of a batch of pairs. Raises RunError where a program stops."""
        ...


class ProgramMachine:
    """The interpreter, each (state, letter) evaluated once.

    failures: the RunError of each (state, letter) at which the program stops (an assert or a range that fails);
    its output number is -1 - the failure's index.
    """

    def __init__(self, graph: Graph, letters: Letters, outputs: Outputs) -> None:
        self._interpreter = Interpreter(graph)
        self._letters = letters
        self._outputs = outputs
        self._ids: dict[Hashable, int] = {}
        self._states: list[dict[str, Value]] = []
        self._next = np.full((0, len(letters)), -2, np.int64)
        self._out = np.zeros((0, len(letters)), np.int64)
        self.failures: list[RunError] = []
        self.start = self._number(self._interpreter.initial_state())

    def _number(self, state: dict[str, Value]) -> int:
        key = tuple(state.values())
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self._states)
            self._states.append(state)
        return found

    def _grow(self) -> None:
        n = len(self._next)
        if len(self._states) > n:
            more = max(1024, len(self._states) * 2) - n
            width = len(self._letters)
            self._next = np.concatenate([self._next, np.full((more, width), -2, np.int64)])
            self._out = np.concatenate([self._out, np.zeros((more, width), np.int64)])

    def step(self, states: Ids, letters: Ids) -> tuple[Ids, Ids]:
        self._grow()
        unknown = self._next[states, letters] == -2
        for s, x in np.unique(np.stack([states[unknown], letters[unknown]], 1), axis=0).tolist():
            next_state, out = self._evaluate(s, x)
            self._grow()
            self._next[s, x] = next_state
            self._out[s, x] = out
        return self._next[states, letters], self._out[states, letters]

    def _evaluate(self, state: int, letter: int) -> tuple[int, int]:
        try:
            outputs, after = self._interpreter.step(self._states[state], self._letters.rows[letter])
        except RunError as error:
            if error.check is None:
                raise
            if error.check.kind == "assume":
                return FORBIDDEN, 0
            self.failures.append(error)
            return FORBIDDEN, -len(self.failures)
        return self._number(after), self._outputs.number(outputs)


def split_outputs(graph: Graph, outputs: Any) -> dict[str, torch.Tensor]:
    """A model's answer as one tensor an output: a dict as it is, a bare tensor for a program with one output."""
    if isinstance(outputs, Mapping):
        return {n: outputs[n] for n, _ in graph.outputs}
    if len(graph.outputs) == 1:
        return {graph.outputs[0][0]: outputs}
    raise TypeError("a model of a program with several outputs answers with a dict of tensors")


class _ModelOutputs:
    """Turns batches of a model's output tensors into output numbers."""

    def __init__(self, graph: Graph, outputs: Outputs) -> None:
        self._types = [(n, node.type) for n, node in graph.outputs]
        self._graph = graph
        self._outputs = outputs

    def numbers(self, answer: Any) -> Ids:
        parts = []
        tensors = split_outputs(self._graph, answer)
        for name, t in self._types:
            x = tensors[name].detach().cpu()
            array = x.double().numpy() if x.is_floating_point() else x.numpy().astype(np.int64)
            parts.append(array.reshape(len(array), -1).astype(np.float64) if isinstance(scalar_of(t), Real)
                         else array.reshape(len(array), -1))
        joined = np.concatenate([np.ascontiguousarray(p).view(np.int64) for p in parts], axis=1)
        _, first, back = np.unique(joined, axis=0, return_index=True, return_inverse=True)
        known = np.empty(len(first), np.int64)
        for k, i in enumerate(first.tolist()):
            known[k] = self._outputs.number({n: _value(p[i], t) for (n, t), p in zip(self._types, parts, strict=True)})
        return known[back.reshape(-1)]


def _value(flat: npt.NDArray[Any], t: Type) -> Value:
    """The exact value of one row of an output tensor."""
    if isinstance(t, Vector):
        return tuple(_value(part, t.elem) for part in np.split(flat, t.size))
    x = flat[0].item()
    if isinstance(t, Real):
        return Fraction(x) if np.isfinite(x) else float(x)
    if isinstance(x, float):
        return int(x) if x.is_integer() else x
    return bool(x) if str(t) == "bool" and x in (0, 1) else int(x)


class ModelMachine:
    """A model with `step(inputs, state)` and `initial_state(batch)`: its states are its hidden tensors, bit for bit.

    Each tensor of the state is numbered apart and a joint state is the tuple of those numbers, so that a model with
    layers is stored in the size of its layers' states, not of their product. NumPy has no bfloat16: its bits are held
    as int16.
    """

    def __init__(self, model: Any, graph: Graph, letters: Letters, outputs: Outputs, batch: int = BATCH) -> None:
        import torch
        from torch.utils._pytree import tree_flatten

        self._model, self._letters, self.batch = model, letters, batch
        self._read = _ModelOutputs(graph, outputs)
        with torch.no_grad():
            one, self._form = tree_flatten(model.initial_state(1))
            two, _ = tree_flatten(model.initial_state(2))
        self._axes = [next(k for k in range(a.dim()) if a.shape[k] != b.shape[k])
                      for a, b in zip(one, two, strict=True)]
        self._parts = [_Rows() for _ in one]
        self._dtypes = [x.dtype for x in one]
        self._joint = _Rows()
        self.start = int(self._number(one, 1)[0])

    def _number(self, tensors: Sequence[torch.Tensor], batch: int) -> Ids:
        import torch

        if not self._parts:  # a model without memory has one state
            return np.zeros(batch, np.int64)

        columns = []
        for part, axis, x in zip(self._parts, self._axes, tensors, strict=True):
            held = x.detach().cpu()
            rows = (held + 0.0 if held.is_floating_point() else held).movedim(axis, 0).contiguous()  # + 0.0: one zero
            columns.append(part.number((rows.view(torch.int16) if rows.dtype == torch.bfloat16 else rows).numpy()))
        return self._joint.number(np.stack(columns, axis=1))

    def _gather(self, states: Ids) -> Any:
        import torch
        from torch.utils._pytree import tree_unflatten

        parts = self._joint.rows[states] if self._parts else np.empty((len(states), 0), np.int64)
        tensors = [torch.from_numpy(part.rows[parts[:, k]]).view(dtype).movedim(0, axis)
                   for k, (part, axis, dtype) in enumerate(zip(self._parts, self._axes, self._dtypes, strict=True))]
        return tree_unflatten(tensors, self._form)

    def step(self, states: Ids, letters: Ids) -> tuple[Ids, Ids]:
        import torch
        from torch.utils._pytree import tree_flatten

        after, out = np.empty(len(states), np.int64), np.empty(len(states), np.int64)
        with torch.no_grad():
            for lo in range(0, len(states), self.batch):
                part = slice(lo, lo + self.batch)
                inputs = self._letters.tensors(letters[part])
                answer, state = self._model.step(inputs, self._gather(states[part]))
                after[part] = self._number(tree_flatten(state)[0], len(states[part]))
                out[part] = self._read.numbers(answer)
        return after, out


class _Rows:
    """Numbers for rows of arrays: equal bits, equal numbers. `rows` holds them in order."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._held: npt.NDArray[Any] | None = None

    @property
    def rows(self) -> npt.NDArray[Any]:
        assert self._held is not None
        return self._held[: len(self._ids)]

    def number(self, batch: npt.NDArray[Any]) -> Ids:
        flat = np.ascontiguousarray(batch.reshape(len(batch), -1))
        if flat.shape[1] == 0:
            keys = np.zeros(len(batch), dtype="V1")
        else:
            keys = flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1]))).reshape(-1)
        first, back = _distinct(flat, keys)
        ids = np.empty(len(first), np.int64)
        fresh: list[int] = []
        for k in np.argsort(first).tolist():  # in order of appearance, so that numbers do not depend on the bits
            i = int(first[k])
            key = keys[i].tobytes()
            found = self._ids.get(key)
            if found is None:
                found = self._ids[key] = len(self._ids)
                fresh.append(i)
            ids[k] = found
        if fresh or self._held is None:
            self._append(batch[fresh])
        return ids[back]

    def _append(self, rows: npt.NDArray[Any]) -> None:
        n = len(self._ids) - len(rows)
        if self._held is None:
            self._held = rows.copy()
            return
        if len(self._ids) > len(self._held):
            room = np.empty((max(2 * len(self._held), len(self._ids)), *self._held.shape[1:]), self._held.dtype)
            room[:n] = self._held[:n]
            self._held = room
        self._held[n : len(self._ids)] = rows


def _distinct(flat: npt.NDArray[Any], keys: npt.NDArray[Any]) -> tuple[Ids, Ids]:
    """The places of rows that differ, and for each row which of them it is equal to.

    Rows are sorted by a hash, which is many times quicker than by their bytes, and then compared.
    """
    width = flat.dtype.itemsize * flat.shape[1]
    if width:
        padded = np.zeros((len(flat), -(-width // 8) * 8), np.uint8)
        padded[:, :width] = flat.view(np.uint8).reshape(len(flat), width)
        words = padded.view(np.uint64)
        mixed = words ^ words >> np.uint64(29)
        _, first, back = np.unique((mixed * _factors(words.shape[1])).sum(1), return_index=True, return_inverse=True)
        back = back.reshape(-1)
        if np.array_equal(words, words[first[back]]):
            return first, back
    _, first, back = np.unique(keys, return_index=True, return_inverse=True)
    return first, back.reshape(-1)


@cache
def _factors(words: int) -> npt.NDArray[np.uint64]:
    return np.random.default_rng(0).integers(0, 2**64, words, np.uint64) | np.uint64(1)


class SequenceMachine:
    """A model that only takes whole sequences: its states are the words read, none merged."""

    def __init__(self, model: Any, graph: Graph, letters: Letters, outputs: Outputs, batch: int = 1024) -> None:
        self._model, self._letters, self.batch = model, letters, batch
        self._read = _ModelOutputs(graph, outputs)
        self._one_input = len(graph.inputs) == 1
        self._words: list[tuple[int, ...]] = [()]
        self._ids: dict[tuple[int, ...], int] = {(): 0}
        self.start = 0

    def step(self, states: Ids, letters: Ids) -> tuple[Ids, Ids]:
        import torch

        words = [(*self._words[s], x) for s, x in zip(states.tolist(), letters.tolist(), strict=True)]
        after, out = np.empty(len(words), np.int64), np.empty(len(words), np.int64)
        by_length: dict[int, list[int]] = {}
        for k, w in enumerate(words):
            by_length.setdefault(len(w), []).append(k)
            if w not in self._ids:
                self._ids[w] = len(self._words)
                self._words.append(w)
            after[k] = self._ids[w]
        with torch.no_grad():
            for length, places in by_length.items():
                for part in _chunks(places, self.batch):
                    flat = np.array([words[k] for k in part], np.int64).reshape(-1)
                    inputs = {n: x.reshape(len(part), length, *x.shape[1:])
                              for n, x in self._letters.tensors(flat).items()}
                    answer = self._model(next(iter(inputs.values())) if self._one_input else inputs)
                    answer = answer[0] if isinstance(answer, tuple) else answer
                    last = {n: x[:, -1] for n, x in answer.items()} if isinstance(answer, Mapping) else answer[:, -1]
                    out[part] = self._read.numbers(last)
        return after, out


def _chunks(places: Sequence[int], n: int) -> Iterable[list[int]]:
    return (list(places[i : i + n]) for i in range(0, len(places), n))
