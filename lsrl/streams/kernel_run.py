"""Long inputs through a generated C kernel: what `lsrl run` goes over to when an input turns out to be long.

The first tokens go through the generated Python step, which needs neither a compiler nor torch to be loaded, unless the
input is known to be long from the start. What a kernel cannot do (no compiler, a number of more than 64 bits) stays
there, and so does a block in which a token stops the run, for the error.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsrl.diagnostics import LsrlError
from lsrl.interpreter import param_values
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Table
from lsrl.streams.readers import Reader
from lsrl.streams.row_readers import RowReader
from lsrl.streams.text_readers import ByteReader, TextReader
from lsrl.types import BYTE, Real, Symbols, Value, scalar_of, shape
from lsrl.values import flattened

if TYPE_CHECKING:
    from torch import Tensor

    from lsrl.backends.kernels.operator import Operator

__all__ = ["AFTER_TOKENS", "AT_ONCE", "KernelRun", "StopInBlockError", "make_kernel_run"]

AFTER_TOKENS = 1 << 21  # before this many tokens it is not worth while
AT_ONCE = 1 << 23  # bytes of a file from which it is worth while from the first token
_UNKNOWN = 255  # the code of a character outside the alphabet
_warned: set[str] = set()


class StopInBlockError(Exception):
    """A token of the block stops the run, or has to be looked at one by one."""


def make_kernel_run(graph: Graph, source: Reader, params: Mapping[str, object] | None,
                    byte_of: bytes | None = None) -> KernelRun | None:
    """A kernel for a text, bytes or rows; None where there can be none. Warns once if the machine has no compiler.

    byte_of: the byte to give out for each code of the one output, instead of the code.
    """
    if not isinstance(source, TextReader | ByteReader | RowReader):
        return None
    t = graph.inputs[0].type if graph.inputs else None
    if t is None or isinstance(source, TextReader) and isinstance(t, Symbols) and (
            len(t.names) >= _UNKNOWN or any(len(n) != 1 for n in t.names)):
        return None
    if not graph.numeric and (graph.params or any(isinstance(scalar_of(x.type), Real) for x in
                                                  (*graph.inputs, *(n for _, n in graph.outputs)))):
        return None  # only Python holds such rationals exactly
    try:
        operator = _operator(graph, byte_of)
        if not graph.numeric and not operator.parts.storage.exact:
            return None
        run = KernelRun(graph, operator, param_values(graph, params), byte_of is not None)
        run.warm_up()
    except LsrlError as refused:
        if refused.diagnostics[0].code == "L412" and "L412" not in _warned:
            _warned.add("L412")
            first = refused.diagnostics[0]
            print(f"warning: long inputs are slow without a C compiler: {first.message}", file=sys.stderr)
        return None
    return run


@lru_cache(maxsize=8)
def _operator(graph: Graph, byte_of: bytes | None) -> Operator:
    """The program's kernel, which inputs that come later use again. Raises LsrlError where there can be none."""
    import torch

    from lsrl.backends.kernels.call import Options
    from lsrl.backends.kernels.lanes import make_lanes
    from lsrl.backends.kernels.operator import Operator
    from lsrl.backends.kernels.targets import device_of, make_kernel

    if byte_of is not None:
        ((name, shown),) = graph.outputs
        table = Table((shown,), (0,), (len(byte_of),), tuple(byte_of), BYTE, shown.span)
        graph = replace(graph, outputs=((name, table),))
    operator = Operator(make_lanes(graph), Options(torch.float64, torch.float64),
                        lambda device, parts, options: make_kernel("c", device, parts, options), device_of)
    if graph.numeric or operator.parts.storage.exact:
        operator.kernel(torch.device("cpu"), False, False)
    return operator


class KernelRun:
    """Runs blocks of an input, the state kept in the kernel's numbers between them."""

    def __init__(self, graph: Graph, operator: Operator, params: Mapping[str, Value], in_bytes: bool) -> None:
        import torch

        from lsrl.backends.kernels.call import edge_dtype

        self._graph = graph
        self._operator = operator
        self._params = [torch.tensor(_floats(params[p.name]), dtype=torch.float64) for p in operator.lanes.params]
        self._dtypes = [torch.empty(0, dtype=edge_dtype(p, operator.options)).numpy().dtype
                        for p in operator.lanes.inputs]
        self._state: list[Tensor] = []
        self.ran = False  # whether a block was run
        self.in_bytes = in_bytes  # whether outputs are bytes to be written
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

        inputs = [torch.from_numpy(np.zeros((1, 0, *p.dims), dtype))
                  for p, dtype in zip(self._operator.lanes.inputs, self._dtypes, strict=True)]
        self._operator.run(inputs, [], self._params, None, None, 1, 0, False)

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
            values = flattened(state[port.name])
            for name, value in zip(port.parts * len(values) if port.lane else port.parts, values, strict=True):
                count = value if dtype.is_floating_point else int(Fraction(value) * registers[name].scale)
                if not dtype.is_floating_point and not parts.state_ranges[name].holds(count):
                    raise StopInBlockError
                flat.append(count)
            self._state.append(torch.tensor(flat, dtype=dtype).reshape(1, *port.dims))

    def state(self) -> dict[str, Value]:
        """The program's state after the blocks so far."""
        from lsrl.backends.kernels.failures import program_value

        return {p.name: program_value(x[0], p, self._operator)
                for p, x in zip(self._operator.lanes.states, self._state, strict=True)}

    def run(self, block: Any) -> list[NDArray[Any]]:
        """The outputs of the tokens of a block (tokens, …), symbols as codes or as bytes to be written.

        Raises StopInBlockError, and keeps the state from before the block then."""
        import torch

        from lsrl.backends.kernels.operator import FailedError

        columns = [self._encoded(block)] if isinstance(block, str | bytes) else self._columns(block)
        try:
            outputs, after = self._operator.run([torch.from_numpy(c).unsqueeze(0) for c in columns], self._state,
                                                self._params, None, None, 1, len(block), False)
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
            codes = np.frombuffer(bytearray(block, "ascii").translate(self._table), np.uint8)
        else:
            points = np.frombuffer(block.encode("utf-32-le", "surrogatepass"), np.uint32)
            places = np.searchsorted(self._points, points)
            known = self._points[np.minimum(places, len(self._points) - 1)] == points
            codes = self._codes[np.where(known, places, len(self._points))]
        if self._codes[-1] == _UNKNOWN and (codes == _UNKNOWN).any():
            raise StopInBlockError
        return codes

    def _columns(self, block: Sequence[tuple[Value, ...]]) -> list[NDArray[Any]]:
        """The inputs of rows, an array (tokens, …) each, in the kernel's types."""
        arrays = getattr(block, "columns", None)
        columns = list(zip(*block, strict=True)) if arrays is None else arrays
        out = []
        for node, dtype, column in zip(self._graph.inputs, self._dtypes, columns, strict=True):
            try:
                array = np.asarray(column)
                given = np.ascontiguousarray(array, dtype).reshape(len(block), *shape(node.type))
            except OverflowError:
                raise StopInBlockError from None
            if dtype.kind in "iu" and not np.array_equal(given, array):  # a number that 64 bits do not hold
                raise StopInBlockError
            out.append(given if given.flags.writeable else given.copy())  # torch wants to be allowed to write
        return out


def _floats(value: Value) -> Any:
    """A param's value as nested lists of floats."""
    return [_floats(v) for v in value] if isinstance(value, tuple) else float(value)


