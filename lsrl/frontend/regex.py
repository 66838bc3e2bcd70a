"""Regular expressions over the alphabet of a stream, to minimal automata.

The syntax is Python's `re`, read by Python's own parser, less what no finite automaton does: back-references,
look-around, atomic groups and possessive repeats. Letters are the values of a stream type:

- a symbol of one character is that character, a value of `byte` is the character of that code;
- `*` is a character that no pattern can name. `.` and negated classes contain it. A class that contains some of
  the characters that fall under `*` and not others cannot be decided, which is an error (L252);
- a symbol of several characters is a letter that no pattern can name either; `.` and negated classes contain it.

`\\d \\w \\s` and `(?i)` mean ASCII. `.` is every letter but "\\n", unless `(?s)` is given.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any

from lsrl.diagnostics import LsrlError, Span
from lsrl.frontend.dfa import NEWLINE, OTHER, WORD, Dfa, Nfa, SizeError, determinise, minimise
from lsrl.types import Int, Symbols, Type, quote_symbol

__all__ = ["Dfa", "compile_regex"]

_parser: Any = import_module("re._parser")  # of the standard library, but not in its documented part
_UNNAMEABLE = 0x110000  # stands for `*` and for symbols of several characters
_STATES = 10_000

Ranges = tuple[tuple[int, int], ...]  # sorted, disjoint, both ends included


def compile_regex(pattern: str, alphabet: Type, mode: str, span: Span) -> Dfa:
    """The minimal automaton over the codes of `alphabet` (symbols or `byte`) of a regular expression.

    mode "match": a word is accepted if the whole of it matches, as `re.fullmatch` says; "contains": if some part of
    it does, as `re.search` says. Errors, at `span`: L250 not a regular expression, L251 not a regular language's
    construct, L252 letters that the alphabet does not tell apart or lacks, L253 too large an automaton.
    """
    if mode not in ("match", "contains"):
        raise ValueError(f"mode {mode!r}")
    try:
        return _compile(pattern, _letters(alphabet, span), mode)
    except _PatternError as problem:
        raise LsrlError.of(problem.code, problem.message, _inner(span, pattern, problem.position),
                           help=problem.help) from None


class _PatternError(Exception):
    def __init__(self, code: str, message: str, help: str = "", position: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.help, self.position = code, message, help, position


def _inner(span: Span, pattern: str, position: int | None) -> Span:
    """The span of one character of the pattern inside its literal, which may hold escapes; else the whole span."""
    literal = span.text
    if position is None or len(literal) < 2 or literal[0] != '"' or literal[-1] != '"':
        return span
    written = [*re.finditer(r"\\x..|\\u\{[^}]*\}|\\.|[^\\]", literal[1:-1], re.DOTALL)]  # one match a character
    if len(written) != len(pattern) or not written:
        return span
    place = written[min(position, len(written) - 1)]
    return Span(span.source, span.start + 1 + place.start(), span.start + 1 + place.end())


@dataclass(frozen=True)
class _Alphabet:
    """The letters of a stream as characters: a code point a letter, _UNNAMEABLE for those without one."""

    points: tuple[int, ...]
    other: bool  # is there a `*`, for every character not named
    top: int  # the greatest code point
    text: str = field(compare=False)


def _letters(alphabet: Type, span: Span) -> _Alphabet:
    match alphabet:
        case Symbols(names=names, other=other):
            points = [ord(n) if len(n) == 1 else _UNNAMEABLE for n in names] + [_UNNAMEABLE] * other
            return _Alphabet(tuple(points), other, 0x10FFFF, str(alphabet))
        case Int(lo=0, hi=255):
            return _Alphabet(tuple(range(256)), False, 255, "byte")
        case _:
            raise LsrlError.of("L254", f"a regular expression reads symbols or bytes, not {alphabet}", span,
                               help="use a stream of an alphabet such as {\"a\", \"b\", *}, or of byte")


@lru_cache(maxsize=256)
def _compile(pattern: str, alphabet: _Alphabet, mode: str) -> Dfa:
    tree = _parse(pattern)
    nfa = Nfa()
    builder = _Builder(nfa, alphabet)
    kinds = [OTHER] * len(alphabet.points)
    everything = frozenset(range(len(kinds)))
    try:
        end = builder.add(tree, 0 if mode == "match" else _loop(nfa, everything), tree.state.flags)
        nfa.epsilon[end].append(("", 1))
        if mode == "contains":
            nfa.letter[1].append((everything, 1))
        newlines, words = builder.context_kinds()
        for x in range(len(kinds)):
            kinds[x] = NEWLINE if x in newlines else WORD if x in words else OTHER
        return minimise(determinise(nfa, kinds, _STATES))
    except SizeError as reason:
        raise _PatternError("L253", f"the regular expression is too large: its automaton has {reason}"
                       if "more than" in str(reason) else "the regular expression takes too long to make deterministic",
                       "shorten its repeats, or write it as a program with counters") from None
    except RecursionError:
        raise _PatternError("L253", "the regular expression is nested too deeply", "use fewer groups") from None


def _loop(nfa: Nfa, everything: frozenset[int]) -> int:
    """A state that any letters lead back to, reached from the start."""
    q = nfa.state()
    nfa.epsilon[0].append(("", q))
    nfa.letter[q].append((everything, q))
    return q


def _parse(pattern: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree = _parser.parse(pattern)
    except re.error as e:
        raise _PatternError("L250", f"not a regular expression: {e.msg}", _parse_help(e.msg), e.pos) from None
    except Warning as e:
        raise _PatternError("L250", f"a regular expression that newer versions of `re` will read otherwise: {e}",
                       "escape the character that is meant literally") from None
    except OverflowError as e:
        raise _PatternError("L253", f"the regular expression is too large: {e}") from None
    except RecursionError:
        raise _PatternError("L253", "the regular expression is nested too deeply", "use fewer groups") from None
    return tree


def _parse_help(message: str) -> str:
    if "bad escape" in message:
        return "in a string of this language write \\\\ for one backslash of the expression"
    if "nothing to repeat" in message:
        return "write \\\\ before a * + ? that stands for itself"
    return ""


_UNSUPPORTED = {
    "GROUPREF": "a back-reference",
    "GROUPREF_IGNORE": "a back-reference",
    "GROUPREF_EXISTS": "a conditional group",
    "ASSERT": "look-around",
    "ASSERT_NOT": "look-around",
    "FAILURE": "look-around",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive repeat",
}

_GUARDS = {
    "AT_BEGINNING": "start",
    "AT_BEGINNING_STRING": "start",
    "AT_END": "dollar",
    "AT_END_STRING": "end",
    "AT_BOUNDARY": "boundary",
    "AT_NON_BOUNDARY": "not_boundary",
}

_CATEGORIES: dict[str, Ranges] = {
    "DIGIT": ((48, 57),),
    "SPACE": ((9, 13), (32, 32)),
    "WORD": ((48, 57), (65, 90), (95, 95), (97, 122)),
}


class _Builder:
    """Adds the parts of a parsed expression to an automaton, after Thompson 1968."""

    def __init__(self, nfa: Nfa, alphabet: _Alphabet) -> None:
        self.nfa = nfa
        self.alphabet = alphabet
        self.guards: set[str] = set()
        self._sets: dict[tuple[Ranges, bool, bool], frozenset[int]] = {}

    def context_kinds(self) -> tuple[frozenset[int], frozenset[int]]:
        """The letters that guards take for newlines, and for word characters; empty where no guard looks."""
        newlines = words = frozenset[int]()
        if self.guards & {"dollar", "line_start", "line_end"}:
            strict = bool(self.guards & {"line_start", "line_end"})
            newlines = self.letters(((10, 10),), "a line anchor", strict=strict, empty=True)
        if self.guards & {"boundary", "not_boundary"}:
            words = self.letters(_CATEGORIES["WORD"], "a word boundary", empty=True)
        return newlines, words

    def add(self, items: Iterable[tuple[Any, Any]], start: int, flags: int) -> int:
        """Adds a sequence that begins at `start`; the state it ends in."""
        if flags & re.LOCALE:
            raise _PatternError("L251", "the flag L depends on the machine's locale", "leave the flag out")
        q = start
        for op, value in items:
            q = self._item(str(op), value, q, flags)
        return q

    def _item(self, op: str, value: Any, q: int, flags: int) -> int:
        if op in _UNSUPPORTED:
            raise _PatternError("L251", f"{_UNSUPPORTED[op]} is not supported: no finite automaton does it in general"
                           if "GROUPREF" in op else f"{_UNSUPPORTED[op]} is not supported",
                           "write the condition as a program, with state")
        match op:
            case "AT":
                return self._guard(_guard_name(str(value), flags), q)
            case "SUBPATTERN":
                _, added, removed, body = value
                return self.add(body, q, (flags | added) & ~removed)
            case "BRANCH":
                end = self.nfa.state()
                for branch in value[1]:
                    self.nfa.epsilon[self.add(branch, q, flags)].append(("", end))
                return end
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, body = value
                return self._repeat(int(low), None if high == _parser.MAXREPEAT else int(high), body, q, flags)
            case _:
                end = self.nfa.state()
                self.nfa.letter[q].append((self._class(op, value, flags), end))
                return end

    def _guard(self, guard: str, q: int) -> int:
        self.guards.add(guard)
        end = self.nfa.state()
        self.nfa.epsilon[q].append((guard, end))
        return end

    def _repeat(self, low: int, high: int | None, body: Any, q: int, flags: int) -> int:
        # A branch adds edges to the state it starts from, and a star leads back there: give each its own state.
        for _ in range(low):
            q = self.add(body, self._fresh(q), flags)
        end = self.nfa.state()
        if high is None:
            q = self._fresh(q)
            self.nfa.epsilon[q].append(("", end))
            self.nfa.epsilon[self.add(body, q, flags)].append(("", q))
            return end
        for _ in range(high - low):
            q = self._fresh(q)
            self.nfa.epsilon[q].append(("", end))
            q = self.add(body, q, flags)
        self.nfa.epsilon[q].append(("", end))
        return end

    def _fresh(self, q: int) -> int:
        new = self.nfa.state()
        self.nfa.epsilon[q].append(("", new))
        return new

    def _class(self, op: str, value: Any, flags: int) -> frozenset[int]:
        """The letters of a single-character item."""
        ignore = bool(flags & re.IGNORECASE)
        match op:
            case "ANY":
                if flags & re.DOTALL:
                    return frozenset(range(len(self.alphabet.points)))
                return self.letters(_negate(((10, 10),), self.alphabet.top), "`.`", strict=False)
            case "LITERAL":
                self._known(value, ignore)
                return self.letters(_fold(((value, value),), ignore), _show(((value, value),)))
            case "NOT_LITERAL":
                self._known(value, ignore)
                return self.letters(_negate(_fold(((value, value),), ignore), self.alphabet.top),
                                    f"[^{_show(((value, value),))}]")
            case "IN":
                negated = str(value[0][0]) == "NEGATE"
                ranges: list[tuple[int, int]] = []
                for kind, item in value[1:] if negated else value:
                    if str(kind) == "LITERAL":
                        self._known(item, ignore)
                    ranges += self._ranges(str(kind), item)
                folded = _fold(_union(ranges), ignore)
                text = f"[{'^' if negated else ''}{_show(folded)}]"
                return self.letters(_negate(folded, self.alphabet.top) if negated else folded, text)
            case _:
                raise _PatternError("L251", f"the construct {op} is not supported", "write it as a program, with state")

    def _ranges(self, kind: str, item: Any) -> Ranges:
        match kind:
            case "LITERAL":
                return ((item, item),)
            case "RANGE":
                return (item,)
            case _:
                name = str(item).removeprefix("CATEGORY_")
                if name.startswith("NOT_"):
                    return _negate(_CATEGORIES[name.removeprefix("NOT_")], self.alphabet.top)
                return _CATEGORIES[name]

    def _known(self, point: int, ignore: bool) -> None:
        """A character that is written by itself must be a letter, or at least fall under one."""
        if point > self.alphabet.top:
            raise _PatternError("L252", f"{quote_symbol(chr(point))} is not a byte")
        near = _fold(((point, point),), ignore)
        if not self.alphabet.other and not any(_holds(near, p) for p in self.alphabet.points):
            raise _PatternError("L252", f"{quote_symbol(chr(point))} is not in the alphabet {self.alphabet.text}",
                           "add it to the alphabet, or take it out of the expression")

    def letters(self, ranges: Ranges, text: str, *, strict: bool = True, empty: bool = False) -> frozenset[int]:
        """The letters whose characters lie in `ranges`; `text` names the class in errors.

        strict: an error if some of the characters under `*` lie in it and others do not. empty: may have no letter.
        """
        key = (ranges, strict, empty)
        if key in self._sets:
            return self._sets[key]
        points = self.alphabet.points
        named = _union((p, p) for p in points if p != _UNNAMEABLE)
        unnameable = _holds(ranges, self.alphabet.top)
        if self.alphabet.other and strict:
            rest = _negate(named, self.alphabet.top)
            some = _intersect(ranges, rest)
            missing = _intersect(_negate(ranges, self.alphabet.top), rest)
            if some and missing:
                odd = _show(missing if unnameable else some)
                raise _PatternError("L252", f"{text} tells apart characters under `*` of {self.alphabet.text}",
                                    f"give these characters symbols of their own in the alphabet: {odd}")
        out = frozenset(x for x, p in enumerate(points) if (unnameable if p == _UNNAMEABLE else _holds(ranges, p)))
        if not out and not empty:
            raise _PatternError("L252", f"{text} matches no letter of {self.alphabet.text}",
                           "add letters to the alphabet, or take the class out of the expression")
        self._sets[key] = out
        return out


def _guard_name(at: str, flags: int) -> str:
    if flags & re.MULTILINE and at in ("AT_BEGINNING", "AT_END"):
        return "line_start" if at == "AT_BEGINNING" else "line_end"
    return _GUARDS[at]


def _union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    out: list[tuple[int, int]] = []
    for lo, hi in sorted(ranges):
        if out and lo <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], hi))
        else:
            out.append((lo, hi))
    return tuple(out)


def _negate(ranges: Ranges, top: int) -> Ranges:
    out: list[tuple[int, int]] = []
    lo = 0
    for a, b in ranges:
        if a > lo:
            out.append((lo, min(a - 1, top)))
        lo = b + 1
    if lo <= top:
        out.append((lo, top))
    return tuple(out)


def _intersect(a: Ranges, b: Ranges) -> Ranges:
    return _union((max(x[0], y[0]), min(x[1], y[1])) for x in a for y in b if max(x[0], y[0]) <= min(x[1], y[1]))


def _holds(ranges: Ranges, point: int) -> bool:
    return any(lo <= point <= hi for lo, hi in ranges)


def _fold(ranges: Ranges, ignore: bool) -> Ranges:
    """With `ignore`, adds the other case of every ASCII letter."""
    if not ignore:
        return ranges
    letters = [c for c in (*range(65, 91), *range(97, 123)) if _holds(ranges, c)]
    return _union([*ranges, *((c ^ 32, c ^ 32) for c in letters)])


def _show(ranges: Ranges) -> str:
    """The characters of a class, at most a dozen."""
    parts = [_char(lo) if lo == hi else f"{_char(lo)}-{_char(hi)}" for lo, hi in ranges[:12]]
    return "".join(parts) + ("…" if len(ranges) > 12 else "")


def _char(point: int) -> str:
    return quote_symbol(chr(point))[1:-1]
