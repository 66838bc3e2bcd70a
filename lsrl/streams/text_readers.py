"""Inputs that are text: a token is a character, a byte or a word."""

from __future__ import annotations

from collections.abc import Iterator

from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.streams.readers import LONGEST_LINE, Reader, only_type
from lsrl.streams.sources import ByteSource
from lsrl.streams.text import value_from_text
from lsrl.types import Symbols, Value, quote_symbol
from lsrl.values import BadValueError

_LONG = 1 << 12

__all__ = ["ByteReader", "TextReader", "WordReader"]


class TextReader(Reader):
    """Each character is a token of the one input, a symbol of one character.

    A line end at the very end of the input is no token where the alphabet has none ("\\n", after it "\\r").
    """

    def __init__(self, graph: Graph, source: ByteSource) -> None:
        super().__init__(graph, source)
        self._alphabet = only_type(graph, Symbols)
        self._line, self._column = 1, 1  # of the first character of the last block
        self._block = ""

    def blocks(self) -> Iterator[str]:
        drops_end = self._alphabet.code("\n") is None
        ends = "\r\n" if self._alphabet.code("\r") is None else "\n"
        held = ""
        for text in self.source.text_blocks():
            text = held + text
            held = ""
            if drops_end:
                kept = _without_line_end(text, ends)
                text, held = kept, text[len(kept) :]
            if text:
                self._advance(text)
                yield text
        if held and held not in ("\n", "\r\n"):
            self._advance(held)
            yield held

    def _advance(self, text: str) -> None:
        self.tokens += len(self._block)
        self._line, self._column = self._position(len(self._block))
        self._block = text

    def decode(self, letter: str) -> tuple[Value, ...]:
        code = self._alphabet.code(letter)
        if code is None:
            raise BadValueError("L605", f"{quote_symbol(letter)} is not in the alphabet {_short(self._alphabet)}")
        return (code,)

    def place(self, index: int) -> str:
        line, column = self._position(index)
        return f"character {self.tokens + index} of {self.source.name} (line {line}, column {column})"

    def _position(self, index: int) -> tuple[int, int]:
        newlines = _newlines(self._block, index)
        if not newlines:
            return self._line, self._column + index
        return self._line + newlines, index - self._block.rfind("\n", 0, index)


def _newlines(text: str, stop: int) -> int:
    """The line ends among the first characters; in arrays for long texts, where that is faster by far."""
    if stop < _LONG or not text.isascii():
        return text.count("\n", 0, stop)
    import numpy as np

    return int(np.count_nonzero(np.frombuffer(text.encode("ascii"), np.uint8)[:stop] == 10))


def _without_line_end(text: str, ends: str) -> str:
    """The text without a line end (or the beginning of one) that may turn out to be the last."""
    if text.endswith("\n"):
        text = text[:-1]
        return text.removesuffix("\r") if "\r" in ends else text
    return text.removesuffix("\r") if "\r" in ends else text


class WordReader(Reader):
    """The tokens of the one input stand between white space: symbols of several characters, or numbers."""

    def __init__(self, graph: Graph, source: ByteSource) -> None:
        super().__init__(graph, source)
        self._type = only_type(graph, object)
        self._count = 0
        if isinstance(self._type, Symbols):
            for name in self._type.names:
                if name.split() != [name]:
                    raise LsrlError.of("L610", f"the symbol {quote_symbol(name)} cannot stand in a text of words",
                                       graph.inputs[0].span, help="give the input as JSON lines: --input-format jsonl")

    def blocks(self) -> Iterator[list[str]]:
        rest = ""
        for text in self.source.text_blocks():
            text = rest + text
            words = text.split()
            rest = words.pop() if words and not text[-1].isspace() else ""
            if len(rest) > LONGEST_LINE:
                raise LsrlError.of("L609", f"a word of {self.source.name} has more than {LONGEST_LINE} characters")
            yield from self._counted(words)
        yield from self._counted([rest] if rest else [])

    def _counted(self, words: list[str]) -> Iterator[list[str]]:
        if words:
            self.tokens += self._count
            self._count = len(words)
            yield words

    def decode(self, letter: str) -> tuple[Value, ...]:
        return (value_from_text(letter, self._type, self.graph.numeric),)

    def place(self, index: int) -> str:
        return f"word {self.tokens + index} of {self.source.name}"


class ByteReader(Reader):
    """Each byte is a token of the one input."""

    def __init__(self, graph: Graph, source: ByteSource) -> None:
        super().__init__(graph, source)
        self._count = 0

    def blocks(self) -> Iterator[bytes]:
        for block in self.source.blocks():
            self.tokens += self._count
            self._count = len(block)
            yield block

    def decode(self, letter: int) -> tuple[Value, ...]:
        return (letter,)

    def place(self, index: int) -> str:
        return f"byte {self.tokens + index} of {self.source.name}"


def _short(alphabet: Symbols) -> str:
    text = str(alphabet)
    return text if len(text) <= 60 else text[:57] + "…}"
