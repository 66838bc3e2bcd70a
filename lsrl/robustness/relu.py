"""Layers of ReLUs: torch.nn.RNN(nonlinearity="relu") as the target `rnn_relu` fills it. Nothing is restored there.

A unit x = max(0, z), z = Σ w s + b, keeps the error of what it reads. If signals are off by d and weights by δ, z is
off by at most e = Σ |w| d + δ (Σ (|s| + d) + 1), and x by e where z > 0, by max(0, z + e) else. Where the model's
reachable states can be listed, this is followed along every transition, token by token, which also sees that units
well below zero pass nothing on. Else it is followed for the largest signals, whose bounds often grow too fast to
promise anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from lsrl.backends.model import CompiledModel
from lsrl.robustness.columns import Matrix, column_rows, reads
from lsrl.robustness.noise import scales
from lsrl.robustness.promise import LEAST, Promise, largest

__all__ = ["relu_promise"]

_MOST_STATES, _MOST_WORK = 4000, 1e8  # multiplications of one pass over all tokens
_ROUNDING = 2.0**-40  # of the bounds themselves, which are float64

Span: TypeAlias = tuple[Matrix, Matrix]  # errors from (≤ 0) to (≥ 0), both (…, units)


@dataclass(frozen=True)
class _Layer:
    """One layer's weights and how far noise of size 1 moves each: (H, I), (H, H), (H,)."""

    w_in: Matrix
    w_own: Matrix
    bias: Matrix
    s_in: Matrix
    s_own: Matrix
    s_bias: Matrix
    start: Matrix

    def off(self, below: Matrix, d_below: Span, own: Matrix, d_own: Span, delta: float, unit: float) -> Span:
        """How far each z may be off (…, H); below, own: sizes of the signals (…, I), (…, H); d_…: their errors.

        unit: the relative rounding error of one operation.
        """
        seen, seen_own = below + _size(d_below), own + _size(d_own)
        noise = delta * (seen @ self.s_in.T + seen_own @ self.s_own.T + self.s_bias)
        total = seen @ abs(self.w_in).T + seen_own @ abs(self.w_own).T + abs(self.bias)
        noise += unit * (len(self.w_in[0]) + len(self.bias) + 2) * (total + noise)
        (low, high), (low_own, high_own) = _times(d_below, self.w_in), _times(d_own, self.w_own)
        wider = 1 + _ROUNDING
        return (low + low_own - noise) * wider, (high + high_own + noise) * wider


def _size(d: Span) -> Matrix:
    return np.maximum(-d[0], d[1])


def _times(d: Span, weight: Matrix) -> Span:
    """What errors become through weights (R, N): (…, N) → (…, R)."""
    up, down = np.maximum(weight, 0.0).T, np.minimum(weight, 0.0).T
    return d[0] @ up + d[1] @ down, d[1] @ up + d[0] @ down


def _through(z: Matrix, off: Span) -> Span:
    """What an error of z becomes through the ReLU."""
    x = np.maximum(z, 0.0)
    return np.maximum(z + off[0], 0.0) - x, np.maximum(z + off[1], 0.0) - x


@dataclass(frozen=True)
class _Graph:
    """Reachable states: for every transition its source and target state, z of each layer and what it read."""

    source: list[int]
    target: list[int]
    columns: Matrix  # (transitions, C)
    before: list[Matrix]  # of each layer (transitions, H): h before the token
    z: list[Matrix]
    states: int
    closed: bool  # whether every state's transitions are listed, and not only those of the first tokens


def relu_promise(model: CompiledModel, relative: bool, tokens: int) -> Promise | str:
    """The noise below which no output is wrong within `tokens` tokens; or at any length, if errors stop growing."""
    layers = _layers(model, relative)
    work = sum(x.w_in.size + x.w_own.size for x in layers) * 2
    rows = column_rows(model)
    graph: _Graph | None = None
    if rows is not None:
        graph = _explore(layers, rows, min(_MOST_STATES, int(_MOST_WORK / (work * len(rows) * tokens + 1))), tokens)
    along = graph is not None
    follow = _along_transitions(model, layers, graph, relative, tokens) if graph is not None else \
        _of_sizes(model, layers, relative, tokens)
    least = follow(LEAST)
    if least == 0:
        return "the bound on errors is too large after one token"
    horizon = tokens if least is None or least >= tokens else 1 << least.bit_length() - 1
    ends: dict[float, int | None] = {}

    def fine(delta: float) -> bool:
        reached = ends[delta] = follow(delta)
        return reached is None or reached >= horizon

    delta = largest(fine)
    assert delta is not None
    return Promise(delta, None if ends[delta] is None else horizon, "the read-out, after errors have added up"
                   + ("" if along else " (by their largest sizes; there are too many states to follow each)"))


def _layers(model: CompiledModel, relative: bool) -> list[_Layer]:
    sizes, stack = scales(model, relative), model.stack
    out: list[_Layer] = []
    for layer in range(len(stack.widths)):
        at, suffix = (0, layer) if stack.uniform else (layer, 0)
        module = stack.layers[at]
        assert isinstance(module, nn.RNN)
        names = [f"{n}_l{suffix}" for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        w_in, w_own, bias, more = (getattr(module, n).detach().double().numpy() for n in names)
        s_in, s_own, s_bias, s_more = (sizes[f"stack.layers.{at}.{n}"].double().numpy() for n in names)
        start = getattr(stack, f"initial_{layer}_h").double().numpy()
        out.append(_Layer(w_in, w_own, bias + more, s_in, s_own, s_bias + s_more, start))
    return out


def _explore(layers: list[_Layer], rows: Matrix, most: int, tokens: int) -> _Graph | None:
    """The states reachable in `tokens` tokens, and the transitions from them; None beyond `most` states.

    The sums are of whole numbers, exact in float64.
    """
    known = {_key([x.start for x in layers]): 0}
    states = [[x.start for x in layers]]
    source: list[int] = []
    target: list[int] = []
    before: list[list[Matrix]] = []
    zs: list[list[Matrix]] = []
    depth = [0]
    at = 0
    while at < len(states) and depth[at] < tokens:
        if len(states) > most:
            return None
        below, z_all, after = _wide(layers, rows), [], []
        for x, own in zip(layers, states[at], strict=True):
            z = below @ x.w_in.T + own @ x.w_own.T + x.bias
            below = np.maximum(z, 0.0)
            z_all.append(z)
            after.append(below)
        for a in range(len(rows)):
            new = [h[a] for h in after]
            number = known.setdefault(_key(new), len(states))
            if number == len(states):
                states.append(new)
                depth.append(depth[at] + 1)
            source.append(at)
            target.append(number)
        before.append(states[at])
        zs.append(z_all)
        at += 1
    n = len(rows)
    return _Graph(source, target, np.tile(_wide(layers, rows), (at, 1)),
                  [np.repeat(np.array([b[k] for b in before]), n, axis=0) for k in range(len(layers))],
                  [np.concatenate([z[k] for z in zs]) for k in range(len(layers))], len(states), at == len(states))


def _wide(layers: list[_Layer], rows: Matrix) -> Matrix:
    """Rows as wide as the first layer reads them: a column of zeros stands in for none."""
    inputs = layers[0].w_in.shape[1] if layers else rows.shape[1]
    return np.pad(rows, ((0, 0), (0, inputs - rows.shape[1])))


def _key(state: list[Matrix]) -> bytes:
    return b"".join(x.tobytes() for x in state)


@dataclass(frozen=True)
class _Readout:
    weight: Matrix  # (R, H)
    bias: Matrix
    s_weight: Matrix
    s_bias: Matrix
    room: float
    unit: float

    @classmethod
    def of(cls, model: CompiledModel, relative: bool) -> _Readout:
        sizes = scales(model, relative)
        weight, bias = (p.detach().double().numpy() for p in (model.readout.weight, model.readout.bias))
        s_weight, s_bias = (sizes[f"readout.{n}"].double().numpy() for n in ("weight", "bias"))
        return cls(weight, bias, s_weight, s_bias, 0.5 - model.certificate.tolerance,
                   torch.finfo(model.stack.dtype).eps)

    def wrong(self, top: Matrix, d_top: Span, delta: float) -> Matrix:
        """How far each row may be off (…, R), over the room it has; top: sizes of what it reads (…, H)."""
        seen, (low, high) = self._padded(top), (self._padded(d) for d in d_top)
        seen = seen + _size((low, high))
        off = _size(_times((low, high), self.weight)) + delta * (seen @ self.s_weight.T + self.s_bias)
        off += self.unit * (self.weight.shape[1] + 2) * (seen @ abs(self.weight).T + abs(self.bias) + off)
        result: Matrix = off * (1 + _ROUNDING) / self.room
        return result

    def _padded(self, x: Matrix) -> Matrix:
        """A column of zeros stands in for none."""
        return np.pad(x, ((0, 0), (0, self.weight.shape[1] - x.shape[1])))


def _along_transitions(model: CompiledModel, layers: list[_Layer], graph: _Graph, relative: bool,
                       tokens: int) -> Callable[[float], int | None]:
    """δ → the tokens up to which no read-out errs by one half; None for any number."""
    readout = _Readout.of(model, relative)
    unit, source, target = readout.unit, np.array(graph.source), np.array(graph.target)
    still = np.zeros_like(graph.columns)

    def follow(delta: float) -> int | None:
        errors = [(np.zeros((graph.states, len(x.bias))), np.zeros((graph.states, len(x.bias)))) for x in layers]
        reached = np.zeros(graph.states, dtype=bool)
        reached[0] = True
        for token in range(tokens):
            below, after = graph.columns, list[Span]()
            d_below: Span = still, still
            for x, own, z, (low, high) in zip(layers, graph.before, graph.z, errors, strict=True):
                d_below = _through(z, x.off(abs(below), d_below, own, (low[source], high[source]), delta, unit))
                below = np.maximum(z, 0.0)
                after.append(d_below)
            live = reached[source]
            if not bool((readout.wrong(abs(below[live]), (d_below[0][live], d_below[1][live]), delta) < 1).all()):
                return token
            fresh = [(low.copy(), high.copy()) for low, high in errors]
            for (low, high), (new_low, new_high) in zip(fresh, after, strict=True):
                np.minimum.at(low, target[live], new_low[live])
                np.maximum.at(high, target[live], new_high[live])
            now = reached.copy()
            now[target[live]] = True
            same = bool((now == reached).all()) and all(
                np.array_equal(f, e) for pair in zip(fresh, errors, strict=True) for f, e in zip(*pair, strict=True))
            if same and graph.closed:
                return None
            errors, reached = fresh, now
        return tokens

    return follow


def _of_sizes(model: CompiledModel, layers: list[_Layer], relative: bool,
              tokens: int) -> Callable[[float], int | None]:
    """As `_along_transitions`, of the largest that each signal can be after so many tokens."""
    readout = _Readout.of(model, relative)
    kinds = model.places.kinds
    ones = [np.array([*(1.0 if k == "bit" else np.inf for k in row), *[0.0] * (len(x.bias) - len(row))])[None]
            for x, row in zip(layers, kinds, strict=True)]
    first = _wide(layers, reads(model.encoder, np.eye(model.encoder.width))[None])

    def follow(delta: float) -> int | None:
        sizes = [x.start[None] for x in layers]
        errors: list[Span] = [(np.zeros_like(s), np.zeros_like(s)) for s in sizes]
        with np.errstate(over="ignore", invalid="ignore"):
            for token in range(tokens):
                below, d_below = first, (np.zeros_like(first), np.zeros_like(first))
                for k, x in enumerate(layers):
                    low, high = x.off(below, d_below, sizes[k], errors[k], delta, readout.unit)
                    grown = below @ np.maximum(x.w_in, 0).T + sizes[k] @ np.maximum(x.w_own, 0).T + x.bias
                    below = np.minimum(np.maximum(grown, sizes[k]), np.maximum(ones[k], sizes[k]))
                    d_below = np.minimum(low, errors[k][0]), np.maximum(high, errors[k][1])
                    sizes[k], errors[k] = below, d_below
                if not bool((readout.wrong(below, d_below, delta) < 1).all()):
                    return token
        return tokens

    return follow
