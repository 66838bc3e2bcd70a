"""From what the grammar's rules matched to the nodes of syntax.py.

One method a rule of lsrl.lark; each gets the matched children, every token among them. Nothing is kept between
calls, so that one `Builder` serves all parses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from inspect import cleandoc
from typing import Any

from lsrl.diagnostics import LsrlError, Span
from lsrl.frontend import syntax as s
from lsrl.frontend.layout import Token

__all__ = ["MAX_DIGITS", "Builder", "FileDoc"]

MAX_DIGITS = 4000  # of a number, written out in full

_TYPES = (s.TypeName, s.RangeType, s.AlphabetType, s.UnionType, s.ArrayType, s.RecordType)
_TYPE_WORDS = frozenset({"bool", "int", "real", "byte"})
_LEAVES = (s.Name, s.Number, s.Truth, s.String)


@dataclass(frozen=True, slots=True, eq=False)
class FileDoc:
    """The docstring of a file, which the grammar takes for an item."""

    text: s.String
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class _Stepped:
    """`lo..hi by step` between brackets: a part of a type."""

    lo: s.Expr
    hi: s.Expr
    by: s.Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """`k = 3` among arguments, `a: T` in a record type, `a = e` in a record."""

    name: s.Name
    value: Any
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Children that a rule hands up as one: their tokens, and the span of them all."""

    items: tuple[Any, ...]
    span: Span


Children = list[Any]


def _span(children: Sequence[Any]) -> Span:
    first, last = children[0].span, children[-1].span
    return Span(first.source, first.start, last.end)


def _nodes(children: Sequence[Any]) -> tuple[Any, ...]:
    """The children that are neither tokens nor absent."""
    return tuple(c for c in children if c is not None and type(c) is not Token)


def _name(token: Token) -> s.Name:
    return s.Name(token.text, token.span)


def _value(node: Any) -> Any:
    """The node, which must be an expression and not a type."""
    if isinstance(node, _TYPES):
        raise LsrlError.of("L015", "a type stands where a value belongs", node.span,
                           help="a type can be an argument, as in size(T), or follow a `:`")
    return node


def _type(node: Any) -> s.TypeExpr:
    """An expression read as a type."""
    if isinstance(node, _TYPES):
        return node
    match node:
        case s.Name():
            return s.TypeName(node, node.span)
        case s.Field(value=s.Name() as module, name=name):
            return s.TypeName(s.Name(f"{module.id}.{name.id}", node.span), node.span)
        case s.Subscript(value=value, indices=indices):
            return s.ArrayType(_type(value), _dims(indices), node.span)
    raise LsrlError.of("L015", "this is not a type", node.span,
                       help='types are bool, int, real, byte, int[lo..hi], {"a", "b"}, T[n] and names of types')


def _dims(indices: tuple[Any, ...]) -> tuple[s.Expr, ...]:
    for index in indices:
        if isinstance(index, s.Range | _Stepped):
            raise LsrlError.of("L015", "only int and real take a range", index.span,
                               help="the size of a vector is one number: T[n]")
    return tuple(_value(i) for i in indices)


def _is_type(node: Any) -> bool:
    return isinstance(node, _TYPES) or isinstance(node, s.Name) and node.id in _TYPE_WORDS


class Builder:
    """The methods that the parser calls as it reduces rules."""

    # ------------------------------------------------------------ items

    def file_doc(self, c: Children) -> FileDoc:
        return FileDoc(_docstring(c[0]), c[0].span)

    def type_decl(self, c: Children) -> s.TypeDecl:
        return s.TypeDecl(_name(c[1]), _type(c[3]), _span(c))

    def const_decl(self, c: Children) -> s.ConstDecl:
        _, name, _, declared, _, value, _ = c
        return s.ConstDecl(_name(name), None if declared is None else _type(declared), _value(value), _span(c))

    def import_file(self, c: Children) -> s.Import:
        return s.Import(self.string(c[1:2]), None, None if c[3] is None else _name(c[3]), _span(c))

    def import_names(self, c: Children) -> s.Import:
        names = tuple(g.items for g in c if isinstance(g, _Group))
        return s.Import(self.string(c[1:2]), names, None, _span(c))

    def imported(self, c: Children) -> _Group:
        name, _, alias = c
        return _Group((_name(name), None if alias is None else _name(alias)), _span([name, alias or name]))

    def definition(self, c: Children) -> s.Definition:
        kind, name, generics, parameters, arrow, result, colon, body = c
        doc, statements = body.items
        return s.Definition(
            kind.text,
            _name(name),
            () if generics is None else generics.items,
            parameters.items,
            None if result is None else _type(result),
            doc,
            statements,
            _span([kind, colon]),
        )

    def generics(self, c: Children) -> _Group:
        return _Group(tuple(_name(t) for t in c if t is not None and t.type == "NAME"), _span(c))

    def parameters(self, c: Children) -> _Group:
        return _Group(_nodes(c), _span(c))

    def parameter(self, c: Children) -> s.Parameter:
        const, name, _, declared = c
        span = _span([x for x in c if x is not None])
        return s.Parameter(_name(name), None if declared is None else _type(declared), const is not None, span)

    def body(self, c: Children) -> _Group:
        doc = None if c[2] is None else _docstring(c[2])
        return _Group((doc, _nodes(c)), _span(c))

    # ------------------------------------------------------------ statements

    def state_decl(self, c: Children) -> s.StateDecl:
        return s.StateDecl(_name(c[1]), _type(c[3]), _value(c[5]), _span(c))

    def param_decl(self, c: Children) -> s.ParamDecl:
        return s.ParamDecl(_name(c[1]), _type(c[3]), _value(c[5]), _span(c))

    def bind(self, c: Children) -> s.Bind:
        name, _, declared, _, value, _ = c
        return s.Bind(_name(name), None if declared is None else _type(declared), _value(value), _span(c))

    def assign(self, c: Children) -> s.Assign:
        return s.Assign(_name(c[0]), (), _value(c[2]), _span(c))

    def assign_element(self, c: Children) -> s.Assign:
        *indices, value = _nodes(c)
        return s.Assign(_name(c[0]), tuple(_value(i) for i in indices), _value(value), _span(c))

    def if_block(self, c: Children) -> s.If:
        _, condition, _, block, *more = c
        branches = [(_value(condition), block.items)]
        orelse: tuple[s.Statement, ...] = ()
        for part in more:
            if part is not None and len(part.items) == 2:
                branches.append(part.items)
            elif part is not None:
                (orelse,) = part.items
        return s.If(tuple(branches), orelse, _span([x for x in c if x is not None]))

    def elif_block(self, c: Children) -> _Group:
        return _Group((_value(c[1]), c[3].items), _span(c))

    def else_block(self, c: Children) -> _Group:
        return _Group((c[2].items,), _span(c))

    def for_block(self, c: Children) -> s.For:
        return s.For(_name(c[1]), _value(c[3]), c[5].items, _span(c))

    def block(self, c: Children) -> _Group:
        # The span ends with the last statement: the tokens that close a block stand on a later line.
        return _Group(_nodes(c), _span(c[:-1]))

    def assert_(self, c: Children) -> s.Assert:
        _, condition, _, text, _ = c
        return s.Assert(_value(condition), None if text is None else self.string([text]), _span(c))

    def assume_(self, c: Children) -> s.Assume:
        return s.Assume(_value(c[1]), _span(c))

    def return_(self, c: Children) -> s.Return:
        return s.Return(_value(c[1]), _span(c))

    def return_record(self, c: Children) -> s.Return:
        return s.Return(c[1], _span(c))

    def record(self, c: Children) -> s.RecordLiteral:
        return s.RecordLiteral(tuple((f.name, _value(f.value)) for f in _nodes(c)), _span(c))

    def record_field(self, c: Children) -> _Named:
        return _Named(_name(c[0]), c[2], _span(c))

    # ------------------------------------------------------------ types

    def type_union(self, c: Children) -> s.TypeExpr:
        parts = tuple(_type(p) for p in c[::2])
        return parts[0] if len(parts) == 1 else s.UnionType(parts, _span(c))

    def record_type(self, c: Children) -> s.RecordType:
        return s.RecordType(tuple((f.name, _type(f.value)) for f in _nodes(c)), _span(c))

    def field_type(self, c: Children) -> _Named:
        return _Named(_name(c[0]), c[2], _span(c))

    def alphabet(self, c: Children) -> s.AlphabetType:
        items: list[s.String | tuple[s.String, s.String] | None] = []
        for group in _nodes(c):
            items.append(group.items[0])
        if not items:
            raise LsrlError.of("L016", "an alphabet has at least one symbol", _span(c), help='write {"a", "b"}')
        return s.AlphabetType(tuple(items), _span(c))

    def symbol(self, c: Children) -> _Group:
        if c[0].type == "STAR":
            return _Group((None,), c[0].span)
        first = self.string(c[0:1])
        if c[2] is None:
            return _Group((first,), first.span)
        last, span = self.string(c[2:3]), _span(c)
        if len(first.value) != 1 or len(last.value) != 1:
            raise LsrlError.of("L016", "the ends of a range of symbols are one character each", span)
        if first.value > last.value:
            raise LsrlError.of("L016", "this range of symbols is empty: its first symbol comes after its last", span)
        return _Group(((first, last),), span)

    # ------------------------------------------------------------ operators

    def if_else(self, c: Children) -> s.IfElse:
        then, _, condition, _, other = c
        return s.IfElse(_value(condition), _value(then), _value(other), _span(c))

    def bool_op(self, c: Children) -> s.BoolOp:
        return s.BoolOp(c[1].text, tuple(_value(a) for a in c[::2]), _span(c))

    def not_(self, c: Children) -> s.Not:
        return s.Not(_value(c[1]), _span(c))

    def negate(self, c: Children) -> s.Negate:
        return s.Negate(_value(c[1]), _span(c))

    def power(self, c: Children) -> s.Power:
        return s.Power(_value(c[0]), _value(c[2]), _span(c))

    def comparison(self, c: Children) -> s.Comparison:
        return s.Comparison(_value(c[0]), self.rest(c), _span(c))

    def chain(self, c: Children) -> s.Chain:
        return s.Chain(_value(c[0]), self.rest(c), _span(c))

    def rest(self, c: Children) -> tuple[tuple[str, s.Expr], ...]:
        return tuple((op.text, _value(x)) for op, x in zip(c[1::2], c[2::2], strict=True))

    # ------------------------------------------------------------ operands

    def name(self, c: Children) -> s.Name:
        return s.Name(c[0].text, c[0].span)

    def integer(self, c: Children) -> s.Number:
        text, span = c[0].text, c[0].span
        if len(text) > MAX_DIGITS:
            raise _too_long(span)
        return s.Number(int(text, 16) if text[:2] in ("0x", "0X") else int(text), span)

    def real(self, c: Children) -> s.Number:
        text, span = c[0].text, c[0].span
        mantissa, _, exponent = text.lower().partition("e")
        if len(mantissa) > MAX_DIGITS or len(exponent) > 9 or len(mantissa) + abs(int(exponent or "0")) > MAX_DIGITS:
            raise _too_long(span)
        return s.Number(Fraction(text), span)

    def truth(self, c: Children) -> s.Truth:
        return s.Truth(c[0].text == "true", c[0].span)

    def string(self, c: Children) -> s.String:
        token: Token = c[0]
        text = token.text[1:-1]
        return s.String(_unescape(text, token.span) if "\\" in text else text, token.span)

    def parenthesized(self, c: Children) -> Any:
        inner = c[1]
        return inner if isinstance(inner, _LEAVES) else replace(inner, span=_span(c))

    def call(self, c: Children) -> s.Call:
        callee, arguments = c
        match callee:
            case s.Name():
                return _call(callee, arguments, _span(c))
            case s.Field(value=s.Name() as module, name=name):
                return _call(s.Name(f"{module.id}.{name.id}", callee.span), arguments, _span(c))
        raise LsrlError.of("L010", "only a function that has a name can be called", callee.span)

    def call_word(self, c: Children) -> s.Call:
        return _call(_name(c[0]), c[1], _span(c))

    def arguments(self, c: Children) -> _Group:
        return _Group(_nodes(c), _span(c))

    def named_argument(self, c: Children) -> _Named:
        return _Named(_name(c[0]), c[2], _span(c))

    def operator(self, c: Children) -> s.Operator:
        return s.Operator(c[0].text, c[0].span)

    def subscript(self, c: Children) -> _Group:
        return _Group(_nodes(c), _span(c))

    def subscripted(self, c: Children) -> s.Subscript | s.RangeType | s.ArrayType:
        value, subscript = c
        indices, span = subscript.items, _span(c)
        index = indices[0]
        if isinstance(value, s.Name) and value.id in ("int", "real") and isinstance(index, s.Range | _Stepped):
            if len(indices) > 1:
                raise LsrlError.of("L015", "a range of numbers has no second part", indices[1].span,
                                   help="the sizes of a vector follow in brackets of their own: int[0..9][4]")
            by = index.by if isinstance(index, _Stepped) else None
            if by is not None and value.id == "int":
                raise LsrlError.of("L015", "only real takes a grid (`by`)", by.span)
            return s.RangeType(value.id, index.lo, index.hi, by, span)
        if _is_type(value):
            return s.ArrayType(_type(value), _dims(indices), span)
        for index in indices:
            if isinstance(index, _Stepped):
                raise LsrlError.of("L015", "only real takes a grid (`by`)", index.by.span)
        return s.Subscript(value, tuple(_value(i) for i in indices), span)

    def range(self, c: Children) -> s.Range:
        return s.Range(_value(c[0]), _value(c[2]), _span(c))

    def stepped_range(self, c: Children) -> _Stepped:
        return _Stepped(_value(c[0]), _value(c[2]), _value(c[4]), _span(c))

    def field(self, c: Children) -> s.Field:
        return s.Field(_value(c[0]), _name(c[2]), _span(c))

    def vector(self, c: Children) -> s.VectorLiteral:
        return s.VectorLiteral(tuple(_value(e) for e in _nodes(c)), _span(c))

    def comprehension(self, c: Children) -> s.Comprehension:
        _, value, _, name, _, source, _ = c
        return s.Comprehension(_value(value), _name(name), _value(source), _span(c))

    def match_inline(self, c: Children) -> s.Match:
        arms = tuple(x for x in c if isinstance(x, s.Arm))
        return s.Match(_value(c[1]), arms, False, _span([c[0], arms[-1]]))

    def match_block(self, c: Children) -> s.Match:
        arms = tuple(x for x in c if isinstance(x, s.Arm))
        return s.Match(_value(c[1]), arms, True, _span([c[0], arms[-1]]))

    def arm(self, c: Children) -> s.Arm:
        patterns, _, value = c
        return s.Arm(patterns.items or None, _value(value), _span(c))

    def patterns(self, c: Children) -> _Group:
        return _Group(tuple(_value(p) for p in _nodes(c)), _span(c))


def _call(function: s.Name, arguments: _Group, span: Span) -> s.Call:
    args: list[s.Expr | s.TypeExpr] = []
    named: list[tuple[s.Name, s.Expr]] = []
    for argument in arguments.items:
        if isinstance(argument, _Named):
            named.append((argument.name, _value(argument.value)))
        elif named:
            raise LsrlError.of("L017", "an argument without a name follows one with a name", argument.span)
        else:
            args.append(_type(argument) if _is_type(argument) else argument)
    return s.Call(function, tuple(args), tuple(named), span)


def _docstring(token: Token) -> s.String:
    return s.String(cleandoc(token.text[3:-3].replace("\r\n", "\n")), token.span)


def _too_long(span: Span) -> LsrlError:
    return LsrlError.of("L004", f"this number has more than {MAX_DIGITS} digits", span)


_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u\{([0-9a-fA-F]{1,6})\}|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}


def _unescape(text: str, span: Span) -> str:
    """The text of a string with its escapes resolved; `span` covers the quotes as well."""
    def one(found: re.Match[str]) -> str:
        byte, code, letter = found.groups()
        if letter in _SIMPLE:
            return _SIMPLE[letter]
        number = int(byte or code or "-1", 16)
        if 0 <= number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF:
            return chr(number)
        start = span.start + 1 + found.start()
        place = Span(span.source, start, start + len(found.group()))
        if code:
            raise LsrlError.of("L003", f"U+{code.upper()} is no character", place)
        raise LsrlError.of("L003", f"`{found.group()}` is no escape", place,
                           help=r'the escapes are \n \t \r \\ \" \xNN \u{…}')
    return _ESCAPE.sub(one, text)
