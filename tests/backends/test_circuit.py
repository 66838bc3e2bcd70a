"""The exact circuit: forms, thresholds, registers, placements."""

from __future__ import annotations

from fractions import Fraction

import pytest

from lsrl.backends.circuit import Bit, Circuit, Column, Count, Number, Output, Placement, Register, Symbol, flatten
from lsrl.backends.linear_form import ZERO, Form, Gate, constant, signal
from lsrl.types import BOOL, INT, Vector

WHAT = Symbol("test")


def test_forms_add_scale_and_cancel() -> None:
    f = signal(2, 3) + signal(0) + 4
    assert f == Form(((1, 0), (3, 2)), 4)
    assert f - signal(2, 3) == Form(((1, 0),), 4)
    assert f.scale(Fraction(1, 2)).value([2, 0, 4]) == 9
    assert f.scale(0) == ZERO
    assert (signal(1) - signal(1)).is_constant
    assert Form.total([signal(0), signal(0), constant(5)], 1) == Form(((2, 0),), 6)


def test_a_gate_without_terms_is_off() -> None:
    assert not Gate().on([], [])
    assert Gate(constant(1)).on([], [])
    assert Gate(signal(0), signal(0) - 1).on([1], [1])
    assert not Gate(signal(0), signal(0) - 1).on([1], [0])


def test_columns_read_scalars_and_elements() -> None:
    assert Column("x", None, (1, 2)).value({"x": 2}) == 1
    assert Column("x", None, (1, 2)).value({"x": 0}) == 0
    assert Column("x", None, None).value({"x": -7}) == -7
    assert Column("v", 3, (True,)).value({"v": ((False, False), (False, True))}) == 1
    assert flatten(((1, 2), (3, 4))) == (1, 2, 3, 4)


def parity() -> Circuit:
    """Two units: (even, 1) and (odd, 0); odd is their sum."""
    odd = signal(0) + signal(1)
    units = (Bit(signal(0), ZERO - odd, WHAT), Bit(ZERO - signal(0), odd, WHAT))
    values = ((False,), (True,))
    place = Placement(1, ("p",), values, (constant(1) - odd, odd), ((), (0,)), (0, 1), tuple((v,) for v in values))
    return Circuit("parity", (Column("b", None, (True,)),), (units,), (Output("out", BOOL, (odd,)),), (place,))


def test_simulate_runs_the_recurrence() -> None:
    word = [1, 0, 1, 1, 0, 0, 1, 1, 1]
    got = [row["out"] for row in parity().simulate({"b": bool(x)} for x in word)]
    assert got == [sum(word[: i + 1]) % 2 == 1 for i in range(len(word))]
    assert parity().width == 2


def test_placement_reads_and_writes_states() -> None:
    circuit = parity()
    place = circuit.placements[0]
    assert place.decode([0, 0]) == {"p": False}
    assert place.decode([0, 1]) == {"p": True}
    contents = place.encode({"p": True}, [0, 0])
    assert contents == [1, 0]
    out, after = circuit.step([contents], {"b": False})
    assert out == {"out": True} and after == [[0, 1]]
    with pytest.raises(ValueError, match="cannot be"):
        place.encode({"p": 3}, [0, 0])


def test_a_register_counts_clears_and_shows_its_sign() -> None:
    up, down, reset = signal(0), signal(1), signal(2)
    register = Register(Gate(up + down), Gate(up), Gate(reset), WHAT, -1)
    shown = (Bit(signal(0), ZERO, WHAT), Bit(signal(0, -1), ZERO, WHAT))
    columns = tuple(Column("x", None, (v,)) for v in (1, -1, 9))
    output = Output("out", Vector(BOOL, 2), (signal(0), signal(1)))
    circuit = Circuit("signs", columns, ((register,), shown), (output,))
    state, counts, signs = circuit.start(), [], []
    for x in [1, 1, 1, -1, -1, -1, 9, 0, 1]:
        out, state = circuit.step(state, {"x": x})
        counts.append(state[0][0])
        signs.append(out["out"])
    assert counts == [0, 1, 2, 1, 0, -1, 0, 0, 1]
    assert signs == [((c > 0), (c < 0)) for c in counts]


def test_numbers_are_rectified_and_counts_are_written_with_what_is_pending() -> None:
    units = (Number(signal(0), signal(0), WHAT), Number(signal(0, -1), ZERO, WHAT))
    circuit = Circuit("n", (Column("x", None, None),), (units,), (Output("out", INT, (signal(0) - signal(1),)),))
    assert [r["out"] for r in circuit.simulate({"x": x} for x in (2, -5, 1))] == [2, -5, 1]
    count = Count(signal(0) + signal(1) + 7, ((0, 1, -7, False),))
    place = Placement(1, (), numbers=(("n", count),))
    assert place.decode([3, 1]) == {"n": 11}
    assert place.decode(place.encode({"n": 40}, [3, 1])) == {"n": 40}


def test_a_sum_above_one_is_a_fault_of_an_and_unit() -> None:
    unit = Bit(signal(0).scale(2), ZERO, WHAT)
    circuit = Circuit("fault", (Column("b", None, (True,)),), ((unit,),), (Output("out", BOOL, (signal(0),)),))
    with pytest.raises(AssertionError, match="the sum is 2"):
        list(circuit.simulate([{"b": True}]))
