"""Inputs in rows: JSON lines and CSV, and what all formats of rows share."""

from __future__ import annotations

import csv
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lsrl.diagnostics import LsrlError, did_you_mean
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Input
from lsrl.streams.readers import LONGEST_LINE, Reader, is_text_program, row_help
from lsrl.streams.sources import ByteSource
from lsrl.streams.text import decimal_from_text, value_from_json, value_from_text
from lsrl.types import Symbols, Type, Value, Vector, scalar_of, shape, size
from lsrl.values import BadValueError

__all__ = ["CsvReader", "JsonLinesReader", "RowReader", "column_names", "match_columns"]

_ROWS = 4096  # rows of a block


class RowReader(Reader):
    """Rows of values, checked as they are read."""

    def __init__(self, graph: Graph, source: ByteSource) -> None:
        super().__init__(graph, source)
        self.repeats = all(isinstance(scalar_of(n.type), Symbols) or _small(n.type) for n in graph.inputs)
        self._count = 0

    @abstractmethod
    def rows(self) -> Iterator[tuple[Value, ...]]:
        """The rows, each with one value an input."""

    def blocks(self) -> Iterator[Sequence[tuple[Value, ...]]]:
        block: list[tuple[Value, ...]] = []
        try:
            for row in self.rows():
                block.append(row)
                if len(block) == _ROWS:
                    yield self._counted(block)
                    block = []
        except LsrlError as error:
            if block:
                yield self._counted(block)
            raise self._hinted(error) from None
        if block:
            yield self._counted(block)

    def _hinted(self, error: LsrlError) -> LsrlError:
        """The error; to a program that reads text too, with how to do so."""
        if not is_text_program(self.graph):
            return error
        hint = "to read the file as plain text, say --input-format text"
        return LsrlError(replace(d, help=f"{d.help}; {hint}" if d.help else hint) for d in error.diagnostics)

    def _counted(self, block: list[tuple[Value, ...]]) -> list[tuple[Value, ...]]:
        self.tokens += self._count
        self._count = len(block)
        return block

    def decode(self, letter: tuple[Value, ...]) -> tuple[Value, ...]:
        return letter


class JsonLinesReader(RowReader):
    """One JSON value a line: an object with a field an input or, for one input, its bare value. Blank lines pass."""

    def __init__(self, graph: Graph, source: ByteSource) -> None:
        super().__init__(graph, source)
        self._line = 0
        self._decoder = json.JSONDecoder(parse_float=decimal_from_text, object_pairs_hook=_unique)
        self._names = [n.name for n in graph.inputs]
        self._known = set(self._names)

    def rows(self) -> Iterator[tuple[Value, ...]]:
        for line in self.source.lines(LONGEST_LINE):
            self._line += 1
            if line and not line.isspace():
                yield self._row(line)

    def place(self, index: int) -> str:
        return f"row {self.tokens + index} of {self.source.name}"

    def _row(self, line: str) -> tuple[Value, ...]:
        try:
            value = self._decoder.decode(line.strip())
        except json.JSONDecodeError as error:
            raise self._error("L609", f"this is not JSON: {error.msg.lower()}", f"column {error.colno}") from None
        except BadValueError as bad:
            raise self._error(bad.code, bad.message) from None
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deep" if isinstance(error, RecursionError) else "a number is too long"
            raise self._error("L609", f"this JSON cannot be read: {reason}") from None
        if not isinstance(value, dict):
            if len(self._names) != 1:
                raise self._error("L602", "a row is an object with a field for each input", "", row_help(self.graph))
            value = {self._names[0]: value}
        return self._values(value)

    def _values(self, row: dict[str, Any]) -> tuple[Value, ...]:
        out = []
        for node in self.graph.inputs:
            if node.name not in row:
                raise self._error("L606", f"there is no field `{node.name}`", "", did_you_mean(node.name, row))
            try:
                out.append(value_from_json(row[node.name], node.type, self.graph.numeric))
            except BadValueError as bad:
                raise self._error(bad.code, bad.message, f"field `{node.name}`", bad.help) from None
        if len(row) != len(out):
            extra = next(name for name in row if name not in self._known)
            raise self._error("L606", f"the program has no input `{extra}`", "", did_you_mean(extra, self._names))
        return tuple(out)

    def _error(self, code: str, message: str, where: str = "", help: str = "") -> LsrlError:
        at = f"{self.source.name}, line {self._line}" + (f", {where}" if where else "")
        return LsrlError.of(code, f"{at}: {message}", help=help)


class CsvReader(RowReader):
    """Comma-separated rows under a header of input names; a vector `v` has the columns `v[0]`, `v[1]`, …"""

    def __init__(self, graph: Graph, source: ByteSource) -> None:
        super().__init__(graph, source)
        self._line = 1

    def rows(self) -> Iterator[tuple[Value, ...]]:
        table = csv.reader((line + "\n" for line in self.source.lines(LONGEST_LINE)), strict=True)
        plan: list[tuple[str, Callable[[list[str]], Value]]] = []
        width = 0
        while True:
            self._line = table.line_num + 1
            try:
                cells = next(table, None)
            except csv.Error as error:
                raise LsrlError.of("L609", f"{self.source.name}, line {self._line}: {error}") from None
            if cells is None:
                break
            if not cells:
                continue
            if not plan:
                width = len(cells)
                plan = self._plan([c.strip() for c in cells])
            elif len(cells) != width:
                raise LsrlError.of("L609", f"{self.source.name}, line {self._line}: {len(cells)} cells "
                                           f"under a header of {width}")
            else:
                yield self._row(cells, plan)
        if not plan and self.source.offset:
            raise LsrlError.of("L609", f"{self.source.name} has no header with the names of the inputs",
                               help=row_help(self.graph))

    def place(self, index: int) -> str:
        return f"row {self.tokens + index} of {self.source.name}"

    def _plan(self, header: list[str]) -> list[tuple[str, Callable[[list[str]], Value]]]:
        places = match_columns(self.graph.inputs, header, self.source.name)
        return [(n.name, self._cell(n.type, iter(places[n.name]))) for n in self.graph.inputs]

    def _cell(self, t: Type, places: Iterator[int]) -> Callable[[list[str]], Value]:
        if isinstance(t, Vector):
            parts = [self._cell(t.elem, places) for _ in range(t.size)]
            return lambda cells: tuple(part(cells) for part in parts)
        place = next(places)
        return lambda cells: value_from_text(cells[place], t, self.graph.numeric)

    def _row(self, cells: list[str], plan: list[tuple[str, Callable[[list[str]], Value]]]) -> tuple[Value, ...]:
        out: list[Value] = []
        try:
            for name, read in plan:
                column = name
                out.append(read(cells))
        except BadValueError as bad:
            raise LsrlError.of(bad.code, f"{self.source.name}, line {self._line}, column `{column}`: {bad.message}",
                               help=bad.help) from None
        return tuple(out)


def column_names(name: str, t: Type) -> list[str]:
    """The flat columns of a stream: `x`, or `v[0]`, `v[1]`, … of a vector, `m[0, 1]` of a matrix."""
    dims = shape(t)
    if not dims:
        return [name]
    indices = [""]
    for n in dims:
        indices = [f"{i}, {k}" if i else str(k) for i in indices for k in range(n)]
    return [f"{name}[{i}]" for i in indices]


def match_columns(inputs: Sequence[Input], header: Sequence[str], file: str) -> dict[str, list[int]]:
    """For each input the places of its columns in a header. Raises LsrlError (L606) for missing and extra ones."""
    place: dict[str, int] = {}
    for i, column in enumerate(header):
        if column in place:
            raise LsrlError.of("L606", f"{file}: the column `{column}` stands there twice")
        place[column] = i
    wanted = {n.name: column_names(n.name, n.type) for n in inputs}
    known = dict.fromkeys(column for columns in wanted.values() for column in columns)
    for column in known:
        if column not in place:
            raise LsrlError.of("L606", f"{file}: there is no column `{column}`", help=did_you_mean(column, header)
                               or f"the columns are {', '.join(header)[:200]}")
    for column in header:
        if column not in known:
            raise LsrlError.of("L606", f"{file}: the program has no input for the column `{column}`",
                               help=did_you_mean(column, known))
    return {name: [place[c] for c in columns] for name, columns in wanted.items()}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadValueError("L606", f"the field `{twice}` stands there twice")
    return out


def _small(t: Type) -> bool:
    """Whether few enough values of the type exist for them to come back."""
    count = size(t)
    return count is not None and count <= 4096
