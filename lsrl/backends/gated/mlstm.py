"""The mLSTM of xLSTM, with heads of one key and one value channel.

As in Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", section 2.3, equations 19 to 27:

    C(t) = f(t) C(t − 1) + i(t) v(t) k(t)ᵀ,  n(t) = f(t) n(t − 1) + i(t) k(t)
    h(t) = o(t) ⊙ C(t) q(t) / max(|n(t)ᵀ q(t)|, 1),  y(t) = W_y h(t) + b_y
    f(t) = σ(W_f x(t) + b_f),  i(t) = exp(W_i x(t) + b_i),  o(t) = σ(W_o x(t) + b_o),  q, k, v affine in x(t)

computed with the stabiliser of equations 15 to 17:

    m(t) = max(log f(t) + m(t − 1), log i(t))
    i'(t) = exp(log i(t) − m(t)),  f'(t) = exp(log f(t) + m(t − 1) − m(t))

in the place of i and f, and exp(−m(t)) in that of 1. The forget gate depends on the input apart from what is added, so
latches and counters are hosted, and as it lies in [0, 1], no swaps. Here log i = 0, so m = 0 at every token; v = 1 and
k is what is added, so that the normaliser n is C itself and has no end of values only where C has none; and q = 2⁻²⁴
(2⁻⁵³ in float64), taken back in W_y, so that |n q| is at most 1, and divides nothing, as long as |C| is at most 2²⁴
(2⁵³): where C is larger it is not exact in any case, and the horizon of the certificate ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.gated.layers import DiagonalMixer, Projection
from lsrl.backends.gated.plan import GATE, ONE, always, gate_rows, make_plan, rows
from lsrl.backends.gated.scan import gated_scan, max_plus_scan, shifted
from lsrl.backends.gated.target import Gates, gated_target
from lsrl.backends.layers import State

__all__ = ["MLSTM", "TARGET"]


class MLSTM(DiagonalMixer):
    """See the module."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels, dtype)
        self.tensors = (("C", channels), ("n", channels), ("m", channels))
        self.q, self.k, self.v, self.i, self.f, self.o = (
            Projection(inputs, channels, dtype=dtype) for _ in range(6))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        log_f, log_i = nn.functional.logsigmoid(self.f(x)), self.i(x)
        m = max_plus_scan(log_f, log_i, state[2])
        f, i = torch.exp(log_f + shifted(m, state[2]) - m), torch.exp(log_i - m)
        k = self.k(x)
        c, n = gated_scan(f, i * self.v(x) * k, state[0]), gated_scan(f, i * k, state[1])
        return self._read(x, c, n, m), (c[:, -1], n[:, -1], m[:, -1])

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        log_f, log_i = nn.functional.logsigmoid(self.f(x)), self.i(x)
        m = torch.maximum(log_f + state[2], log_i)
        f, i = torch.exp(log_f + state[2] - m), torch.exp(log_i - m)
        k = self.k(x)
        c, n = f * state[0] + i * self.v(x) * k, f * state[1] + i * k
        return self._read(x, c, n, m), (c, n, m)

    def _read(self, x: Tensor, c: Tensor, n: Tensor, m: Tensor) -> Tensor:
        q = self.q(x)
        h = c * q / torch.maximum((n * q).abs(), torch.exp(-m))
        y: Tensor = self.output(torch.sigmoid(self.o(x)) * h)
        return y

    def state_of(self, contents: Tensor) -> State:
        c, _, m = super().state_of(contents)
        return c, c.clone(), m


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> MLSTM:
    """The mixer of some units."""
    plan = make_plan(units, dtype, shared=False)
    n = len(plan.channels)
    scale = 2.0 ** PRECISION[str(dtype).removeprefix("torch.")]
    mixer = MLSTM(inputs, len(units), n, dtype)
    mixer.fill(replace(plan, readout=plan.readout * scale), {
        "f": gate_rows(plan.channels, inputs, GATE[dtype]),
        "k": rows([c.add if c.by == ONE else c.by for c in plan.channels], inputs),
        "v": rows([c.by if c.by == ONE else c.add for c in plan.channels], inputs), "i": always(n, inputs, 0),
        "q": always(n, inputs, 1 / scale), "o": always(n, inputs, GATE[dtype])})
    return mixer


TARGET = gated_target("mlstm", "xLSTM's mLSTM (Beck et al. 2024): latches, counters", MLSTM, make,
                      Gates(keeps="free", lag="bits", steps="any", masks="bits"))
