"""The recurrences of examples/cells as plain torch, written from the papers' equations alone.

A reference takes a token: params by name, inputs (B, *dims) by name and the state that it returned, None at the first.
It returns the output, or a tuple of them, and the new state. Differentiated by torch's own autograd, through time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import elu, logsigmoid, silu, softplus

__all__ = ["REFERENCES", "unrolled"]

Tensors: TypeAlias = dict[str, Tensor]
Reference: TypeAlias = Callable[[Tensors, Tensors, Any], tuple[Any, Any]]

REFERENCES: dict[str, Reference] = {}


def unrolled(name: str, params: Tensors, inputs: Tensors) -> tuple[Tensor, ...]:
    """The outputs (B, T, *dims) of a reference for inputs (B, T, *dims)."""
    state: Any = None
    shown: list[tuple[Tensor, ...]] = []
    for t in range(next(iter(inputs.values())).shape[1]):
        y, state = REFERENCES[name](params, {n: x[:, t] for n, x in inputs.items()}, state)
        shown.append(y if isinstance(y, tuple) else (y,))
    return tuple(torch.stack(ys, 1) for ys in zip(*shown, strict=True))


def _reference(f: Reference) -> Reference:
    REFERENCES[f.__name__.strip("_")] = f
    return f


def _zeros(like: Tensor, *dims: int) -> Tensor:
    return like.new_zeros(like.shape[0], *dims)


def _outer(v: Tensor, k: Tensor) -> Tensor:
    return v.unsqueeze(-1) * k.unsqueeze(-2)


def _times(s: Tensor, q: Tensor) -> Tensor:
    return (s @ q.unsqueeze(-1)).squeeze(-1)


# Elementwise cells.


@_reference
def _ema(p: Tensors, x: Tensors, s: Any) -> tuple[Any, Any]:
    s = _zeros(x["x"], x["x"].shape[1]) if s is None else s
    alpha = 1 / (1 + torch.exp(-p["rate"]))
    s = alpha * s + (1 - alpha) * x["x"]
    return s, s


@_reference
def _leaky_integrator(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = torch.zeros_like(x["x"]) if h is None else h
    alpha = torch.sigmoid(p["rate"])
    h = h + alpha * (torch.tanh(x["x"] + p["u"] * h) - h)
    return h, h


@_reference
def _mingru(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = torch.zeros_like(x["x"]) if h is None else h
    h = torch.lerp(h, x["x"], torch.sigmoid(x["z"]))
    return h, h


@_reference
def _minlstm(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = torch.zeros_like(x["x"]) if h is None else h
    f, i = torch.sigmoid(x["f"]), torch.sigmoid(x["i"])
    h = f / (f + i) * h + i / (f + i) * x["x"]
    return h, h


@_reference
def _indrnn(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = torch.zeros_like(x["x"]) if h is None else h
    h = torch.relu(x["x"] + p["u"] * h)
    return h, h


@_reference
def _sru(p: Tensors, x: Tensors, c: Any) -> tuple[Any, Any]:
    c = torch.zeros_like(x["x"]) if c is None else c
    f = torch.sigmoid(x["f"] + p["vf"] * c)
    r = torch.sigmoid(x["r"] + p["vr"] * c)
    c = f * c + (1 - f) * x["w"]
    return r * c + (1 - r) * x["x"], c


@_reference
def _qrnn(p: Tensors, x: Tensors, c: Any) -> tuple[Any, Any]:
    c = torch.zeros_like(x["z"]) if c is None else c
    f = torch.sigmoid(x["f"])
    c = f * c + (1 - f) * torch.tanh(x["z"])
    return torch.sigmoid(x["o"]) * c, c


@_reference
def _rglru(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = torch.zeros_like(x["x"]) if h is None else h
    log_a = -8 * softplus(p["decay"]) * torch.sigmoid(x["r"])
    h = torch.exp(log_a) * h + torch.sqrt(-torch.expm1(2 * log_a)) * (torch.sigmoid(x["i"]) * x["x"])
    return h, h


@_reference
def _hgrn(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = torch.zeros_like(x["c"]) if h is None else h
    low = torch.sigmoid(p["low"])
    forget = low + (1 - low) * torch.sigmoid(x["f"])
    h = forget * h + (1 - forget) * silu(x["c"])
    return torch.sigmoid(x["o"]) * h, h


@_reference
def _gateloop(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    a = torch.polar(torch.sigmoid(x["size"]), x["angle"])
    u = torch.complex(x["k"] * x["v"], torch.zeros_like(x["v"]))
    h = u if h is None else a * h + u
    return (x["q"] * h).real, h


@_reference
def _lru(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    factor = torch.exp(torch.complex(-torch.exp(p["nu"]), torch.exp(p["theta"])))
    u = torch.exp(p["log_gamma"]) * torch.complex(x["p"], x["q"])
    h = u if h is None else factor * h + u
    return (h.real, h.imag), h


@_reference
def _rwkv4(p: Tensors, x: Tensors, past: Any) -> tuple[Any, Any]:
    past = [] if past is None else past
    t = len(past)
    total = torch.exp(p["first"] + x["k"])
    mean = total * x["v"]
    for j, (k, v) in enumerate(past):
        weight = torch.exp(-(t - 1 - j) * torch.exp(p["decay"]) + k)
        mean, total = mean + weight * v, total + weight
    return mean / total, [*past, (x["k"], x["v"])]


@_reference
def _lstm_diagonal(p: Tensors, x: Tensors, s: Any) -> tuple[Any, Any]:
    h, c = (torch.zeros_like(x["i"]), torch.zeros_like(x["i"])) if s is None else s
    i, f = torch.sigmoid(x["i"] + p["ui"] * h), torch.sigmoid(x["f"] + p["uf"] * h)
    g, o = torch.tanh(x["g"] + p["ug"] * h), torch.sigmoid(x["o"] + p["uo"] * h)
    c = f * c + i * g
    h = o * torch.tanh(c)
    return h, (h, c)


@_reference
def _gru_diagonal(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = torch.zeros_like(x["c"]) if h is None else h
    z, r = torch.sigmoid(x["z"] + p["uz"] * h), torch.sigmoid(x["r"] + p["ur"] * h)
    h = torch.lerp(h, torch.tanh(x["c"] + p["uc"] * (r * h)), z)
    return h, h


# State spaces.


@_reference
def _s4d(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    a, dt = -torch.exp(p["log_a"]), torch.exp(p["log_dt"])
    h = _zeros(x["x"], len(a)) if h is None else h
    h = torch.exp(dt * a) * h + torch.expm1(dt * a) / a * p["b"] * x["x"].unsqueeze(-1)
    return h @ p["c"] + p["skip"] * x["x"], h


@_reference
def _s5(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    n = len(p["nu"])
    factor = torch.polar(torch.exp(-torch.exp(p["nu"])), p["theta"])
    b, c = torch.complex(p["b"][:n], p["b"][n:]), torch.complex(p["c"][:, :n], -p["c"][:, n:])
    u = x["x"].to(b.dtype) @ b.T
    h = u if h is None else factor * h + u
    return 2 * (h @ c.T).real + p["skip"] * x["x"], h


@_reference
def _mamba(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = _zeros(x["x"], *p["a_log"].shape) if h is None else h
    dt = softplus(x["dt"]).unsqueeze(-1)
    h = torch.exp(dt * -torch.exp(p["a_log"])) * h + dt * _outer(x["x"], x["b"])
    return _times(h, x["c"]) + p["skip"] * x["x"], h


# Matrix states.


@_reference
def _retnet(p: Tensors, x: Tensors, s: Any) -> tuple[Any, Any]:
    u = _outer(x["v"], x["k"])
    s = u if s is None else torch.sigmoid(p["decay"]) * s + u
    return _times(s, x["q"]), s


@_reference
def _linear_attention(p: Tensors, x: Tensors, past: Any) -> tuple[Any, Any]:
    """As attention over all tokens so far."""
    past = [*([] if past is None else past), (elu(x["k"]) + 1, x["v"])]
    weights = [((elu(x["q"]) + 1) * k).sum(-1, keepdim=True) for k, _ in past]
    total = sum(weights[1:], weights[0])
    mean = sum((w * v for w, (_, v) in zip(weights[1:], past[1:], strict=True)), weights[0] * past[0][1])
    return mean / total, past


@_reference
def _gla(p: Tensors, x: Tensors, s: Any) -> tuple[Any, Any]:
    u = _outer(x["v"], x["k"])
    s = u if s is None else torch.exp(logsigmoid(x["a"]) / 16).unsqueeze(-2) * s + u
    return _times(s, x["q"]), s


@_reference
def _rwkv6(p: Tensors, x: Tensors, s: Any) -> tuple[Any, Any]:
    u = _outer(x["v"], x["k"])
    s = torch.zeros_like(u) if s is None else s
    y = _times(s + _outer(x["v"], p["first"] * x["k"]), x["r"])
    return y, torch.exp(-torch.exp(x["w"])).unsqueeze(-2) * s + u


@_reference
def _mlstm(p: Tensors, x: Tensors, s: Any) -> tuple[Any, Any]:
    """Without the stabiliser, which cancels."""
    c, n = (_zeros(x["k"], x["v"].shape[1], x["k"].shape[1]), torch.zeros_like(x["k"])) if s is None else s
    f, i = torch.sigmoid(x["f"]).unsqueeze(-1), torch.exp(x["i"]).unsqueeze(-1)
    c = f.unsqueeze(-1) * c + i.unsqueeze(-1) * _outer(x["v"], x["k"])
    n = f * n + i * x["k"]
    least = (n * x["q"]).sum(-1, keepdim=True).abs().clamp(min=1)
    return _times(c, x["q"]) / least, (c, n)


@_reference
def _deltanet(p: Tensors, x: Tensors, s: Any) -> tuple[Any, Any]:
    k, beta = x["k"], torch.sigmoid(x["b"]).reshape(-1, 1, 1)
    s = _zeros(k, x["v"].shape[1], k.shape[1]) if s is None else s
    s = s @ (torch.eye(k.shape[1], dtype=k.dtype) - beta * _outer(k, k)) + beta * _outer(x["v"], k)
    return _times(s, x["q"]), s


@_reference
def _deltaproduct(p: Tensors, x: Tensors, s: Any) -> tuple[Any, Any]:
    d = x["k"].shape[2]
    s = _zeros(x["k"], x["v"].shape[2], d) if s is None else s
    for j in range(x["k"].shape[1]):
        k, beta = x["k"][:, j], 2 * torch.sigmoid(x["b"][:, j]).reshape(-1, 1, 1)
        s = s @ (torch.eye(d, dtype=k.dtype) - beta * _outer(k, k)) + beta * _outer(x["v"][:, j], k)
    return _times(s, x["q"]), s


# Dense cells.


@_reference
def _elman(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = _zeros(x["x"], len(p["b"])) if h is None else h
    h = torch.tanh(torch.cat([x["x"], h], -1) @ torch.cat([p["w"], p["u"]], 1).T + p["b"])
    return h, h


@_reference
def _lstm(p: Tensors, x: Tensors, s: Any) -> tuple[Any, Any]:
    k = p["u"].shape[1]
    h, c = (_zeros(x["x"], k), _zeros(x["x"], k)) if s is None else s
    i, f, g, o = (x["x"] @ p["w"].T + h @ p["u"].T + p["b"]).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return h, (h, c)


@_reference
def _peephole_lstm(p: Tensors, x: Tensors, s: Any) -> tuple[Any, Any]:
    k = p["u"].shape[1]
    h, c = (_zeros(x["x"], k), _zeros(x["x"], k)) if s is None else s
    i, f, g, o = (x["x"] @ p["w"].T + h @ p["u"].T + p["b"]).chunk(4, -1)
    pi, pf, po = p["p"].chunk(3)
    i, f = torch.sigmoid(i + pi * c), torch.sigmoid(f + pf * c)
    c = f * c + i * torch.tanh(g)
    h = torch.sigmoid(o + po * c) * torch.tanh(c)
    return h, (h, c)


@_reference
def _gru(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = _zeros(x["x"], p["u"].shape[1]) if h is None else h
    xr, xz, xn = (x["x"] @ p["w"].T + p["b"]).chunk(3, -1)
    hr, hz, hn = (h @ p["u"].T + p["c"]).chunk(3, -1)
    h = torch.lerp(torch.tanh(xn + torch.sigmoid(xr + hr) * hn), h, torch.sigmoid(xz + hz))
    return h, h


@_reference
def _slstm(p: Tensors, x: Tensors, s: Any) -> tuple[Any, Any]:
    """Without the stabiliser, which cancels."""
    k = p["r"].shape[1]
    h, c, n = (_zeros(x["x"], k),) * 3 if s is None else s
    z, i, f, o = (x["x"] + h @ p["r"].T).chunk(4, -1)
    c = torch.exp(f) * c + torch.exp(i) * torch.tanh(z)
    n = torch.exp(f) * n + torch.exp(i)
    h = torch.sigmoid(o) * (c / n)
    return h, (h, c, n)


@_reference
def _cfc(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = _zeros(x["x"], p["u"].shape[1]) if h is None else h
    f, g, j = (x["x"] @ p["w"].T + h @ p["u"].T + p["b"]).chunk(3, -1)
    gate = torch.sigmoid(-f * x["t"].unsqueeze(-1))
    h = gate * torch.tanh(g) + (1 - gate) * torch.tanh(j)
    return h, h


@_reference
def _ltc(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    h = _zeros(x["x"], len(p["b"])) if h is None else h
    f, dt = torch.sigmoid(x["x"] @ p["w"].T + h @ p["u"].T + p["b"]), x["t"].unsqueeze(-1)
    h = (h + dt * f * p["a"]) / (1 + dt * (1 / torch.exp(p["log_tau"]) + f))
    return h, h


@_reference
def _orthogonal_rnn(p: Tensors, x: Tensors, h: Any) -> tuple[Any, Any]:
    eye = torch.eye(len(p["b"]), dtype=p["b"].dtype)

    def reflection(v: Tensor) -> Tensor:
        return eye - 2 * torch.outer(v, v) / (v @ v)

    u = x["x"] @ p["w"].T
    y = u if h is None else h @ (reflection(p["p"]) @ reflection(p["q"])).T + u
    h = torch.sign(y) * torch.relu(y.abs() + p["b"])
    return h, h
