"""Helpers of the elaborator's tests: run a text, or collect what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lsrl
from lsrl.diagnostics import Diagnostic, LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.ir.graph import Graph
from lsrl.ir.parser import parse_graph
from lsrl.ir.printer import print_graph
from lsrl.ir.validate import validate

__all__ = ["errors", "graph_of", "one_error", "outputs", "shown"]


def graph_of(text: str, name: str | None = None, **sizes: int) -> Graph:
    """The graph of a program, which must be valid and keep its text form."""
    graph = read_module(Source("t", text), Path(__file__).parent).elaborate(name, dict(sizes))
    validate(graph)
    assert print_graph(parse_graph(print_graph(graph))) == print_graph(graph)
    return graph


def outputs(text: str, stream: Sequence[Any], name: str | None = None, **sizes: int) -> list[Any]:
    """The output of every token: one value for each, a dict for a record, symbols as names."""
    return lsrl.Program(graph_of(text, name, **sizes), text).run(stream)


def errors(text: str) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with a text."""
    try:
        read_module(Source("t", text), Path(__file__).parent)
    except LsrlError as error:
        return error.diagnostics
    return ()


def shown(text: str) -> list[str]:
    """Each error as `code line:column message`."""
    return [f"{d.code} {d.span.line}:{d.span.column} {d.message}" for d in errors(text)]


def one_error(text: str) -> Diagnostic:
    """The only error of a text."""
    (found,) = errors(text)
    return found
