"""A program over one stream, from a reader to a writer."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from lsrl.diagnostics import NOWHERE, Diagnostic, LsrlError, did_you_mean
from lsrl.interpreter import RunError
from lsrl.ir.graph import Graph
from lsrl.python_step import CheckFailedError, compile_step
from lsrl.streams.array_readers import NpyReader, NpzReader, ParquetReader
from lsrl.streams.array_writers import NpyWriter, NpzWriter, ParquetWriter
from lsrl.streams.kernel_run import AFTER_TOKENS, AT_ONCE, KernelRun, StopInBlockError, make_kernel_run
from lsrl.streams.readers import Reader, is_text_program
from lsrl.streams.row_readers import CsvReader, JsonLinesReader
from lsrl.streams.sinks import ByteSink
from lsrl.streams.sources import ByteSource, Place
from lsrl.streams.text import is_byte
from lsrl.streams.text_readers import ByteReader, TextReader, WordReader
from lsrl.streams.writers import CsvWriter, JsonLinesWriter, PlainWriter, Writer
from lsrl.transition_table import StreamRunner, TokenError
from lsrl.types import Symbols, Value

__all__ = ["INPUT_FORMATS", "OUTPUT_FORMATS", "open_input", "open_output", "run_stream"]

_ROW_READERS: dict[str, type[Reader]] = {"jsonl": JsonLinesReader, "csv": CsvReader, "npy": NpyReader,
                                         "npz": NpzReader, "parquet": ParquetReader}
_WRITERS: dict[str, type[Writer]] = {"jsonl": JsonLinesWriter, "csv": CsvWriter, "text": PlainWriter,
                                     "npy": NpyWriter, "npz": NpzWriter, "parquet": ParquetWriter}
INPUT_FORMATS = ("text", *_ROW_READERS)
OUTPUT_FORMATS = tuple(_WRITERS)
_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".npy": "npy", ".npz": "npz", ".parquet": "parquet"}


def open_input(graph: Graph, place: Place, format: str | None = None) -> Reader:
    """A reader of a program's inputs from a path, "-" (standard input) or a binary stream.

    Without a format it goes by the ending: `.jsonl`, `.ndjson`, `.csv`, `.npy`, `.npz` and `.parquet`. From any other
    file, and from streams, a program of one symbol or byte input reads text; other programs read JSON lines from
    streams. The format "text" gives one token a character; one a white-space separated word where the alphabet has
    longer symbols or the input is a number or bool; one a byte for a `byte` input.
    Raises LsrlError (L607, L610).
    """
    chosen = _input_format(graph, place, format)
    source = ByteSource(place)
    try:
        return _reader(graph, chosen)(graph, source)
    except LsrlError:
        source.close()
        raise


def _input_format(graph: Graph, place: Place, format: str | None) -> str:
    if format is not None:
        if format not in INPUT_FORMATS:
            raise LsrlError.of("L610", f"there is no input format `{format}`", help=did_you_mean(format, INPUT_FORMATS)
                               or f"the formats are {', '.join(INPUT_FORMATS)}")
        return format
    by_name = _ENDINGS.get(_ending(place))
    if by_name is not None:
        return by_name
    if is_text_program(graph):
        return "text"
    if isinstance(place, str | os.PathLike) and os.fspath(place) != "-":
        raise LsrlError.of("L610", f"the name of {os.fspath(place)} does not say in which format it is",
                           help=f"name the format, such as --input-format jsonl, or use one of {', '.join(_ENDINGS)}")
    return "jsonl"


def _reader(graph: Graph, format: str) -> type[Reader]:
    if format != "text":
        return _ROW_READERS[format]
    t = graph.inputs[0].type if len(graph.inputs) == 1 else None
    if t is None or is_byte(t):
        return TextReader if t is None else ByteReader
    if isinstance(t, Symbols) and all(len(name) == 1 for name in t.names):
        return TextReader
    return WordReader


def _ending(place: Place) -> str:
    return PurePath(place).suffix.lower() if isinstance(place, str | os.PathLike) else ""


def open_output(graph: Graph, place: Place | None = None, format: str | None = None, exact: bool = False) -> Writer:
    """A writer of a program's outputs to a path, "-" or None (standard output), or a binary stream.

    Without a format it goes by the file's ending; JSON lines where there is none. With exact, rationals are
    written as "p/q", else as the nearest float. Use it in a `with`: the file appears when the block is done.
    Raises LsrlError (L610, L611, L615).
    """
    if format is not None and format not in _WRITERS:
        raise LsrlError.of("L610", f"there is no output format `{format}`", help=did_you_mean(format, OUTPUT_FORMATS)
                           or f"the formats are {', '.join(OUTPUT_FORMATS)}")
    if format is None and place is not None:
        ending = _ending(place)
        format = "text" if ending == ".txt" else _ENDINGS.get(ending)
        if format is None and ending and isinstance(place, str | os.PathLike):
            raise LsrlError.of("L610", f"the name of {os.fspath(place)} does not say in which format to write",
                               help="name the format, such as --format jsonl, or use one of "
                                    f"{', '.join((*_ENDINGS, '.txt'))}")
    sink = ByteSink(place)
    writer = _WRITERS[format or "jsonl"]
    done = False
    try:
        opened = writer(graph, sink, exact)
        done = True
        return opened
    finally:
        if not done:
            sink.abort()


def run_stream(graph: Graph, source: Reader, target: Writer, *, last: bool = False,
               state: Mapping[str, Value] | None = None, params: Mapping[str, object] | None = None,
               progress: Callable[[int, float | None], None] | None = None) -> dict[str, Value]:
    """Runs a program over all tokens of a reader and gives its outputs to a writer; returns the state after them.

    last: write the outputs of the last token alone. state: what to start from, the initial state if None.
    progress: called now and then with the tokens done and the part of the input read (None if not known).
    The reader is closed in the end. Memory does not grow with the input.
    Raises LsrlError: L204, L501 and L601 where a check fails, L6xx for bad
    input; outputs of the tokens before have then been given to the writer. L614 for last on an empty input.
    """
    step = compile_step(graph, params)
    start = step.pack_state(step.initial_state() if state is None else state)
    runner = StreamRunner(step, start, source.decode, target.render, remember=source.repeats)
    final: Any = None
    tokens = 0
    kernel: KernelRun | None = None
    tried = False
    try:
        for block in source.blocks():
            if (tokens >= AFTER_TOKENS or source.source.size >= AT_ONCE) and not tried:
                tried = True
                kernel = make_kernel_run(graph, source, params, None if last else target.byte_of)
                if kernel is not None:
                    kernel = _loaded(kernel, step.unpack_state(runner.state))
            if kernel is not None and block:
                try:
                    columns = kernel.run(block)
                except StopInBlockError:  # a token by token, for the error, or because only Python can
                    runner = StreamRunner(step, step.pack_state(kernel.state()), source.decode, target.render,
                                          remember=source.repeats)
                    kernel = None
                else:
                    if last:
                        final = [c[-1:] for c in columns]
                    elif kernel.in_bytes:
                        target.write_bytes(columns[0])
                    else:
                        target.write_columns(columns)
                    tokens += len(block)
                    if progress is not None:
                        progress(tokens, source.fraction)
                    continue
            if last and block:
                final = runner.run_last(block)
            elif block:
                target.write(runner.run(block))
            tokens += len(block)
            if progress is not None:
                progress(tokens, source.fraction)
    except TokenError as stop:
        if not last:
            target.write(stop.before)
        raise _explained(stop, step.error, source) from None
    finally:
        source.close()
    if last:
        if not tokens:
            raise LsrlError.of("L614", f"{source.source.name} is empty: there is no last token")
        if kernel is not None and kernel.ran:
            target.write_columns(final)
        else:
            target.write([final])
    return step.unpack_state(runner.state) if kernel is None else kernel.state()


def _loaded(kernel: KernelRun, state: dict[str, Value]) -> KernelRun | None:
    """The kernel, started from a state of the program; None if its numbers cannot hold it."""
    try:
        kernel.load(state)
    except StopInBlockError:
        return None
    return kernel


def _explained(stop: TokenError, error: Callable[[CheckFailedError, int], RunError], source: Reader) -> LsrlError:
    """The error of a token, with where in the input it stands."""
    place = source.place(stop.index)
    if isinstance(stop.cause, CheckFailedError):
        failed = error(stop.cause, source.tokens + stop.index)
        told = failed.diagnostics[0]
        notes = (*told.notes, (f"that is {place}", NOWHERE))
        diagnostic = Diagnostic(told.code, told.message, told.span, told.label, told.help, notes, told.severity)
        return RunError(diagnostic, failed.position, failed.check, failed.inputs)
    bad = stop.cause
    return LsrlError.of(bad.code, f"{place}: {bad.message}", help=bad.help)
