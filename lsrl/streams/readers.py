"""What all readers of inputs have in common.

A reader yields blocks of letters: whatever it is that `decode` turns into the input values of one token. For text
a letter is a character, for bytes an int, for rows a tuple of values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.streams.sources import ByteSource
from lsrl.streams.text import is_byte
from lsrl.types import Symbols, Value

__all__ = ["LONGEST_LINE", "Reader", "is_text_program", "only_type", "row_help"]

LONGEST_LINE = 1 << 24  # characters of a line, or of a word


class Reader(ABC):
    """The tokens of one input. `repeats` says whether letters come back, so that it pays to remember them."""

    repeats = True

    def __init__(self, graph: Graph, source: ByteSource) -> None:
        self.graph = graph
        self.source = source
        self.tokens = 0  # in the blocks before the last one

    @abstractmethod
    def blocks(self) -> Iterator[Sequence[Any]]:
        """The letters, in order. Raises LsrlError (L6xx) at a place that cannot be read, after all letters before."""

    @abstractmethod
    def decode(self, letter: Any) -> tuple[Value, ...]:
        """The value of each input of the graph. Raises BadValueError."""

    def place(self, index: int) -> str:
        """Where letter `index` of the last block stands, for messages."""
        return f"token {self.tokens + index} of {self.source.name}"

    @property
    def fraction(self) -> float | None:
        """The part of the input that has been read, or None where that is not known."""
        return self.source.fraction

    def close(self) -> None:
        self.source.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def row_help(graph: Graph) -> str:
    return f"the inputs are {', '.join(f'{n.name}: {n.type}' for n in graph.inputs)}"


def only_type(graph: Graph, kind: Any) -> Any:
    if len(graph.inputs) != 1 or not isinstance(graph.inputs[0].type, kind):
        raise LsrlError.of("L610", f"`{graph.name}` does not read text: it has not one input of a finite alphabet",
                           graph.span, help=row_help(graph))
    return graph.inputs[0].type


def is_text_program(graph: Graph) -> bool:
    """Whether the program reads text or bytes: it has one input, and that is a symbol or a byte."""
    return len(graph.inputs) == 1 and (isinstance(graph.inputs[0].type, Symbols) or is_byte(graph.inputs[0].type))
