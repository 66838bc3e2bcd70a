"""Parallel scans of linear recurrences: all tokens at once, in a number of passes that grows with log T."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gated_scan", "matrix_scan", "max_plus_scan", "shifted"]

_MOST = 1 << 24  # numbers in one pass; longer sequences are taken in parts
_LARGE = 32  # the size of matrices from which on a product of two costs more than what a pass over tokens saves


def gated_scan(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """h(t) = a(t) ⊙ h(t − 1) + b(t) for a, b (B, T, N) and the h (B, N) before; → (B, T, N).

    Steps compose as (a₁, b₁) then (a₂, b₂) = (a₂ a₁, a₂ b₁ + b₂) (Blelloch 1990, section 1.4.1); here by doubling, as
    in Hillis and Steele (1986).
    """
    part = max(1, _MOST // max(1, a.shape[0] * a.shape[2]))
    out: list[Tensor] = []
    for at in range(0, a.shape[1], part):
        x, y = a[:, at : at + part], b[:, at : at + part].clone()
        y[:, 0] = y[:, 0] + x[:, 0] * h
        step = 1
        while step < x.shape[1]:
            y = torch.cat([y[:, :step], y[:, step:] + x[:, step:] * y[:, :-step]], 1)
            x = torch.cat([x[:, :step], x[:, step:] * x[:, :-step]], 1)
            step *= 2
        out.append(y)
        h = y[:, -1]
    return out[0] if len(out) == 1 else torch.cat(out, 1)


def matrix_scan(m: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """h(t) = M(t) h(t − 1) + b(t) for M (B, T, n, n), b (B, T, n, v) and the h (B, n, v) before; → (B, T, n, v).

    Large matrices are applied token by token.
    """
    if m.shape[2] >= _LARGE:
        steps = []
        for t in range(m.shape[1]):
            h = m[:, t] @ h + b[:, t]
            steps.append(h)
        return torch.stack(steps, 1)
    part = max(1, _MOST // max(1, m.shape[0] * m.shape[2] * (m.shape[2] + b.shape[3])))
    out: list[Tensor] = []
    for at in range(0, m.shape[1], part):
        x, y = m[:, at : at + part], b[:, at : at + part].clone()
        y[:, 0] = y[:, 0] + x[:, 0] @ h
        step = 1
        while step < x.shape[1]:
            y = torch.cat([y[:, :step], y[:, step:] + x[:, step:] @ y[:, :-step]], 1)
            x = torch.cat([x[:, :step], x[:, step:] @ x[:, :-step]], 1)
            step *= 2
        out.append(y)
        h = y[:, -1]
    return out[0] if len(out) == 1 else torch.cat(out, 1)


def max_plus_scan(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """h(t) = max(a(t) + h(t − 1), b(t)) for a, b (B, T, N) and the h (B, N) before; → (B, T, N)."""
    y = torch.cat([torch.maximum(b[:, :1], a[:, :1] + h.unsqueeze(1)), b[:, 1:]], 1)
    step = 1
    while step < a.shape[1]:
        y = torch.cat([y[:, :step], torch.maximum(y[:, step:], a[:, step:] + y[:, :-step])], 1)
        a = torch.cat([a[:, :step], a[:, step:] + a[:, :-step]], 1)
        step *= 2
    return y


def shifted(x: Tensor, before: Tensor) -> Tensor:
    """x (B, T, N) one token later; `before` (B, N) is what stood before the first."""
    return torch.cat([before.unsqueeze(1), x[:, :-1]], 1)
