"""The canonical form: that it means the same, that it is stable, and what it looks like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from lsrl.diagnostics import NOWHERE, Source
from lsrl.frontend import syntax as s
from lsrl.frontend.format import format_file
from lsrl.frontend.parser import parse
from lsrl.frontend.pretty import WIDTH
from lsrl.frontend.walk import children, same_tree
from tests.frontend.source_texts import expressions, files

FOLDER = Path(__file__).parent / "formatted"
ROOT = Path(__file__).parent.parent.parent


def tree(text: str) -> s.File:
    return parse(Source("t.lsrl", text))


def check(text: str) -> str:
    """The canonical form of a text, of which it checks everything that must hold."""
    file = tree(text)
    formatted = format_file(file)
    again = tree(formatted)
    assert same_tree(file, again), formatted
    assert format_file(again) == formatted
    assert Counter(c.text for c in file.comments) == Counter(c.text for c in again.comments), formatted
    assert all(line == line.rstrip() for line in formatted.split("\n"))
    assert "\n\n\n" not in formatted
    assert formatted == "" or (formatted.endswith("\n") and not formatted.startswith("\n"))
    return formatted


@given(files())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_files(text: str) -> None:
    check(text)


@given(expressions(3))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_expressions(text: str) -> None:
    check(f"const N = {text}\n")


def parenthesized(node: s.Expr) -> str:
    """The text of an expression with parentheses around every part of it that operators join."""
    match node:
        case s.Chain(first=first, rest=rest) | s.Comparison(first=first, rest=rest):
            return "(" + parenthesized(first) + "".join(f" {op} {parenthesized(x)}" for op, x in rest) + ")"
        case s.BoolOp(op=op, args=args):
            return "(" + f" {op} ".join(parenthesized(a) for a in args) + ")"
        case s.Not(arg=arg):
            return f"(not {parenthesized(arg)})"
        case s.Negate(arg=arg):
            return f"(-{parenthesized(arg)})"
        case s.Power(base=base, exponent=exponent):
            return f"({parenthesized(base)} ** {parenthesized(exponent)})"
        case s.IfElse(condition=condition, then=then, other=other):
            return f"({parenthesized(then)} if {parenthesized(condition)} else {parenthesized(other)})"
        case _:
            return f"({node.span.text})"


@given(expressions(3))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_parentheses_that_change_nothing_are_dropped_and_others_kept(text: str) -> None:
    (item,) = tree(f"const N = {text}\n").items
    assert isinstance(item, s.ConstDecl)
    full = f"const N = {parenthesized(item.value)}\n"
    assert same_tree(tree(full), tree(f"const N = {text}\n"))
    assert check(full) == check(f"const N = {text}\n")


EXPRESSIONS = [
    ("((a))", "a"),
    ("(a+b)*c", "(a + b) * c"),
    ("(a*b)+c", "a * b + c"),
    ("(a+b)+c", "(a + b) + c"),
    ("a-(b-c)", "a - (b - c)"),
    ("(-a)**2", "(-a) ** 2"),
    ("-(a**2)", "-a ** 2"),
    ("-(-a)", "--a"),
    ("a ** (-b)", "a ** -b"),
    ("(a ** b) ** c", "(a ** b) ** c"),
    ("a ** (b ** c)", "a ** b ** c"),
    ("not(a)", "not a"),
    ("not (a and b)", "not (a and b)"),
    ("(not a) and b", "not a and b"),
    ("(a or b) and c", "(a or b) and c"),
    ("a or (b and c)", "a or b and c"),
    ("(a == b) == c", "(a == b) == c"),
    ("(a+b)<(c)", "a + b < c"),
    ("(not a) == b", "(not a) == b"),
    ("(a if b else c) if d else (e if f else g)", "(a if b else c) if d else e if f else g"),
    ("f( a,b , k=3, )", "f(a, b, k = 3)"),
    ("(a + b)[ 0 ]", "(a + b)[0]"),
    ("v [i ,j]", "v[i, j]"),
    ("v[0 .. n - 1]", "v[0..n-1]"),
    ("v[0 .. size( K ) - 1]", "v[0..size(K)-1]"),
    ("v[(a if b else c)..d]", "v[(a if b else c)..d]"),
    ("[f( i )for i in 0 .. 3 * n]", "[f(i) for i in 0..3*n]"),
    ("r . name", "r.name"),
    ("select(k,q,==)", "select(k, q, ==)"),
    ('size( {"a"} )', 'size({"a"})'),
    ("size((A|B)[2])", "size((A | B)[2])"),
    ("size(real[0..1 by 1 / 4])", "size(real[0..1 by 1/4])"),
    ('match x:"a"|"b"=>1,_=>2', 'match x: "a" | "b" => 1, _ => 2'),
    ("(match x: _ => 1) + 2", "(match x: _ => 1) + 2"),
    ("2 + (match x: _ => 1)", "2 + match x: _ => 1"),
    ("f((match x: _ => 1), 2)", "f((match x: _ => 1), 2)"),
    ("f(2, (match x: _ => 1))", "f(2, match x: _ => 1)"),
    ("[(match x: _ => 1), (match x: _ => 1)]", "[(match x: _ => 1), match x: _ => 1]"),
    (
        "match x: 1 => (match y: _ => 2), _ => (match y: _ => 3)",
        "match x: 1 => (match y: _ => 2), _ => match y: _ => 3",
    ),
    (
        "(match x: _ => 1) if (match x: _ => true) else (match x: _ => 1)",
        "(match x: _ => 1) if (match x: _ => true) else match x: _ => 1",
    ),
    ("0X1F + 1E-3 + 2.50", "0x1f + 1e-3 + 2.50"),
    (r'"\x41\u{1F600}\x0a"', '"A😀\\n"'),
    ("and(a, b) or or( c,d )", "and(a, b) or or(c, d)"),
]


@pytest.mark.parametrize("text, expected", EXPRESSIONS)
def test_expressions(text: str, expected: str) -> None:
    assert check(f"const N = {text}\n") == f"const N = {expected}\n"


LAYOUT = [
    ("", ""),
    ("\n\n# a\n\n\n\n# b\n\n", "# a\n\n# b\n"),
    ('"""Doc."""\ntype K = int', '"""Doc."""\n\ntype K = int\n'),
    ("type A = int\ntype B = int\n\n\n\ntype C = int", "type A = int\ntype B = int\n\ntype C = int\n"),
    ("def f(x):\n  return x\ndef g(x):\n  return x", "def f(x):\n    return x\n\ndef g(x):\n    return x\n"),
    (
        "type A = int\n# about f\ndef f(x):\n\n\n    y = x\n\n\n    return y\n\n\n# end",
        "type A = int\n\n# about f\ndef f(x):\n    y = x\n\n    return y\n\n# end\n",
    ),
    (
        "def f(x):\n\tif x:\n\t\ty = 1\n\n\telse:\n\n\t\ty = 2\n\treturn x",
        "def f(x):\n    if x:\n        y = 1\n    else:\n        y = 2\n    return x\n",
    ),
    (
        'def f(x):\n  """One.\n\n    two\n      three\n  """\n  return x',
        'def f(x):\n    """One.\n\n    two\n      three\n    """\n    return x\n',
    ),
    ('def f(x):\n  """ Says "hi" """\n  return x', 'def f(x):\n    """Says "hi" """\n    return x\n'),
    ('def f(x):\n  """"""\n  return x', 'def f(x):\n    """"""\n    return x\n'),
    (
        'import"a.lsrl"as m\nfrom "b.lsrl" import (a ,b as c ,)',
        'import "a.lsrl" as m\nfrom "b.lsrl" import a, b as c\n',
    ),
    (
        "def f[ K,n ](x:K,const k,const j:int)->(a:int,b:K):\n  v[i ,j]:=1\n  s:int[0 .. 9]=2\n  return(a=1,b=x)",
        "def f[K, n](x: K, const k, const j: int) -> (a: int, b: K):\n    v[i, j] := 1\n    s: int[0..9] = 2\n"
        "    return (a = 1, b = x)\n",
    ),
    (
        "def f(x):\n  y = match x:\n    1|2=>3,\n    _=>match x:\n     _=>4\n  return y",
        "def f(x):\n    y = match x:\n        1 | 2 => 3\n        _ => match x:\n            _ => 4\n    return y\n",
    ),
    (
        'def f(x):\n  assert(x),"t"\n  assume(not(x))\n  state s:int=0\n  param w:real=normal(1)\n  return x',
        'def f(x):\n    assert x, "t"\n    assume not x\n    state s: int = 0\n'
        "    param w: real = normal(1)\n    return x\n",
    ),
]


@pytest.mark.parametrize("text, expected", LAYOUT)
def test_layout(text: str, expected: str) -> None:
    assert check(text) == expected


@pytest.mark.parametrize("name", ["comments", "long_lines"])
def test_whole_files(name: str, golden: Callable[[str, Path], None]) -> None:
    text = check((FOLDER / f"{name}.lsrl").read_text(encoding="utf-8"))
    golden(text, FOLDER / f"{name}.golden")
    assert all(len(line) <= WIDTH for line in text.split("\n"))


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("examples/**/*.lsrl"), *ROOT.glob("lsrl/std/*.lsrl")]), ids=lambda p: p.name
)
def test_examples_and_library(path: Path) -> None:
    check(path.read_text(encoding="utf-8"))


def test_windows_line_ends_and_byte_order_mark_go() -> None:
    assert check("\ufeffdef f(x):  # a\r\n\r\n    return x\r\n") == "def f(x):  # a\n    return x\n"


def test_deep_and_long_expressions() -> None:
    check("const N = " + "f(" * 190 + "a" + ")" * 190 + "\n")
    check("const N = " + "a if b else " * 190 + "c\n")
    check("const N = " + "-(a + " * 95 + "b" + ")" * 95 + "\n")
    check("const N = " + " + ".join(["abc"] * 5000) + "\n")
    check("const N = [" + ", ".join(["12"] * 5000) + "]\n")


def test_numbers_that_no_text_has() -> None:
    from fractions import Fraction

    texts: dict[int | Fraction, str] = {3: "3", Fraction(1, 8): "0.125", Fraction(7, 2): "3.5"}
    for value, expected in texts.items():
        item = s.ConstDecl(s.Name("N", NOWHERE), None, s.Number(value, NOWHERE), NOWHERE)
        assert format_file(s.File(Source("t", ""), None, (item,), ())) == f"const N = {expected}\n"
    item = s.ConstDecl(s.Name("N", NOWHERE), None, s.Number(Fraction(1, 3), NOWHERE), NOWHERE)
    with pytest.raises(ValueError, match="no number token"):
        format_file(s.File(Source("t", ""), None, (item,), ()))


def test_children_come_in_the_order_of_the_text() -> None:
    (item,) = tree("def f(x: int, y) -> bool:\n    z = x + y\n    return z\n").items
    assert [type(c).__name__ for c in children(item)] == [
        "Name",
        "Parameter",
        "Parameter",
        "TypeName",
        "Bind",
        "Return",
    ]
