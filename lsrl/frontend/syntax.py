"""The syntax tree: what the parser makes, the formatter prints and the elaborator reads.

One frozen dataclass a construct, each with the span of its text. Chains of one associative operator
are one node (`Chain`, `BoolOp`, `Comparison`), so that a long sum is wide, not deep.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lsrl.diagnostics import Source, Span

# ---------------------------------------------------------------- expressions


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """`x`. As the function of a Call and in a TypeName, `module.x` names what an imported file defines."""

    id: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """`3` is an int; `0.1`, `1e-3` are reals (Fraction)."""

    value: int | Fraction
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """`true`, `false`."""

    value: bool
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class String:
    """`"a"`, unescaped: a symbol, or the text of a constant argument such as a regular expression."""

    value: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """A comparison operator as an argument: `select(k, q, ==)`."""

    op: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """`first op1 x1 op2 x2 …`, left to right, all of `+ -` or all of `* / // % @`."""

    first: Expr
    rest: tuple[tuple[str, Expr], ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class BoolOp:
    """`a and b and …` or `a or b or …`."""

    op: str
    args: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """`first op1 x1 op2 x2 …`: true when every neighbouring pair compares so, as in Python."""

    first: Expr
    rest: tuple[tuple[str, Expr], ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Not:
    arg: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Negate:
    arg: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Power:
    base: Expr
    exponent: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class IfElse:
    """`then if condition else other`."""

    condition: Expr
    then: Expr
    other: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """One arm of a match. `patterns` are the alternatives between `|`; None is `_`.

    A pattern is an expression that is constant, or a Range of two constants.
    """

    patterns: tuple[Expr | Range, ...] | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """`lo..hi`, both included, as a pattern or in a slice or a `for`."""

    lo: Expr
    hi: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """`match x: p => e, …`. `block` tells that the arms stood one a line."""

    subject: Expr
    arms: tuple[Arm, ...]
    block: bool
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """`f(x, k = 3)`; `type_args` of `size(T)` come as ordinary arguments that are TypeExpr."""

    function: Name
    args: tuple[Expr | TypeExpr, ...]
    named: tuple[tuple[Name, Expr], ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Subscript:
    """`v[i]`, `m[i, j]`, `v[lo..hi]`."""

    value: Expr
    indices: tuple[Expr | Range, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """`r.name`, and `module.name` for an imported file."""

    value: Expr
    name: Name
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class VectorLiteral:
    """`[a, b, c]`."""

    elements: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Comprehension:
    """`[value for name in source]`, source a Range or a vector."""

    value: Expr
    name: Name
    source: Expr | Range
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class RecordLiteral:
    """`(ok = …, depth = …)`, after `return` only."""

    fields: tuple[tuple[Name, Expr], ...]
    span: Span


Expr: TypeAlias = (
    Name | Number | Truth | String | Operator | Chain | BoolOp | Comparison | Not | Negate | Power | IfElse | Match
    | Call | Subscript | Field | VectorLiteral | Comprehension | RecordLiteral
)

# ---------------------------------------------------------------- types


@dataclass(frozen=True, slots=True, eq=False)
class TypeName:
    """`bool`, `int`, `real`, `byte`, a named type or a type variable."""

    name: Name
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class RangeType:
    """`int[lo..hi]`, `real[lo..hi]`, `real[lo..hi by step]`. `base` is "int" or "real"."""

    base: str
    lo: Expr
    hi: Expr
    by: Expr | None
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class AlphabetType:
    """`{"a", "b".."d", *}`: items are symbols, (first, last) pairs of one-character symbols, or "*" as None."""

    items: tuple[String | tuple[String, String] | None, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class UnionType:
    """`A | B | …` of alphabets."""

    parts: tuple[TypeExpr, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class ArrayType:
    """`T[n]`, `T[n, m]`."""

    elem: TypeExpr
    dims: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class RecordType:
    """`(a: T, b: U)`."""

    fields: tuple[tuple[Name, TypeExpr], ...]
    span: Span


TypeExpr: TypeAlias = TypeName | RangeType | AlphabetType | UnionType | ArrayType | RecordType

# ---------------------------------------------------------------- statements


@dataclass(frozen=True, slots=True, eq=False)
class StateDecl:
    """`state s: T = init`."""

    name: Name
    type: TypeExpr
    init: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class ParamDecl:
    """`param w: T = init`."""

    name: Name
    type: TypeExpr
    init: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Bind:
    """`x = e`, `x: T = e`."""

    name: Name
    type: TypeExpr | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Assign:
    """`s := e`, `v[i] := e`."""

    name: Name
    indices: tuple[Expr, ...]
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class If:
    """Branches in order, each a condition and a block; `orelse` is empty where there is no `else`."""

    branches: tuple[tuple[Expr, tuple[Statement, ...]], ...]
    orelse: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class For:
    """`for i in lo..hi:` or `for v in vec:`."""

    name: Name
    source: Expr | Range
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Assert:
    condition: Expr
    text: String | None
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Assume:
    condition: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Return:
    value: Expr
    span: Span


Statement: TypeAlias = StateDecl | ParamDecl | Bind | Assign | If | For | Assert | Assume | Return

# ---------------------------------------------------------------- definitions


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """`x: T`, `const k: int`, `const k` or plain `x` (its type is then found from the argument)."""

    name: Name
    type: TypeExpr | None
    const: bool
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A `program` or a `def`. `result` may be left out of a def. `span` covers the heading alone."""

    kind: str  # "program" or "def"
    name: Name
    generics: tuple[Name, ...]
    parameters: tuple[Parameter, ...]
    result: TypeExpr | None
    doc: String | None
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class TypeDecl:
    """`type Name = T`."""

    name: Name
    type: TypeExpr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class ConstDecl:
    """`const NAME = expr`, `const NAME: T = expr`."""

    name: Name
    type: TypeExpr | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Import:
    """`import "path.lsrl"` (as `alias`), or `from "path.lsrl" import names`, each with an optional alias."""

    path: String
    names: tuple[tuple[Name, Name | None], ...] | None
    alias: Name | None
    span: Span


Item: TypeAlias = Definition | TypeDecl | ConstDecl | Import


@dataclass(frozen=True, slots=True, eq=False)
class Comment:
    """A `#` comment, its `#` included; `own_line` tells that nothing but blanks stands before it."""

    text: str
    own_line: bool
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """A parsed file."""

    source: Source
    doc: String | None
    items: tuple[Item, ...]
    comments: tuple[Comment, ...]
