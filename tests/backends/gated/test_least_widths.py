"""Programs whose least circuits are known: how many units they take on gated targets, and that they are right."""

from __future__ import annotations

import pytest

from tests.backends.gated.checks import check_program

FLIP_FLOP = ('program p(tok: {"0", "1", "ignore"}) -> bool:\n    return hold(tok == "1", tok != "ignore", false)\n')


@pytest.mark.parametrize("target", ["mingru", "hgrn", "gla", "gateloop", "delta", "mamba", "rglru"])
def test_functions_of_one_input_are_read_together(target: str) -> None:
    """Whether a token writes, and what, are both its columns: the latch reads them, and there is no map."""
    model = check_program(target, FLIP_FLOP)
    assert model.stack.widths == (1,)
