"""Models with an error: tested against the bound that their certificate states.

What is compared is |model − program| for outputs with an error, and equality for all others. The inputs are random and
adversarial: the ends of each range in long runs, in turn and at random, for as many tokens as the bound is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from lsrl.ir.graph import Graph
from lsrl.types import Real, Type, Value, Vector
from lsrl.verify.testing import Failure, Row, draw, run_model, run_program, shrink, test_inputs
from lsrl.verify.verdict import Counterexample, Verdict

if TYPE_CHECKING:
    from lsrl.backends.certificate import Certificate

__all__ = ["verify_nearly"]

_LONGEST = 1024  # tokens of an adversarial input
_KINDS = 8


def verify_nearly(graph: Graph, model: Any, certificate: Certificate, claim: str, covers: Mapping[str, str],
                  length: int | None, tests: int, seed: int) -> Verdict:
    """The verdict on a model that is within its certificate's bounds: APPROXIMATE, or REFUTED."""
    from lsrl.backends.approximate import bounded_inputs

    bounds = dict(certificate.errors)
    limits = [x for x in (certificate.horizon, length) if x is not None]
    narrowed = bounded_inputs(graph, certificate.input_limit or 1)
    seen = 0.0

    def worst(rows: Sequence[Row]) -> tuple[float, Failure | None]:
        return _compare(graph, model, bounds, rows)

    def again(rows: Sequence[Row]) -> Failure | None:
        return worst(rows)[1]

    count = 0
    for rows in _inputs(narrowed, seed, tests, min([_LONGEST, *limits])):
        error, failure = worst(rows)
        if failure is not None:
            return _refuted(graph, claim, covers, shrink(failure, again))
        seen, count = max(seen, error), count + 1
    return Verdict("APPROXIMATE", claim, certificate.horizon, count, covers=covers,
                   epsilon=float(Fraction(certificate.epsilon)), bound=certificate.error, seen=seen)


def _refuted(graph: Graph, claim: str, covers: Mapping[str, str], failure: Failure) -> Verdict:
    types = {**{i.name: i.type for i in graph.inputs}, **{n: node.type for n, node in graph.outputs}}
    example = Counterexample(failure.inputs, failure.expected, failure.actual, failure.reason, types)
    return Verdict("REFUTED", claim, counterexample=example, covers=covers)


def _compare(graph: Graph, model: Any, bounds: Mapping[str, float], rows: Sequence[Row]) -> tuple[float,
                                                                                                Failure | None]:
    """The largest distance on an input, and the first token at which one is beyond its bound."""
    expected, _ = run_program(graph, rows)
    if not expected:
        return 0.0, None
    actual = tuple(run_model(model, graph, rows[: len(expected)]))
    largest = 0.0
    for t, (want, got) in enumerate(zip(expected, actual, strict=True)):
        for name, bound in bounds.items():
            error = _distance(want[name], got[name]) if bound else float(want[name] != got[name])
            if not error <= bound:
                reason = f"`{name}` is off by {error:.3g}, and the bound is {bound:.3g}" if bound else \
                    f"`{name}` differs, and it is to be exact"
                return error, Failure(tuple(rows[: t + 1]), expected[: t + 1], actual[: t + 1], reason)
            largest = max(largest, error)
    return largest, None


def _distance(a: Value, b: Value) -> float:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return max((_distance(x, y) for x, y in zip(a, b, strict=True)), default=0.0)
    assert not isinstance(a, tuple) and not isinstance(b, tuple)
    if isinstance(b, float):  # no number
        return float("inf")
    return float(abs(Fraction(a) - Fraction(b)))


def _inputs(graph: Graph, seed: int, tests: int, longest: int) -> Iterator[list[Row]]:
    """Random inputs of growing length, then the ends of all ranges."""
    for rows in test_inputs(graph, seed, tests, min(64, longest)):
        yield rows[:longest]
    rng = np.random.default_rng(seed + 1)
    picks: list[Callable[[int], int | None]] = [
        lambda t: 1, lambda t: 0, lambda t: t % 2, lambda t: t // 2 % 2, lambda t: int(rng.integers(2)),
        lambda t: None, lambda t: int(t > longest // 2), lambda t: int(rng.random() < 0.99)]
    for pick in picks[:_KINDS]:
        rows = []
        for t in range(longest):
            end = pick(t)
            rows.append({i.name: draw(i.type, rng) if end is None else _end(i.type, end, rng) for i in graph.inputs})
        yield rows


def _end(t: Type, which: int, rng: np.random.Generator) -> Value:
    """An end of a range of reals; any value of another type."""
    if isinstance(t, Vector):
        return tuple(_end(t.elem, which, rng) for _ in range(t.size))
    end = (t.lo, t.hi)[which] if isinstance(t, Real) else None
    return draw(t, rng) if end is None else end
