"""The outputs of a program, written as JSON lines, CSV or plain text."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from itertools import product
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.streams.row_readers import column_names
from lsrl.streams.sinks import ByteSink
from lsrl.streams.text import is_byte, json_value, plain_value
from lsrl.types import Bool, Symbols, Type, Vector, scalar_of, size
from lsrl.values import as_tuples, flattened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_JOINT = 1 << 16  # different rows of outputs that are rendered once each
_RUNS = 1 << 12  # different runs of them that are put together once each

__all__ = ["CsvWriter", "JsonLinesWriter", "PlainWriter", "Writer"]


class Writer(ABC):
    """Outputs of one run. As a context manager it puts its file in place at the end; after an error, takes it away."""

    def __init__(self, graph: Graph, sink: ByteSink, exact: bool) -> None:
        self.graph = graph
        self.sink = sink
        self.exact = exact

    @abstractmethod
    def render(self, outputs: tuple[Any, ...]) -> Any:
        """What `write` takes for the outputs of one token (a value an output, in the graph's order)."""

    @abstractmethod
    def write(self, rendered: Sequence[Any]) -> None:
        """Writes what `render` made of some tokens."""

    def write_columns(self, columns: Sequence[NDArray[Any]]) -> None:
        """Writes the outputs of some tokens, an array (tokens, …) an output, symbols as codes."""
        render = self.render
        self.write([render(row) for row in zip(*(map(as_tuples, c.tolist()) for c in columns), strict=True)])

    @property
    def byte_of(self) -> bytes | None:
        """The byte that stands for each value of the program's one output; None if not one byte does."""
        return None

    def write_bytes(self, column: NDArray[np.uint8]) -> None:
        """Writes the outputs of some tokens, each the byte (see `byte_of`) that stands for it."""
        self.write(())
        self.sink.write(column.tobytes())

    def finish(self) -> None:  # noqa: B027 - most formats have nothing there
        """Writes what comes after the last token."""

    def discard(self) -> None:  # noqa: B027
        """Lets go of what an unfinished run holds, before its file is taken away."""

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if kind is None:
                with self.sink.writing():
                    self.finish()
                self.sink.commit()
        finally:
            self.discard()
            self.sink.abort()


class _TextWriter(Writer):
    """Formats in which a token is a piece of text."""

    def write(self, rendered: Sequence[str]) -> None:
        if rendered:
            self.sink.write("".join(rendered).encode())

    def write_columns(self, columns: Sequence[NDArray[Any]]) -> None:
        """As many different rows as there are are rendered once; bytes are put together in arrays."""
        import numpy as np

        if not len(columns[0]) or any(c.ndim > 1 or c.dtype.kind not in "bu" for c in columns):
            super().write_columns(columns)
            return
        if self._pieces is not None and columns[0].dtype.itemsize == 1:
            self.write(())
            whole = self._pieces.view(f"V{self._pieces.shape[1]}")[:, 0]
            self.sink.write(whole.take(columns[0].view(np.uint8)).tobytes())
            return
        joint = columns[0].astype(np.int64)
        for c in columns[1:]:
            joint = joint * (int(c.max()) + 1) + c
        most = int(joint.max()) + 1
        if most > _JOINT:
            super().write_columns(columns)
            return
        first = np.full(most, -1, np.int64)
        first[joint[::-1]] = np.arange(len(joint) - 1, -1, -1)
        pieces = tuple(b"" if at < 0 else self.render(tuple(c[at].item() for c in columns)).encode() for at in first)
        self.write(())
        self.sink.write(_joined(pieces, joint))

    @cached_property
    def _pieces(self) -> NDArray[Any] | None:
        """What stands for each value of a program's one output, a row of bytes each; None if they are not of one length
        or there are too many."""
        import numpy as np

        t = self.graph.outputs[0][1].type
        if len(self.graph.outputs) > 1 or not isinstance(t, Bool | Symbols) or (size(t) or _JOINT) > 256:
            return None
        values = [False, True] if isinstance(t, Bool) else range(len(t.names) + t.other)
        pieces = [self.render((v,)).encode() for v in values]
        if len({len(p) for p in pieces}) > 1:
            return None
        return np.frombuffer(b"".join(pieces), np.uint8).reshape(len(pieces), -1)

    @property
    def byte_of(self) -> bytes | None:
        return self._pieces.tobytes() if self._pieces is not None and self._pieces.shape[1] == 1 else None


class JsonLinesWriter(_TextWriter):
    """A line a token: the bare value of a program's one unnamed output, else an object of the outputs by name."""

    def __init__(self, graph: Graph, sink: ByteSink, exact: bool = False) -> None:
        super().__init__(graph, sink, exact)
        parts = [(json.dumps(name, ensure_ascii=False), json_value(node.type, graph.numeric, exact))
                 for name, node in graph.outputs]
        self._bare = parts[0][1] if [name for name, _ in graph.outputs] == ["out"] else None
        self._parts = parts

    def render(self, outputs: tuple[Any, ...]) -> str:
        if self._bare is not None:
            return self._bare(outputs[0]) + "\n"
        fields = (f"{name}: {show(v)}" for (name, show), v in zip(self._parts, outputs, strict=True))
        return "{" + ", ".join(fields) + "}\n"


class PlainWriter(_TextWriter):
    """A line a token, values as they are, several with tabs between them.

    The symbols of one output that are single characters stand side by side without line ends, and the bytes of
    a `byte` output are written as they are.
    """

    def __init__(self, graph: Graph, sink: ByteSink, exact: bool = False) -> None:
        super().__init__(graph, sink, exact)
        self._show = [_plain(node.type, graph.numeric, exact) for _, node in graph.outputs]
        only = graph.outputs[0][1].type if len(graph.outputs) == 1 else None
        self._bytes = only is not None and is_byte(only)
        self._end = "" if isinstance(only, Symbols) and all(len(n) == 1 for n in only.names) else "\n"

    def render(self, outputs: tuple[Any, ...]) -> Any:
        if self._bytes:
            return outputs[0]
        return "\t".join(show(v) for show, v in zip(self._show, outputs, strict=True)) + self._end

    def write(self, rendered: Sequence[Any]) -> None:
        if self._bytes and rendered:
            try:
                self.sink.write(bytes(rendered))
            except ValueError:
                raise LsrlError.of("L613", "an output of type byte is outside 0..255") from None
        elif not self._bytes:
            super().write(rendered)

    def write_columns(self, columns: Sequence[NDArray[Any]]) -> None:
        if self._bytes:
            self.write_bytes(columns[0].astype("u1"))
        else:
            super().write_columns(columns)


def _joined(pieces: tuple[bytes, ...], codes: NDArray[np.int64]) -> bytes:
    """The pieces that codes name, one after the other: several at a time, as far as a table of them stays small."""
    import numpy as np

    count, n = 1, len(pieces)
    while n ** (count + 1) <= _RUNS and n > 1:
        count += 1
    whole = len(codes) - len(codes) % count
    runs = codes[:whole].reshape(-1, count) @ (n ** np.arange(count - 1, -1, -1, dtype=np.int64))
    table = _runs(pieces, count)
    return b"".join([table[r] for r in runs.tolist()] + [pieces[c] for c in codes[whole:].tolist()])


@lru_cache(maxsize=8)
def _runs(pieces: tuple[bytes, ...], count: int) -> list[bytes]:
    """Every run of that many pieces, in the order of its number."""
    return [b"".join(run) for run in product(pieces, repeat=count)]


def _plain(t: Type, numeric: bool, exact: bool) -> Callable[[Any], str]:
    return json_value(t, numeric, exact) if isinstance(t, Vector) else plain_value(t, numeric, exact)


class CsvWriter(_TextWriter):
    """A header of output names and a row a token; a vector `v` has the columns `v[0]`, `v[1]`, …"""

    def __init__(self, graph: Graph, sink: ByteSink, exact: bool = False) -> None:
        super().__init__(graph, sink, exact)
        self._show = [plain_value(scalar_of(node.type), graph.numeric, exact) for _, node in graph.outputs]
        self._header = [c for name, node in graph.outputs for c in column_names(name, node.type)]
        self._quotes = any(isinstance(scalar_of(node.type), Symbols) for _, node in graph.outputs)
        self._begun = False

    def render(self, outputs: tuple[Any, ...]) -> str:
        cells: list[str] = []
        for show, value in zip(self._show, outputs, strict=True):
            cells += map(show, flattened(value))
        return _csv_line(cells) if self._quotes else ",".join(cells) + "\n"

    def write(self, rendered: Sequence[str]) -> None:
        if not self._begun:
            self._begun = True
            self.sink.write(_csv_line(self._header).encode())
        super().write(rendered)

    def finish(self) -> None:
        self.write(())


def _csv_line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
