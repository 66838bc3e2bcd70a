"""What the examples compute, in plain Python and from first principles.

An oracle takes one list a program input (symbols as strings, OTHER for one not named; bools; ints; Fractions) and
returns the list of outputs, one a token: a value, or a tuple of the fields. It looks at whole prefixes, so that it
shares no idea with the programs, which carry a state.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import exp
from typing import Any

Oracle = Callable[..., list[Any]]
ORACLES: dict[str, Oracle] = {}
OTHER = "other"  # stands in for a symbol that the alphabet does not name; `*` itself may be named


def prefixwise(f: Callable[..., Any]) -> Oracle:
    """Registers a function of a whole prefix (its input lists up to and with token t) under its name."""

    def oracle(*inputs: Sequence[Any]) -> list[Any]:
        return [f(*(x[: t + 1] for x in inputs)) for t in range(len(inputs[0]))]

    ORACLES[f.__name__] = oracle
    return oracle


def full(pattern: str, tokens: Sequence[str]) -> bool:
    return re.fullmatch(pattern, "".join(tokens), re.DOTALL) is not None


def runs(tokens: Sequence[Any]) -> list[tuple[Any, int]]:
    return [(k, len(list(g))) for k, g in itertools.groupby(tokens)]


# ---------------------------------------------------------------- regular


@prefixwise
def parity(bits: Sequence[bool]) -> bool:
    return sum(bits) % 2 == 1


@prefixwise
def even_pairs(toks: Sequence[str]) -> bool:
    return sum(a != b for a, b in itertools.pairwise(toks)) % 2 == 0


@prefixwise
def tomita_1(toks: Sequence[str]) -> bool:
    return "0" not in toks


@prefixwise
def tomita_2(toks: Sequence[str]) -> bool:
    return full("(10)*", toks)


@prefixwise
def tomita_3(toks: Sequence[str]) -> bool:
    return not any(a == "1" and n % 2 and m % 2 for (a, n), (_, m) in itertools.pairwise(runs(toks)))


@prefixwise
def tomita_4(toks: Sequence[str]) -> bool:
    return "000" not in "".join(toks)


@prefixwise
def tomita_5(toks: Sequence[str]) -> bool:
    return toks.count("0") % 2 == 0 and toks.count("1") % 2 == 0


@prefixwise
def tomita_6(toks: Sequence[str]) -> bool:
    return (toks.count("0") - toks.count("1")) % 3 == 0


@prefixwise
def tomita_7(toks: Sequence[str]) -> bool:
    return full("0*1*0*1*", toks)


@prefixwise
def mod_5(steps: Sequence[bool]) -> int:
    return sum(steps) % 5


@prefixwise
def modular_arithmetic(toks: Sequence[str]) -> int:
    """Text is read as an expression: a digit right after a digit replaces it in its place, an operator after
    an operator replaces it (but `*` needs a left side, which is the term so far), all modulo 5."""
    total, sign, factors, waits = 0, 1, [0], "+"
    for c in toks:
        if c in "+-":
            total += sign * _product(factors)
            sign, factors, waits = (1 if c == "+" else -1), [0], c
        elif c == "*":
            waits = "*"
        elif waits == "*":
            factors.append(int(c))
        else:
            factors = [int(c)]
    return (total + sign * _product(factors)) % 5


def _product(factors: Sequence[int]) -> int:
    out = 1
    for f in factors:
        out *= f
    return out


@prefixwise
def cycle_navigation(moves: Sequence[str]) -> int:
    return (moves.count("right") - moves.count("left")) % 5


@prefixwise
def dyck_1_bounded(toks: Sequence[str]) -> bool:
    heights = list(itertools.accumulate(1 if t == "(" else -1 for t in toks))
    return heights[-1] == 0 and min(heights) >= 0 and max(heights) <= 5


@prefixwise
def star_free(toks: Sequence[str]) -> bool:
    return [k for k, _ in runs(toks)] == list("abcde")


@prefixwise
def pairs_ab(toks: Sequence[str]) -> bool:
    return len(toks) % 4 == 0 and all(t == "ab"[i % 2] for i, t in enumerate(toks))


@prefixwise
def detect_pattern(toks: Sequence[str]) -> tuple[bool, bool]:
    text = "".join(toks)
    return text.endswith("abcab"), "abcab" in text


def binary_addition(a: Sequence[bool], b: Sequence[bool]) -> list[bool]:
    number = [sum(bit << i for i, bit in enumerate(bits)) for bits in (a, b)]
    return [bool(sum(number) >> i & 1) for i in range(len(a))]


ORACLES["binary_addition"] = binary_addition


@prefixwise
def word_problem_s3(swaps: Sequence[str]) -> bool:
    places = ["x", "y", "z"]
    for s in swaps:
        if s == "first two":
            places[0], places[1] = places[1], places[0]
        elif s == "last two":
            places[1], places[2] = places[2], places[1]
    return places == ["x", "y", "z"]


# ---------------------------------------------------------------- memory


@prefixwise
def flip_flop(toks: Sequence[str]) -> bool:
    return next((t == "1" for t in reversed(toks) if t != "ignore"), False)


@prefixwise
def set_reset(smoke: Sequence[bool], button: Sequence[bool]) -> bool:
    events = [i for i in range(len(smoke)) if smoke[i] or button[i]]
    return bool(events) and smoke[events[-1]]


@prefixwise
def induction_head(toks: Sequence[str]) -> str:
    return next((toks[i + 1] for i in range(len(toks) - 2, -1, -1) if toks[i] == toks[-1]), "?")


@prefixwise
def key_value(keys: Sequence[str], values: Sequence[bool], store: Sequence[bool]) -> bool:
    return next((v for k, v, s in reversed(list(zip(keys, values, store, strict=True))) if s and k == keys[-1]), False)


def selective_copy(toks: Sequence[str]) -> list[str]:
    out = []
    for t, tok in enumerate(toks):
        items = [x for x in toks[:t] if x in ("a", "b")][:3]
        asked = list(toks[:t]).count("next")
        # a query beyond the third is never answered; one that came too early is used up
        out.append(items[asked] if tok == "next" and asked < len(items) else "none")
    return out


ORACLES["selective_copy"] = selective_copy


@prefixwise
def delay_3(xs: Sequence[int]) -> int:
    return xs[-4] if len(xs) > 3 else 0


@prefixwise
def window_majority(bits: Sequence[bool]) -> bool:
    return sum(bits[-5:]) >= 3


@prefixwise
def edges(p: Sequence[bool]) -> tuple[bool, bool]:
    before = len(p) > 1 and p[-2]
    return p[-1] and not before, before and not p[-1]


# ---------------------------------------------------------------- counting


@prefixwise
def majority(bits: Sequence[bool]) -> bool:
    return sum(bits) * 2 > len(bits)


@prefixwise
def dyck_1(toks: Sequence[str]) -> bool:
    return _reduced("".join(toks), "()") == ""


def _reduced(text: str, *kinds: str) -> str:
    while True:
        shorter = text
        for kind in kinds:
            shorter = shorter.replace(kind, "")
        if shorter == text:
            return text
        text = shorter


@prefixwise
def anbn(toks: Sequence[str]) -> bool:
    n, odd = divmod(len(toks), 2)
    return not odd and "".join(toks) == "a" * n + "b" * n


@prefixwise
def anbncn(toks: Sequence[str]) -> bool:
    n, rest = divmod(len(toks), 3)
    return not rest and "".join(toks) == "a" * n + "b" * n + "c" * n


@prefixwise
def shuffle_dyck_2(toks: Sequence[str]) -> bool:
    text = "".join(toks)
    return all(_reduced(re.sub(f"[^{re.escape(k)}]", "", text), k) == "" for k in ("()", "[]"))


def queue(events: Sequence[str]) -> list[bool]:
    people: list[int] = []
    out = []
    for i, e in enumerate(events):
        if e == "come":
            people.append(i)
        elif e == "go":
            people = people[1:]
        out.append(bool(people))
    return out


ORACLES["queue"] = queue


@prefixwise
def position(toks: Sequence[str]) -> int:
    return len(toks) - 1


@prefixwise
def run_length(toks: Sequence[str]) -> int:
    return runs(toks)[-1][1]


@prefixwise
def greatest(xs: Sequence[int]) -> int:
    return max(xs)


@prefixwise
def reflected_walk(changes: Sequence[int]) -> int:
    """The last height less the lowest point of the free walk (0 included): Skorokhod's reflection."""
    free = [0, *itertools.accumulate(changes)]
    return free[-1] - min(free)


# ---------------------------------------------------------------- tables


@prefixwise
def histogram(toks: Sequence[str]) -> int:
    return toks.count(toks[-1])


@prefixwise
def double_histogram(toks: Sequence[str]) -> int:
    return sum(toks.count(k) == toks.count(toks[-1]) for k in "abc")


@prefixwise
def letter_counts(toks: Sequence[str]) -> tuple[int, ...]:
    n = Counter(toks)
    return n["a"], n["b"], n["c"], n[OTHER]


@prefixwise
def favourite(toks: Sequence[str]) -> str:
    return max("abc", key=list(toks).count)


@prefixwise
def variety(toks: Sequence[str]) -> int:
    return len(set(toks))


@prefixwise
def earlier_smaller(xs: Sequence[int]) -> int:
    return sum(x < xs[-1] for x in xs)


# ---------------------------------------------------------------- text


@prefixwise
def word_count(toks: Sequence[str]) -> int:
    return len(re.findall("[A-Za-z0-9_]+", "".join(" " if t == OTHER else t for t in toks)))


@prefixwise
def balanced(toks: Sequence[str]) -> tuple[bool, bool]:
    text = "".join(t for t in toks if t != OTHER)
    for n in range(len(text) + 1):
        rest = _reduced(text[:n], "()", "[]", "{}")
        if len(rest) > 6 or re.search(r"[)\]}]", rest):
            return False, True
    return _reduced(text, "()", "[]", "{}") == "", False


def c_comments(toks: Sequence[str]) -> list[bool]:
    """By one regular expression over the whole text, in which any other character is written x."""
    text = "".join("x" if t == OTHER else t for t in toks)
    lexeme = re.compile(
        r"//[^\n]*"
        r"|/\*(?:[^*]|\*(?!/))*(?:\*/)?"
        r"|(?P<q>[\"'])(?:\\[\s\S]|(?!(?P=q))[^\\\n])*(?:(?P=q)|\n|\\?$)"
    )
    out = [False] * len(text)
    for m in lexeme.finditer(text):
        if m.group().startswith(("//", "/*")):
            out[m.start() + 1 : m.end()] = [True] * (m.end() - m.start() - 1)
    return out


ORACLES["c_comments"] = c_comments


def _json(text: str) -> tuple[bool, bool]:
    """By a recursive descent over the prefix: (is a whole value, can no longer become one)."""
    at = 0

    class CutError(Exception):
        """The text ended inside."""

    class WrongError(Exception):
        pass

    def blanks() -> None:
        nonlocal at
        while at < len(text) and text[at] in " \n\t\r":
            at += 1

    def need() -> str:
        if at == len(text):
            raise CutError
        return text[at]

    def string() -> None:
        nonlocal at
        at += 1
        while need() != '"':
            at += 2 if text[at] == "\\" else 1
            if at > len(text):
                raise CutError
        at += 1

    def value(depth: int) -> None:
        nonlocal at
        blanks()
        c = need()
        if c in "{[":
            if depth == 3:
                raise WrongError
            at += 1
            blanks()
            if need() == ("}" if c == "{" else "]"):
                at += 1
                return
            while True:
                if c == "{":
                    blanks()
                    if need() != '"':
                        raise WrongError
                    string()
                    blanks()
                    if need() != ":":
                        raise WrongError
                    at += 1
                value(depth + 1)
                blanks()
                end = need()
                at += 1
                if end == ("}" if c == "{" else "]"):
                    return
                if end != ",":
                    raise WrongError
        elif c == '"':
            string()
        elif c in ":,}]\\":
            if c != "\\":
                raise WrongError
            scalar()
        else:
            scalar()

    def scalar() -> None:
        nonlocal at
        while at < len(text) and text[at] not in '{}[]:," \n\t\r':
            at += 1
        if at < len(text) and text[at] in '{["':
            raise WrongError

    try:
        value(0)
        blanks()
        return (True, False) if at == len(text) else (False, True)
    except CutError:
        return False, False
    except WrongError:
        return False, True


@prefixwise
def json_structure(toks: Sequence[str]) -> tuple[bool, bool]:
    return _json("".join("x" if t == OTHER else t for t in toks))


# ---------------------------------------------------------------- numeric


@prefixwise
def mean_so_far(xs: Sequence[Fraction]) -> float:
    total = 0.0
    for x in xs:
        total += float(x)
    return total / len(xs)


@prefixwise
def exponential_average(xs: Sequence[Fraction]) -> Fraction:
    n = len(xs)
    return sum((x / 2 ** (n - i) for i, x in enumerate(xs)), Fraction(0))


@prefixwise
def moving_average(xs: Sequence[Fraction]) -> Fraction:
    return sum(xs[-4:], Fraction(0)) / 4


@prefixwise
def leaky_unit(xs: Sequence[Fraction]) -> float:
    h = 0.0
    for x in map(float, xs):
        g = 1 / (1 + exp(-(0.5 * x + 1)))
        h = g * h + (1 - g) * x
    return h


# ---------------------------------------------------------------- lsrl


def _translated(n: int, toks: Sequence[int]) -> int:
    """What the prompt so far says of the query, at the place of the last token."""
    query, prompt = toks[:n], toks[n:]
    pairs = [(prompt[i : i + n], prompt[i + n : i + 2 * n]) for i in range(0, len(prompt), 2 * n)]
    value = next((v for k, v in pairs if k == query), [])
    at = (len(toks) - 1) % n
    return value[at] if at < len(value) else 0


@prefixwise
def tok2tok_3(toks: Sequence[int]) -> int:
    return _translated(3, toks)


@prefixwise
def tok2tok_5(toks: Sequence[int]) -> int:
    return _translated(5, toks)


@prefixwise
def tok2tok_10(toks: Sequence[int]) -> int:
    return _translated(10, toks)


def _approximated(d: int, tokens: Sequence[tuple[Fraction, ...]]) -> tuple[Fraction, ...]:
    """The value of the last listed cell that holds the point."""
    point = tokens[0][:d]
    answer = (Fraction(0),) * (len(tokens[0]) - d - 1)
    for side, *rest in tokens[1:]:
        if all(0 <= p - corner < side for p, corner in zip(point, rest, strict=False)):
            answer = tuple(rest[d:])
    return answer


@prefixwise
def vec2vec_1_1(tokens: Sequence[tuple[Fraction, ...]]) -> tuple[Fraction, ...]:
    return _approximated(1, tokens)


@prefixwise
def vec2vec_2_2(tokens: Sequence[tuple[Fraction, ...]]) -> tuple[Fraction, ...]:
    return _approximated(2, tokens)


@prefixwise
def vec2vec_3_2(tokens: Sequence[tuple[Fraction, ...]]) -> tuple[Fraction, ...]:
    return _approximated(3, tokens)
