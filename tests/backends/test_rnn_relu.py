"""The ReLU emitter: weights are whole, horizons are true, long runs stay exact, thresholds of two units."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

import lsrl
from lsrl.backends.circuit import Bit, Circuit, Column, Number, Output, Symbol
from lsrl.backends.exactness import analyse_exactness
from lsrl.backends.linear_form import Form, constant, signal
from lsrl.backends.model import CompiledModel
from lsrl.backends.registry import compile_graph
from lsrl.backends.rnn_relu import emit, single_units
from lsrl.backends.whole import whole_weights
from lsrl.diagnostics import LsrlError
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.python_step import compile_step
from lsrl.types import BOOL, INT, Type, Value
from lsrl.types import size as size_of
from tests.backends.texts import agree, graph_of, random_rows
from tests.corpus import ROOT

WHAT = Symbol("unit")
AUTOMATA = {
    "parity": "program p(x: bool) -> bool:\n    return parity(x)\n",
    "mod 7": "program p(x: int[0..3]) -> int[0..6]:\n    state m: int[0..6] = 0\n    m := (m + x) % 7\n    return m\n",
    "regex": 'program p(x: {"a", "b", "c"}) -> bool:\n    return matches(x, "(ab|b*c)*a?")\n',
    "depth 5": 'program p(x: {"(", ")"}) -> int[0..5]:\n    state d: int[0..5] = 0\n'
               '    d := min(d + 1, 5) if x == "(" else max(d - 1, 0)\n    return d\n',
    "two machines": 'program p(x: {"a", "b"}) -> bool[2]:\n    odd = parity(x == "a")\n'
                    "    return [odd, parity(prev(odd, true) and x == \"b\")]\n",
}
COUNT = "program p(x: bool) -> int:\n    return count(x)\n"
BALANCE = ("program p(x: bool) -> (n: int, zero: bool):\n    state n: int = 0\n    n := n + (1 if x else -1)\n"
           "    return (n = n, zero = n == 0)\n")
RESET = "program p(x: bool, y: bool) -> int:\n    state n: int = 0\n    n := 0 if x and y else n + 1\n    return n\n"
COUNTERS = """
program p(x: bool, y: bool) -> (all: int, balance: int, zero: bool, since: int, ok: bool, height: int):
    state n: int = 0
    state broken: bool = false
    state since: int = 0
    state height: int = 0
    state balance: int = 0
    balance := balance + (1 if x else -1)
    if not broken:
        n := n + (1 if x else -1)
        broken := n < -3000
    since := 0 if x and y else since + 1
    height := max(height + (1 if x else -1), 0)
    return (all = count(y), balance = balance, zero = balance == 0, since = since, ok = not broken, height = height)
"""


def long_run(graph: Graph, model: CompiledModel, length: int, pieces: int = 20, overlap: int = 16) -> None:
    """The module and the interpreter's generated step, side by side over a long random stream.

    The module runs the stream's pieces in a batch, each from the interpreter's state a few tokens before it begins.
    What it holds where a piece begins is, bit for bit, what it holds where the piece before ends: so the pieces put
    together are its run over the whole stream.
    """
    rng = np.random.default_rng(3)
    inputs = {n.name: rng.integers(0, _count(n.type), length) for n in graph.inputs}
    columns = [(x > 0).tolist() if n.type == BOOL else x.tolist()
               for n, x in zip(graph.inputs, inputs.values(), strict=True)]
    step = compile_step(graph)
    held = step.pack_state(step.initial_state())
    size = length // pieces
    begins = [0, *range(size - overlap, length - overlap, size)]
    marked = set(begins)
    states, want = [], []
    for t, row in enumerate(zip(*columns, strict=True)):
        if t in marked:
            states.append(held)
        out, held = step.transition(held, row)
        want.append(out)
    state = model.initial_state(pieces)
    for name, values in zip((s.name for s in graph.states), zip(*states, strict=True), strict=True):
        state = model.poke(state, name, list(values))
    first = model.initial_state(1)  # the first piece has no tokens before it
    _, state = model.outputs_of({n: torch.from_numpy(np.stack([x[b : b + overlap] for b in begins]))
                                 for n, x in inputs.items()}, state)
    start = [torch.cat([one, rest[1:]]) for one, rest in zip(first, state, strict=True)]
    got, end = model.outputs_of({n: torch.from_numpy(x.reshape(pieces, size)) for n, x in inputs.items()}, tuple(start))
    for one, other in zip(start, end, strict=True):
        assert torch.equal(one[1:], other[:-1])
    for (name, _), column in zip(graph.outputs, zip(*want, strict=True), strict=True):
        assert got[name].flatten(0, 1).tolist() == [list(v) if isinstance(v, tuple) else v for v in column], name


def _count(t: Type) -> int:
    found = size_of(t)
    assert found is not None
    return found


@pytest.mark.parametrize("name", AUTOMATA)
def test_automata_over_100_000_tokens(name: str) -> None:
    graph = graph_of(AUTOMATA[name])
    model = compile_graph(graph, "rnn_relu")
    assert model.certificate.horizon is None
    long_run(graph, model, 100_000)


@pytest.mark.slow
def test_counters_over_1_000_000_tokens() -> None:
    """A sum, a balance with its sign, a reset counter, a counter machine and a reflected walk, all in one model."""
    graph = graph_of(COUNTERS)
    model = compile_graph(graph, "rnn_relu")
    assert model.certificate.horizon is not None
    assert model.certificate.horizon >= 1_000_000
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # the layers are too small for more
        long_run(graph, model, 1_000_000)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float32, 24), (torch.float64, 53)])
def test_the_horizon_is_true_and_no_larger_than_it_must_be(dtype: torch.dtype, bits: int) -> None:
    """The count is exact as far as the certificate says, and the float itself fails right after."""
    model = compile_graph(graph_of(COUNT), "rnn_relu", dtype)
    horizon = model.certificate.horizon
    assert horizon is not None
    assert 2**bits - (2 if bits == 24 else 2**14) <= horizon <= 2**bits
    near = model.poke(model.initial_state(1), "count.n", horizon - 5)
    out, near = model(torch.ones(1, 5, dtype=torch.bool), near)
    assert out.tolist() == [[horizon - 4 + i for i in range(5)]]
    end = model.poke(near, "count.n", 2**bits - 1)
    with pytest.raises(LsrlError) as caught:
        model(torch.ones(1, 5, dtype=torch.bool), end)
    assert caught.value.diagnostics[0].code == "L407"


def test_the_horizon_shrinks_with_the_step() -> None:
    for step in (1, 3, 100):
        graph = graph_of(f"program p(x: int[-{step}..{step}]) -> int:\n    return running_sum(x)\n")
        horizon = compile_graph(graph, "rnn_relu").certificate.horizon
        assert horizon is not None
        assert 2**22 // step <= horizon <= 2**24 // step


def test_a_count_of_comparisons_grows_by_one() -> None:
    """The comparison is a difference of two numbers that grow; their sum does not bound it."""
    graph = graph_of("program p(x: bool) -> int:\n    return count(count(x) > count(not x))\n")
    horizon = compile_graph(graph, "rnn_relu").certificate.horizon
    assert horizon is not None
    assert horizon >= 2**22


def test_a_reset_counter_states_the_size_of_its_mask() -> None:
    certificate = compile_graph(graph_of(RESET), "rnn_relu").certificate
    assert certificate.horizon is not None
    assert 2**22 < certificate.horizon < 2**23


def test_a_number_that_doubles_has_a_short_horizon() -> None:
    graph = graph_of("program p(x: bool) -> int:\n    state n: int = 1\n    n := 2 * n + int(x)\n    return n\n")
    model = compile_graph(graph, "rnn_relu")
    assert model.certificate.horizon in (21, 22, 23)
    rows: list[dict[str, Value]] = [{"x": True}] * 21
    agree(graph, [rows], model)
    with pytest.raises(LsrlError, match="exact up to"):
        model(torch.ones(1, 200, dtype=torch.bool))


def test_unbounded_inputs_are_limited() -> None:
    graph = graph_of("program p(x: int) -> int:\n    return running_sum(x)\n")
    model = compile_graph(graph, "rnn_relu")
    assert model.certificate.input_limit == 4096
    assert "4,096" in model.certificate.table()
    with pytest.raises(LsrlError) as caught:
        model(torch.tensor([[2**24 + 1]]))
    assert caught.value.diagnostics[0].code == "L603"


def test_every_weight_is_whole() -> None:
    graph = graph_of("program p(x: real[-2..2 by 1/6], y: int[0..9]) -> real:\n"
                     "    state s: real = 1/3\n    s := max(s + x / 4, 0) + y / 5\n    return s\n")
    with pytest.raises(LsrlError):  # its feedback is not of depth one from above and has no bound: only some forms are
        compile_graph(graph_of("program p(x: real) -> real:\n    return running_max(x)\n"), "rnn_relu")
    model = agree(graph, [random_rows(graph, 40, 1)])
    for p in model.stack.parameters():
        assert torch.equal(p, p.round())


def threshold_circuit() -> Circuit:
    """Of three input bits: whether at least two are on, as one general threshold; and whether that ever held."""
    below = Form.of([(1, 0), (1, 1), (1, 2)], -1)
    layer = (Bit(below, Form(), WHAT, 0, False), Bit(Form(), signal(0) + signal(1), WHAT, 1, False))
    columns = tuple(Column(n, None, (True,)) for n in "abc")
    return Circuit("two", columns, (layer,), (Output("y", BOOL, (signal(0),)), Output("z", BOOL, (signal(1),))))


def test_general_thresholds_take_two_units() -> None:
    whole = threshold_circuit()
    single = single_units(whole)
    assert whole.width == 2
    assert single.width == 4
    rows: list[dict[str, Value]] = [{n: bool(i >> k & 1) for k, n in enumerate("abc")} for i in (0, 1, 3, 7, 4, 6, 0)]
    assert list(single.simulate(rows)) == list(whole.simulate(rows))
    with pytest.raises(ValueError, match="two units"):
        emit(whole, torch.float32)
    assert emit(single, torch.float32).layers[0].width == 4


def test_whole_weights_keeps_the_meaning() -> None:
    layer = (Number(signal(0, Fraction(1, 3)), signal(0), WHAT), Number(constant(Fraction(1, 2)), signal(0), WHAT))
    circuit = Circuit("thirds", (Column("x", None, None, 1, 9),), (layer,), (
        Output("y", INT, (signal(0, 3),)), Output("z", INT, (signal(1, 6),))))
    rows: list[dict[str, Value]] = [{"x": x} for x in (1, 5, 0, 2)]
    whole = whole_weights(circuit)
    assert list(whole.simulate(rows)) == list(circuit.simulate(rows))
    for unit in whole.layers[0]:
        assert isinstance(unit, Number)
        assert all(Fraction(w).denominator == 1 for w, _ in (*unit.below.terms, *unit.own.terms))
    halving = Circuit("half", (), ((Number(Form(), signal(0, Fraction(1, 2)), WHAT, 1),),), ())
    with pytest.raises(LsrlError, match="finer"):
        whole_weights(halving)


def chain(weight: int, hi: int | None = None) -> Circuit:
    layer = (Number(signal(0, weight), signal(0), WHAT, 0, hi),)
    return Circuit("c", (Column("x", None, None, 1, 10),), (layer,), (Output("y", INT, (signal(0),)),))


@pytest.mark.parametrize(("circuit", "horizon", "partial"), [
    (chain(1), 2**24 // 10 - 1, 10), (chain(5), 2**24 // 50 - 1, 50), (chain(1, 100), None, 110),
])
def test_exactness_of_an_accumulator(circuit: Circuit, horizon: int | None, partial: int) -> None:
    found = analyse_exactness(circuit, 24, 4096)
    assert found.horizon == horizon
    assert found.partial_sum == partial
    assert found.too_large is None


def test_exactness_through_layers() -> None:
    """The sum of a count grows as the square: the horizon is the largest t with t(t+1)/2 + … within the floats."""
    one = (Number(constant(1), signal(0), WHAT),)
    two = (Number(signal(0), signal(0), WHAT),)
    circuit = Circuit("c", (), (one, two), (Output("y", INT, (signal(0),)),))
    found = analyse_exactness(circuit, 24, 4096)
    assert found.horizon is not None
    t = found.horizon
    assert t * (t + 1) // 2 <= 2**24 < (t + 2) * (t + 3) // 2


def test_too_large_a_sum_is_refused() -> None:
    graph = graph_of("program p(x: int[0..20000000]) -> bool:\n    return x > 3\n")
    with pytest.raises(LsrlError) as caught:
        compile_graph(graph, "rnn_relu")
    assert caught.value.diagnostics[0].code == "L407"
    agree(graph, [[{"x": 3}, {"x": 20000000}, {"x": 4}]], dtype=torch.float64)


def test_batches_threads_and_parts_are_bit_equal() -> None:
    graph = graph_of(BALANCE)
    model = compile_graph(graph, "rnn_relu")
    x = torch.rand(6, 500, generator=torch.manual_seed(0)) < 0.7
    whole, end = model(x)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for i in range(6):
            first, state = model(x[i : i + 1, :123])
            second, last = model(x[i : i + 1, 123:], state)
            assert torch.equal(torch.cat([first["n"], second["n"]], 1), whole["n"][i : i + 1])
            assert all(torch.equal(a, b[i : i + 1]) for a, b in zip(last, end, strict=True))
    finally:
        torch.set_num_threads(before)
    step_state = model.initial_state(6)
    for t in range(40):
        out, step_state = model.step(x[:, t], step_state)
        assert torch.equal(out["n"], whole["n"][:, t])


def test_refusals_of_unbounded_values_do_not_touch_this_target() -> None:
    """What the LSTM refuses as an unbounded output, this target hosts."""
    graph = graph_of(COUNT)
    with pytest.raises(LsrlError) as caught:
        compile_graph(graph, "lstm")
    assert caught.value.diagnostics[0].code == "L403"
    assert "rnn_relu" in caught.value.diagnostics[0].help
    rows = random_rows(graph, 30)
    agree(graph, [rows])
    assert len(list(Interpreter(graph).run(rows))) == 30


@pytest.mark.parametrize("target", ["rnn_relu", "rnn_tanh"])
def test_layers_without_memory_give_what_the_torch_modules_give(target: str) -> None:
    """They are computed without the loop over tokens; in layers of torch alone the same bits come out."""
    model = lsrl.load(ROOT / "examples/lsrl/tok2tok_3.lsrl").compile(target)
    x = model.encoder(torch.randint(0, 10, (5, 70), generator=torch.Generator().manual_seed(0)))
    state = model.initial_state(5)
    shown, after = model.stack(x, state)[:2]
    own: list[torch.Tensor] = []
    without = 0
    for module, start in zip(model.layers, state, strict=True):
        assert isinstance(module, torch.nn.RNN)
        without += not module.get_parameter("weight_hh_l0").any()
        x, last = module(x, start[None].contiguous())
        own.append(last[0])
    assert without > 3 and torch.equal(shown, x)
    assert all(torch.equal(a, b) for a, b in zip(after, own, strict=True))
