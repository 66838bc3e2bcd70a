"""Expressions and types in their canonical form, with no more parentheses than their meaning needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import assert_never

from lsrl.frontend import syntax as s
from lsrl.frontend.literals import number_value
from lsrl.frontend.pretty import Broken, Doc, Group, Line, Nest, bracketed, flat
from lsrl.types import quote_symbol

__all__ = ["block_match", "expression", "item_docs", "patterns_text", "source_doc", "type_doc", "value_doc"]

# How tightly the operators bind, loosest first; an operand that binds less tightly than its place takes parentheses.
_ANY, _OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _UNARY, _POWER, _POSTFIX, _ATOM = range(11)

_SUMS = frozenset("+-")
_NUMBER = re.compile(r"0x[0-9a-f]+|[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?")


def _level(node: s.Expr) -> int:
    match node:
        case s.IfElse():
            return _ANY
        case s.BoolOp(op=op):
            return _OR if op == "or" else _AND
        case s.Not():
            return _NOT
        case s.Comparison():
            return _COMPARE
        case s.Chain(rest=rest):
            return _SUM if rest[0][0] in _SUMS else _PRODUCT
        case s.Negate():
            return _UNARY
        case s.Power():
            return _POWER
        case s.Call() | s.Subscript() | s.Field():
            return _POSTFIX
        case _:
            return _ATOM


def value_doc(node: s.Expr, last: bool = True) -> Doc:
    """The value of a statement: one that takes several lines is put in parentheses, as brackets join lines.

    last: nothing but the end of the line follows it.
    """
    bare = _level(node) < _POSTFIX or isinstance(node, s.Match)
    if not bare or block_match(node) is not None or (isinstance(node, s.Match) and not last):
        return expression(node, _ANY, last)
    return Group((Broken("("), Nest((Line(""), expression(node, _ANY, last))), Line(""), Broken(")")))


def block_match(node: s.Expr) -> s.Match | None:
    """The match whose arms, which no bracket may hold, follow the text of an expression in a block."""
    while True:
        match node:
            case s.Match(block=True):
                return node
            case s.Match(arms=arms):
                node = arms[-1].value
            case s.Chain(rest=rest) | s.Comparison(rest=rest):
                node = rest[-1][1]
            case s.BoolOp(args=args):
                node = args[-1]
            case s.Not(arg=arg) | s.Negate(arg=arg):
                node = arg
            case s.Power(exponent=exponent):
                node = exponent
            case s.IfElse(other=other):
                node = other
            case _:
                return None


def expression(node: s.Expr, level: int = _ANY, last: bool = True) -> Doc:
    """An expression where an operand that binds at least as tightly as `level` may stand.

    last: nothing follows up to the next closing bracket or the end of the statement, so that a `match`, which
    reaches as far right as it can, needs no parentheses.
    """
    if _level(node) < level or (isinstance(node, s.Match) and not last):
        return Group(("(", Nest((Line(""), Group(_bare(node, True)))), Line(""), ")"))
    return Group(_bare(node, last)) if _level(node) < _POSTFIX or isinstance(node, s.Match) else _operand(node)


def _bare(node: s.Expr, last: bool) -> Doc:
    """An expression without parentheses around it."""
    match node:
        case s.IfElse(condition=condition, then=then, other=other):
            # A ladder of `else`s is broken everywhere or nowhere.
            ladder = isinstance(other, s.IfElse)
            return (expression(then, _OR, False), Line(), "if ", expression(condition, _OR, False), Line(), "else ",
                    _bare(other, last) if ladder else expression(other, _ANY, last))
        case s.BoolOp(op=op, args=args):
            return _chain(args[0], [(op, a) for a in args[1:]], _AND if op == "or" else _NOT, last)
        case s.Not(arg=arg):
            return ("not ", expression(arg, _NOT, last))
        case s.Comparison(first=first, rest=rest):
            return _chain(first, rest, _SUM, last)
        case s.Chain(first=first, rest=rest):
            return _chain(first, rest, _PRODUCT if rest[0][0] in _SUMS else _UNARY, last)
        case s.Negate(arg=arg):
            return ("-", expression(arg, _UNARY, last))
        case s.Power(base=base, exponent=exponent):
            return (expression(base, _POSTFIX, False), " ** ", expression(exponent, _UNARY, last))
        case s.Match():
            return _match(node)
        case _:
            return _operand(node)


def _operand(node: s.Expr) -> Doc:
    """What stands between operators: names, literals, calls and whatever has brackets of its own."""
    match node:
        case s.Name(id=id):
            return id
        case s.Number():
            return _number(node)
        case s.Truth(value=value):
            return "true" if value else "false"
        case s.String(value=value):
            return quote_symbol(value)
        case s.Operator(op=op):
            return op
        case s.Call(function=function, args=args, named=named):
            return (function.id, bracketed("(", _arguments(args, named), ")"))
        case s.Subscript(value=value, indices=indices):
            return (expression(value, _POSTFIX, False), bracketed("[", item_docs(indices), "]"))
        case s.Field(value=value, name=name):
            return (expression(value, _POSTFIX, False), ".", name.id)
        case s.VectorLiteral(elements=elements):
            return bracketed("[", item_docs(elements), "]")
        case s.Comprehension(value=value, name=name, source=source):
            return Group(("[", Nest((Line(""), expression(value, _ANY, False), Line(), f"for {name.id} in ",
                                     source_doc(source))), Line(""), "]"))
        case s.RecordLiteral(fields=fields):
            return bracketed("(", _named(fields), ")")
        case _:
            raise TypeError(f"{type(node).__name__} is no operand")


def _chain(first: s.Expr, rest: Sequence[tuple[str, s.Expr]], level: int, last: bool) -> Doc:
    out: list[Doc] = [expression(first, level, False)]
    for i, (op, operand) in enumerate(rest, 1):
        out += [Line(), op, " ", expression(operand, level, last and i == len(rest))]
    return out


def item_docs(nodes: Sequence[s.Expr | s.Range]) -> list[Doc]:
    """The elements of a list with commas: a match may stand bare only at its end."""
    out: list[Doc] = []
    for i, node in enumerate(nodes, 1):
        out.append(source_doc(node, i == len(nodes)))
    return out


def _arguments(args: Sequence[s.Expr | s.TypeExpr], named: Sequence[tuple[s.Name, s.Expr]]) -> list[Doc]:
    out: list[Doc] = []
    for i, arg in enumerate(args, 1):
        match arg:
            case s.TypeName() | s.RangeType() | s.AlphabetType() | s.UnionType() | s.ArrayType() | s.RecordType():
                out.append(type_doc(arg))
            case _:
                out.append(expression(arg, _ANY, i == len(args) and not named))
    return out + _named(named)


def _named(fields: Sequence[tuple[s.Name, s.Expr]]) -> list[Doc]:
    out: list[Doc] = []
    for i, (name, value) in enumerate(fields, 1):
        out.append((name.id, " = ", expression(value, _ANY, i == len(fields))))
    return out


def _match(node: s.Match) -> Doc:
    """`match x: …`; of a block match only the part before its arms."""
    head = ("match ", expression(node.subject, _ANY, False), ":")
    if node.block:
        return head
    arms: list[Doc] = []
    for i, arm in enumerate(node.arms, 1):
        final = i == len(node.arms)
        arms += [Line(), patterns_text(arm), " ", expression(arm.value, _ANY, final), "" if final else ","]
    return (*head, Nest(arms))


def patterns_text(arm: s.Arm) -> str:
    """`"a" | "b" =>`, on one line as there are no brackets around it."""
    patterns: list[str] = []
    for pattern in arm.patterns or ():
        patterns.append(flat(_range(pattern) if isinstance(pattern, s.Range) else expression(pattern, _SUM, False)))
    return " | ".join(patterns or ["_"]) + " =>"


def source_doc(node: s.Expr | s.Range, last: bool = True) -> Doc:
    """What a `for` runs over, or an index: an expression or a range."""
    return _range(node, last=last) if isinstance(node, s.Range) else expression(node, _ANY, last)


def _range(node: s.Range, last: bool = False) -> Doc:
    return (_bound(node.lo, False), "..", _bound(node.hi, last))


def _bound(node: s.Expr, last: bool) -> Doc:
    """One end of a range, or its grid: `n-1` is written without blanks there."""
    if isinstance(node, s.Chain) and all(_is_short(operand) for operand in _operands(node)):
        out = [expression(node.first)]
        for op, operand in node.rest:
            out += [op, expression(operand)]
        return out
    return expression(node, _SUM, last)


def _is_short(node: s.Expr) -> bool:
    return isinstance(node, s.Name | s.Number) or (isinstance(node, s.Call) and len(node.args) + len(node.named) <= 1)


def _operands(node: s.Chain) -> Iterable[s.Expr]:
    return (node.first, *(operand for _, operand in node.rest))


def _number(node: s.Number) -> str:
    """The number as the text has it; one that no text has, in the shortest way that gives its value."""
    text = node.span.text.lower().strip("( )")
    if _NUMBER.fullmatch(text):
        value = number_value(text, node.span, lambda _: None)
        if value == node.value and type(value) is type(node.value):
            return text
    if isinstance(node.value, int):
        return str(node.value)
    return _decimal(node.value)


def _decimal(value: Fraction) -> str:
    """A rational whose denominator divides a power of ten, with a point."""
    places, rest = 1, value.denominator
    while rest % 2 == 0 or rest % 5 == 0:
        rest //= 2 if rest % 2 == 0 else 5
    if rest != 1 or value < 0:
        raise ValueError(f"no number token stands for {value}")
    while (value * 10**places).denominator != 1:
        places += 1
    digits = str(int(value * 10**places)).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}"


def type_doc(node: s.TypeExpr, postfix: bool = False) -> Doc:
    """A type; `postfix` puts parentheses around one that more brackets cannot follow."""
    match node:
        case s.TypeName(name=name):
            return name.id
        case s.RangeType(base=base, lo=lo, hi=hi, by=by):
            step: Doc = "" if by is None else (" by ", _bound(by, False))
            return (base, "[", _bound(lo, False), "..", _bound(hi, False), step, "]")
        case s.AlphabetType(items=items):
            return bracketed("{", (_symbol(i) for i in items), "}")
        case s.UnionType(parts=parts):
            union: list[Doc] = []
            for part in parts:
                union += [" | "] if union else []
                union.append(type_doc(part, True))
            return ("(", union, ")") if postfix else union
        case s.ArrayType(elem=elem, dims=dims):
            return (type_doc(elem, True), bracketed("[", item_docs(dims), "]"))
        case s.RecordType(fields=fields):
            return bracketed("(", ((name.id, ": ", type_doc(t)) for name, t in fields), ")")
    assert_never(node)


def _symbol(item: s.String | tuple[s.String, s.String] | None) -> str:
    match item:
        case None:
            return "*"
        case s.String(value=value):
            return quote_symbol(value)
        case (first, last):
            return f"{quote_symbol(first.value)}..{quote_symbol(last.value)}"
