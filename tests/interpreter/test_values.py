"""Reading values of the inputs' types."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from lsrl.types import Int, Real
from lsrl.values import BadValueError, read_value


def test_exact_numbers_beyond_the_greatest_float_are_read() -> None:
    assert read_value(Decimal("1e400"), Real()) == 10**400
    assert read_value(Decimal("1e400"), Int()) == 10**400
    assert read_value(Fraction(10**400), Int()) == 10**400
    for wrong in (Decimal("nan"), Decimal("inf"), Fraction(10**400, 3)):
        with pytest.raises(BadValueError):
            read_value(wrong, Int())
