"""The rows of `benchmarks.kernels` for cells whose states are matrices: a head of gated linear attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import lsrl
from benchmarks.dense_rows import CELLS
from benchmarks.kernel_rivals import Rival
from benchmarks.kernel_work import Work, quiet

__all__ = ["MATRIX_ROWS", "in_chunks", "token_by_token"]


def head(device: str, backward: bool, size: int = 64, rows: int = 8, tokens: int = 1024) -> Work:
    """As many keys as values; the gates' own functions are part of every contender's work."""
    ours = lsrl.compile(CELLS / "gla.lsrl", target="triton" if device == "cuda" else "c", d=size, m=size).to(device)
    torch.manual_seed(0)
    streams = {n: 0.3 * torch.randn(rows, tokens, size, device=device) for n in "qkva"}
    out = torch.randn(rows, tokens, size, device=device)

    def call(f: Callable[[dict[str, Tensor]], Any]) -> Callable[[], object]:
        if not backward:
            return quiet(lambda: f(streams))
        leaves = {n: x.clone().requires_grad_() for n, x in streams.items()}
        return lambda: torch.autograd.grad(f(leaves), list(leaves.values()), out)[0]

    others: dict[str, Rival] = {"torch loop": ("", lambda: call(token_by_token)),
                                "torch in chunks of 64": ("", lambda: call(in_chunks))}
    if device == "cpu" and not backward:
        others["numba"] = "numba", lambda: _numba(streams)
    elements = rows * tokens * size
    return Work(f"gla{'_backward' * backward}",
                f"gated linear attention, {rows} heads of {size} × {size}, float32, {tokens} tokens"
                f"{', with all gradients' * backward}", elements, 20 * elements, call(lambda x: ours(x)[0]), others)


def token_by_token(x: dict[str, Tensor]) -> Tensor:
    """The recurrence as it is written: S := diag(α) S + k vᵀ, the output Sᵀ q (Yang et al. 2023, equation 3)."""
    keep = torch.exp(logsigmoid(x["a"]) / 16)
    s = x["q"].new_zeros(len(keep), keep.shape[-1], x["v"].shape[-1])
    shown = []
    for t in range(keep.shape[1]):
        s = keep[:, t, :, None] * s + x["k"][:, t, :, None] * x["v"][:, t, None, :]
        shown.append((x["q"][:, t, None, :] @ s).squeeze(1))
    return torch.stack(shown, 1)


def in_chunks(x: dict[str, Tensor], size: int = 64) -> Any:
    """Products of matrices inside chunks, the state from chunk to chunk (Yang et al. 2023, section 4.1)."""
    q, k, v, a = (x[n].reshape(len(x[n]), -1, size, x[n].shape[-1]) for n in "qkva")
    log_keep = (logsigmoid(a) / 16).cumsum(2)
    shown = q * torch.exp(log_keep)
    inside = torch.tril(shown @ (k * torch.exp(-log_keep)).mT) @ v
    whole = torch.exp(log_keep[:, :, -1])
    added = (k * torch.exp(log_keep[:, :, -1:] - log_keep)).mT @ v
    s = q.new_zeros(len(q), q.shape[-1], v.shape[-1])
    before = []
    for i in range(q.shape[1]):
        before.append(s)
        s = whole[:, i, :, None] * s + added[:, i]
    return (inside + shown @ torch.stack(before, 1)).flatten(1, 2)


def _numba(streams: dict[str, Tensor]) -> Callable[[], object]:
    import numba

    def run(q: Any, k: Any, v: Any, a: Any, y: Any) -> None:
        rows, tokens, d = q.shape
        m = v.shape[2]
        for r in range(rows):
            s = np.zeros((d, m), np.float32)
            for t in range(tokens):
                for c in range(m):
                    y[r, t, c] = 0
                for j in range(d):
                    keep = np.float32((1 / (1 + np.exp(-a[r, t, j]))) ** np.float32(0.0625))
                    for c in range(m):
                        s[j, c] = keep * s[j, c] + v[r, t, c] * k[r, t, j]
                        y[r, t, c] += s[j, c] * q[r, t, j]

    given = [streams[n].numpy() for n in "qkva"]
    y = np.empty_like(given[2])

    compiled: Any = numba.njit(fastmath=True)(run)

    def call() -> object:
        compiled(*given, y)
        return y

    return call


def gla(device: str) -> Work:
    return head(device, False)


def gla_backward(device: str) -> Work:
    return head(device, True)


MATRIX_ROWS: tuple[Callable[[str], Work], ...] = (gla, gla_backward)
