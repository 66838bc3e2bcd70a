"""Recurrences in another basis: h' = Q h for an orthogonal Q of dyadic numbers, so that states and matrices are dense.

A linear recurrence h(t) = M(t) h(t − 1) + u(t) with a read-out C h(t) is, in the basis Q, M' = Q M Qᵀ, u' = Q u and
C' = C Qᵀ. Q is made of signed permutations and blocks ½ H, H the Hadamard matrix of size 4 (Sylvester 1867), whose
entries are ±½: after r rounds of blocks, Q is on a grid of 2^−r, M' on one of 2^−2r, and sums of their products on one
of 2^−3r. So a model that is exact in whole numbers stays exact, with 3r bits less for the size of its sums; a module
whose gate acts on each channel by itself has no full matrix to be turned.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Circuit, Gated, Lag, Layer
from lsrl.backends.emission import Emission, short
from lsrl.backends.exactness import Exactness, analyse_exactness
from lsrl.backends.gated.bilinear import Bilinear
from lsrl.backends.gated.delta import Delta, DeltaHead
from lsrl.backends.gated.layers import GatedLayer, Mixer
from lsrl.backends.gated.linear import LinearRecurrence
from lsrl.backends.layers import Layer as Module
from lsrl.backends.linear_form import ZERO
from lsrl.backends.rnn_relu import input_limit

__all__ = ["random_basis", "turn_layers"]

_HADAMARD = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64)
_BLOCK = 4
_DOUBLINGS = 64  # of a constant matrix, in search of a power that was there before


def random_basis(size: int, rounds: int, rng: random.Random) -> Tensor:
    """An orthogonal matrix, float64, on a grid of 2^−rounds; `size` is rounded up to a multiple of 4."""
    n = -(-size // _BLOCK) * _BLOCK
    blocks = torch.kron(torch.eye(n // _BLOCK, dtype=torch.float64), _HADAMARD / 2)
    out = _signed_permutation(n, rng)
    for _ in range(rounds):
        out = _signed_permutation(n, rng) @ blocks @ out
    return out


def _signed_permutation(n: int, rng: random.Random) -> Tensor:
    out = torch.zeros(n, n, dtype=torch.float64)
    order = list(range(n))
    rng.shuffle(order)
    for i, j in enumerate(order):
        out[i, j] = rng.choice((-1, 1))
    return out


def turn_layers(circuit: Circuit, emission: Emission, dtype: torch.dtype,
                rng: random.Random) -> tuple[Emission, dict[int, Tensor]]:
    """The emission with every recurrence that has a full matrix in a random basis, and the bases by layer, from 0.

    Raises ValueError, with the reason, if no layer has one, or if sums are then too large for the dtype.
    """
    layers = [layer for layer in emission.layers if isinstance(layer, Module)]
    if len(layers) < len(emission.layers):
        layers = []  # torch's own layers, whose units have nonlinear functions each
    turned: dict[int, _Turned] = {}
    for k, layer in enumerate(layers):
        if isinstance(layer, GatedLayer) and layer.mixer is not None and layer.mixer.parts:
            turned[k] = _turned(k, layer, circuit.layers[k], dtype, rng)
            layers[k] = turned[k].layer
    if not turned:
        raise ValueError("it has no recurrence with a full matrix: what each channel does depends on that channel "
                         "alone, and in another basis it would not")
    limit = emission.input_limit or input_limit(dtype)
    exact, largest = _exactness(circuit, list(turned.values()), PRECISION[short(dtype)], limit)
    start = [torch.tensor([[float(u.start) for u in units]], dtype=torch.float64) for units in circuit.layers]
    initial = tuple(layer.state_of(x) for layer, x in zip(layers, start, strict=True))
    note = "states are in a basis of their own: sums are on a grid as fine as their products"
    return replace(emission, layers=tuple(layers), initial=initial, horizon=exact.horizon, limits=exact.limits,
                   partial_sum=max(emission.partial_sum, Fraction(largest)), notes=(*emission.notes, note)), {
        k: t.mixer.basis for k, t in turned.items() if t.mixer.basis is not None}


class _Turned:
    """One layer in another basis, and what its sums need: all of them in units of their grid."""

    def __init__(self, number: int, layer: GatedLayer, plain: Mixer, mixer: Mixer, units: Layer, rounds: int) -> None:
        self.number, self.layer, self.plain, self.mixer, self.rounds = number, layer, plain, mixer, rounds
        self.units = [u for u in units if isinstance(u, Gated | Lag)]
        assert mixer.basis is not None
        self.spread = float(mixer.basis.abs().sum(1).max())  # the largest element of Q h is at most that times h's

    def need(self, held: float, below: Tensor, tokens: float) -> float:
        """The largest sum of sizes, over its grid: exact where it is at most 2^p.

        held: the largest channel. below: the largest signals of the layer below. tokens: for how many a scan adds up.
        """
        unit = 2.0**self.rounds
        h = self.spread * held
        match self.mixer, self.plain:
            case LinearRecurrence() as m, LinearRecurrence() as plain:
                rows, squares, _ = self._powers(plain.A.detach().double(), tokens)
                adds = _abs(m.B.weight) @ below + _abs(m.B.bias)
                sums = [(rows * 2 * h + float(adds.max())) * unit**3, squares * unit**4]
                shown = m.output.weight
            case Bilinear() as m, Bilinear() as plain:
                entry = self._entry(plain, tokens)
                adds = _abs(m.B.weight) @ below + _abs(m.B.bias)
                made = (_abs(m.M[..., :-1]) @ below + _abs(m.M[..., -1])).max()
                sums = [(m.channels * entry * 2 * h + float(adds.max())) * unit**3,
                        m.channels * entry**2 * unit**4, float(made) * unit**2]
                shown = m.output.weight
            case Delta() as m, _:
                heads = [g for g in m.groups if isinstance(g, DeltaHead) and g.shape[2] > 1]
                sums = [(m.channels * 2 * h + 1) * unit**3, m.channels * unit**4]
                for g in heads:
                    key = _abs(g.k.weight) @ below + _abs(g.k.bias)
                    size = float(key.max())
                    _, factors, n = g.shape
                    sums += [size * unit, n * size**2 * unit**2, (factors * n * size**2 + 1) * (h + 1) * unit**3]
                shown = m.output.weight
            case _:
                raise AssertionError(type(self.mixer).__name__)
        sums.append(float(_abs(shown).sum(1).max()) * h * unit**2)
        return max(sums)

    def _powers(self, a: Tensor, tokens: float) -> tuple[float, float, float]:
        """Of the powers of a constant matrix that a scan multiplies with, in the new basis: the largest sum of a row,
        and of the products that make the next; and the largest entry in the old one."""
        q = self.mixer.basis
        assert q is not None
        rows = squares = entry = 0.0
        seen: list[Tensor] = []
        for k in range(_DOUBLINGS):
            if 2.0**k >= tokens or any(torch.equal(a, x) for x in seen):
                return rows, squares, entry
            if not bool(a.isfinite().all()) or float(a.abs().max()) > 2.0**50:
                break
            seen.append(a)
            padded = torch.zeros(len(q), len(q), dtype=torch.float64)
            padded[: len(a), : len(a)] = a
            new = (q @ padded @ q.T).abs()
            rows, squares = max(rows, float(new.sum(1).max())), max(squares, float((new @ new).max()))
            entry = max(entry, float(a.abs().max()))
            a = a @ a
        return math.inf, math.inf, math.inf

    def _entry(self, plain: Bilinear, tokens: float) -> float:
        """The largest entry that a product of transitions can have in the new basis.

        States of an automaton and gated units send a channel to one other, or to none: such a product is at most
        Σ |q_ik| |q_jl| ≤ 1 in any entry. What is constant is multiplied out.
        """
        constant = torch.zeros(plain.channels, plain.channels, dtype=torch.float64)
        for i, u in enumerate(self.units):
            if not isinstance(u, Gated):
                continue
            for keep, j in u.keeps:
                j -= self.layer.maps
                if keep.is_constant:
                    constant[i, j] = float(keep.bias)
                elif i != j and not (u.lo == 0 and u.hi == 1 and u.add == ZERO):
                    raise ValueError("the matrix of some of its numbers depends on the token")
        return max(1.0, self.spread**2 * self._powers(constant, tokens)[2])


def _abs(x: Tensor) -> Tensor:
    return x.detach().double().abs()


def _turned(number: int, layer: GatedLayer, units: Layer, dtype: torch.dtype, rng: random.Random) -> _Turned:
    assert layer.mixer is not None
    grows = any(isinstance(u, Gated) and (u.lo is None or u.hi is None) for u in units)
    rounds = 1 if grows or max(layer.mixer.parts) <= _BLOCK else 2
    mixer = layer.mixer.turned([random_basis(n, rounds, rng) for n in layer.mixer.parts])
    out = GatedLayer(layer.inputs, layer.maps, mixer, dtype)
    if layer.map is not None and out.map is not None:
        out.map.load_state_dict(layer.map.state_dict())
    return _Turned(number, out, layer.mixer, mixer, units, rounds)


def _exactness(circuit: Circuit, turned: Sequence[_Turned], bits: int, limit: int) -> tuple[Exactness, int]:
    """The exactness of the circuit where sums in the turned layers too are exact, and the largest of those sums of
    bounded signals. Raises ValueError if there is none."""
    plain = analyse_exactness(circuit, bits, limit)
    if not any(_size(u) is None for units in circuit.layers for u in units):
        most = max(t.need(*_sizes(circuit, t, 0.0, limit), math.inf) for t in turned)
        if not most <= 2.0**bits:
            raise ValueError(f"in another basis its sums need 2^{math.log2(most):.0f} steps of their grid, more than "
                             f"the 2^{bits} that a float holds exactly")
        return plain, math.ceil(most)
    best: Exactness | None = None
    for power in range(2, bits + 1, 2):
        tokens = 2.0**power
        within = [e for e in range(bits + 1) if all(
            t.need(*_sizes(circuit, t, 2.0**e, limit), tokens) <= 2.0**bits for t in turned)]
        if not within:
            break
        found = analyse_exactness(circuit, bits, limit, 2.0 ** max(within))
        horizon = int(tokens) if found.horizon is None else min(int(tokens), found.horizon)
        if best is None or best.horizon is None or horizon > best.horizon:
            best = replace(found, horizon=horizon)
    if best is None or not best.horizon:
        raise ValueError("in another basis its sums are not exact for a single token")
    return best, 0


def _sizes(circuit: Circuit, turned: _Turned, most: float, limit: int) -> tuple[float, Tensor]:
    """The largest channel of a layer, and the signals below it, where what grows is at most `most`."""
    if turned.number:
        below = [most if (x := _size(u)) is None else x for u in circuit.layers[turned.number - 1]]
    else:
        below = [1.0 if c.values is not None else float(limit if c.hi is None else c.hi) for c in circuit.columns]
    held = max(max(most if (x := _size(u)) is None else x, abs(float(u.start))) for u in turned.units)
    return held, torch.tensor(below or [0.0], dtype=torch.float64)


def _size(unit: object) -> float | None:
    """What a unit never exceeds in size; None if it grows."""
    if isinstance(unit, Gated):
        return None if unit.lo is None or unit.hi is None else float(max(-unit.lo, unit.hi))
    hi = getattr(unit, "hi", 1)
    return None if hi is None else float(hi)
