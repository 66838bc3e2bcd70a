"""General thresholds, codes and long sums against enumeration, and the widths that they are there for."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest

from lsrl.backends.circuit import Bit, Circuit
from lsrl.backends.codes import asked_sets, combination, digits
from lsrl.backends.cubes import Diagrams
from lsrl.backends.lower import bits_circuit, threshold_circuit
from lsrl.backends.registry import compile_graph
from lsrl.backends.scores import Sum, Sweep, Term
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.passes import run_pipeline
from tests.backends.automata import random_automaton
from tests.backends.texts import agree, graph_of, random_rows


def function(diagrams: Diagrams, sizes: list[int], table: dict[tuple[int, ...], object]) -> int:
    variables = [diagrams.variable(n) for n in sizes]

    def build(prefix: tuple[int, ...]) -> int:
        if len(prefix) == len(sizes):
            return diagrams.leaf(table[prefix])
        return diagrams.case(variables[len(prefix)], [build((*prefix, a)) for a in range(sizes[len(prefix)])])

    return build(())


def points(sizes: list[int]) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, sizes)))


def number(s: Sum, point: tuple[int, ...]) -> int | Fraction:
    at = dict(enumerate(point))
    return sum((w * t.on(at) for w, t in s.terms), s.bias)


@pytest.mark.parametrize("seed", range(30))
def test_a_threshold_is_found_and_computes_the_function(seed: int) -> None:
    rng = random.Random(seed)
    sizes = [rng.randint(2, 3) for _ in range(rng.randint(1, 5))]
    weights = [[rng.randint(-3, 3) for _ in range(n)] for n in sizes]
    theta = rng.randint(-2, 2)
    table = {p: sum(w[a] for w, a in zip(weights, p, strict=True)) >= theta for p in points(sizes)}
    if len(set(table.values())) == 1:
        return
    diagrams = Diagrams()
    term = Sweep(diagrams, [function(diagrams, sizes, dict(table))]).threshold(bool)
    assert term is not None
    for p, on in table.items():
        assert term.on(dict(enumerate(p))) == on
        if term.is_and:
            assert sum(w[p[v]] for v, w in term.weights) <= term.threshold


@pytest.mark.parametrize("count", [2, 3, 4])
def test_parity_is_no_threshold_but_changes_along_the_sum(count: int) -> None:
    table: dict[tuple[int, ...], object] = {p: sum(p) % 2 for p in points([2] * count)}
    diagrams = Diagrams()
    sweep = Sweep(diagrams, [function(diagrams, [2] * count, table)])
    assert sweep.threshold(lambda x: x == 1) is None
    found = sweep.changes(dict.fromkeys(range(count), (0, 1)))
    assert found is not None
    assert len(found[1].terms) == count
    for p, value in table.items():
        assert [number(found[v], p) for v in (0, 1)] == [int(value == v) for v in (0, 1)]


def test_a_score_that_does_not_tell_is_refused() -> None:
    diagrams = Diagrams()
    table: dict[tuple[int, ...], object] = {p: p[0] for p in points([2, 2])}
    sweep = Sweep(diagrams, [function(diagrams, [2, 2], table)])
    assert sweep.changes({0: (0, 1), 1: (0, 1)}) is not None  # the second variable does not matter
    table = {(0, 0): 0, (0, 1): 1, (1, 0): 2, (1, 1): 3}
    sweep = Sweep(diagrams, [function(diagrams, [2, 2], table)])
    assert sweep.changes({2: (0, 1), 3: (0, 1)}) is None
    assert sweep.changes({2: (0, 2), 3: (0, 1)}) is not None


@pytest.mark.parametrize("seed", range(20))
def test_combinations_span_exactly(seed: int) -> None:
    rng = random.Random(seed)
    places = range(rng.randint(2, 7))
    sets = [frozenset(p for p in places if rng.random() < 0.5) for _ in range(rng.randint(1, 5))]
    weights = [rng.choice([Fraction(-2), Fraction(1), Fraction(1, 2), Fraction(3)]) for _ in sets]
    wanted = [sum((w for w, s in zip(weights, sets, strict=True) if p in s), Fraction(5)) for p in places]
    found = combination(sets, places, wanted)
    assert found is not None
    got = [sum((w for w, s in zip(found[0], sets, strict=True) if p in s), found[1]) for p in places]
    assert got == wanted
    assert combination([frozenset({0})], range(3), [0, 1, 2]) is None


def test_numbers_are_asked_for_by_their_digits() -> None:
    assert asked_sets([0, 1, 2, 3]) == [frozenset({1, 3}), frozenset({2, 3})]
    assert asked_sets([5, 7, 5]) == [frozenset({0, 2}), frozenset({1})]
    assert len(asked_sets([0, 1, 4, 9])) == 4
    assert [w for _, w in digits([0, Fraction(1, 2), Fraction(3, 2)])] == [1, 2]


def circuit(text: str) -> tuple[Graph, Circuit]:
    graph = graph_of(text)
    return graph, threshold_circuit(run_pipeline(graph), "lstm")


def same(graph: Graph, built: Circuit, length: int = 400) -> None:
    rows = random_rows(graph, length, 3)
    assert list(built.simulate(rows)) == list(Interpreter(graph).run(rows))


PROGRAMS = {
    "modulo 7": ("""
        program p(x: bool) -> int:
            state n: int[0..6] = 0
            n := (n + int(x)) % 7
            return n""", 7),
    "up and down, stopped at the ends": ("""
        program p(x: int[-1..1]) -> int:
            state n: int[0..9] = 3
            n := min(max(n + x, 0), 9)
            return n""", 9),
    "the byte before": ("""
        program p(b: byte) -> bool:
            return prev(b, 0) == b""", 10),
    "delayed digits": ("""
        program p(x: int[0..9]) -> int:
            state a: int[0..9] = 4
            state b: int[0..9] = 7
            b := a
            a := x
            return b""", 9),
    "full adder": ("""
        program p(a: bool, b: bool) -> bool:
            state carry: bool = false
            total = int(a) + int(b) + int(carry)
            carry := total >= 2
            return total % 2 == 1""", 3),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_widths(name: str) -> None:
    text, most = PROGRAMS[name]
    graph, built = circuit(text)
    same(graph, built)
    assert built.width <= most


@pytest.mark.parametrize("compare", ["<", "<=", "==", "!=", ">", ">="])
def test_long_sums_are_one_threshold_or_two(compare: str) -> None:
    names = [f"x{i}" for i in range(40)]
    total = " + ".join(f"{1 + i % 3} * int({n})" for i, n in enumerate(names))
    graph, built = circuit(f"program p({', '.join(f'{n}: bool' for n in names)}) -> bool:\n"
                           f"    return {total} {compare} 40\n")
    assert built.width == (2 if compare in ("==", "!=") else 1)
    rng = random.Random(1)
    rows = [{n: rng.random() < 0.5 for n in names} for _ in range(300)]
    want = list(Interpreter(graph).run(rows))
    assert len({row["out"] for row in want}) == 2
    assert list(built.simulate(rows)) == want


def test_a_long_sum_of_old_values_feeds_a_latch() -> None:
    lines = [f"    state s{i}: bool = {'true' if i % 3 == 0 else 'false'}" for i in range(9)]
    moves = [f"    s{i} := s{i - 1}" for i in range(8, 0, -1)] + ["    s0 := x"]
    total = " + ".join(f"int(s{i})" for i in range(9))
    text = "\n".join(["program p(x: bool) -> bool:", *lines, "    state on: bool = false", f"    many = {total} >= 6",
                      *moves, "    on := on or (many and not x)", "    if x and many:", "        on := false",
                      "    return on"])
    graph, built = circuit(text + "\n")
    same(graph, built, 1000)
    assert built.width <= 30
    agree(graph, [random_rows(graph, 60, seed) for seed in range(3)])


@pytest.mark.parametrize("seed", range(12))
def test_random_automata_with_costs_of_both_kinds(seed: int) -> None:
    rng = random.Random(seed)
    automaton = random_automaton(rng, rng.randint(2, 9), rng.randint(2, 4))
    scalar = run_pipeline(automaton.graph())
    word = [rng.randrange(automaton.letters) for _ in range(300)]
    want = automaton.run(word)
    for general in (1, 2):
        built = bits_circuit(scalar, "test", general=general)
        assert [row["out"] for row in built.simulate({"x": x} for x in word)] == want
        assert built.baseline is None or built.width <= built.baseline


def test_a_changed_weight_of_a_threshold_is_seen() -> None:
    graph, built = circuit(PROGRAMS["modulo 7"][0])
    (layer,) = built.layers
    general = [u for u in layer if isinstance(u, Bit) and not u.at_most_one]
    assert general
    model = compile_graph(graph, "lstm")
    agree_with(graph, model)
    weights = next(iter(model.layers.parameters()))
    weights.data[weights.abs() > 0] *= -1
    with pytest.raises(AssertionError):
        agree_with(graph, model)


def agree_with(graph: Graph, model: object) -> None:
    import torch

    rows = random_rows(graph, 100, 5)
    want = [row["out"] for row in Interpreter(graph).run(rows)]
    out, _ = model(torch.tensor([[row["x"] for row in rows]]))  # type: ignore[operator]
    assert out[0].tolist() == want


def test_terms_count_their_largest_sum() -> None:
    assert Term(((0, (0, 1)), (1, (0, 1))), 2).is_and
    assert not Term(((0, (0, 1)), (1, (0, 1))), 1).is_and
