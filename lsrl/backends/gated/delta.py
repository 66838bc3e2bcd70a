"""DeltaNet with several factors a token: DeltaProduct (Schlag et al. 2021, equation 4; Siems et al. 2025, equation 3).

For each factor j = 1 … n_h of a token, in turn, and each head,

    h := (I − β_j k_j k_jᵀ) h + β_j v_j k_j,   β = σ(W_β x + b),  k = W_k x,  v = W_v x + b

and a linear read-out of h (queries that do not depend on the token). Keys are not normalised: a swap of the states a
and b is the factor k = e_a − e_b with β = 1, all of it in whole numbers, while unit keys would round 1/√2. A head whose
only key is constant, k = 1, is a gate h := (1 − β) h + β v. So permutations of states are hosted, constant maps (each
element erased and written), and latches; a merge of some states is no product of such factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.gated.layers import Mixer, Projection, grown
from lsrl.backends.gated.plan import GATE, Channel, gate_rows, make_plan, rows
from lsrl.backends.gated.scan import matrix_scan
from lsrl.backends.gated.target import Gates, gated_target
from lsrl.backends.layers import State
from lsrl.backends.linear_form import ZERO, Form

__all__ = ["TARGET", "Delta"]

_BLOCK = 16  # factors that are taken one by one; those of the blocks before are one product of matrices


class DeltaHead(nn.Module):
    """`heads` heads of n elements each, with `factors` factors a token."""

    def __init__(self, inputs: int, heads: int, n: int, factors: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = (heads, factors, n)
        self.k = Projection(inputs, heads * factors * n, dtype=dtype)
        self.v = Projection(inputs, heads * factors, dtype=dtype)
        self.beta = Projection(inputs, heads * factors, dtype=dtype)

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (…, inputs) → keys (…, heads, factors, n), v and β (…, heads, factors, 1)."""
        heads, factors, _ = self.shape
        k = self.k(x).reshape(*x.shape[:-1], *self.shape)
        v = self.v(x).reshape(*x.shape[:-1], heads, factors, 1)
        return k, v, torch.sigmoid(self.beta(x)).reshape(*x.shape[:-1], heads, factors, 1)

    def transition(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (…, inputs) → M (…, heads, n, n) and what is added (…, heads, n, 1).

        M = I − Σ k_j w_jᵀ and Σ k_j u_j is added, where w_j = β_j (k_j − Σ_{i<j} (k_j · k_i) w_i) and
        u_j = β_j (v_j − Σ_{i<j} (k_j · k_i) u_i): the WY form of a product of reflections (Bischof and Van Loan 1987;
        Yang et al. 2024, section 3.2, for the delta rule). In whole numbers every step of it is exact.
        """
        k, v, beta = self.factors(x)
        gram = k @ k.transpose(-1, -2)
        both = torch.cat([k, v], -1)  # w and u side by side
        found = both[..., :0, :]
        for lo in range(0, both.shape[-2], _BLOCK):
            part = both[..., lo : lo + _BLOCK, :] - gram[..., lo : lo + _BLOCK, :lo] @ found
            own = both[..., :0, :]
            for j in range(part.shape[-2]):
                row = part[..., j : j + 1, :] - gram[..., lo + j : lo + j + 1, lo : lo + j] @ own
                own = torch.cat([own, beta[..., lo + j : lo + j + 1, :] * row], -2)
            found = torch.cat([found, own], -2)
        n = k.shape[-1]
        out = k.transpose(-1, -2) @ found
        return torch.eye(n, dtype=x.dtype, device=x.device) - out[..., :n], out[..., n:]

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x (B, T, inputs) and h (B, heads · n) before → h of every token (B, T, heads · n)."""
        m, b = self.transition(x)
        heads, _, n = self.shape
        m, b = (t.transpose(1, 2).flatten(0, 1) for t in (m, b))  # heads beside sequences
        out = matrix_scan(m, b, h.reshape(-1, n, 1))
        return out.reshape(-1, heads, x.shape[1], n).transpose(1, 2).flatten(2)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        """x (B, inputs)."""
        heads, factors, n = self.shape
        k, v, beta = self.factors(x)
        held = h.reshape(-1, heads, n)
        for j in range(factors):
            key = k[..., j, :]
            held = held + beta[..., j, :] * (v[..., j, :] - (key * held).sum(-1, keepdim=True)) * key
        return held.reshape(h.shape)


class Delta(Mixer):
    """See the module. Group g of heads has `heads[g]` heads of `keys[g]` elements with `factors[g]` factors.

    order: the channel of each unit; channels are the elements of all heads, group by group.
    """

    order: Tensor

    def __init__(self, inputs: int, units: int, heads: Sequence[int], keys: Sequence[int], factors: Sequence[int],
                 dtype: torch.dtype, basis: int = 0) -> None:
        """basis: 1 if the state is in a basis of its own, which the buffer `turn` says."""
        super().__init__()
        if not len(heads) == len(keys) == len(factors):
            raise ValueError("each group of heads has a number, a size and factors")
        self.inputs, self.units = inputs, units
        self.sizes = tuple(zip(heads, keys, factors, strict=True))
        self.channels = sum(h * n for h, n, _ in self.sizes)
        self.tensors = (("h", self.channels),)
        self.groups = nn.ModuleList(DeltaHead(inputs, *size, dtype) for size in self.sizes)
        self.output = Projection(self.channels, units, dtype=dtype)
        self.register_buffer("lags", torch.zeros(units, dtype=torch.bool))
        self.register_buffer("order", torch.zeros(units, dtype=torch.int64))
        turn = torch.zeros(self.channels, self.channels, dtype=torch.float64) if basis else None
        self.register_buffer("turn", turn)

    def config(self) -> dict[str, Any]:
        return {"units": self.units, "heads": [s[0] for s in self.sizes], "keys": [s[1] for s in self.sizes],
                "factors": [s[2] for s in self.sizes], **({} if self.basis is None else {"basis": 1})}

    @property
    def parts(self) -> tuple[int, ...]:
        return tuple(n for heads, n, _ in self.sizes for _ in range(heads) if n > 1)

    def turned(self, bases: Sequence[Tensor]) -> Delta:
        """Keys k' = Q k of each head, and C Qᵀ: (I − β k' k'ᵀ) Q h = Q (I − β k kᵀ) h."""
        qs = iter(bases)
        sizes, groups, whole, old = [], [], [], 0
        places = torch.zeros(self.channels, dtype=torch.int64)
        at = 0
        for (heads, n, factors), group in zip(self.sizes, self.groups, strict=True):
            assert isinstance(group, DeltaHead)
            own = [next(qs) if n > 1 else torch.ones(1, 1, dtype=torch.float64) for _ in range(heads)]
            size = len(own[0])
            q = torch.stack(own)
            keys = {name: torch.einsum("hab,hfb...->hfa...", q, grown(
                p.reshape(heads, factors, n, *p.shape[1:]), size, (2,))).flatten(0, 2)
                for name, p in group.k.named_parameters()}
            sizes.append((heads, size, factors))
            groups.append(keys)
            for _ in own:
                places[old : old + n] = torch.arange(at, at + n)
                old, at = old + n, at + size
            whole.extend(own)
        counts, elements, products = ([s[i] for s in sizes] for i in range(3))
        out = Delta(self.inputs, self.units, counts, elements, products, self.dtype, 1)
        turn = torch.block_diag(*whole)  # type: ignore[no-untyped-call]
        spread = torch.zeros(self.units, out.channels, dtype=torch.float64)
        spread[:, places] = self.output.weight.detach().double()
        with torch.no_grad():
            for new, group, keys in zip(out.groups, self.groups, groups, strict=True):
                new.load_state_dict({**group.state_dict(), **{f"k.{name}": x for name, x in keys.items()}})
            out.output.weight.copy_(spread @ turn.T)
            out.output.bias.copy_(self.output.bias)
            out.lags.copy_(self.lags)
            out.order.copy_(places[self.order])
            out.get_buffer("turn").copy_(turn)
        return out

    def _each(self, state: State) -> list[tuple[DeltaHead, Tensor]]:
        parts = torch.split(state[0], [h * n for h, n, _ in self.sizes], 1)
        return [(g, p) for g, p in zip(self.groups, parts, strict=True) if isinstance(g, DeltaHead)]

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.cat([g(x, part) for g, part in self._each(state)], -1)
        return self.output(h), (h[:, -1],)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.cat([g.step(x, part) for g, part in self._each(state)], -1)
        return self.output(h), (h,)

    def contents(self, state: State) -> Tensor:
        h = self.plain(state[0])[:, self.order]
        return torch.where(self.lags, (h > 0).double(), h)

    def state_of(self, contents: Tensor) -> State:
        h = contents.new_zeros(contents.shape[0], self.channels)
        h[:, self.order] = torch.where(self.lags, 2 * contents - 1, contents)
        return (self.held(h),)

    def place(self, unit: int) -> int:
        return int(self.order[unit])

    def element(self, unit: int) -> tuple[int, int]:
        return 0, self.place(unit)


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> Delta:
    """The mixer of some units: a head for each automaton, and a head of one element for each channel beside."""
    machines = _machines(units)
    alone = [k for k in range(len(units)) if not any(k in m for m in machines)]
    back = {k: i for i, k in enumerate(alone)}
    plan = make_plan([_moved(units[k], back) for k in alone], dtype, shared=True)
    programs = [_factors(units, m) for m in machines]
    single = len(plan.channels)
    heads = [*([single] if single else []), *(1 for _ in machines)]
    keys = [*([1] if single else []), *(len(m) for m in machines)]
    counts = [*([1] if single else []), *(max(map(len, p.values()), default=1) or 1 for p in programs)]
    mixer = Delta(inputs, len(units), heads, keys, counts, dtype)
    groups = [g for g in mixer.groups if isinstance(g, DeltaHead)]
    with torch.no_grad():
        if single:
            groups[0].k.bias.fill_(1)
            keep = gate_rows(plan.channels, inputs, GATE[dtype])
            _fill(groups[0].beta, (-keep[0], -keep[1]))
            _fill(groups[0].v, rows([c.add for c in plan.channels], inputs))
            for i, k in enumerate(alone):
                mixer.order[k], mixer.lags[k] = i, plan.lags[i]
                mixer.output.weight[k, :single] = plan.readout[i]
                mixer.output.bias[k] = plan.bias[i]
        at = single
        for machine, program, group in zip(machines, programs, groups[bool(single):], strict=True):
            _write(group, program, len(machine), GATE[dtype])
            for i, k in enumerate(machine):
                mixer.order[k] = at + i
                mixer.output.weight[k, at + i] = 1
            at += len(machine)
    return mixer


def _moved(unit: Gated | Lag, places: dict[int, int]) -> Gated | Lag:
    return unit if isinstance(unit, Lag) else replace(unit, keeps=tuple((f, places[i]) for f, i in unit.keeps))


def _fill(part: Projection, values: tuple[Tensor, Tensor]) -> None:
    part.weight.copy_(values[0])
    part.bias.copy_(values[1])


def _machines(units: Sequence[Gated | Lag]) -> list[list[int]]:
    """The sets of units that read each other."""
    root = list(range(len(units)))

    def find(i: int) -> int:
        while root[i] != i:
            i = root[i]
        return i

    for k, u in enumerate(units):
        for _, i in u.keeps if isinstance(u, Gated) else ():
            root[find(i)] = find(k)
    sets: dict[int, list[int]] = {}
    for k in range(len(units)):
        sets.setdefault(find(k), []).append(k)
    return [m for m in sets.values() if len(m) > 1]


Factor = tuple[dict[int, int], int]  # key: element → ±1; and the value written


def _factors(units: Sequence[Gated | Lag], machine: Sequence[int]) -> dict[int, list[Factor]]:
    """For each letter, a signal below that is 1 when it comes, the factors of what it does to the states."""
    place = {k: i for i, k in enumerate(machine)}
    moves: dict[int, dict[int, int]] = {}  # letter → old state → new state
    for k in machine:
        unit = units[k]
        assert isinstance(unit, Gated)
        for keep, i in unit.keeps:
            if keep.bias or any(w != 1 for w, _ in keep.terms):
                raise ValueError("a transition is chosen by letters, a signal each")
            for _, letter in keep.terms:
                moves.setdefault(letter, {})[place[i]] = place[k]
    return {letter: _product([to[q] for q in range(len(machine))]) for letter, to in moves.items()}


def _product(to: Sequence[int]) -> list[Factor]:
    """Swaps that make a permutation, the first to act first; or the erasing and writing of every element."""
    if len(set(to)) == 1:
        return [({q: 1}, int(q == to[0])) for q in range(len(to))]
    if len(set(to)) < len(to):
        raise ValueError("a letter neither permutes the states nor sends all to one")
    out: list[Factor] = []
    now = list(range(len(to)))  # now[q]: where what was at q is, after the swaps so far
    for q in range(len(to)):
        a, b = now[q], to[q]
        if a != b:
            out.append(({a: 1, b: -1}, 0))
            now = [b if x == a else a if x == b else x for x in now]
    return out


def _write(group: DeltaHead, program: dict[int, list[Factor]], n: int, strength: float) -> None:
    on: dict[int, list[int]] = {}
    count = group.shape[1]
    for letter, factors in program.items():
        for j, (key, value) in enumerate(factors):
            for element, sign in key.items():
                group.k.weight[j * n + element, letter] = sign
            group.v.weight[j, letter] = value
            on.setdefault(j, []).append(letter)
    acts = [Form.of((1, letter) for letter in on.get(j, [])) for j in range(count)]
    _fill(group.beta, gate_rows([Channel(act, ZERO) for act in acts], group.beta.in_features, strength))


TARGET = gated_target("delta", "DeltaProduct (Siems et al. 2025): permutations and resets of states, latches", Delta,
                      make, Gates(keeps="shared", lag="bits", mixing="permutation", steps="any", masks="steps",
                            slips=Fraction(1, 2**60)),
                      "every β is 0 or 1 exactly")
