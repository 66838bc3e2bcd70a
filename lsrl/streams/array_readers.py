"""Inputs from `.npy`, `.npz` and Parquet files, in blocks and bounded memory.

Array files are read by the NumPy header alone: an array of objects (a pickle) is refused unread, and the data are
streamed, so that what a header or a zip claims is never allocated.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from tokenize import TokenError
from typing import IO, TYPE_CHECKING, Any

from lsrl.diagnostics import LsrlError, did_you_mean
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Input
from lsrl.streams.row_readers import RowReader, match_columns
from lsrl.streams.sources import ByteSource
from lsrl.streams.text import value_from_json
from lsrl.types import REAL, Bool, Int, Symbols, Type, Value, Vector, scalar_of, shape
from lsrl.values import BadValueError, as_tuples, read_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["NpyReader", "NpzReader", "ParquetReader", "import_pyarrow"]

_CHUNK_BYTES = 1 << 20
_LARGEST_ROW = 1 << 26  # bytes
_ROWS = 4096  # rows of a block


class _Rows(Sequence[Any]):
    """Rows of values that are held as arrays, one an input; as tuples of values they are made when asked for."""

    def __init__(self, columns: Sequence[NDArray[Any]]) -> None:
        self.columns = columns
        self._tuples: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, at: Any) -> Any:
        if self._tuples is None:
            self._tuples = list(zip(*(map(as_tuples, c.tolist()) for c in self.columns), strict=True))
        return self._tuples[at]


class _Column:
    """One array of a file: its header, checked, and its rows."""

    def __init__(self, stream: IO[bytes], what: str, node: Input) -> None:
        self._stream, self._what, self._node = stream, what, node
        dims, fortran, dtype = self._header()
        if dtype.hasobject:
            raise LsrlError.of("L609", f"{what} holds Python objects, which are not read: they could run code",
                               help="save numbers, bools or texts")
        if dtype.kind not in "biufU":
            raise LsrlError.of("L602", f"{what} holds {dtype}, not numbers, bools or symbols")
        wanted = shape(node.type)
        if len(dims) == 0 or dims[1:] != wanted:
            rows = f"(tokens, {', '.join(map(str, wanted))})" if wanted else "(tokens,)"
            raise LsrlError.of("L602", f"{what} has the shape {dims}, where {rows} is wanted "
                                       f"for the input `{node.name}`: {node.type}")
        if fortran and len(dims) > 1:
            raise LsrlError.of("L609", f"{what} is stored by columns", help="save it with numpy.ascontiguousarray")
        self.length = dims[0]
        self._dtype = dtype
        self._row_bytes = dtype.itemsize * math.prod(wanted)
        if self._row_bytes > _LARGEST_ROW:
            raise LsrlError.of("L609", f"{what} has rows of {self._row_bytes} bytes")
        self._dims = wanted

    def _header(self) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        from numpy.lib import format as npy

        try:
            version = npy.read_magic(self._stream)
            if version == (1, 0):
                return npy.read_array_header_1_0(self._stream)
            if version == (2, 0):
                return npy.read_array_header_2_0(self._stream)
        except (ValueError, SyntaxError, TokenError, struct.error, EOFError, zlib.error, zipfile.BadZipFile) as error:
            reason = (str(error) or "its header is damaged").splitlines()[0][:100]
            raise LsrlError.of("L609", f"{self._what} is not a whole .npy file: {reason}") from None
        raise LsrlError.of("L609", f"{self._what} is a .npy file of version {version[0]}.{version[1]}, "
                                   "which is not known here")

    def chunks(self, rows: int) -> Iterator[list[Any]]:
        """The values, `rows` at a time: Python values, or NumPy floats of their own width."""
        narrow = self._dtype.kind == "f" and self._dtype.itemsize != 8
        for array in self.arrays(rows):
            yield list(array) if narrow else array.tolist()

    def held(self, numeric: bool) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
        """What makes the program's values of the file's, all at once; None where each is to be looked at."""
        import numpy as np

        t, kind = scalar_of(self._node.type), self._dtype.kind
        if kind == "b" and isinstance(t, Bool) or kind in "iu" and isinstance(t, Int | Symbols):
            return np.asarray
        if kind in "iuf" and numeric and t == REAL and self._dtype.itemsize <= 8:
            return lambda x: x.astype(np.float64) + 0.0  # there is one zero
        return None

    def arrays(self, rows: int) -> Iterator[NDArray[Any]]:
        """The values, `rows` at a time."""
        import numpy as np

        at = 0
        while at < self.length:
            count = min(rows, self.length - at)
            wanted = count * self._row_bytes
            try:
                data = self._read(wanted)
            except (zlib.error, zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
                raise LsrlError.of("L609", f"{self._what} is damaged: {error}") from None
            if len(data) < wanted:
                whole = at + (len(data) // self._row_bytes if self._row_bytes else 0)
                raise LsrlError.of("L609", f"{self._what} is cut short: {whole} of {self.length} rows are there")
            array = np.frombuffer(data, self._dtype).reshape(count, *self._dims) if self._row_bytes else \
                np.zeros((count, *self._dims), self._dtype)
            at += count
            yield array

    def _read(self, count: int) -> bytes:
        parts = []
        while count:
            part = self._stream.read(count)
            if not part:
                break
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    @property
    def chunk_rows(self) -> int:
        return max(1, min(4096, _CHUNK_BYTES // max(1, self._row_bytes)))


class _ArrayReader(RowReader):
    """Rows from arrays, one an input, that are read side by side: as arrays where the types of a file are those of the
    program, else value by value."""

    _opened: list[_Column]

    @abstractmethod
    def _columns(self) -> list[_Column]:
        """The column of each input, in the program's order."""

    def blocks(self) -> Iterator[Sequence[Any]]:
        try:
            columns = self._checked_columns()
        except LsrlError as error:
            raise self._hinted(error) from None
        held = [h for h in (c.held(self.graph.numeric) for c in columns) if h is not None]
        if not columns or len(held) < len(columns):
            self._opened = columns
            yield from super().blocks()
            return
        step = min(c.chunk_rows for c in columns)
        pieces: list[list[NDArray[Any]]] = []
        rows = 0
        try:
            for arrays in zip(*(c.arrays(step) for c in columns), strict=True):
                chunk = [h(a) for h, a in zip(held, arrays, strict=True)]
                good = self._in_range(chunk)
                pieces.append([c[:good] for c in chunk])
                rows += good
                while sum(len(p[0]) for p in pieces) >= _ROWS:
                    block, pieces = _first_rows(pieces)
                    yield self._counted_rows(block)
                if good < len(arrays[0]):
                    self._checked(tuple(a[good].tolist() for a in arrays), rows)  # raises
                    raise AssertionError("a value that was refused is not refused again")
        except LsrlError as error:
            if pieces and len(pieces[0][0]):
                yield self._counted_rows(_joined(pieces))
            raise self._hinted(error) from None
        if pieces and len(pieces[0][0]):
            yield self._counted_rows(_joined(pieces))

    def _counted_rows(self, columns: list[NDArray[Any]]) -> _Rows:
        self.tokens += self._count
        self._count = len(columns[0])
        return _Rows(columns)

    def _in_range(self, chunk: list[NDArray[Any]]) -> int:
        """How many rows there are before the first with a value that the program does not take."""
        import numpy as np

        good = np.ones(len(chunk[0]), bool)
        for node, column in zip(self.graph.inputs, chunk, strict=True):
            lo, hi = _bounds(scalar_of(node.type))
            flat = column.reshape(len(column), math.prod(shape(node.type)))
            if lo is not None:
                good &= (flat >= lo).all(1)
            if hi is not None:
                good &= (flat <= hi).all(1)
        return len(good) if good.all() else int(np.argmin(good))

    def _checked_columns(self) -> list[_Column]:
        columns = self._columns()
        if not columns:
            return []
        shortest = min(columns, key=lambda c: c.length)
        for node, column in zip(self.graph.inputs, columns, strict=True):
            if column.length != shortest.length:
                raise LsrlError.of("L609", f"{self.source.name}: `{node.name}` has {column.length} rows, "
                                           f"another input {shortest.length}")
        return columns

    def rows(self) -> Iterator[tuple[Value, ...]]:
        columns = self._opened
        if not columns:
            return
        step = min(c.chunk_rows for c in columns)
        row = 0
        for chunk in zip(*(c.chunks(step) for c in columns), strict=True):
            for values in zip(*chunk, strict=True):
                yield self._checked(values, row)
                row += 1

    def _checked(self, values: tuple[Any, ...], row: int) -> tuple[Value, ...]:
        out: list[Value] = []
        for node, value in zip(self.graph.inputs, values, strict=True):
            try:
                out.append(read_value(value, node.type, self.graph.numeric))
            except BadValueError as bad:
                raise LsrlError.of(bad.code, f"{self.source.name}, row {row}, `{node.name}`: {bad.message}",
                                   help=bad.help) from None
        return tuple(out)

    def place(self, index: int) -> str:
        return f"row {self.tokens + index} of {self.source.name}"


def _bounds(t: Type) -> tuple[int | None, int | None]:
    if isinstance(t, Symbols):
        return 0, len(t.names) + t.other - 1
    return (t.lo, t.hi) if isinstance(t, Int) else (None, None)


def _joined(pieces: list[list[NDArray[Any]]]) -> list[NDArray[Any]]:
    """Columns of some rows and of the next ones as one."""
    import numpy as np

    return pieces[0] if len(pieces) == 1 else [np.concatenate(c) for c in zip(*pieces, strict=True)]


def _first_rows(pieces: list[list[NDArray[Any]]]) -> tuple[list[NDArray[Any]], list[list[NDArray[Any]]]]:
    """The rows of a block, and those after them."""
    whole = _joined(pieces)
    rest = [c[_ROWS:] for c in whole]
    return [c[:_ROWS] for c in whole], [rest] if len(rest[0]) else []


class NpyReader(_ArrayReader):
    """A `.npy` file: the one input's values, tokens first. Symbols are texts or codes."""

    def __init__(self, graph: Graph, source: ByteSource) -> None:
        super().__init__(graph, source)
        if len(graph.inputs) != 1:
            raise LsrlError.of("L610", f"a .npy file holds one input; `{graph.name}` has {len(graph.inputs)}",
                               help="use .npz, with an array for each input")

    def _columns(self) -> list[_Column]:
        return [_Column(self.source.stream, self.source.name, self.graph.inputs[0])]


class NpzReader(_ArrayReader):
    """A `.npz` file: an array for each input, by name."""

    def _columns(self) -> list[_Column]:
        name = self.source.name
        try:
            archive = zipfile.ZipFile(self.source.seekable())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise LsrlError.of("L609", f"{name} is not a .npz file: {error}") from None
        members = {m.removesuffix(".npy"): m for m in archive.namelist()}
        names = [n.name for n in self.graph.inputs]
        for wanted in names:
            if wanted not in members:
                raise LsrlError.of("L606", f"{name}: there is no array `{wanted}`", help=did_you_mean(wanted, members))
        for extra in members:
            if extra not in names:
                raise LsrlError.of("L606", f"{name}: the program has no input for the array `{extra}`",
                                   help=did_you_mean(extra, names))
        for n in names:
            if archive.getinfo(members[n]).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise LsrlError.of("L609", f"{name}: the array `{n}` is compressed in a way that numpy does not write")
        try:
            streams = [archive.open(members[n]) for n in names]
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError) as error:
            raise LsrlError.of("L609", f"{name} cannot be read: {error}") from None
        return [_Column(s, f"the array `{n}` of {name}", node)
                for s, n, node in zip(streams, names, self.graph.inputs, strict=True)]


class ParquetReader(RowReader):
    """A Parquet file: a column for each input by name; a vector is a list column, or columns `v[0]`, `v[1]`, …"""

    def rows(self) -> Iterator[tuple[Value, ...]]:
        pyarrow, parquet = import_pyarrow()
        name = self.source.name
        try:
            file = parquet.ParquetFile(self.source.seekable())
            header = list(file.schema_arrow.names)
            plan = self._plan(header)
            row = 0
            for batch in file.iter_batches(batch_size=4096):
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    yield self._row(values, plan, row)
                    row += 1
        except pyarrow.ArrowException as error:
            raise LsrlError.of("L609", f"{name} is not a Parquet file: {str(error).splitlines()[0][:200]}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise LsrlError.of("L609", f"{name} is not a whole Parquet file: {str(error)[:200]}") from None

    def _plan(self, header: list[str]) -> list[tuple[Input, Callable[[tuple[Any, ...]], Any]]]:
        """How to take each input's value from a row."""
        listed = {n.name for n in self.graph.inputs if isinstance(n.type, Vector) and header.count(n.name) == 1}
        flat = [h for h in header if h not in listed]
        places = match_columns([n for n in self.graph.inputs if n.name not in listed], flat, self.source.name)
        plan: list[tuple[Input, Callable[[tuple[Any, ...]], Any]]] = []
        for node in self.graph.inputs:
            if node.name in listed:
                plan.append((node, _take(header.index(node.name))))
            elif isinstance(node.type, Vector):
                plan.append((node, _gather([header.index(flat[p]) for p in places[node.name]], shape(node.type))))
            else:
                plan.append((node, _take(header.index(flat[places[node.name][0]]))))
        return plan

    def _row(self, values: tuple[Any, ...], plan: list[tuple[Input, Callable[[tuple[Any, ...]], Any]]],
             row: int) -> tuple[Value, ...]:
        out: list[Value] = []
        for node, take in plan:
            try:
                out.append(value_from_json(take(values), node.type, self.graph.numeric))
            except BadValueError as bad:
                raise LsrlError.of(bad.code, f"{self.source.name}, row {row}, column `{node.name}`: {bad.message}",
                                   help=bad.help) from None
        return tuple(out)

    def place(self, index: int) -> str:
        return f"row {self.tokens + index} of {self.source.name}"


def _take(place: int) -> Callable[[tuple[Any, ...]], Any]:
    return lambda values: values[place]


def _gather(places: list[int], dims: tuple[int, ...]) -> Callable[[tuple[Any, ...]], Any]:
    def nested(flat: list[Any], dims: tuple[int, ...]) -> Any:
        if len(dims) == 1:
            return flat
        step = len(flat) // dims[0]
        return [nested(flat[i * step : (i + 1) * step], dims[1:]) for i in range(dims[0])]

    return lambda values: nested([values[p] for p in places], dims)


def import_pyarrow() -> tuple[Any, Any]:
    """pyarrow and pyarrow.parquet. Raises LsrlError (L615) where they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise LsrlError.of("L615", "Parquet files need the package pyarrow, which is not installed",
                           help="pip install pyarrow, or use CSV or JSON lines") from None
    return pyarrow, pyarrow.parquet
