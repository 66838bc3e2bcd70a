"""From what the grammar's rules matched to the nodes of syntax.py.

One method a rule of lsrl.lark; each gets the matched children, every token among them. A mistake is noted in
`errors`, and a node is made all the same, so that the parser need not stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lsrl.diagnostics import Diagnostic, Span
from lsrl.frontend import syntax as s
from lsrl.frontend.layout import Token
from lsrl.frontend.literals import docstring_value, number_value, string_value

__all__ = ["Builder", "FileDoc"]

_TYPES = (s.TypeName, s.RangeType, s.AlphabetType, s.UnionType, s.ArrayType, s.RecordType)
_TYPE_WORDS = frozenset({"bool", "int", "real", "byte"})


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


def _docstring(token: Token) -> s.String:
    return s.String(docstring_value(token.text), token.span)


def _dotted(node: Any) -> s.Name | None:
    """`x`, or `module.x` as one name."""
    if isinstance(node, s.Field) and isinstance(node.value, s.Name):
        return s.Name(f"{node.value.id}.{node.name.id}", node.span)
    return node if isinstance(node, s.Name) else None


def _is_type(node: Any) -> bool:
    return isinstance(node, _TYPES) or (isinstance(node, s.Name) and node.id in _TYPE_WORDS)


class Builder:
    """The methods that the parser calls as it reduces rules."""

    def __init__(self) -> None:
        self.errors: list[Diagnostic] = []

    # ------------------------------------------------------------ items

    def file_doc(self, c: Children) -> FileDoc:
        return FileDoc(_docstring(c[0]), c[0].span)

    def type_decl(self, c: Children) -> s.TypeDecl:
        return s.TypeDecl(_name(c[1]), self.type(c[3]), _span(c))

    def const_decl(self, c: Children) -> s.ConstDecl:
        _, name, _, declared, _, value, _ = c
        return s.ConstDecl(_name(name), None if declared is None else self.type(declared), self.value(value), _span(c))

    def import_file(self, c: Children) -> s.Import:
        return s.Import(self.string(c[1:2]), None, None if c[3] is None else _name(c[3]), _span(c))

    def import_names(self, c: Children) -> s.Import:
        names = tuple(g.items for g in c if isinstance(g, _Group))
        return s.Import(self.string(c[1:2]), names, None, _span(c))

    def imported(self, c: Children) -> _Group:
        name, _, alias = c
        return _Group((_name(name), None if alias is None else _name(alias)), _span([name, alias or name]))

    def definition(self, c: Children) -> s.Definition:
        kind, name, generics, parameters, _, result, colon, body = c
        doc, statements = body.items
        if kind.text == "program" and result is None:
            self.wrong("L010", f"program `{name.text}` does not say what it gives", _span([name, colon]),
                       f"write `program {name.text}(…) -> bool:`, or the type that it gives")
        return s.Definition(
            kind.text,
            _name(name),
            () if generics is None else generics.items,
            parameters.items,
            None if result is None else self.type(result),
            doc,
            statements,
            _span([kind, colon]),
        )

    def generics(self, c: Children) -> _Group:
        return _Group(tuple(_name(t) for t in c if t is not None and t.type == "NAME"), _span(c))

    def parameter(self, c: Children) -> s.Parameter:
        const, name, _, declared = c
        span = _span([x for x in c if x is not None])
        return s.Parameter(_name(name), None if declared is None else self.type(declared), const is not None, span)

    def body(self, c: Children) -> _Group:
        doc = None if c[2] is None else _docstring(c[2])
        return _Group((doc, _nodes(c)), _span(c))

    def listed(self, c: Children) -> _Group:
        return _Group(_nodes(c), _span(c))

    def named(self, c: Children) -> _Named:
        return _Named(_name(c[0]), c[2], _span(c))

    # ------------------------------------------------------------ statements

    def state_decl(self, c: Children) -> s.StateDecl:
        return s.StateDecl(_name(c[1]), self.type(c[3]), self.value(c[5]), _span(c))

    def param_decl(self, c: Children) -> s.ParamDecl:
        return s.ParamDecl(_name(c[1]), self.type(c[3]), self.value(c[5]), _span(c))

    def bind(self, c: Children) -> s.Bind:
        name, _, declared, _, value, _ = c
        return s.Bind(_name(name), None if declared is None else self.type(declared), self.value(value), _span(c))

    def assign(self, c: Children) -> s.Assign:
        return s.Assign(_name(c[0]), (), self.value(c[2]), _span(c))

    def assign_element(self, c: Children) -> s.Assign:
        *indices, value = _nodes(c)
        return s.Assign(_name(c[0]), tuple(self.value(i) for i in indices), self.value(value), _span(c))

    def if_block(self, c: Children) -> s.If:
        _, condition, _, block, *more = c
        branches = [(self.value(condition), block.items)]
        orelse: tuple[s.Statement, ...] = ()
        for part in more:
            if part is not None and len(part.items) == 2:
                branches.append(part.items)
            elif part is not None:
                (orelse,) = part.items
        return s.If(tuple(branches), orelse, _span([x for x in c if x is not None]))

    def elif_block(self, c: Children) -> _Group:
        return _Group((self.value(c[1]), c[3].items), _span(c))

    def else_block(self, c: Children) -> _Group:
        return _Group((c[2].items,), _span(c))

    def for_block(self, c: Children) -> s.For:
        return s.For(_name(c[1]), self.value(c[3]), c[5].items, _span(c))

    def assert_(self, c: Children) -> s.Assert:
        _, condition, _, text, _ = c
        return s.Assert(self.value(condition), None if text is None else self.string([text]), _span(c))

    def assume_(self, c: Children) -> s.Assume:
        return s.Assume(self.value(c[1]), _span(c))

    def return_(self, c: Children) -> s.Return:
        return s.Return(self.value(c[1]), _span(c))

    def return_record(self, c: Children) -> s.Return:
        return s.Return(c[1], _span(c))

    def let_(self, c: Children) -> s.Bind:
        self.wrong("L011", "`let` is reserved for later", c[0].span, "leave it out: `x = …` names a value")
        return self.bind(c[1:])

    def record(self, c: Children) -> s.RecordLiteral:
        return s.RecordLiteral(tuple((f.name, self.value(f.value)) for f in _nodes(c)), _span(c))

    # ------------------------------------------------------------ types

    def type_union(self, c: Children) -> s.TypeExpr:
        parts = tuple(self.type(p) for p in c[::2])
        return parts[0] if len(parts) == 1 else s.UnionType(parts, _span(c))

    def record_type(self, c: Children) -> s.RecordType:
        return s.RecordType(tuple((f.name, self.type(f.value)) for f in _nodes(c)), _span(c))

    def alphabet(self, c: Children) -> s.AlphabetType:
        items = tuple(group.items[0] for group in _nodes(c))
        if not items:
            self.wrong("L016", "an alphabet has at least one symbol", _span(c), 'write {"a", "b"}')
        return s.AlphabetType(items, _span(c))

    def symbol(self, c: Children) -> _Group:
        if c[0].type == "STAR":
            return _Group((None,), c[0].span)
        first = self.string(c[0:1])
        if c[2] is None:
            return _Group((first,), first.span)
        last, span = self.string(c[2:3]), _span(c)
        if len(first.value) != 1 or len(last.value) != 1:
            self.wrong("L016", "the ends of a range of symbols are one character each", span)
        if first.value > last.value:
            self.wrong("L016", "this range of symbols is empty: its first symbol comes after its last", span)
        return _Group(((first, last),), span)

    # ------------------------------------------------------------ operators

    def if_else(self, c: Children) -> s.IfElse:
        then, _, condition, _, other = c
        return s.IfElse(self.value(condition), self.value(then), self.value(other), _span(c))

    def bool_op(self, c: Children) -> s.BoolOp:
        return s.BoolOp(c[1].text, tuple(self.value(a) for a in c[::2]), _span(c))

    def not_(self, c: Children) -> s.Not:
        return s.Not(self.value(c[1]), _span(c))

    def negate(self, c: Children) -> s.Negate:
        return s.Negate(self.value(c[1]), _span(c))

    def power(self, c: Children) -> s.Power:
        return s.Power(self.value(c[0]), self.value(c[2]), _span(c))

    def comparison(self, c: Children) -> s.Comparison:
        return s.Comparison(self.value(c[0]), self.rest(c), _span(c))

    def chain(self, c: Children) -> s.Chain:
        return s.Chain(self.value(c[0]), self.rest(c), _span(c))

    def rest(self, c: Children) -> tuple[tuple[str, s.Expr], ...]:
        return tuple((op.text, self.value(x)) for op, x in zip(c[1::2], c[2::2], strict=True))

    # ------------------------------------------------------------ operands

    def name(self, c: Children) -> s.Name:
        return s.Name(c[0].text, c[0].span)

    def number(self, c: Children) -> s.Number:
        return s.Number(number_value(c[0].text, c[0].span, self.errors.append), c[0].span)

    def truth(self, c: Children) -> s.Truth:
        return s.Truth(c[0].text == "true", c[0].span)

    def string(self, c: Children) -> s.String:
        return s.String(string_value(c[0].text, c[0].span, self.errors.append), c[0].span)

    def parenthesized(self, c: Children) -> Any:
        return replace(c[1], span=_span(c))

    def call(self, c: Children) -> s.Call:
        callee, arguments = c
        function = _dotted(callee)
        if function is None:
            self.wrong("L010", "only a function that has a name can be called", callee.span)
            function = s.Name("_", callee.span)
        return self.make_call(function, arguments, _span(c))

    def call_word(self, c: Children) -> s.Call:
        return self.make_call(_name(c[0]), c[1], _span(c))

    def operator(self, c: Children) -> s.Operator:
        return s.Operator(c[0].text, c[0].span)

    def subscripted(self, c: Children) -> s.Subscript | s.RangeType | s.ArrayType:
        value, subscript = c
        indices, span = subscript.items, _span(c)
        index = indices[0]
        if isinstance(value, s.Name) and value.id in ("int", "real") and isinstance(index, s.Range | _Stepped):
            if len(indices) > 1:
                self.wrong("L015", "a range of numbers has no second part", indices[1].span,
                                   "the sizes of a vector follow in brackets of their own: int[0..9][4]")
            by = index.by if isinstance(index, _Stepped) else None
            if by is not None and value.id == "int":
                self.wrong("L015", "only real takes a grid (`by`)", by.span)
            return s.RangeType(value.id, index.lo, index.hi, by, span)
        if _is_type(value):
            return s.ArrayType(self.type(value), self.sizes(indices), span)
        for index in indices:
            if isinstance(index, _Stepped):
                self.wrong("L015", "only real takes a grid (`by`)", index.by.span)
        return s.Subscript(value, tuple(self.value(i) for i in indices), span)

    def range(self, c: Children) -> s.Range:
        return s.Range(self.value(c[0]), self.value(c[2]), _span(c))

    def stepped_range(self, c: Children) -> _Stepped:
        return _Stepped(self.value(c[0]), self.value(c[2]), self.value(c[4]), _span(c))

    def field(self, c: Children) -> s.Field:
        return s.Field(self.value(c[0]), _name(c[2]), _span(c))

    def vector(self, c: Children) -> s.VectorLiteral:
        return s.VectorLiteral(tuple(self.value(e) for e in _nodes(c)), _span(c))

    def comprehension(self, c: Children) -> s.Comprehension:
        _, value, _, name, _, source, _ = c
        return s.Comprehension(self.value(value), _name(name), self.value(source), _span(c))

    def match_inline(self, c: Children) -> s.Match:
        arms = tuple(x for x in c if isinstance(x, s.Arm))
        return s.Match(self.value(c[1]), arms, False, _span([c[0], arms[-1]]))

    def match_block(self, c: Children) -> s.Match:
        arms = tuple(x for x in c if isinstance(x, s.Arm))
        return s.Match(self.value(c[1]), arms, True, _span([c[0], arms[-1]]))

    def arm(self, c: Children) -> s.Arm:
        patterns, _, value = c
        return s.Arm(patterns.items or None, self.value(value), _span(c))

    def patterns(self, c: Children) -> _Group:
        return _Group(tuple(self.value(p) for p in _nodes(c)), _span(c))

    # ------------------------------------------------------------ values, types, arguments

    def wrong(self, code: str, message: str, span: Span, help: str = "") -> None:
        self.errors.append(Diagnostic(code, message, span, help=help))

    def value(self, node: Any) -> Any:
        """The node, which must be an expression and not a type."""
        if isinstance(node, _TYPES):
            self.wrong("L015", "a type stands where a value belongs", node.span,
                       "a type can be an argument, as in size(T), or follow a `:`")
        return node

    def type(self, node: Any) -> s.TypeExpr:
        """An expression read as a type."""
        subscripts: list[s.Subscript] = []
        while isinstance(node, s.Subscript):
            subscripts.append(node)
            node = node.value
        name = _dotted(node)
        if name is not None:
            result: s.TypeExpr = s.TypeName(name, node.span)
        elif isinstance(node, _TYPES):
            result = node
        else:
            self.wrong("L015", "this is not a type", node.span,
                       'types are bool, int, real, byte, int[lo..hi], {"a", "b"}, T[n] and names of types')
            result = s.TypeName(s.Name("bool", node.span), node.span)
        for subscript in reversed(subscripts):
            result = s.ArrayType(result, self.sizes(subscript.indices), subscript.span)
        return result

    def sizes(self, indices: tuple[Any, ...]) -> tuple[s.Expr, ...]:
        for index in indices:
            if isinstance(index, s.Range | _Stepped):
                self.wrong("L015", "only int and real take a range", index.span,
                           "the size of a vector is one number: T[n]")
        return tuple(self.value(i) for i in indices)

    def make_call(self, function: s.Name, arguments: _Group, span: Span) -> s.Call:
        args: list[s.Expr | s.TypeExpr] = []
        named: list[tuple[s.Name, s.Expr]] = []
        for argument in arguments.items:
            if isinstance(argument, _Named):
                named.append((argument.name, self.value(argument.value)))
            else:
                if named:
                    self.wrong("L017", "an argument without a name follows one with a name", argument.span)
                args.append(self.type(argument) if _is_type(argument) else argument)
        return s.Call(function, tuple(args), tuple(named), span)
