"""The tree of every construct of the language, and what the parser takes in its stride."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend import syntax as s
from lsrl.frontend.parser import parse
from lsrl.frontend.tables import build_grammar, load_grammar
from lsrl.frontend.walk import children, deepest, same_tree
from tests.frontend.shown import shown
from tests.work import growth

HEADING = "program f(x: bool) -> bool:\n"


def tree(text: str) -> s.File:
    return parse(Source("t.lsrl", text))


def definition(text: str) -> s.Definition:
    (item,) = tree(text).items
    assert isinstance(item, s.Definition)
    return item


def statement(text: str) -> s.Statement:
    return definition(f"def f():\n    {text}\n").body[0]


def value(text: str) -> s.Expr:
    node = statement(f"x = {text}")
    assert isinstance(node, s.Bind)
    return node.value


EXPRESSIONS = [
    ("1 + 2 - 3 * -4 // x % y @ z", "(1 + 2 - (3 * (Negate 4) // x % y @ z))"),
    ("(a + b) + c", "((a + b) + c)"),
    ("a + (b - c)", "(a + (b - c))"),
    ("2 ** -3 ** x", "(Power 2 (Negate (Power 3 x)))"),
    ("-a ** 2", "(Negate (Power a 2))"),
    ("--a", "(Negate (Negate a))"),
    ("not a == b and c or not not d", "(((Not (a == b)) and c) or (Not (Not d)))"),
    ("a < b <= c != d", "(a < b <= c != d)"),
    ("(a < b) < c", "((a < b) < c)"),
    ("a if b else c if d else e", "(IfElse b a (IfElse d c e))"),
    ("(a if b else c) + 1", "((IfElse b a c) + 1)"),
    ("f()", "(Call f [] [])"),
    ("f(x, y,)", "(Call f [x y] [])"),
    ("f(x, k = 3, j = a or b)", "(Call f [x] [[k 3] [j (a or b)]])"),
    ("m.f(x).name", "(Field (Call m.f [x] []) name)"),
    ("v[0][i, j][1..n-1]", "(Subscript (Subscript (Subscript v [0]) [i j]) [(Range 1 (n - 1))])"),
    ("r.a.b", "(Field (Field r a) b)"),
    ("select(k, q, ==)", "(Call select [k q op==] [])"),
    ("aggregate(s, <=)", "(Call aggregate [s op<=] [])"),
    ("and(a, b) and or(c, not d)", "((Call and [a b] []) and (Call or [c (Not d)] []))"),
    ("not(x)", "(Not x)"),
    ("not(a) == b", "(Not (a == b))"),
    ("size(int[0..3])", "(Call size [(RangeType int 0 3 -)] [])"),
    ("size(int[0..9][4, n])", "(Call size [(ArrayType (RangeType int 0 9 -) [4 n])] [])"),
    ('size({"a", "b".."d", *})', "(Call size [(AlphabetType ['a' ['b' 'd'] -])] [])"),
    ("size(A | B | m.C)", "(Call size [(UnionType [<A> <B> <m.C>])] [])"),
    ("size(bool)", "(Call size [<bool>] [])"),
    ("size(real[0..1 by 1/4])", "(Call size [(RangeType real 0 1 (1 / 4))] [])"),
    ("size(K)", "(Call size [K] [])"),
    ("size(K[3])", "(Call size [(Subscript K [3])] [])"),
    ("size((A | B)[2])", "(Call size [(ArrayType (UnionType [<A> <B>]) [2])] [])"),
    ("match x: 1 => 2, _ => 3 + 4", "(Match x [(Arm [1] 2) (Arm - (3 + 4))] False)"),
    (
        "1 + match x: 1 => 2, 3 | 4 => match y: 0..k-1 => 5, _ => 6",
        "(1 + (Match x [(Arm [1] 2) (Arm [3 4] (Match y [(Arm [(Range 0 (k - 1))] 5) (Arm - 6)] False))] False))",
    ),
    ("(match x: 1 => 2, _ => 3) + 4", "((Match x [(Arm [1] 2) (Arm - 3)] False) + 4)"),
    ("f(match x: 1 => 2, _ => 3,)", "(Call f [(Match x [(Arm [1] 2) (Arm - 3)] False)] [])"),
    ("not match x: true => false, _ => true", "(Not (Match x [(Arm [true] false) (Arm - true)] False))"),
    ("a if b else match c: _ => 1 if d else 2", "(IfElse b a (Match c [(Arm - (IfElse d 1 2))] False))"),
    ("[]", "(VectorLiteral [])"),
    ("[1, 2,]", "(VectorLiteral [1 2])"),
    ("[f(i) for i in 0..n-1]", "(Comprehension (Call f [i] []) i (Range 0 (n - 1)))"),
    ("[g(v) for v in vec]", "(Comprehension (Call g [v] []) v vec)"),
    ("A @ [1, 2] + b", "((A @ (VectorLiteral [1 2])) + b)"),
    ("[[1, 2], [3, 4]][0]", "(Subscript (VectorLiteral [(VectorLiteral [1 2]) (VectorLiteral [3 4])]) [0])"),
    ("3 + 0.1 + 1e-3 + 2.5E+2 + 0x1f + 007", "(3 + r1/10 + r1/1000 + r250 + 31 + 7)"),
    ('"\\n\\t\\r\\\\\\"\\x41\\u{1F600}é"', "'\\n\\t\\r\\\\\"A😀é'"),
    ("0.5", "r1/2"),
    ("(((x)))", "x"),
    ("true == false", "(true == false)"),
]


@pytest.mark.parametrize("text, expected", EXPRESSIONS)
def test_expression(text: str, expected: str) -> None:
    assert shown(value(text)) == expected


STATEMENTS = [
    ("x = 1", "(Bind x - 1)"),
    ("x: int[0..3][4] = 1", "(Bind x (ArrayType (RangeType int 0 3 -) [4]) 1)"),
    ("x: real[-1..1 by 1/8] = 1", "(Bind x (RangeType real (Negate 1) 1 (1 / 8)) 1)"),
    ('x: {"a"} | B[2] = 1', "(Bind x (UnionType [(AlphabetType ['a']) (ArrayType <B> [2])]) 1)"),
    ("s := 1", "(Assign s [] 1)"),
    ("v[i] := 1", "(Assign v [i] 1)"),
    ("m[i, j] := 1", "(Assign m [i j] 1)"),
    ("state s: int = 0", "(StateDecl s <int> 0)"),
    ("param w: real[n, m] = normal(0.1)", "(ParamDecl w (ArrayType <real> [n m]) (Call normal [r1/10] []))"),
    ('assert a, "t"', "(Assert a 't')"),
    ("assert a", "(Assert a -)"),
    ("assume a", "(Assume a)"),
    ("return a", "(Return a)"),
    ("return (a = 1, b = c)", "(Return (RecordLiteral [[a 1] [b c]]))"),
    ("return (a)", "(Return a)"),
    ("if a:\n        x = 1", "(If [[a [(Bind x - 1)]]] [])"),
    (
        "if a:\n        x = 1\n    elif b:\n        y = 1\n    elif c:\n        z = 1\n    else:\n        w = 1",
        "(If [[a [(Bind x - 1)]] [b [(Bind y - 1)]] [c [(Bind z - 1)]]] [(Bind w - 1)])",
    ),
    ("for i in 0..n-1:\n        x = i", "(For i (Range 0 (n - 1)) [(Bind x - i)])"),
    ("for v in vec:\n        x = v", "(For v vec [(Bind x - v)])"),
    (
        'x = match t:\n        "a" | "b" => 1,\n        1..3 => match u:\n            _ => 2\n        _ => 3',
        "(Bind x - (Match t [(Arm ['a' 'b'] 1) (Arm [(Range 1 3)] (Match u [(Arm - 2)] True)) (Arm - 3)] True))",
    ),
    ("x = f(\n  a, # c\n\nb)", "(Bind x - (Call f [a b] []))"),
    ("x = 1 # c", "(Bind x - 1)"),
    ("# c\n\n    x = 1", "(Bind x - 1)"),
]


@pytest.mark.parametrize("text, expected", STATEMENTS)
def test_statement(text: str, expected: str) -> None:
    assert shown(statement(text)) == expected


ITEMS = [
    ('"""doc"""', "'doc'"),
    ('import "a.lsrl"', "(Import 'a.lsrl' - -)"),
    ('import "a.lsrl" as m', "(Import 'a.lsrl' - m)"),
    ('from "a.lsrl" import a', "(Import 'a.lsrl' [[a -]] -)"),
    ('from "a.lsrl" import a, b as c', "(Import 'a.lsrl' [[a -] [b c]] -)"),
    ('from "a.lsrl" import (\n  a,\n  b,\n)', "(Import 'a.lsrl' [[a -] [b -]] -)"),
    ("type K = int", "(TypeDecl K <int>)"),
    ("const N = 3", "(ConstDecl N - 3)"),
    ("const N: int = 3", "(ConstDecl N <int> 3)"),
    ("def f(x):\n    return x", "(Definition def f [] [(Parameter x - False)] - - [(Return x)])"),
    (
        "def f[K, n](x: K, const k, const j: int, y: real[n],) -> (a: int, b: K):\n    return x",
        "(Definition def f [K n] [(Parameter x <K> False) (Parameter k - True) (Parameter j <int> True) "
        "(Parameter y (ArrayType <real> [n]) False)] (RecordType [[a <int>] [b <K>]]) - [(Return x)])",
    ),
    (
        'program p() -> bool:\n    """Doc.\n\n      more\n    """\n    return true',
        "(Definition program p [] [] <bool> 'Doc.\\n\\nmore' [(Return true)])",
    ),
    ("def f(x):\n\treturn x", "(Definition def f [] [(Parameter x - False)] - - [(Return x)])"),
    (
        "program p(\n    x: int,  # c\n    y: int,\n) -> int:\n  return x\n\n\n# end",
        "(Definition program p [] [(Parameter x <int> False) (Parameter y <int> False)] <int> - [(Return x)])",
    ),
]


@pytest.mark.parametrize("text, expected", ITEMS)
def test_item(text: str, expected: str) -> None:
    file = tree(text)
    assert shown(file.items[0] if file.items else file.doc) == expected


@pytest.mark.parametrize("text", ["", "\n\n", "# a comment", "   \n\t\n", "\ufeff"])
def test_a_file_without_definitions(text: str) -> None:
    assert tree(text).items == ()


def test_windows_line_ends_and_byte_order_mark() -> None:
    plain = 'program f(x: bool) -> bool:\n    """a\n    b"""\n    # c\n    return x\n'
    assert same_tree(tree(plain), tree("\ufeff" + plain.replace("\n", "\r\n")))
    assert tree(plain.replace("\n", "\r\n")).comments[0].text == "# c"


def test_brackets_join_lines_whatever_their_indentation() -> None:
    text = "def f():\n    x = g(\n1,\n\n  # comment\n            2\n)\n    return x\n"
    assert same_tree(tree(text), tree("def f():\n    x = g(1, 2)\n    return x\n"))


def test_comments_know_whether_they_stand_alone() -> None:
    comments = tree("# one\ndef f():  # two\n    return x  # three  \n    # four").comments
    assert [(c.text, c.own_line, c.span.line, c.span.column) for c in comments] == [
        ("# one", True, 1, 1),
        ("# two", False, 2, 11),
        ("# three", False, 3, 15),
        ("# four", True, 4, 5),
    ]


def test_spans() -> None:
    f = definition("def f(x: int,\n      y):\n    if (x + 1) * 2 > y:\n        z = g(x)[0]\n    return z\n")
    assert f.span.text == "def f(x: int,\n      y):"
    branch, last = f.body
    assert isinstance(branch, s.If)
    assert branch.span.text == "if (x + 1) * 2 > y:\n        z = g(x)[0]"
    condition, (bind,) = branch.branches[0]
    assert isinstance(condition, s.Comparison)
    assert (condition.span.text, condition.first.span.text) == ("(x + 1) * 2 > y", "(x + 1) * 2")
    assert isinstance(bind, s.Bind)
    assert (bind.span.text, bind.value.span.text, bind.name.span.line) == ("z = g(x)[0]", "g(x)[0]", 4)
    assert last.span.text == "return z"


def test_the_span_of_a_block_match_ends_with_its_last_arm() -> None:
    node = statement("x = match t:\n        1 => 2\n        _ => 3\n\n    y = 4")
    assert node.span.text == "x = match t:\n        1 => 2\n        _ => 3"


def test_long_chains_are_wide_not_deep() -> None:
    for operator, count in (("+", 20_000), ("or", 2000), ("<", 2000)):
        node = value(f" {operator} ".join(["a"] * count))
        assert sum(1 for _ in children(node)) == count
    text = "if a:\n        s := 1\n" + "    elif b:\n        s := 2\n" * 5000
    branches = statement(text)
    assert isinstance(branches, s.If)
    assert len(branches.branches) == 5001


@pytest.mark.parametrize("opening, closing", [("(", ")"), ("[", "]"), ("f(", ")"), ("not ", ""), ("-", "")])
def test_nesting_up_to_the_limit(opening: str, closing: str) -> None:
    assert deepest(value(opening * 190 + "a" + closing * 190), 195) is None


def test_the_cost_of_parsing_grows_with_the_length_of_the_text() -> None:
    body = "".join(f"    x{i} = f({i}, a + b * c) if a < b else match t: 1 => 2, _ => 3\n" for i in range(40))

    def texts(copies: int) -> str:
        return "".join(f"def f{i}():\n{body}" for i in range(copies))

    assert growth(lambda: tree(texts(2)), lambda: tree(texts(8))) < 5  # four times the text


def test_the_tables_in_the_package_are_those_of_the_grammar() -> None:
    assert load_grammar() == build_grammar(), "run python -m lsrl.frontend.tables"


def test_tables_of_another_grammar_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lsrl.frontend import tables

    made = load_grammar()
    monkeypatch.setattr(tables, "_TABLES", tmp_path / "tables.json")
    monkeypatch.setattr(tables, "build_grammar", lambda: made)
    assert load_grammar() is made  # there is no file
    for content in ("", "{}", "[]", json.dumps({"source": "another"})):
        (tmp_path / "tables.json").write_text(content, encoding="utf-8")
        assert load_grammar() is made


def test_parsing_imports_no_heavy_package() -> None:
    code = (
        "import sys, lsrl.frontend.format, lsrl.frontend.parser as p; from lsrl.diagnostics import Source\n"
        "p.parse(Source('t', 'const N = 3'))\n"
        "print(sorted({'torch', 'numpy', 'lark', 'networkx'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_mistakes_of_one_text_do_not_stay_for_the_next() -> None:
    with pytest.raises(LsrlError):
        tree('type K = {"b".."a"}')
    assert len(tree("type K = int").items) == 1


def test_same_tree_sees_every_difference() -> None:
    text = "def f(x):\n    y = [g(i) for i in 0..3]\n    return y\n"
    assert same_tree(tree(text), tree(text.replace("    ", "  ") + "# comment\n"))
    for old, new in (("0..3", "0..4"), ("0..3", "v"), ("g(i)", "h(i)"), ("return y", "return z"), ("(x)", "(x, z)")):
        assert not same_tree(tree(text), tree(text.replace(old, new)))
