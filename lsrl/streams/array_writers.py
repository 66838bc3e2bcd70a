"""The outputs of a program, written as `.npy`, `.npz` or Parquet files."""

from __future__ import annotations

import io
import math
import shutil
import tempfile
import zipfile
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from lsrl.arithmetic import to_float
from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.streams.array_readers import import_pyarrow
from lsrl.streams.sinks import ByteSink
from lsrl.streams.text import plain_value
from lsrl.streams.writers import Writer
from lsrl.types import Bool, Int, Real, Symbols, Type, Vector, scalar_of, shape

__all__ = ["NpyWriter", "NpzWriter", "ParquetWriter"]


class _ArrayWriter(Writer):
    """Formats of arrays: reals as float64, ints as int64, symbols as texts."""

    def __init__(self, graph: Graph, sink: ByteSink, exact: bool = False) -> None:
        super().__init__(graph, sink, exact)
        for name, node in graph.outputs:
            if exact and not graph.numeric and isinstance(scalar_of(node.type), Real):
                raise LsrlError.of("L610", f"an array cannot hold the rationals of `{name}` exactly",
                                   help="use jsonl, csv or parquet with --exact")

    def render(self, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return outputs

    def _arrays(self, rendered: Sequence[tuple[Any, ...]]) -> list[Any]:
        import numpy as np

        out = []
        for place, (name, node) in enumerate(self.graph.outputs):
            values = [convert_leaves(row[place], node.type) for row in rendered]
            try:
                array = np.array(values, dtype=_dtype(node.type)).reshape(len(values), *shape(node.type))
            except OverflowError:
                raise LsrlError.of("L613", f"the output `{name}` has a value that does not fit 64 bits",
                                   help="use jsonl or csv") from None
            out.append(array)
        return out

    @abstractmethod
    def _append(self, arrays: Sequence[Any]) -> None:
        """Adds the values of some tokens, an array an output."""

    def write(self, rendered: Sequence[tuple[Any, ...]]) -> None:
        if rendered:
            with self.sink.writing():
                self._append(self._arrays(rendered))

    def write_columns(self, columns: Sequence[Any]) -> None:
        with self.sink.writing():
            self._append([_of_codes(c, node.type) for c, (_, node) in zip(columns, self.graph.outputs, strict=True)])


def _of_codes(column: Any, t: Type) -> Any:
    """A column as files hold it: symbols by name."""
    import numpy as np

    scalar = scalar_of(t)
    if isinstance(scalar, Symbols):
        return np.array([*scalar.names, *(["*"] if scalar.other else [])], dtype=_dtype(t))[column]
    return column.astype(_dtype(t))


def convert_leaves(value: Any, t: Type) -> Any:
    """A value with its scalars as arrays and tables hold them: floats for rationals, names for symbols."""
    if isinstance(t, Vector):
        return [convert_leaves(v, t.elem) for v in value]
    match t:
        case Real():
            return to_float(value)
        case Symbols():
            return t.name(value)
        case _:
            return value


def _dtype(t: Type) -> str:
    match scalar_of(t):
        case Bool():
            return "?"
        case Real():
            return "<f8"
        case Symbols(names=names, other=other):
            return f"<U{max(map(len, (*names, '*' if other else '')), default=1) or 1}"
        case _:
            return "<i8"


class _NpyFile:
    """A `.npy` file whose length is written at the end, into room left in its header."""

    def __init__(self, stream: IO[bytes], dtype: str, dims: tuple[int, ...]) -> None:
        self._stream, self._dtype, self._dims = stream, dtype, dims
        self._start = stream.tell()
        self.length = 0
        stream.write(self._header())

    def _header(self) -> bytes:
        text = f"{{'descr': '{_descr(self._dtype)}', 'fortran_order': False, 'shape': {(self.length, *self._dims)}, }}"
        room = 64 * math.ceil((10 + len(str(_descr(self._dtype))) + 80 + 21 * (1 + len(self._dims))) / 64)
        padded = text.ljust(room - 11) + "\n"
        return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode("latin-1")

    def append(self, array: Any) -> None:
        self._stream.write(array.tobytes())
        self.length += len(array)

    def close(self) -> None:
        self._stream.seek(self._start)
        self._stream.write(self._header())
        self._stream.seek(0, io.SEEK_END)


def _descr(dtype: str) -> str:
    return "|b1" if dtype == "?" else dtype


class NpyWriter(_ArrayWriter):
    """A `.npy` file of a program's one output, tokens first."""

    def __init__(self, graph: Graph, sink: ByteSink, exact: bool = False) -> None:
        super().__init__(graph, sink, exact)
        if len(graph.outputs) != 1:
            raise LsrlError.of("L610", f"a .npy file holds one output; `{graph.name}` has {len(graph.outputs)}",
                               help="use .npz, with an array for each output")
        _require_file(sink, ".npy")
        t = graph.outputs[0][1].type
        self._file = _NpyFile(sink.stream, _dtype(t), shape(t))

    def _append(self, arrays: Sequence[Any]) -> None:
        self._file.append(arrays[0])

    def finish(self) -> None:
        self._file.close()


class NpzWriter(_ArrayWriter):
    """A `.npz` file with an array for each output."""

    def __init__(self, graph: Graph, sink: ByteSink, exact: bool = False) -> None:
        super().__init__(graph, sink, exact)
        _require_file(sink, ".npz")
        self._streams = [tempfile.TemporaryFile() for _ in graph.outputs]  # noqa: SIM115
        self._files = [_NpyFile(s, _dtype(node.type), shape(node.type))
                       for s, (_, node) in zip(self._streams, graph.outputs, strict=True)]

    def _append(self, arrays: Sequence[Any]) -> None:
        for file, array in zip(self._files, arrays, strict=True):
            file.append(array)

    def finish(self) -> None:
        with zipfile.ZipFile(self.sink.stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for (name, _), file, stream in zip(self.graph.outputs, self._files, self._streams, strict=True):
                file.close()
                stream.seek(0)
                member = zipfile.ZipInfo(f"{name}.npy")  # the same bytes for the same values: no time of day
                member.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(member, "w", force_zip64=True) as target:
                    shutil.copyfileobj(stream, target)

    def discard(self) -> None:
        for stream in self._streams:
            stream.close()


class ParquetWriter(Writer):
    """A Parquet file with a column for each output: lists for vectors, texts "p/q" for rationals if exact."""

    def __init__(self, graph: Graph, sink: ByteSink, exact: bool = False) -> None:
        super().__init__(graph, sink, exact)
        _require_file(sink, ".parquet")
        self._pyarrow, parquet = import_pyarrow()
        self._texts = exact and not graph.numeric
        fields = [(name, self._arrow_type(node.type)) for name, node in graph.outputs]
        self._schema = self._pyarrow.schema(fields)
        self._file = parquet.ParquetWriter(sink.stream, self._schema)

    def _arrow_type(self, t: Type) -> Any:
        if isinstance(t, Vector):
            return self._pyarrow.list_(self._arrow_type(t.elem))
        match t:
            case Bool():
                return self._pyarrow.bool_()
            case Int():
                return self._pyarrow.int64()
            case Real() if not self._texts:
                return self._pyarrow.float64()
            case _:
                return self._pyarrow.string()

    def render(self, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return outputs

    def _leaf(self, value: Any, t: Type) -> Any:
        if self._texts and isinstance(scalar_of(t), Real):
            show = plain_value(scalar_of(t), False, True)
            return [self._leaf(v, t.elem) for v in value] if isinstance(t, Vector) else show(value)
        return convert_leaves(value, t)

    def write(self, rendered: Sequence[tuple[Any, ...]]) -> None:
        if not rendered:
            return
        columns = []
        for place, (name, node) in enumerate(self.graph.outputs):
            values = [self._leaf(row[place], node.type) for row in rendered]
            try:
                columns.append(self._pyarrow.array(values, self._arrow_type(node.type)))
            except (OverflowError, self._pyarrow.ArrowInvalid):
                raise LsrlError.of("L613", f"the output `{name}` has a value that does not fit 64 bits",
                                   help="use jsonl or csv") from None
        with self.sink.writing():
            self._file.write_table(self._pyarrow.Table.from_arrays(columns, schema=self._schema))

    def finish(self) -> None:
        self._file.close()

    def discard(self) -> None:
        if self._file.is_open:
            with suppress(OSError):  # what could not be written is not wanted any more
                self._file.close()


def _require_file(sink: ByteSink, form: str) -> None:
    """Raises LsrlError (L610) unless the sink is a new file or a stream that can be gone back in."""
    if not (sink.is_file or sink.stream.seekable()):
        sink.abort()
        raise LsrlError.of("L610", f"{form} needs a file: it cannot go to {sink.name}", help="use --out FILE")
