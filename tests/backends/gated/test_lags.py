"""A lag of a bit shows the bit of the token before, exactly: in both dtypes, by scan and by steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lsrl.backends.circuit import Lag, Symbol
from lsrl.backends.gated import delta, gateloop, gla, hgrn, lru, mingru, minlstm, mlstm, retnet
from lsrl.backends.gated.layers import Mixer
from lsrl.backends.gated.plan import digit, log_odds
from lsrl.backends.gated.polar import turned
from lsrl.backends.linear_form import signal
from tests.backends.gated.checks import DTYPES

MAKERS: dict[str, Callable[..., Mixer]] = {
    m.__name__.rpartition(".")[2]: m.make for m in (delta, gateloop, gla, hgrn, lru, mingru, minlstm, mlstm, retnet)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MAKERS)
def test_a_lag_is_exact(name: str, dtype: torch.dtype) -> None:
    mixer = MAKERS[name]([Lag(signal(0), Symbol("x"), start) for start in (0, 1)], 1, dtype).requires_grad_(False)
    x = torch.randint(0, 2, (8, 700, 1), generator=torch.Generator().manual_seed(5)).to(dtype)
    start = mixer.state_of(torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(8, 2))
    before = torch.cat([torch.tensor([[[0.0, 1.0]]], dtype=dtype).expand(8, 1, 2), x[:, :-1].expand(8, 699, 2)], 1)
    shown, after = mixer(x, start)
    assert torch.equal(shown, before)
    assert torch.equal(mixer.contents(after), x[:, -1].expand(8, 2).double())
    held = start
    for t in range(60):
        one, held = mixer.step(x[:, t], held)
        assert torch.equal(one, before[:, t]), f"token {t}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gate_that_admits_nearly_all_is_that_number(dtype: torch.dtype) -> None:
    """What the docstring of `make_plan` says of 1 − ε, whatever the error of the exponential in the last place."""
    epsilon = digit(dtype)
    z = torch.sigmoid(torch.tensor(-log_odds(epsilon), dtype=dtype))
    assert z.item() == 1 - epsilon
    error = 1 + 2 * float(epsilon)
    assert 1 / (1 + torch.exp(torch.tensor(log_odds(epsilon), dtype=dtype)) * error) == z


def test_half_turns_that_are_sums_of_angles_are_exact() -> None:
    """5π − 4π in floats is π only up to their rounding, which would turn a state a little further each time."""
    for dtype in (torch.float32, torch.float64):
        counts = torch.arange(1, 40, dtype=dtype)
        angle = (counts + 1) * torch.pi - counts * torch.pi
        assert bool((turned(angle) == -1).all()) and bool((turned(counts * torch.pi - counts * torch.pi) == 1).all())
    assert turned(torch.tensor(1e-3)).imag > 0
