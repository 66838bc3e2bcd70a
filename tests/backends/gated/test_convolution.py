"""The short convolution and its state: against sums written out, and only what a tap will read is held."""

from __future__ import annotations

import pytest
import torch

from lsrl.backends.gated.convolution import TAPS, convolved
from lsrl.verify import verify
from tests.backends.gated.convolved_mixers import compiled

CHANNELS = 1 << TAPS  # one for each set of taps that are not 0


def convolution(seed: int) -> torch.nn.Conv1d:
    conv = torch.nn.Conv1d(CHANNELS, CHANNELS, TAPS, groups=CHANNELS, dtype=torch.float64)
    with torch.no_grad():
        for c in range(CHANNELS):
            for j in range(TAPS):
                conv.weight[c, 0, j] = torch.randint(1, 9, (), generator=torch.Generator().manual_seed(seed + c + j)) \
                    if c >> j & 1 else 0
    return conv


@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_what_no_tap_will_read_is_not_held(tokens: int) -> None:
    conv = convolution(3)
    g = torch.Generator().manual_seed(4)
    before = torch.randint(1, 9, (2, CHANNELS, TAPS - 1), generator=g).double()
    x = torch.randint(1, 9, (2, tokens, CHANNELS), generator=g).double()
    with torch.no_grad():
        out, after = convolved(x, before.flatten(1), conv)
    whole = torch.cat([before, x.transpose(1, 2)], 2).tolist()
    assert conv.bias is not None
    weight, bias = conv.weight[:, 0].tolist(), conv.bias.tolist()
    held = after.reshape(2, CHANNELS, TAPS - 1).tolist()
    for b in range(2):
        for c in range(CHANNELS):
            for t in range(tokens):
                want = sum(weight[c][j] * whole[b][c][t + j] for j in range(TAPS)) + bias[c]
                assert abs(out[b, t, c].item() - want) < 1e-12
            for j in range(TAPS - 1):  # this number passes tap j next, then j − 1, …
                read = any(weight[c][k] for k in range(j + 1))
                assert held[b][c][j] == (whole[b][c][tokens + j] if read else 0)


DELAYED = """program p(x: bool) -> bool:
    return delay(x, 2, false)
"""


@pytest.mark.parametrize("target", ["mamba", "rglru"])
def test_a_delay_of_two_bits_has_few_states(target: str) -> None:
    """Of the past only bits that a layer still reads tell states apart."""
    model = compiled(DELAYED, target)
    verdict = verify(model.graph, model)
    assert verdict.kind == "PROVED" and verdict.joint_states <= 16, verdict.render()
