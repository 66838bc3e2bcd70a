"""The targets of threshold bits (lstm, gru, rnn_tanh, slstm): circuit against module, held bits, gates, every dtype."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from lsrl.backends import gru, lstm, rnn_tanh, slstm
from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Bit, Circuit, Column, Layer, Output, Quantity, Register, Symbol, Unit
from lsrl.backends.emission import Emission, Emitter, build_stack
from lsrl.backends.linear_form import NEVER, ZERO, Form, Gate, constant, signal
from lsrl.backends.registry import TARGETS, compile_graph
from lsrl.backends.threshold_emission import SATURATION, GateRows, Levels, threshold_layers
from lsrl.diagnostics import LsrlError
from lsrl.types import BOOL
from lsrl.verify import verify
from tests.backends.automata import random_automaton

EMITTERS: dict[str, Emitter] = {"lstm": lstm.emit, "gru": gru.emit, "rnn_tanh": rnn_tanh.emit,
                                "slstm": slstm.emit}
HOLDING = tuple(t for t in EMITTERS if TARGETS[t].holds)
DTYPES = tuple(SATURATION)
COLUMNS = tuple(Column(f"x{i}", None, (True,)) for i in range(3))

everywhere = pytest.mark.parametrize("target", sorted(EMITTERS))
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))


def random_form(rng: random.Random, signals: int, most: int = 3) -> Form:
    chosen = rng.sample(range(signals), min(signals, rng.randint(0, most)))
    return Form.of([(rng.choice((-2, -1, 1, 1, 2)), i) for i in chosen], rng.randint(-1, 1))


def random_circuit(rng: random.Random, holds: bool) -> Circuit:
    """Two layers of general thresholds, of which every second bit is held by a random gate if `holds`."""
    layers: list[Layer] = []
    below = len(COLUMNS)
    for width in (5, 4):
        layers.append(tuple(
            Bit(random_form(rng, below), random_form(rng, width), Symbol(f"u{i}"), rng.randint(0, 1), False,
                hold=Gate(random_form(rng, below), random_form(rng, width)) if holds and i % 2 else NEVER)
            for i in range(width)))
        below = width
    outputs = tuple(Output(f"y{i}", BOOL, (signal(i),)) for i in range(below))
    return Circuit("random", COLUMNS, tuple(layers), outputs)


def run(circuit: Circuit, emission: Emission, rows: Sequence[Sequence[bool]], dtype: torch.dtype) -> Tensor:
    """The read-out of the torch layers before it is rounded (T, outputs)."""
    stack = build_stack(emission, len(circuit.columns), dtype)
    x = torch.tensor(rows, dtype=dtype).unsqueeze(0)
    with torch.no_grad():
        top, _, _ = stack(x, stack.initial_state(1))
        weight, bias = emission.readout
        return nn.functional.linear(top, weight, bias)[0]


def compare(circuit: Circuit, emit: Emitter, dtype: torch.dtype, rng: random.Random, steps: int = 60) -> int:
    """Asserts that circuit and module agree; how many of the outputs were on."""
    rows = [[rng.random() < 0.5 for _ in COLUMNS] for _ in range(steps)]
    emission = emit(circuit, dtype)
    got = run(circuit, emission, rows, dtype).double()
    wanted = [[int(v == 1) for v in out.values()] for out in circuit.simulate(
        {c.input: x for c, x in zip(COLUMNS, row, strict=True)} for row in rows)]
    assert (got - got.round()).abs().max() <= emission.tolerance
    assert got.round().int().tolist() == wanted
    return int(got.round().sum())


@each_dtype
@everywhere
def test_random_circuits(target: str, dtype: torch.dtype) -> None:
    rng = random.Random(f"{target} {dtype}")
    on = [compare(random_circuit(rng, holds=False), EMITTERS[target], dtype, rng) for _ in range(25)]
    assert sum(map(bool, on)) > 15


@each_dtype
@pytest.mark.parametrize("target", HOLDING)
def test_held_bits(target: str, dtype: torch.dtype) -> None:
    rng = random.Random(f"held {target} {dtype}")
    on = [compare(random_circuit(rng, holds=True), EMITTERS[target], dtype, rng) for _ in range(25)]
    assert sum(map(bool, on)) > 15


@pytest.mark.parametrize("target", HOLDING)
def test_a_held_bit_keeps_its_value_for_ever(target: str) -> None:
    """A latch: held while x0 is off, else x1; 3,000 tokens of which one in a hundred writes."""
    latch = Bit(signal(1), ZERO, Symbol("latch"), hold=Gate(Form.of([(-1, 0)], 1)))
    circuit = Circuit("latch", COLUMNS, ((latch,),), (Output("out", BOOL, (signal(0),)),))
    rng = random.Random(5)
    rows = [[rng.random() < 0.01, rng.random() < 0.5, False] for _ in range(3_000)]
    for dtype in DTYPES:
        got = run(circuit, EMITTERS[target](circuit, dtype), rows, dtype)[:, 0].double().round().int().tolist()
        value, wanted = 0, []
        for write, x, _ in rows:
            value = int(x) if write else value
            wanted.append(value)
        assert got == wanted
    assert 300 < sum(wanted) < 2_700


def test_a_layer_without_gates_cannot_hold() -> None:
    held = Bit(signal(0), ZERO, Symbol("b"), hold=Gate(signal(1)))
    circuit = Circuit("held", COLUMNS, ((held,),), (Output("out", BOOL, (signal(0),)),))
    assert len(HOLDING) < len(EMITTERS)
    for target in EMITTERS.keys() - set(HOLDING):
        with pytest.raises(ValueError, match="no gate"):
            EMITTERS[target](circuit, torch.float32)


def arguments(module: nn.RNNBase, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """(W x + b, U h + c) of the first layer."""
    p = dict(module.named_parameters())
    return x @ p["weight_ih_l0"].T + p["bias_ih_l0"], h @ p["weight_hh_l0"].T + p["bias_hh_l0"]


@each_dtype
@pytest.mark.parametrize("target", ["gru", "rnn_tanh"])
def test_states_are_exactly_plus_or_minus_one(target: str, dtype: torch.dtype) -> None:
    rng = random.Random(2)
    automaton = random_automaton(rng, 8, 3)
    model = compile_graph(automaton.graph(), target, dtype)
    module = model.layers[0]
    assert isinstance(module, nn.GRU if target == "gru" else nn.RNN)
    state = model.initial_state(1)
    sigmoid, tanh = SATURATION[dtype]
    for x in [rng.randrange(3) for _ in range(60)]:
        below, own = arguments(module, model.encoder(torch.tensor([[x]]))[0], state[0])
        if target == "gru":
            r, z, n = (below + own).chunk(3, -1)
            assert bool((r >= sigmoid).all()) and bool((z <= -sigmoid).all())
            assert set(torch.sigmoid(r).flatten().tolist()) == {1.0}
            assert set(torch.sigmoid(z).flatten().tolist()) == {0.0}
        else:
            n = below + own
        assert bool((n.abs() >= tanh).all())
        _, state = model(torch.tensor([[x]]), state)
        assert set(state[0].flatten().tolist()) <= {-1.0, 1.0}


@each_dtype
def test_saturation_is_what_torch_does(dtype: torch.dtype) -> None:
    """From half of the demanded argument on, in steps finer than the dtype's."""
    sigmoid, tanh = SATURATION[dtype]
    far = min(8 * sigmoid, torch.finfo(dtype).max)
    z = torch.linspace(sigmoid, far, 10_001, dtype=torch.float64).to(dtype)
    assert set(torch.sigmoid(z).tolist()) == {1.0} and set(torch.sigmoid(-z).tolist()) == {0.0}
    z = torch.linspace(tanh / 1.8, far, 10_001, dtype=torch.float64).to(dtype)
    assert set(torch.tanh(z).tolist()) == {1.0} and set(torch.tanh(-z).tolist()) == {-1.0}


@each_dtype
@everywhere
def test_automata_are_proved_in_every_dtype(target: str, dtype: torch.dtype) -> None:
    rng = random.Random(f"automata {target}")
    for states, letters in ((3, 2), (8, 3), (12, 4)):
        graph = random_automaton(rng, states, letters, 3).graph()
        verdict = verify(graph, compile_graph(graph, target, dtype))
        assert verdict.kind == "PROVED", verdict.render()
        assert verdict.covers["dtype"] == str(dtype).removeprefix("torch.")


@everywhere
def test_wide_sums_leave_bfloat16_first(target: str) -> None:
    """A unit that counts n of its own layer's bits: exact in bfloat16 for few, refused for many, never wrong."""
    def counting(n: int) -> Circuit:
        copies = tuple(Bit(signal(i % 3), ZERO, Symbol(f"copy {i}")) for i in range(n))
        most = Bit(ZERO, Form.of([(1, i) for i in range(n)], 1 - n // 2), Symbol("most"), at_most_one=False)
        return Circuit("most", COLUMNS, ((*copies, most),), (Output("out", BOOL, (signal(n),)),))

    hosted: dict[torch.dtype, list[int]] = {d: [] for d in DTYPES}
    for dtype in DTYPES:
        for n in (4, 30, 90, 300):
            try:
                emission = EMITTERS[target](counting(n), dtype)
            except LsrlError as error:
                code = error.diagnostics[0].code
                assert code == "L407"
                continue
            hosted[dtype].append(n)
            rng = random.Random(n)
            rows = [[rng.random() < 0.5 for _ in COLUMNS] for _ in range(12)]
            got = run(counting(n), emission, rows, dtype)[:, 0].double().round().bool().tolist()
            last = [sum(row[i % 3] for i in range(n)) >= n // 2 for row in rows]
            assert got[1:] == last[:-1]
    assert 30 in hosted[torch.bfloat16] and 300 not in hosted[torch.bfloat16]
    assert len(hosted[torch.bfloat16]) <= len(hosted[torch.float16]) <= len(hosted[torch.float32])
    assert hosted[torch.float64][-1] == 300


def test_margins_count_what_rounding_takes() -> None:
    """The margin with weights as bfloat16 holds them, by hand: 1/(2·tanh 1) and tanh 1 are both off."""
    own = Bit(ZERO, signal(0), Symbol("self"))
    circuit = Circuit("self", COLUMNS, ((own,),), (Output("out", BOOL, (signal(0),)),))
    level = Fraction(195, 256)  # tanh 1 in bfloat16
    weight = Fraction(168, 256)  # 1/(2 tanh 1) = 0.65641, to 8 bits
    product = Fraction(1, 2) - abs(weight * level - Fraction(1, 2))
    rounded = Fraction(1, 256) * Fraction(3, 2)  # U h + c is at most 1; with the threshold taken off, at most ½
    margin = lstm.emit(circuit, torch.bfloat16).margin
    assert float(product - rounded) - 1e-4 < margin < float(product - rounded)
    assert gru.emit(circuit, torch.bfloat16).margin == 0.5


def test_a_gate_that_is_turned_over() -> None:
    def write(rows: GateRows, row: int, unit: Unit) -> None:
        rows.drive(0, row, Gate(signal(0)), 4.0)
        rows.drive(1, row, Gate(signal(0)), -4.0)

    circuit = Circuit("one", COLUMNS, ((Bit(signal(0), constant(0), Symbol("b")),),), ())
    layers, _ = threshold_layers("x", 2, circuit, Levels(), torch.float32, write, lambda units: ())
    assert layers[0].w_in[:, 0].tolist() == [8.0, -8.0] and layers[0].bias_in.tolist() == [-4.0, 4.0]


@each_dtype
def test_counters_need_as_many_integers_as_they_count(dtype: torch.dtype) -> None:
    """A balance that stops at ±n fits in a register of a dtype that holds the integers up to 2n, else is refused."""
    def balance(n: int) -> Circuit:
        """One register, +1 while x0 is on, else −1, and whether it is above 0 before this token."""
        register = Register(Gate(constant(1)), Gate(signal(0)), NEVER, Symbol("r"))
        top = Bit(signal(0), ZERO, Symbol("above"))
        return Circuit("balance", COLUMNS, ((register,), (top,)), (Output("out", BOOL, (signal(0),)),),
                       quantities=(Quantity("balance", -n, n),))

    def hosts(circuit: Circuit) -> bool:
        try:
            emission = lstm.emit(circuit, dtype)
        except LsrlError as error:
            code = error.diagnostics[0].code
            assert code == "L407"
            return False
        n = int(circuit.quantities[0].hi or 0)
        rows = [[True, False, False]] * n + [[False, False, False]] * (2 * n)
        got = run(circuit, emission, rows, dtype)[:, 0].double().round().bool().tolist()
        assert got == [True] * (2 * n - 1) + [False] * (n + 1)
        return True

    bits = PRECISION[str(dtype).removeprefix("torch.")]
    assert hosts(balance(2 ** min(bits - 1, 12)))
    if bits < 24:
        assert not hosts(balance(2**bits))
        with pytest.raises(LsrlError) as error:
            lstm.emit(replace(balance(4), quantities=(Quantity("balance", 0, None, 1, 1),)), dtype)
        assert error.value.diagnostics[0].code == "L407"
