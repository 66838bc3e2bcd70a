"""Regular expressions against Python's `re`, and automata against a brute-force minimality check."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lsrl.diagnostics import LsrlError, Source, Span
from lsrl.frontend.dfa import Dfa, minimise
from lsrl.frontend.regex import compile_regex
from lsrl.types import BYTE, INT, Symbols

NAMES = ("a", "b", "A", "0", "_", " ", "\n", "(")
CLOSED = Symbols(NAMES)
LETTERS = "abA0_ \n("
OPEN = Symbols(("a", "b", "\n"), other=True)
FLAGS = re.ASCII


def compiled(pattern: str, alphabet: Symbols = CLOSED, mode: str = "match") -> Dfa:
    source = Source("test", f'"{pattern}"')
    return compile_regex(pattern, alphabet, mode, Span(source, 0, len(source.text)))


def error(pattern: str, alphabet: object = CLOSED) -> LsrlError:
    source = Source("test", f'x = "{pattern}"')
    with pytest.raises(LsrlError) as caught:
        compile_regex(pattern, alphabet, "match", Span(source, 4, len(source.text)))  # type: ignore[arg-type]
    return caught.value


def _atoms(letters: str) -> st.SearchStrategy[str]:
    literal = st.sampled_from(letters).map(re.escape)
    inside = st.one_of(literal, st.sampled_from([r"\d", r"\w", r"\s", r"\S", r"\D"]),
                       st.sampled_from(["a-b", "0-z", "A-a", " -0"]))
    group = st.tuples(st.sampled_from(["[", "[^"]), st.lists(inside, min_size=1, max_size=3)).map(
        lambda t: t[0] + "".join(t[1]) + "]")
    return st.one_of(literal, literal, st.just("."), group, st.sampled_from([r"\d", r"\w", r"\W", r"\s", r"\S"]))


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    quantifiers = ["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{,2}", "{2,}", "{1,3}?"]
    return st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(quantifiers)).map(lambda t: f"(?:{t[0]}){t[1]}"),
        st.tuples(st.sampled_from(["(", "(?:", "(?i:", "(?s:", "(?m:", "(?-s:"]),
                  inner).map(lambda t: "".join(t) + ")"),
    )


def patterns(letters: str, anchors: bool) -> st.SearchStrategy[str]:
    leaf = _atoms(letters)
    if anchors:
        anchor = st.sampled_from(["^", "$", r"\b", r"\B", r"\A", r"\Z", "(?m:^)", "(?m:$)"])
        leaf = st.one_of(leaf, leaf, leaf, anchor)
    return st.recursive(leaf, _grow, max_leaves=6)


@pytest.mark.parametrize("anchors", [False, True])
@pytest.mark.parametrize("mode", ["match", "contains"])
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_equals_re(mode: str, anchors: bool, data: st.DataObject) -> None:
    pattern = data.draw(patterns(LETTERS, anchors))
    try:
        dfa = compiled(pattern, mode=mode)
    except LsrlError as e:
        assume(e.diagnostics[0].code != "L252")  # a class without letters, such as [^\w\W]
        raise
    python = re.compile(pattern, FLAGS)
    method = python.fullmatch if mode == "match" else python.search
    for text in data.draw(st.lists(st.text(LETTERS, min_size=1, max_size=8), min_size=1, max_size=6)):
        q = dfa.start
        for t, c in enumerate(text):
            q = dfa.next[q][NAMES.index(c)]
            assert (q in dfa.accepting) == (method(text[: t + 1]) is not None), (pattern, text[: t + 1])


@settings(max_examples=120, deadline=None)
@given(data=st.data(), mode=st.sampled_from(["match", "contains"]))
def test_other_is_any_character_that_is_not_named(data: st.DataObject, mode: str) -> None:
    pattern = data.draw(patterns("ab\n", anchors=False))
    try:
        dfa = compiled(pattern, OPEN, mode)
    except LsrlError as e:
        assume(e.diagnostics[0].code != "L252")
        raise
    python = re.compile(pattern, FLAGS)
    method = python.fullmatch if mode == "match" else python.search
    for text in data.draw(st.lists(st.text("abA0z_ (é\n", min_size=1, max_size=6), min_size=1, max_size=6)):
        codes = [OPEN.code(c) for c in text]
        assert dfa.accepts([c for c in codes if c is not None]) == (method(text) is not None), (pattern, text)


@settings(max_examples=100, deadline=None)
@given(pattern=patterns("ab0\n", anchors=True), texts=st.lists(st.binary(min_size=1, max_size=6), max_size=6),
       near=st.lists(st.text("ab0_\n", min_size=1, max_size=6), max_size=6))
def test_bytes(pattern: str, texts: list[bytes], near: list[str]) -> None:
    span = Span(Source("test", ""), 0, 0)
    try:
        dfa = compile_regex(pattern, BYTE, "contains", span)
    except LsrlError as e:
        assume(e.diagnostics[0].code != "L252")
        raise
    python = re.compile(pattern.encode())
    for text in [*texts, *(t.encode() for t in near)]:
        assert dfa.accepts(list(text)) == (python.search(text) is not None)


@settings(max_examples=100, deadline=None)
@given(pattern=patterns(LETTERS, anchors=True), mode=st.sampled_from(["match", "contains"]))
def test_minimal_by_brute_force(pattern: str, mode: str) -> None:
    try:
        dfa = compiled(pattern, mode=mode)
    except LsrlError as e:
        assume(e.diagnostics[0].code != "L252")
        raise
    # Moore's table: pairs told apart by some word, to the fixpoint; in a minimal automaton that is every pair.
    apart = {(p, q) for p, q in itertools.combinations(range(dfa.n), 2)
             if (p in dfa.accepting) != (q in dfa.accepting)}
    changed = True
    while changed:
        more = {(p, q) for p, q in itertools.combinations(range(dfa.n), 2) if (p, q) not in apart and any(
            tuple(sorted((a, b))) in apart for a, b in zip(dfa.next[p], dfa.next[q], strict=True))}
        changed = bool(more)
        apart |= more
    assert len(apart) == dfa.n * (dfa.n - 1) // 2
    seen = [0]
    for q in seen:
        seen += [t for t in dict.fromkeys(dfa.next[q]) if t not in seen]
    assert seen == list(range(dfa.n)), "numbered breadth first from the start"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_minimise_keeps_the_language_of_any_automaton(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 8))
    rows = tuple(tuple(data.draw(st.integers(0, n - 1)) for _ in range(2)) for _ in range(n))
    dfa = Dfa(n, 0, rows, frozenset(data.draw(st.sets(st.integers(0, n - 1)))))
    small = minimise(dfa)
    assert small.n <= n
    for word in itertools.chain.from_iterable(itertools.product((0, 1), repeat=k) for k in range(7)):
        assert dfa.accepts(word) == small.accepts(word)


@pytest.mark.parametrize(("pattern", "letters", "states"), [
    ("1*", "01", 2),  # Tomita 1
    ("(10)*", "01", 3),  # Tomita 2
    ("(aa)*", "a", 2),
    ("(abab)*", "ab", 5),
    ("aa*bb*cc*dd*ee*", "abcde", 7),
    ("[ab]*d[bc]*", "abcd", 3),
    ("[012]*02*", "012", 2),
    ("0*1*0*1*", "01", 5),  # Tomita 7
    ("a{3000}", "ab", 3002),
])
def test_known_sizes(pattern: str, letters: str, states: int) -> None:
    assert compiled(pattern, Symbols(tuple(letters))).n == states


def test_the_same_pattern_gives_the_same_automaton() -> None:
    compile_regex.__globals__["_compile"].cache_clear()
    first = compiled("(a|b)*A(a|b)(a|b)|0+")
    compile_regex.__globals__["_compile"].cache_clear()
    assert first == compiled("(a|b)*A(a|b)(a|b)|0+")


def test_symbol_of_several_characters_is_a_letter_without_a_name() -> None:
    alphabet = Symbols(("a", "END"))
    assert compiled("a*[^a]", alphabet).accepts([0, 0, 1])
    assert compiled("a.", alphabet).accepts([0, 1])
    assert not compiled("a*", alphabet).accepts([0, 1])


@pytest.mark.parametrize(("pattern", "code", "words"), [
    ("(a", "L250", "missing ), unterminated subpattern"),
    ("*a", "L250", "nothing to repeat"),
    ("a{2,1}", "L250", "min repeat greater than max repeat"),
    (r"\q", "L250", r"bad escape \q"),
    ("[[a]", "L250", "newer versions"),
    (r"(a)\1", "L251", "back-reference"),
    ("(a)?(?(1)b|a)", "L251", "conditional group"),
    ("a(?=b)", "L251", "look-around"),
    ("a(?<!b)", "L251", "look-around"),
    ("(?!)", "L251", "look-around"),
    ("(?>a)", "L251", "atomic"),
    ("a*+", "L251", "possessive"),
    ("x", "L252", '"x" is not in the alphabet'),
    ("[ax]", "L252", '"x" is not in the alphabet'),
    ("[x-z]", "L252", "matches no letter"),
    (r"[^\w\W]", "L252", "matches no letter"),
    (".*a.{14}", "L253", "more than 10000 states"),
    ("(a{1000}){1000}", "L253", "too large"),
    ("a{99999999999999999999}", "L253", "too large"),
    ("(" * 5000 + ")" * 5000, "L253", "nested too deeply"),
])
def test_errors(pattern: str, code: str, words: str) -> None:
    diagnostic = error(pattern).diagnostics[0]
    assert diagnostic.code == code
    assert words in diagnostic.message


@pytest.mark.parametrize("pattern", ["x", "[a-z]", r"\w", "[^x]", r"a\b", "(?i)a"])
def test_what_other_cannot_decide(pattern: str) -> None:
    diagnostic = error(pattern, OPEN).diagnostics[0]
    assert diagnostic.code == "L252"
    assert "`*`" in diagnostic.message and "symbols of their own" in diagnostic.help


def test_line_anchor_needs_a_newline_of_its_own() -> None:
    assert error("(?m)^a", Symbols(("a",), other=True)).diagnostics[0].code == "L252"


def test_the_caret_stands_under_the_place() -> None:
    span = error("ab)").diagnostics[0].span
    assert (span.column, span.text) == (8, ")")


def test_the_caret_finds_its_place_behind_escapes() -> None:
    text = r'"a\n\\d\x28b"'  # a, newline, \d, an opening bracket, b
    source = Source("test", text)
    with pytest.raises(LsrlError) as caught:
        compile_regex("a\n\\d(b", CLOSED, "match", Span(source, 0, len(text)))
    assert caught.value.diagnostics[0].span.text == r"\x28"


def test_a_number_stream_has_no_letters() -> None:
    assert error("a", INT).diagnostics[0].code == "L254"


def test_a_long_chain_takes_linear_time() -> None:
    dfa = compiled("a{0,4000}b", Symbols(("a", "b")))
    assert dfa.n == 4003
