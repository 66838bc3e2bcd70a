"""Long texts through a generated C kernel: what `lsrl run` goes over to when an input turns out to be long.

The first tokens go through the generated Python step, which needs neither a compiler nor torch to be loaded. What a
kernel cannot do (no compiler, a number of more than 64 bits) stays there, and so does a block in which a token stops
the run, for the error.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.streams.readers import Reader
from lsrl.streams.text_readers import ByteReader, TextReader
from lsrl.types import Real, Symbols, Value, scalar_of

if TYPE_CHECKING:
    from torch import Tensor

    from lsrl.backends.kernels.operator import Operator

__all__ = ["AFTER_TOKENS", "KernelRun", "StopInBlockError", "make_kernel_run"]

AFTER_TOKENS = 1 << 21  # before this many tokens it is not worth while
_UNKNOWN = 255  # the code of a character outside the alphabet
_warned: set[str] = set()


class StopInBlockError(Exception):
    """A token of the block stops the run, or has to be looked at one by one."""


def make_kernel_run(graph: Graph, source: Reader, params: Mapping[str, object] | None) -> KernelRun | None:
    """A kernel for a text or bytes; None where there can be none. Warns once if the machine has no compiler."""
    if params or not isinstance(source, TextReader | ByteReader):
        return None
    t = graph.inputs[0].type
    if isinstance(t, Symbols) and (len(t.names) >= _UNKNOWN or any(len(n) != 1 for n in t.names)):
        return None
    try:
        import torch

        from lsrl.backends.kernels.call import Options
        from lsrl.backends.kernels.lanes import make_lanes
        from lsrl.backends.kernels.operator import Operator
        from lsrl.backends.kernels.targets import device_of, make_kernel

        operator = Operator(make_lanes(graph), Options(torch.float64, torch.float64),
                            lambda device, parts, options: make_kernel("c", device, parts, options), device_of)
        if not graph.numeric and (not operator.parts.storage.exact or any(
                isinstance(scalar_of(n.type), Real) for _, n in graph.outputs)):
            return None  # only Python holds such rationals exactly
        operator.kernel(torch.device("cpu"), False, False)
        run = KernelRun(graph, operator)
        run.warm_up()
    except LsrlError as refused:
        if refused.diagnostics[0].code == "L412" and "L412" not in _warned:
            _warned.add("L412")
            first = refused.diagnostics[0]
            print(f"warning: long inputs are slow without a C compiler: {first.message}", file=sys.stderr)
        return None
    return run


class KernelRun:
    """Runs blocks of a text, the state kept in the kernel's numbers between them."""

    def __init__(self, graph: Graph, operator: Operator) -> None:
        self._graph = graph
        self._operator = operator
        self._state: list[Tensor] = []
        self.ran = False  # whether a block was run
        t = graph.inputs[0].type
        self._table: bytes | None = None
        self._points: NDArray[np.uint32] = np.zeros(0, np.uint32)
        if isinstance(t, Symbols):
            other = len(t.names) if t.other else _UNKNOWN
            codes = {ord(n): i for i, n in enumerate(t.names)}
            self._table = bytes(codes.get(i, other) for i in range(256))
            self._points = np.array(sorted(codes), np.uint32)
            self._codes = np.array([codes[int(p)] for p in self._points] + [other], np.uint8)

    def warm_up(self) -> None:
        """Compiles."""
        import torch

        self._operator.run([torch.zeros(1, 0, dtype=torch.uint8)], [], [], None, None, 1, 0, False)

    def load(self, state: Mapping[str, Value]) -> None:
        """Starts from a state of the program. Raises StopInBlockError if the kernel's numbers cannot hold it."""
        import torch

        from lsrl.backends.kernels.call import state_dtype

        parts = self._operator.parts
        registers = {r.name: r for r in parts.registers}
        self._state = []
        for port in self._operator.lanes.states:
            dtype = state_dtype(port, parts, self._operator.options)
            flat: list[Any] = []
            for name, value in zip(port.parts, _flat(state[port.name]), strict=True):
                count = value if dtype.is_floating_point else int(Fraction(value) * registers[name].scale)
                lo, hi = parts.state_ranges[name]
                if not dtype.is_floating_point and not lo <= count <= hi:
                    raise StopInBlockError
                flat.append(count)
            self._state.append(torch.tensor(flat, dtype=dtype).reshape(1, *port.dims))

    def state(self) -> dict[str, Value]:
        """The program's state after the blocks so far."""
        from lsrl.backends.kernels.failures import program_value

        return {p.name: program_value(x[0], p, self._operator)
                for p, x in zip(self._operator.lanes.states, self._state, strict=True)}

    def run(self, block: Any) -> list[NDArray[Any]]:
        """The outputs of the tokens of a text or bytes (tokens, …), symbols as codes.

        Raises StopInBlockError, and keeps the state from before the block then."""
        import torch

        from lsrl.backends.kernels.operator import FailedError

        codes = self._encoded(block)
        try:
            outputs, after = self._operator.run([torch.from_numpy(codes).unsqueeze(0)], self._state, [], None, None, 1,
                                                len(codes), False)
        except FailedError:
            raise StopInBlockError from None
        self._state = after
        self.ran = True
        return [x[0].numpy() for x in outputs]

    def _encoded(self, block: Any) -> NDArray[np.uint8]:
        if isinstance(block, bytes):
            return np.frombuffer(bytearray(block), np.uint8)
        assert self._table is not None
        if block.isascii():
            codes = np.frombuffer(bytearray(block.encode("ascii").translate(self._table)), np.uint8)
        else:
            points = np.frombuffer(block.encode("utf-32-le", "surrogatepass"), np.uint32)
            places = np.searchsorted(self._points, points)
            known = self._points[np.minimum(places, len(self._points) - 1)] == points
            codes = self._codes[np.where(known, places, len(self._points))]
        if self._codes[-1] == _UNKNOWN and (codes == _UNKNOWN).any():
            raise StopInBlockError
        return codes


def _flat(value: Value) -> list[Any]:
    return [x for v in value for x in _flat(v)] if isinstance(value, tuple) else [value]


