"""Compacted circuits are smaller and do the same: on drawn circuits, and on chains of relays whose least size is known.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

import pytest

from lsrl.backends.circuit import Bit, Circuit, Column, Gated, Lag, Number, Output, Symbol, Unit
from lsrl.backends.gated.compaction import compacted
from lsrl.backends.linear_form import ZERO, Form, constant, signal
from lsrl.types import INT

NOTHING = Symbol("x")


def circuit_of(columns: int, layers: Sequence[Sequence[Unit]], forms: Sequence[Form]) -> Circuit:
    return Circuit("c", tuple(Column(f"x{i}", None, (1,)) for i in range(columns)), tuple(map(tuple, layers)),
                   tuple(Output(f"y{i}", INT, (f,)) for i, f in enumerate(forms)))


def same(before: Circuit, after: Circuit, columns: int, seed: int, length: int = 40) -> None:
    rng = random.Random(seed)
    rows = [{f"x{i}": rng.randrange(2) for i in range(columns)} for _ in range(length)]
    assert list(after.simulate(rows)) == list(before.simulate(rows))


def drawn(rng: random.Random, columns: int) -> Circuit:
    """Layers of conjunctions, relays, complements, latches and lags of what the layer below shows."""
    layers: list[list[Unit]] = []
    width = columns
    for _ in range(rng.randint(2, 6)):
        units: list[Unit] = []
        for _ in range(rng.randint(2, 7)):
            some = [signal(i) if rng.randrange(2) else constant(1) - signal(i)
                    for i in rng.sample(range(width), rng.randint(1, min(3, width)))]
            if rng.randrange(3):
                some = some[:1]
            units.append(Bit(Form.total(some, 1 - len(some)), ZERO, NOTHING))
        kept = len(units)
        for k in range(rng.randint(0, 2)):
            a, b = (signal(rng.randrange(width)) for _ in range(2))
            units.append(Lag(a, NOTHING, rng.randrange(2)) if rng.randrange(2) else
                         Gated(((constant(1) - a, kept + k),), a, NOTHING, b.bias if b == a else 1))
        layers.append(units)
        width = len(units)
    forms = [Form.of(((rng.randint(-2, 2), i) for i in range(width)), rng.randint(-1, 1)) for _ in range(2)]
    return circuit_of(columns, layers, forms)


@pytest.mark.parametrize("seed", range(40))
def test_drawn_circuits_do_the_same(seed: int) -> None:
    rng = random.Random(seed)
    before = drawn(rng, 3)
    after = compacted(before)
    same(before, after, 3, seed)
    assert after.width <= before.width and len(after.layers) <= len(before.layers)
    assert compacted(after).width == after.width


def test_relays_of_a_sum_become_one() -> None:
    """Five bits that are held and passed on through three layers, of which only the sum is read: one unit a layer.

    A unit of memory in every layer keeps the layers.
    """
    layers: list[list[Unit]] = [[Lag(signal(i), NOTHING) for i in range(6)]]
    layers += [[*(Bit(signal(i), ZERO, NOTHING) for i in range(5)), Lag(signal(5), NOTHING)] for _ in range(3)]
    total = Form.total(signal(i) for i in range(5))
    before = circuit_of(6, layers, [total, signal(5)])
    after = compacted(before)
    assert [len(units) for units in after.layers] == [6, 2, 2, 2]
    assert {type(u) for u in after.layers[1]} == {Number, Lag}
    same(before, after, 6, 1)


def test_a_bit_and_its_complement_are_one() -> None:
    layers: list[list[Unit]] = [
        [Lag(signal(0), NOTHING), Bit(signal(1), ZERO, NOTHING), Bit(constant(1) - signal(1), ZERO, NOTHING)],
        [Bit(signal(0) + signal(1) - 1, ZERO, NOTHING), Bit(signal(0) + signal(2) - 1, ZERO, NOTHING)]]
    before = circuit_of(2, layers, [signal(0), signal(1)])
    after = compacted(before)
    assert [len(units) for units in after.layers] == [2, 2]
    same(before, after, 2, 2)


def test_layers_without_thresholds_go() -> None:
    """That 1 − p − q is never below 0 is known of bits p and q that are never on together."""
    both = signal(0) + signal(1) - 1
    none = constant(1) - signal(0) - signal(1)
    layers: list[list[Unit]] = [
        [Bit(both, ZERO, NOTHING), Bit(none, ZERO, NOTHING), Bit(signal(2), ZERO, NOTHING)],
        [Bit(constant(1) - signal(0) - signal(1), ZERO, NOTHING), Bit(signal(2), ZERO, NOTHING)],
        [Bit(signal(0) + signal(1) - 1, ZERO, NOTHING)]]
    before = circuit_of(3, layers, [signal(0)])
    after = compacted(before)
    assert len(after.layers) == 2
    for x in product((0, 1), repeat=3):
        row = {f"x{i}": v for i, v in enumerate(x)}
        assert list(after.simulate([row])) == list(before.simulate([row])) == [{"y0": int(x[0] != x[1] and x[2])}]


def test_a_layer_that_may_be_below_zero_stays() -> None:
    layers: list[list[Unit]] = [[Bit(signal(0) - signal(1), ZERO, NOTHING)]]
    layers.append([Bit(constant(1) - signal(0), ZERO, NOTHING)])
    before = circuit_of(2, layers, [signal(0)])
    after = compacted(before)
    assert len(after.layers) == 1
    same(before, after, 2, 3)


def test_the_masks_of_numbers_without_a_bound_stay_apart() -> None:
    """A relay that is read with the weight of a mask joins no sum: the sum would be as large, and the exactness end."""
    number = Number(signal(0), ZERO, NOTHING, 0, 1)
    layers: list[list[Unit]] = [[number, Bit(signal(1), ZERO, NOTHING), Lag(signal(0), NOTHING)],
                                [Number(signal(0) + signal(1, 2**22) + signal(2) - 2**22, ZERO, NOTHING)]]
    before = circuit_of(2, layers, [signal(0)])
    assert compacted(before).layers == before.layers
    same(before, compacted(before), 2, 4)


def test_of_columns_that_are_sums_of_others_no_relay_is_made() -> None:
    """A symbol of three values, passed on through two layers as three bits: two units a layer, as 1 is their sum."""
    domain = (0, 1, 2)
    columns = tuple(Column("x", None, (v,), domain=domain) for v in domain)
    relays: list[Unit] = [Bit(signal(i), ZERO, NOTHING) for i in range(3)]
    layers: list[list[Unit]] = [[*relays, Lag(signal(0), NOTHING)], [*relays, Lag(signal(3), NOTHING)]]
    forms = [signal(3, 5) + signal(i, i + 1) for i in range(3)]
    before = Circuit("c", columns, tuple(map(tuple, layers)),
                     tuple(Output(f"y{i}", INT, (f,)) for i, f in enumerate(forms)))
    after = compacted(before)
    assert [len(units) for units in after.layers] == [3, 3]
    rng = random.Random(7)
    rows = [{"x": rng.choice(domain)} for _ in range(60)]
    assert list(after.simulate(rows)) == list(before.simulate(rows))


def test_columns_that_leave_a_value_out_are_no_sum() -> None:
    """Of four values three have a column: where none of these is 1, it is the fourth."""
    columns = tuple(Column("x", None, (v,), domain=(0, 1, 2, 3)) for v in range(3))
    layers: list[list[Unit]] = [[*(Lag(signal(i), NOTHING) for i in range(3))]]
    outputs = tuple(Output(f"y{i}", INT, (signal(i),)) for i in range(3))
    before = Circuit("c", columns, tuple(map(tuple, layers)), outputs)
    after = compacted(before)
    assert after.width == 3
    rows = [{"x": v} for v in (0, 3, 2, 1, 3, 0)]
    assert list(after.simulate(rows)) == list(before.simulate(rows))


def test_values_of_one_input_are_never_there_together() -> None:
    """1 − [x = 0] − [x = 1] is never below 0, so the layer that makes it is none; of two inputs it may be."""
    def of(second: str) -> Circuit:
        columns = Column("x", None, (0,), domain=(0, 1, 2)), Column(second, None, (1,), domain=(0, 1, 2))
        neither = Bit(constant(1) - signal(0) - signal(1), ZERO, NOTHING)
        return Circuit("c", columns, ((neither,), (Lag(signal(0), NOTHING),)), (Output("y", INT, (signal(0),)),))

    assert len(compacted(of("x")).layers) == 1
    assert len(compacted(of("z")).layers) == 2
    for x, z in product(range(3), repeat=2):
        row = {"x": x, "z": z}
        assert list(compacted(of("z")).simulate([row, row])) == list(of("z").simulate([row, row]))


def test_maps_that_are_never_on_go() -> None:
    never = Bit(signal(0) - signal(1, 2) - 1, ZERO, NOTHING)  # at most 1 − 1
    layers: list[list[Unit]] = [[Lag(signal(0), NOTHING), Lag(signal(1), NOTHING)],
                                [never, Bit(signal(0) + signal(1) - 1, ZERO, NOTHING)]]
    before = circuit_of(2, layers, [signal(0, 3) + signal(1)])
    after = compacted(before)
    assert [len(units) for units in after.layers] == [2, 1]
    same(before, after, 2, 5)


def test_what_is_passed_on_is_a_difference() -> None:
    """x + y beside [x + y ≥ 2] and [x + y ≤ 0], passed on through a layer: it is told by the two."""
    both = Bit(signal(0) + signal(1) - 1, ZERO, NOTHING)
    neither = Bit(constant(1) - signal(0) - signal(1), ZERO, NOTHING)
    total = Number(signal(0) + signal(1), ZERO, NOTHING, 0, 2)
    layers: list[list[Unit]] = [[both, neither, total], [Lag(signal(0), NOTHING), Lag(signal(1), NOTHING),
                                                         Number(signal(2), ZERO, NOTHING, 0, 2)]]
    before = circuit_of(2, layers, [signal(0), signal(1), signal(2)])
    after = compacted(before)
    assert [len(units) for units in after.layers] == [2, 3]
    same(before, after, 2, 6)
    one = circuit_of(2, [[both, total], layers[1][:1]], [signal(0)])
    assert [len(units) for units in compacted(one).layers] == [1, 1]
