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
