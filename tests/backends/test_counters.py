"""Counters and counter machines in real torch.nn.LSTM layers, against plain Python, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from lsrl.backends.counters import Tracker, needs_remainder, remainder_machine, saturate, threshold_map
from lsrl.backends.cubes import Diagrams
from lsrl.backends.finite import Leaf, Step
from lsrl.backends.lower import threshold_circuit
from lsrl.backends.registry import compile_graph
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.ir.graph import Graph
from lsrl.passes import run_pipeline

CHAR = 'type Char = {"(", ")", *}\n'
BALANCED = CHAR + """
program balanced(tok: Char) -> bool:
    state depth: int = 0
    state broken: bool = false
    depth := depth + match tok: "(" => 1, ")" => -1, _ => 0
    broken := broken or depth < 0
    return depth == 0 and not broken
"""
CLAMPED = CHAR + """
program clamped(tok: Char) -> (empty: bool, two: bool):
    state depth: int = 0
    if tok == "(":
        depth := depth + 1
    elif tok == ")":
        depth := max(depth - 1, 0)
    return (empty = depth == 0, two = depth >= 2)
"""
MAJORITY = "program majority(bit: bool) -> bool:\n    return count(bit) > count(not bit)\n"
EQUAL_RUNS = """
program equal_runs(t: {"a", "b"}) -> bool:
    state wrong: bool = false
    n = count(t == "a")
    m = count(t == "b")
    wrong := wrong or (t == "a" and m > 0)
    return n == m and not wrong
"""
THREE_RUNS = """
program three_runs(t: {"a", "b", "c"}) -> bool:
    state wrong: bool = false
    n = count(t == "a")
    m = count(t == "b")
    k = count(t == "c")
    wrong := wrong or (t == "a" and m > 0) or (t == "b" and k > 0)
    return n == m and m == k and not wrong
"""
SHUFFLED = """
program shuffled(t: {"(", ")", "[", "]"}) -> bool:
    state round: int = 0
    state square: int = 0
    state broken: bool = false
    round := round + match t: "(" => 1, ")" => -1, _ => 0
    square := square + match t: "[" => 1, "]" => -1, _ => 0
    broken := broken or round < 0 or square < 0
    return round == 0 and square == 0 and not broken
"""
BIG_STEPS = """
program big_steps(a: bool, b: bool) -> bool:
    state c: int = 0
    c := c + (3 if a else -2) + (0 if b else -1)
    return c > 1
"""
RUNS = "program runs(a: bool) -> bool:\n    return run_length(a) >= 4\n"
LIMITED = """
program limited(up: bool) -> bool:
    state level: int = 0
    state full: bool = false
    full := level >= 3
    if up and not full:
        level := level + 1
    elif not up and level > 0:
        level := level - 1
    return level == 2
"""
RESET = """
program reset(t: {"up", "down", "zero"}) -> bool:
    state n: int = 0
    if t == "zero":
        n := 0
    else:
        n := n + (1 if t == "up" else -1)
    return n > 2
"""
OLD = """
program old(up: bool) -> bool:
    state n: int = 0
    was = n
    n := n + (1 if up else -1)
    return was > 0 and n > 0
"""


def graph_of(text: str) -> Graph:
    return read_module(Source("test.lsrl", text), Path()).elaborate()


def balanced(word: Sequence[int]) -> list[bool]:
    depth, broken, out = 0, False, []
    for x in word:
        depth += (x == 0) - (x == 1)
        broken = broken or depth < 0
        out.append(depth == 0 and not broken)
    return out


def clamped(word: Sequence[int]) -> list[tuple[bool, bool]]:
    depth, out = 0, []
    for x in word:
        depth = max(depth + (x == 0) - (x == 1), 0)
        out.append((depth == 0, depth >= 2))
    return out


def majority(word: Sequence[int]) -> list[bool]:
    return [2 * sum(word[: i + 1]) > i + 1 for i in range(len(word))]


def runs_of(letters: str, word: Sequence[int]) -> list[bool]:
    out = []
    for i in range(len(word)):
        text = "".join(letters[x] for x in word[: i + 1])
        n = len(text) // len(letters)
        out.append(text == "".join(c * n for c in letters))
    return out


def shuffled(word: Sequence[int]) -> list[bool]:
    a = b = 0
    broken, out = False, []
    for x in word:
        a, b = a + (x == 0) - (x == 1), b + (x == 2) - (x == 3)
        broken = broken or a < 0 or b < 0
        out.append(a == 0 and b == 0 and not broken)
    return out


def run_lengths(word: Sequence[int]) -> list[bool]:
    """`run_length` counts tokens equal to the last, of either value."""
    return [i >= 3 and len(set(word[i - 3 : i + 1])) == 1 for i in range(len(word))]


def limited(word: Sequence[int]) -> list[bool]:
    level, out = 0, []
    for up in word:
        full = level >= 3
        if up and not full:
            level += 1
        elif not up and level > 0:
            level -= 1
        out.append(level == 2)
    return out


def reset(word: Sequence[int]) -> list[bool]:
    n, out = 0, []
    for x in word:
        n = 0 if x == 2 else n + (1 if x == 0 else -1)
        out.append(n > 2)
    return out


def old(word: Sequence[int]) -> list[bool]:
    n, out = 0, []
    for up in word:
        was, n = n, n + (1 if up else -1)
        out.append(was > 0 and n > 0)
    return out


CASES: list[tuple[str, str, int, Callable[[Sequence[int]], Sequence[object]]]] = [
    ("balanced", BALANCED, 3, balanced),
    ("clamped", CLAMPED, 3, clamped),
    ("majority", MAJORITY, 2, majority),
    ("equal_runs", EQUAL_RUNS, 2, lambda w: runs_of("ab", w)),
    ("three_runs", THREE_RUNS, 3, lambda w: runs_of("abc", w)),
    ("shuffled", SHUFFLED, 4, shuffled),
    ("runs", RUNS, 2, run_lengths),
    ("limited", LIMITED, 2, limited),
    ("reset", RESET, 3, reset),
    ("old", OLD, 2, old),
]


def words(name: str, letters: int, rng: random.Random, length: int) -> list[list[int]]:
    """Random words, and some that stay right for long."""
    out = [[rng.randrange(letters) for _ in range(length)] for _ in range(3)]
    if name in ("balanced", "clamped", "shuffled"):
        word: list[int] = []
        open_: list[int] = []
        while len(word) < length:
            if open_ and rng.random() < 0.5:
                word.append(open_.pop(rng.randrange(len(open_)) if name == "shuffled" else -1) + 1)
            else:
                kind = 2 * rng.randrange(2) if name == "shuffled" else 0
                open_.append(kind)
                word.append(kind)
        out.append(word)
    if name.endswith("_runs"):
        n = length // letters
        out.append([x for x in range(letters) for _ in range(n)] + [letters - 1] * (length - n * letters))
    return out


@pytest.mark.parametrize(("name", "text", "letters", "oracle"), CASES, ids=[c[0] for c in CASES])
def test_counters_are_bit_exact(name: str, text: str, letters: int,
                                oracle: Callable[[Sequence[int]], Sequence[object]]) -> None:
    rng = random.Random(name)
    graph = graph_of(text)
    given = words(name, letters, rng, 240)
    key = graph.inputs[0].name
    circuit = threshold_circuit(run_pipeline(graph), "lstm")
    for word in given:
        rows = [tuple(r.values()) for r in circuit.simulate({key: x} for x in word)]
        want = [x if isinstance(x, tuple) else (x,) for x in oracle(word)]
        assert rows == want
    for dtype in (torch.float32, torch.float64):
        out, _ = compile_graph(graph, "lstm", dtype).outputs_of(torch.tensor(given))
        for b, word in enumerate(given):
            got = list(zip(*(x[b].tolist() for x in out.values()), strict=True))
            assert got == [x if isinstance(x, tuple) else (x,) for x in oracle(word)]


def test_steps_larger_than_one_use_a_remainder() -> None:
    rng = random.Random(3)
    graph = graph_of(BIG_STEPS)
    model = compile_graph(graph, "lstm")
    a, b = ([rng.random() < p for _ in range(3000)] for p in (0.5, 0.6))
    out, _ = model({"a": torch.tensor([a]), "b": torch.tensor([b])})
    c, want = 0, []
    for x, y in zip(a, b, strict=True):
        c += (3 if x else -2) + (0 if y else -1)
        want.append(c > 1)
    assert out[0].tolist() == want
    assert any("remainder" in row.note for row in model.certificate.cells)


def ratio(word: Sequence[int]) -> list[bool]:
    return [sum(word[: i + 1]) // 3 - (i + 1 - sum(word[: i + 1])) // 2 > 1 for i in range(len(word))]


def quarters(word: Sequence[int]) -> list[bool]:
    return [sum(2 if x else -1 for x in word[: i + 1]) >= 6 for i in range(len(word))]


def shifted(word: Sequence[int]) -> list[int]:
    """The remainder by 5 of the old sum plus 2."""
    return [(sum(2 if x else -3 for x in word[:i]) + 2) % 5 for i in range(len(word))]


@pytest.mark.parametrize(("text", "oracle"), [
    ("count(b) % 2 == 0", lambda w: [sum(w[: i + 1]) % 2 == 0 for i in range(len(w))]),
    ("count(b) // 3 - count(not b) // 2 > 1", ratio),
    ("running_sum(0.5 if b else -0.25) >= 1.5", quarters),
])
def test_numbers_divided_or_on_a_grid(text: str, oracle: Callable[[Sequence[int]], list[bool]]) -> None:
    rng = random.Random(text)
    model = compile_graph(graph_of(f"program p(b: bool) -> bool:\n    return {text}\n"), "lstm")
    for chance in (0.35, 0.5, 0.65):
        word = [int(rng.random() < chance) for _ in range(400)]
        assert model(torch.tensor([word]).bool())[0][0].tolist() == oracle(word)


def test_a_remainder_of_the_old_value() -> None:
    rng = random.Random(9)
    body = ["state n: int = 0", "old = n", "n := n + (2 if b else -3)", "return (old + 2) % 5"]
    model = compile_graph(graph_of("program p(b: bool) -> int[0..4]:\n" + "".join(f"    {x}\n" for x in body)), "lstm")
    word = [rng.randrange(2) for _ in range(300)]
    assert model(torch.tensor([word]).bool())[0][0].tolist() == shifted(word)
    assert model.certificate.horizon is None  # finite: no register is needed


@pytest.mark.parametrize(("up", "down", "level"), [(2, 1, 3), (3, 2, 5), (3, 1, 0), (5, 3, 7)])
def test_large_steps_with_feedback(up: int, down: int, level: int) -> None:
    """A walk that is reflected at zero: its own comparison decides how it moves."""
    text = (f"program p(b: bool) -> (high: bool, zero: bool):\n    state n: int = 4\n"
            f"    n := n + {up} if b else max(n - {down}, 0)\n    return (high = n >= {level}, zero = n == 0)\n")
    rng = random.Random(up)
    word = [rng.random() < down / (up + down) for _ in range(1500)]
    n, want = 4, []
    for b in word:
        n = n + up if b else max(n - down, 0)
        want.append((n >= level, n == 0))
    out, _ = compile_graph(graph_of(text), "lstm").outputs_of(torch.tensor([word]))
    assert list(zip(out["high"][0].tolist(), out["zero"][0].tolist(), strict=True)) == want


def test_hysteresis_with_large_steps() -> None:
    text = """
program p(t: {"a", "b", "c"}) -> bool:
    state n: int = 0
    state full: bool = false
    full := n > 20 or (full and n > 4)
    n := n - 2 if full else n + (3 if t == "a" else 2 if t == "b" else -1)
    return n > 10
"""
    rng = random.Random(2)
    word = [rng.randrange(3) for _ in range(1500)]
    n, full, want = 0, False, []
    for x in word:
        full = n > 20 or (full and n > 4)
        n += -2 if full else (3, 2, -1)[x]
        want.append(n > 10)
    assert compile_graph(graph_of(text), "lstm")(torch.tensor([word]))[0][0].tolist() == want


def test_a_clamped_count_is_an_output() -> None:
    model = compile_graph(graph_of("program p(b: bool) -> int[0..9]:\n    return clamp(count(b), 0, 9)\n"), "lstm")
    word = [i % 3 != 1 for i in range(40)]
    assert model(torch.tensor([word]))[0][0].tolist() == [min(sum(word[: i + 1]), 9) for i in range(40)]


def test_a_wide_range_is_counted_and_not_enumerated() -> None:
    text = ("program p(b: bool) -> bool:\n    state n: int[0..1000] = 500\n"
            "    n := clamp(n + (1 if b else -1), 0, 1000)\n    return n > 498\n")
    model = compile_graph(graph_of(text), "lstm")
    assert sum(model.certificate.widths) < 20
    word = [False] * 700 + [True] * 1200 + [False] * 600
    n, want = 500, []
    for b in word:
        n = min(max(n + (1 if b else -1), 0), 1000)
        want.append(n > 498)
    assert model(torch.tensor([word]))[0][0].tolist() == want


def test_a_deep_stack_of_brackets_is_counted() -> None:
    """Depth 60,000, far beyond what a saturating cell could hold."""
    n = 60_000
    model = compile_graph(graph_of(BALANCED), "lstm")
    out, _ = model(torch.tensor([[0] * n + [1] * n + [1]]))
    assert out[0, 2 * n - 2].item() is False
    assert out[0, 2 * n - 1].item() is True
    assert out[0, 2 * n].item() is False


@pytest.mark.slow
def test_a_counter_runs_1_000_000_steps() -> None:
    generator = torch.Generator().manual_seed(5)
    word = torch.rand(1_000_000, generator=generator) < 0.5
    sums = torch.cumsum(word.long() * 2 - 1, 0)
    model = compile_graph(graph_of(MAJORITY), "lstm")
    state = model.initial_state(1)
    for at in range(0, len(word), 50_000):
        out, state = model(word[None, at : at + 50_000], state)
        assert torch.equal(out[0], sums[at : at + 50_000] > 0)


def test_poke_sets_a_counter_and_probe_reads_it() -> None:
    model = compile_graph(graph_of(BALANCED), "lstm")
    _, state = model(torch.tensor([[0, 0, 2]]))
    assert model.probe(state, "depth").tolist() == [2]
    state = model.poke(state, "depth", 7)
    assert model.probe(state, "depth").tolist() == [7]
    out, after = model(torch.tensor([[1] * 7]), state)
    assert out[0].tolist() == [False] * 6 + [True]
    assert model.probe(after, "depth").tolist() == [0]


def step_diagram(steps: Sequence[Step]) -> tuple[Diagrams, int, int]:
    d = Diagrams()
    x = d.variable(len(steps))
    return d, x, d.case(x, [d.leaf(s) for s in steps])


def test_saturation_needs_steps_in_one_direction() -> None:
    tracker = Tracker(((1, "n"),), {3: 0}, {})
    d, _, f = step_diagram([Step(1), Step(0, True)])
    machine = saturate(d, f, tracker, 0)
    assert machine is not None and machine.size == 4  # 0, 1, 2, and 3 or more
    d, _, f = step_diagram([Step(1), Step(-1)])
    assert saturate(d, f, tracker, 0) is None
    d, _, f = step_diagram([Step(1), Step(0, True)])
    assert saturate(d, f, Tracker(((1, "n"),), {1000: 0}, {}), 0) is None


@pytest.mark.parametrize("divisor", [2, 3, 5])
def test_quotient_and_remainder_make_up_the_number(divisor: int) -> None:
    rng = random.Random(divisor)
    steps = [Step(d) for d in range(-divisor, divisor + 1)]
    d, x, f = step_diagram(steps)
    start = rng.randrange(-9, 9)
    machine = remainder_machine(d, f, divisor, start)
    total, quotient, q = start, start // divisor, machine.start
    for _ in range(500):
        i = rng.randrange(len(steps))
        point = [0] * (x + 1)
        point[x] = i
        leaf = d.evaluate(machine.functions[q], point)
        assert isinstance(leaf, Leaf)
        carry, after, before = leaf.observed
        assert isinstance(carry, Step) and abs(carry.by) <= 1
        assert before == total % divisor
        total, quotient, q = total + steps[i].by, quotient + carry.by, leaf.next
        assert (quotient, after) == (total // divisor, total % divisor)


def test_a_threshold_of_quotient_and_remainder() -> None:
    d = Diagrams()
    r = d.variable(3)
    levels = {q: d.variable(2) for q in range(-3, 4)}
    for k in (-4, 0, 1, 5):
        f = threshold_map(d, k, 3, r, levels)
        for value in range(-8, 9):
            point = [value % 3, *(int(value // 3 >= q) for q in levels)]
            assert d.evaluate(f, point) == (value >= k)


def test_the_divisor_is_the_smallest_that_fits() -> None:
    assert needs_remainder([Step(1), Step(-1)], [1], 0) == 1
    assert needs_remainder([Step(3), Step(-2)], [1], 0) == 3
    assert needs_remainder([Step(1), Step(0, True)], [1], 0) == 1
    assert needs_remainder([Step(1), Step(-1), Step(0, True)], [6], 0) > 1
    with pytest.raises(ValueError, match="no divisor"):
        needs_remainder([Step(100)], [1], 0)


def test_an_unbounded_output_is_refused_with_its_place() -> None:
    text = "program counted(b: bool) -> int:\n    return count(b)\n"
    with pytest.raises(LsrlError) as error:
        compile_graph(graph_of(text), "lstm")
    diagnostic = error.value.diagnostics[0]
    assert diagnostic.code == "L403"
    assert "`count.n`" in diagnostic.message and "no bounds" in diagnostic.message
    assert "rnn_relu" in diagnostic.help


@pytest.mark.parametrize(("text", "code", "why"), [
    ("program p(x: int) -> bool:\n    return x > 3\n", "L402", "bits only"),
    ("program p(x: real) -> bool:\n    return running_sum(x) > 3\n", "L40", "`"),
    ("program p(b: bool) -> bool:\n    state n: int = 1\n    if b:\n        n := 2 * n\n    return n > 50\n", "L402",
     "multiple of its own"),
    ("program p(b: bool) -> bool:\n    return running_mean(int(b)) > 0.5\n", "L405", "division"),
])
def test_refusals_say_why(text: str, code: str, why: str) -> None:
    with pytest.raises(LsrlError) as error:
        compile_graph(graph_of(text), "lstm")
    diagnostic = error.value.diagnostics[0]
    assert diagnostic.code.startswith(code)
    assert why in diagnostic.message
    assert diagnostic.span.line >= 1
