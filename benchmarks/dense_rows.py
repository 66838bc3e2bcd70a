"""The rows of `benchmarks.kernels` for cells with matrices: LSTM and GRU beside torch's own layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import lsrl
from benchmarks.kernel_rivals import Rival
from benchmarks.kernel_work import Goal, Work, quiet

__all__ = ["DENSE_ROWS"]

CELLS = Path(__file__).resolve().parent.parent / "examples" / "cells"


def layer(kind: str, device: str, backward: bool, units: int = 64, rows: int = 8, tokens: int = 1024) -> Work:
    """A layer of as many inputs as units, with torch's weights; its goal is torch's speed."""
    torch.manual_seed(0)
    rnn = getattr(nn, kind)(units, units, batch_first=True, device=device)
    ours = lsrl.compile(CELLS / f"{kind.lower()}.lsrl", target="triton" if device == "cuda" else "c", d=units,
                        k=units).to(device)
    weights = dict(ours.named_parameters())
    with torch.no_grad():
        for mine, theirs in (("w", "weight_ih_l0"), ("u", "weight_hh_l0"), ("b", "bias_ih_l0"), ("c", "bias_hh_l0")):
            if mine in weights:
                weights[mine].copy_(getattr(rnn, theirs))
            else:
                weights["b"].add_(getattr(rnn, theirs))
    x = torch.randn(rows, tokens, units, device=device)
    out = torch.randn(rows, tokens, units, device=device)

    def call(model: nn.Module) -> Callable[[], object]:
        if not backward:
            return quiet(lambda: model(x)[0])
        leaves = [x.clone().requires_grad_(), *model.parameters()]

        def both() -> Tensor:
            return torch.autograd.grad(model(leaves[0])[0], leaves, out)[0]

        return both

    others: dict[str, Rival] = {f"torch.nn.{kind}": ("", lambda: call(rnn))}
    elements = rows * tokens * units
    sizes = f"{units} units, float32, {rows} rows of {tokens} tokens"
    return Work(f"{kind.lower()}{'_backward' * backward}",
                f"{kind} of {sizes}{', with all gradients' * backward}", elements, 8 * elements, call(ours), others,
                Goal(f"torch.nn.{kind}", 1.0))


def lstm(device: str) -> Work:
    return layer("LSTM", device, False)


def lstm_backward(device: str) -> Work:
    return layer("LSTM", device, True)


def gru(device: str) -> Work:
    return layer("GRU", device, False)


def gru_backward(device: str) -> Work:
    return layer("GRU", device, True)


DENSE_ROWS: tuple[Callable[[str], Work], ...] = (lstm, lstm_backward, gru, gru_backward)
