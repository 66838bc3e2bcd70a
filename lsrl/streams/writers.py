"""The outputs of a program, written as JSON lines, CSV or plain text."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.streams.row_readers import column_names
from lsrl.streams.sinks import ByteSink
from lsrl.streams.text import is_byte, json_value, plain_value
from lsrl.types import Symbols, Type, Vector, scalar_of

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
            cells += map(show, _flat(value))
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


def _flat(value: Any) -> list[Any]:
    return [x for v in value for x in _flat(v)] if isinstance(value, tuple) else [value]
