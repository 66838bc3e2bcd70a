"""The corpus: every example with its oracle and what each target does with it.

One list, used at every level: interpreter, text round-trip, each pass, vectorised run, all targets, the verifier.
What a target does with an example is a verdict or the code of a refusal. It follows from the target's row in
`DEFAULTS`, a rule for all cases, unless the case itself says otherwise in `others`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import lsrl
from lsrl.program import Program
from lsrl.types import Bool, Int, Real, Symbols, Type, Value
from tests.gated_outcomes import OUTCOMES
from tests.oracles import ORACLES, OTHER, Oracle

__all__ = ["CORPUS", "DEFAULTS", "OTHER", "ROOT", "Case", "decoded"]

ROOT = Path(__file__).resolve().parent.parent
PROVED, EXHAUSTED, TESTED = "PROVED", "EXHAUSTED", "TESTED"


@cache
def _loaded(file: Path) -> Program:
    return lsrl.load(file)


@dataclass(frozen=True, eq=False)
class Case:
    """path: under examples, without its ending. lstm, rnn_relu: the outcome at these, from which most others follow.

    others: outcomes that the rules in `DEFAULTS` do not give, by target or several with spaces between them.
    tokens: weights of the symbols of random inputs, where even ones would seldom reach the states that matter.
    texts: inputs beside the random ones, a symbol a character, for answers that random ones hardly ever reach.
    numeric: outputs are floats, equal to the oracle's within `bound` relative error (a few float64 roundings).
    prompt: draws a whole random input, where its tokens belong together. depth: tokens to which EXHAUSTED searches.
    """

    path: str
    lstm: str
    rnn_relu: str
    tokens: Mapping[str, int] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    numeric: bool = False
    bound: float = 0.0
    others: Mapping[str, str] = field(default_factory=dict)
    prompt: Callable[[random.Random, int], list[dict[str, Any]]] | None = None
    depth: int = 8

    @property
    def name(self) -> str:
        return self.path.split("/")[1]

    @property
    def file(self) -> Path:
        return ROOT / "examples" / f"{self.path}.lsrl"

    @property
    def program(self) -> Program:
        """The same for all tests: targets share what they find out about its graph."""
        return _loaded(self.file)

    @property
    def oracle(self) -> Oracle:
        return ORACLES[self.name]

    def outcome(self, target: str) -> str:
        """A verdict, or the code of the target's refusal. Raises KeyError for a target that `DEFAULTS` lacks."""
        own = {name: outcome for names, outcome in self.others.items() for name in names.split()}
        return own[target] if target in own else DEFAULTS[target](self)

    def rows(self, inputs: Mapping[str, Type], length: int, seed: int) -> list[dict[str, Any]]:
        """A random input: one row a token, symbols by name (OTHER for one not named)."""
        rng = random.Random(f"{self.path} {seed}")
        if self.prompt is not None:
            return self.prompt(rng, length)
        return [{n: self._draw(t, rng) for n, t in inputs.items()} for _ in range(length)]

    def _draw(self, t: Type, rng: random.Random) -> Any:
        match t:
            case Bool():
                return rng.random() < 0.5
            case Int():
                return rng.randint(-9 if t.lo is None else t.lo, 9 if t.hi is None else t.hi)
            case Real(grid=grid, lo=lo, hi=hi):
                step = grid or Fraction(1, 8)
                low, high = (-4 if lo is None else lo), (4 if hi is None else hi)
                return low + step * rng.randint(0, int((high - low) / step))
            case Symbols():
                names = [*t.names, *([OTHER] if t.other else [])]
                return rng.choices(names, [self.tokens.get(n, 1) for n in names])[0]
            case _:
                raise ValueError(f"no random values of {t}")


def decoded(value: Value, t: Type) -> Any:
    """A value of a program as oracles write it: symbols by name."""
    if not isinstance(t, Symbols) or isinstance(value, tuple):
        return value
    return t.names[int(value)] if value < len(t.names) else OTHER


def gated(target: str) -> Callable[[Case], str]:
    """The outcomes at a gated target."""
    table = {path: outcome for outcome, paths in OUTCOMES[target].items() for path in paths}
    return lambda case: table[case.path]


def _without_counters(lstm: str) -> str:
    """What a network of bits alone does, from what one does that has counters too."""
    return "L402" if lstm in (EXHAUSTED, "L403") else lstm


# for each target, what it does with a case that does not say so itself
DEFAULTS: dict[str, Callable[[Case], str]] = {
    "lstm": lambda case: case.lstm,
    "rnn_relu": lambda case: case.rnn_relu,
    **{name: gated(name) for name in OUTCOMES},
    "gru": lambda case: _without_counters(case.lstm),
    "rnn_tanh": lambda case: _without_counters(case.lstm),
    "slstm": lambda case: _without_counters(case.lstm),
}


def key_value_pairs(n: int) -> Callable[[random.Random, int], list[dict[str, Any]]]:
    """Inputs of tok2tok: a query, then keys, often the query or one digit away from it, and their values."""

    def draw(rng: random.Random, length: int) -> list[dict[str, Any]]:
        query = rng.choices(range(10), k=n)
        tokens = list(query)
        while len(tokens) < length:
            key = list(query)
            if rng.random() < 0.6:
                key[rng.randrange(n)] = rng.randrange(10)
            tokens += key if rng.random() < 0.8 else rng.choices(range(10), k=n)
            tokens += rng.choices(range(10), k=n)
        return [{"tok": t} for t in tokens[:length]]

    return draw


def grid_cells(d: int, m: int, grid: int, sides: tuple[int, ...],
               most: int) -> Callable[[random.Random, int], list[dict[str, Any]]]:
    """Inputs of vec2vec: a point, often on the faces of cells, then cells of the unit cube in any order.

    grid: numbers are multiples of 1/grid. sides: cells a side. most: the largest value, in multiples of 1/grid.
    """

    def draw(rng: random.Random, length: int) -> list[dict[str, Any]]:
        cells = rng.choice(sides)
        side = grid // cells
        point = [rng.randrange(grid) if rng.random() < 0.5 else rng.randrange(cells) * side for _ in range(d)]
        tokens = [[*point, *[0] * (m + 1)]]
        for _ in range(length - 1):
            # mostly the point's own cell or a neighbour, so that the faces decide
            corner = [min(max(p // side + rng.choice((-1, 0, 0, 0, 1)), 0), cells - 1) * side for p in point]
            if rng.random() < 0.3:
                corner = [rng.randrange(cells) * side for _ in point]
            tokens.append([side, *corner, *(rng.randint(0 if most <= grid else -most, most) for _ in range(m))])
        return [{"token": tuple(Fraction(x, grid) for x in t)} for t in tokens]

    return draw


BRACKETS = {"(": 4, ")": 4, "[": 3, "]": 3, "{": 2, "}": 2}

CORPUS: tuple[Case, ...] = (
    Case("regular/parity", PROVED, PROVED),
    Case("regular/even_pairs", PROVED, PROVED),
    Case("regular/tomita_1", PROVED, PROVED, {"1": 20}),
    Case("regular/tomita_2", PROVED, PROVED),
    Case("regular/tomita_3", PROVED, PROVED),
    Case("regular/tomita_4", PROVED, PROVED, {"1": 3}),
    Case("regular/tomita_5", PROVED, PROVED),
    Case("regular/tomita_6", PROVED, PROVED),
    Case("regular/tomita_7", PROVED, PROVED, {"1": 5}),
    Case("regular/mod_5", PROVED, PROVED),
    Case("regular/modular_arithmetic", PROVED, PROVED),
    Case("regular/cycle_navigation", PROVED, PROVED),
    Case("regular/dyck_1_bounded", PROVED, PROVED),
    Case("regular/star_free", PROVED, PROVED, texts=("aabbcddeee", "abcdea")),
    Case("regular/pairs_ab", PROVED, PROVED, texts=("abababababab", "ababb")),
    Case("regular/detect_pattern", PROVED, PROVED, {"a": 4, "b": 4, "c": 3}, ("abcabcab", "aabcabb")),
    Case("regular/binary_addition", PROVED, PROVED),
    Case("regular/word_problem_s3", PROVED, PROVED),
    Case("memory/flip_flop", PROVED, PROVED),
    Case("memory/set_reset", PROVED, PROVED),
    Case("memory/induction_head", PROVED, PROVED),
    Case("memory/key_value", PROVED, PROVED),
    Case("memory/selective_copy", PROVED, PROVED),
    Case("memory/delay_3", PROVED, PROVED),
    Case("memory/window_majority", PROVED, PROVED),
    Case("memory/edges", PROVED, PROVED),
    Case("counting/majority", EXHAUSTED, EXHAUSTED),
    Case("counting/dyck_1", EXHAUSTED, EXHAUSTED),
    Case("counting/anbn", EXHAUSTED, EXHAUSTED, texts=("a" * 30 + "b" * 31, "aabba")),
    Case("counting/anbncn", EXHAUSTED, EXHAUSTED, texts=("a" * 20 + "b" * 20 + "c" * 21, "aabbbcc")),
    Case("counting/shuffle_dyck_2", EXHAUSTED, EXHAUSTED),
    Case("counting/queue", EXHAUSTED, EXHAUSTED),
    Case("counting/position", "L403", EXHAUSTED),
    Case("counting/run_length", "L403", EXHAUSTED),
    Case("counting/greatest", PROVED, PROVED),
    Case("counting/reflected_walk", "L403", EXHAUSTED),
    Case("tables/histogram", "L403", EXHAUSTED),
    Case("tables/double_histogram", EXHAUSTED, EXHAUSTED),
    Case("tables/letter_counts", "L403", EXHAUSTED),
    Case("tables/favourite", EXHAUSTED, EXHAUSTED),
    Case("tables/variety", PROVED, PROVED),
    Case("tables/earlier_smaller", "L403", EXHAUSTED),
    Case("text/word_count", "L403", EXHAUSTED, {OTHER: 30}),
    Case("text/balanced", PROVED, PROVED, {**BRACKETS, OTHER: 2}),
    Case("text/c_comments", PROVED, PROVED, {"/": 4, "*": 3}),
    Case("text/json_structure", PROVED, PROVED, {"[": 3, "{": 3, "]": 3, "}": 3, "\"": 6, ",": 3, ":": 3}),
    Case("numeric/mean_so_far", "L405", "L405", numeric=True, bound=1e-12),
    Case("numeric/leaky_unit", "L405", "L405", numeric=True, bound=1e-12),
    Case("numeric/exponential_average", "L404", "L404"),
    Case("numeric/moving_average", PROVED, PROVED),
    Case("lsrl/tok2tok_3", EXHAUSTED, EXHAUSTED, others={"gru rnn_tanh slstm": EXHAUSTED},
         prompt=key_value_pairs(3), depth=6),
    Case("lsrl/tok2tok_5", EXHAUSTED, EXHAUSTED, others={"gru rnn_tanh slstm": EXHAUSTED},
         prompt=key_value_pairs(5), depth=4),
    Case("lsrl/tok2tok_10", EXHAUSTED, EXHAUSTED, others={"gru rnn_tanh slstm": EXHAUSTED},
         prompt=key_value_pairs(10), depth=4),
    Case("lsrl/vec2vec_1_1", PROVED, PROVED, prompt=grid_cells(1, 1, 4, (1, 2, 4), 4)),
    Case("lsrl/vec2vec_2_2", "L402", TESTED, prompt=grid_cells(2, 2, 1024, (1, 2, 8, 64), 4096)),
    Case("lsrl/vec2vec_3_2", "L402", TESTED, prompt=grid_cells(3, 2, 1024, (1, 2, 8, 64), 4096)),
)
