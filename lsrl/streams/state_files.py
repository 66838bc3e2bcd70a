"""A program's state as a JSON file: exact values, and which program they belong to."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from lsrl.diagnostics import LsrlError, did_you_mean
from lsrl.ir.graph import Graph, State
from lsrl.ir.printer import print_graph
from lsrl.streams.sinks import write_whole
from lsrl.streams.sources import ByteSource
from lsrl.types import Bool, Int, Real, Symbols, Type, Value, Vector
from lsrl.values import BadValueError, read_value

__all__ = ["load_state", "program_digest", "save_state"]

_FORMAT = "lsrl state 1"
_LARGEST = 1 << 28  # bytes of a state file
_DECIMAL_BITS = 8000  # longer ints are written in hexadecimal: Python reads no longer decimals


def program_digest(graph: Graph) -> str:
    """The SHA-256 of the graph's text form: programs with the same digest have the same states."""
    return hashlib.sha256(print_graph(graph).encode()).hexdigest()


def save_state(graph: Graph, state: Mapping[str, Value], path: str | os.PathLike[str]) -> None:
    """Writes the state of a program, whole or not at all. Raises LsrlError (L611)."""
    values = {s.name: _to_json(state[s.name], s.type) for s in graph.states}
    document = {"format": _FORMAT, "program": graph.name, "digest": program_digest(graph), "state": values}
    write_whole(path, json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n")


def load_state(graph: Graph, path: str | os.PathLike[str]) -> dict[str, Value]:
    """The state in a file that `save_state` wrote.

    Raises LsrlError: L607 if it cannot be read, L612 if it is damaged, not a state file, or of another program.
    """
    name = os.fspath(path)
    document = _read_document(path, name)
    if document.get("format") != _FORMAT:
        raise LsrlError.of("L612", f"{name} is not a state file that this version reads")
    if document.get("digest") != program_digest(graph):
        other = document.get("program")
        whose = f"of the program `{other}`" if isinstance(other, str) and other != graph.name else \
            f"of another version of `{graph.name}`"
        raise LsrlError.of("L612", f"{name} holds the state {whose}, not of this program")
    values = document.get("state")
    if not isinstance(values, dict):
        raise LsrlError.of("L612", f"{name} has no states")
    names = [s.name for s in graph.states]
    for found in values:
        if found not in names:
            raise LsrlError.of("L612", f"{name}: the program has no state `{found}`", help=did_you_mean(found, names))
    return {s.name: _state_value(s, values, name, graph.numeric) for s in graph.states}


def _read_document(path: str | os.PathLike[str], name: str) -> dict[str, Any]:
    source = ByteSource(Path(path))
    try:
        data = b""
        for block in source.blocks():
            data += block
            if len(data) > _LARGEST:
                raise LsrlError.of("L612", f"{name} is too large for a state file")
    finally:
        source.close()
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise LsrlError.of("L612", f"{name} is damaged: it is not whole JSON") from None
    if not isinstance(document, dict):
        raise LsrlError.of("L612", f"{name} is not a state file")
    return document


def _state_value(state: State, values: dict[str, Any], file: str, numeric: bool) -> Value:
    if state.name not in values:
        raise LsrlError.of("L612", f"{file}: the state `{state.name}` is missing")
    try:
        return _from_json(values[state.name], state.type, numeric)
    except BadValueError as bad:
        raise LsrlError.of("L612", f"{file}, state `{state.name}`: {bad.message}") from None


def _to_json(value: Any, t: Type) -> Any:
    if isinstance(t, Vector):
        return [_to_json(v, t.elem) for v in value]
    match t:
        case Symbols():
            return t.names[value] if value < len(t.names) else None
        case Real():
            if isinstance(value, float):
                return value.hex()
            return f"{_digits(value.numerator)}/{_digits(value.denominator)}"
        case Int():
            return value if value.bit_length() < 53 else _digits(value)
        case _:
            return value


def _from_json(value: Any, t: Type, numeric: bool) -> Value:
    if isinstance(t, Vector):
        if not isinstance(value, list) or len(value) != t.size:
            raise BadValueError("L612", f"a list of {t.size} is wanted")
        return tuple(_from_json(v, t.elem, numeric) for v in value)
    try:
        match t:
            case Symbols():
                if value is None and t.other:
                    return len(t.names)
                return t.names.index(value)
            case Real() if isinstance(value, str) and numeric:
                return float.fromhex(value)
            case Real() if isinstance(value, str):
                numerator, denominator = value.split("/")
                return read_value(Fraction(_integer(numerator), _integer(denominator)), t)
            case Int() if isinstance(value, str):
                return read_value(_integer(value), t)
            case Int() if type(value) is int:
                return read_value(value, t)
            case Bool() if isinstance(value, bool):
                return value
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        if isinstance(error, BadValueError):
            raise
    raise BadValueError("L612", f"{json.dumps(value)[:60]} is not of type {t}")


def _digits(n: int) -> str:
    return str(n) if n.bit_length() < _DECIMAL_BITS else hex(n)


def _integer(text: str) -> int:
    return int(text, 16) if "x" in text else int(text)
