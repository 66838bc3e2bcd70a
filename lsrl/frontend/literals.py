"""The values of numbers and strings as they are written."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from inspect import cleandoc

from lsrl.diagnostics import Diagnostic, Span

__all__ = ["MAX_DIGITS", "Report", "docstring_value", "number_value", "string_value"]

MAX_DIGITS = 4000  # of a number, written out in full

Report = Callable[[Diagnostic], None]

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u\{([0-9a-fA-F]{1,6})\}|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}


def number_value(text: str, span: Span, report: Report) -> int | Fraction:
    """The int or the rational that a number token stands for; 0 for one that is too long, which is reported."""
    hexadecimal = text[:2] in ("0x", "0X")
    mantissa, _, exponent = ("", "", "") if hexadecimal else text.lower().partition("e")
    digits = len(text) if hexadecimal else len(mantissa)
    if digits > MAX_DIGITS or len(exponent) > 9 or digits + abs(int(exponent or "0")) > MAX_DIGITS:
        report(Diagnostic("L004", f"this number has more than {MAX_DIGITS} digits", span))
        return 0
    if hexadecimal:
        return int(text, 16)
    return Fraction(text) if exponent or "." in mantissa else int(text)


def string_value(text: str, span: Span, report: Report) -> str:
    """The text of a string token without its quotes and with its escapes resolved; `span` is the token's place."""
    inner = text[1:-1]
    if "\\" not in inner:
        return inner

    def resolve(found: re.Match[str]) -> str:
        byte, code, letter = found.groups()
        if letter in _SIMPLE:
            return _SIMPLE[letter]
        number = int(byte or code or "-1", 16)
        if 0 <= number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF:
            return chr(number)
        start = span.start + 1 + found.start()
        place = Span(span.source, start, start + len(found.group()))
        if code:
            report(Diagnostic("L003", f"there is no character U+{code.upper()}", place))
        else:
            report(Diagnostic("L003", f"`{found.group()}` is no escape", place,
                              help=r'the escapes are \n \t \r \\ \" \xNN \u{…}'))
        return ""

    return _ESCAPE.sub(resolve, inner)


def docstring_value(text: str) -> str:
    """The text of a docstring token without its quotes and its common indentation; nothing in it is an escape."""
    return cleandoc(text[3:-3].replace("\r\n", "\n"))
