"""The words of the text form of a graph: names, numbers, types and values at a place in a text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lsrl.diagnostics import LsrlError, Source, Span
from lsrl.types import BOOL, BYTE, Bool, Int, Real, Symbols, Type, Value, Vector, scalar_of, with_shape

__all__ = ["Cursor", "Raw"]

_SPACE = re.compile(r"[ \t]*")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[.#][A-Za-z0-9_]+|\[[0-9]+\])*")
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u\{([0-9a-fA-F]{1,6})\}|(.))")
_INT = re.compile(r"-?\d+")
_NUMBER = re.compile(r"-?(?:inf\b|nan\b|\d+(?:(?:\.\d+)?(?:e[+-]?\d+)|\.\d+|/\d+)?)")
_BOUNDS = re.compile(r"\[[^\]\n]*\.\.")
_DIGITS = 4000  # Python does not read or write longer integers
_DIMENSIONS = 32
_BACKSLASHED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}


@dataclass(frozen=True, slots=True)
class SymbolName:
    """A symbol as it is written: quoted, or `*`, which is None."""

    text: str | None


Raw: TypeAlias = "bool | int | Fraction | float | SymbolName | tuple[Raw, ...]"


def _unquote(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[3] is not None:
            return _BACKSLASHED.get(match[3], match[3])
        return chr(min(int(match[1] or match[2], 16), 0x10FFFF))

    return _ESCAPE.sub(one, text)


class Cursor:
    """A place in a text. Each method reads what it is named after, and the spaces behind it.

    All raise LsrlError (L090), with line and column, where something else stands.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.at = 0

    # Types

    def read_type(self) -> Type:
        scalar: Type
        if self.take("{"):
            scalar = self._symbols()
        else:
            start = self.at
            word = self.word("a type")
            match word:
                case "bool":
                    scalar = BOOL
                case "byte":
                    scalar = BYTE
                case "int":
                    scalar = self._int_type()
                case "real":
                    scalar = self._real_type()
                case _:
                    self.at = start
                    raise self.error(f"`{word}` is no type")
        dims: list[int] = []
        while self.take("["):
            dims.append(self.size())
            while self.take(","):
                dims.append(self.size())
            self.expect("]")
        if len(dims) > _DIMENSIONS:
            raise self.error(f"a vector has at most {_DIMENSIONS} dimensions")
        return with_shape(scalar, tuple(dims))

    def _bounds_follow(self) -> bool:
        """Whether the bracket that opens here holds `..`: bounds, not dimensions."""
        return _BOUNDS.match(self.text, self.at) is not None

    def _int_type(self) -> Type:
        if not self._bounds_follow():
            return Int()
        self.expect("[")
        lo = None if self.take("..") else self.integer()
        if lo is not None:
            self.expect("..")
        hi = None if self.take("]") else self.integer()
        if hi is not None:
            self.expect("]")
        return Int(lo, hi)

    def _real_type(self) -> Type:
        if not self._bounds_follow():
            return Real()
        self.expect("[")
        lo = None if self.take("..") else self.rational()
        if lo is not None:
            self.expect("..")
        hi = None if self.peek() in ("]", "b") else self.rational()
        grid = self.rational() if self.take("by") else None
        self.expect("]")
        return Real(*(None if x is None else Fraction(x) for x in (lo, hi, grid)))

    def _symbols(self) -> Type:
        names: list[str] = []
        while not self.take("}"):
            if self.take("*"):
                self.expect("}")
                return Symbols(tuple(names), True)
            names.append(self.string())
            if self.take(".."):
                last = self.string()
                if len(names[-1]) != 1 or len(last) != 1 or last < names[-1]:
                    raise self.error("a range of symbols goes from one character up to another")
                names += (chr(c) for c in range(ord(names[-1]) + 1, ord(last) + 1))
            if not self.take(","):
                self.expect("}")
                break
        return Symbols(tuple(names))

    # Values

    def value(self, depth: int = 0) -> Raw:
        """A value whose type is not known yet; `typed` gives it one."""
        if self.take("["):
            return self._list(depth + 1)
        if self.take("*"):
            return SymbolName(None)
        if self.peek() == '"':
            return SymbolName(self.string())
        for word in ("true", "false"):
            if self.take(word):
                return word == "true"
        return self.number()

    def _list(self, depth: int) -> tuple[Raw, ...]:
        if depth > _DIMENSIONS:
            raise self.error(f"a vector has at most {_DIMENSIONS} dimensions")
        out: list[Raw] = []
        while not self.take("]"):
            out.append(self.value(depth))
            if not self.take(","):
                self.expect("]")
                break
        return tuple(out)

    def typed(self, raw: Raw, t: Type, span: Span) -> Value:
        """The value of a type that was written so. Raises LsrlError (L090) at `span` if it is of another type."""
        if isinstance(raw, tuple):
            elem = t.elem if isinstance(t, Vector) else t
            return tuple(self.typed(x, elem, span) for x in raw)
        match scalar_of(t), raw:
            case Symbols(names=names, other=True), SymbolName(text=None):
                return len(names)
            case Symbols(names=names), SymbolName(text=str(name)) if name in names:
                return names.index(name)
            case Bool(), bool():
                return raw
            case Int() | Symbols(), int() if not isinstance(raw, bool):
                return raw
            case Real(), float():
                return raw
            case Real(), int() | Fraction() if not isinstance(raw, bool):
                return Fraction(raw)
        raise LsrlError.of("L090", f"a value is not of the type {str(t)[:60]}", span)

    # Tokens: each skips the spaces after it.

    def number(self) -> int | Fraction | float:
        start = self.at
        text = self.match(_NUMBER, "a number")[0]
        if len(text) > _DIGITS:
            self.at = start
            raise self.error(f"a number has at most {_DIGITS} digits")
        if "/" in text:
            top, bottom = text.split("/")
            if int(bottom) == 0:
                self.at = start
                raise self.error("the denominator is zero")
            return Fraction(int(top), int(bottom))
        return int(text) if text.lstrip("-").isdigit() else float(text)

    def rational(self) -> int | Fraction:
        start = self.at
        number = self.number()
        if isinstance(number, float):
            self.at = start
            raise self.error("an integer or a fraction stands here")
        return number

    def integer(self) -> int:
        start = self.at
        text = self.match(_INT, "an integer")[0]
        if len(text) > _DIGITS:
            self.at = start
            raise self.error(f"a number has at most {_DIGITS} digits")
        return int(text)

    def size(self) -> int:
        start = self.at
        number = self.integer()
        if number < 0:
            self.at = start
            raise self.error("a vector has a size from 0 up")
        return number

    def range(self) -> tuple[int, int]:
        lo = self.integer()
        self.expect("..")
        return lo, self.integer()

    def name(self) -> str:
        if self.text[self.at : self.at + 1] == '"':
            return self.string()
        return self.match(_NAME, "a name")[0]

    def string(self) -> str:
        return _unquote(self.match(_STRING, "a text in double quotes")[1])

    def match(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise self.error(f"{what} is missing here")
        self.at = match.end()
        self.skip()
        return match

    def word(self, what: str) -> str:
        return self.match(_WORD, what)[0]

    def peek(self) -> str:
        """The next character, empty at the end."""
        return self.text[self.at : self.at + 1]

    def take(self, token: str) -> bool:
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        self.skip()
        return True

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise self.error(f"`{token}` is missing here")

    def skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = self.at if match is None else match.end()

    def error(self, message: str) -> LsrlError:
        return LsrlError.of("L090", message, Span(self.source, self.at, self.at + 1))
