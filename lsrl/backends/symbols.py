"""The debug map: where the variables of a program live in a model's hidden state, and how to read and write them.

A circuit's `Placement`s speak of the contents of its units (0 or 1 of a bit, a number, a count); the `Technology` of
the target says how its state tensors hold those. Both together are what `probe` and `poke` need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from lsrl.backends.circuit import Circuit, Count, Derived, Placement
from lsrl.backends.emission import Holder
from lsrl.backends.layers import Stack, State
from lsrl.backends.linear_form import Form, Rational
from lsrl.diagnostics import NOWHERE, LsrlError, Span, did_you_mean
from lsrl.types import Bool, Int, Real, Symbols, Type, Value, scalar_of
from lsrl.values import read_value

__all__ = ["Places", "derived_from_json", "derived_to_json", "describe_symbols", "form_from_json", "form_to_json",
           "placement_from_json", "placement_to_json"]


class Places:
    """Reads and writes program variables in the state tensors of a stack.

    holders: how each layer holds its contents. kinds: those of each layer's units. types: of every state, by its name.
    """

    def __init__(self, placements: Sequence[Placement], stack: Stack, holders: Sequence[Holder],
                 kinds: Sequence[tuple[str, ...]], types: Mapping[str, Type],
                 derived: Sequence[Derived] = (), whole: bool = True) -> None:
        """whole: contents are whole numbers, as those of an exact model are."""
        self._whole = whole
        self.placements = tuple(placements)
        self._derived = {d.state: d for d in derived}
        self.kinds = tuple(kinds)
        self._parts = [stack.part(i) for i in range(len(self.kinds))]
        self._holders = tuple(holders)
        self.types = dict(types)
        self._home: dict[str, Placement] = {}
        for p in self.placements:
            if not 1 <= p.layer <= len(self.kinds):
                raise ValueError(f"no layer {p.layer}")
            for name in (*p.states, *(n for n, _ in p.numbers)):
                if name not in self.types:
                    raise ValueError(f"no type of `{name}`")
                self._home[name] = p
        for d in derived:
            if any(name not in self._home for name in d.bits) or d.state not in self.types:
                raise ValueError(f"no place of `{d.state}`")

    @property
    def variables(self) -> tuple[str, ...]:
        """The states that can be read and written."""
        return (*self._derived, *self._home)

    def contents(self, state: State, layer: int) -> Tensor:
        """The exact contents (B, units) of layer `layer` (from 1), float64."""
        return self._holders[layer - 1].contents(state[self._parts[layer - 1]])

    def read(self, state: State, name: str) -> Tensor:
        """A state's value in each row (B,), or (B, n) of a vector: bool, int64 (codes of symbols) or float64.

        Raises LsrlError (L408) for a state that the model does not hold.
        """
        parts = self._elements(name)
        if parts:
            return torch.stack([self.read(state, part) for part in parts], -1)
        if name in self._derived:
            return self._read_derived(state, self._derived[name])
        p, t = self._find(name), self.types[name]
        contents = self.contents(state, p.layer)
        for n, count in p.numbers:
            if n == name:
                return _typed(_evaluate([count.form], contents)[:, 0], t)
        joint = _evaluate(p.forms, contents) == 1
        if bool((joint.sum(-1) != 1).any()):
            raise LsrlError.of("L408", f"this is no state of the model: it gives `{name}` no value")
        at, which = p.states.index(name), joint.double().argmax(-1)
        for k in which.tolist():
            if not p.known(k, at):
                raise LsrlError.of("L408", f"the model does not keep `{name}` here: no output of the program depends "
                                   "on which of several values it has")
        column = torch.tensor([float(_number(row[at])) for row in p.values], dtype=torch.float64)
        return _typed(column.to(contents.device)[which], t)

    def write(self, state: State, name: str, value: Any) -> State:
        """The state with one variable changed in every row; the other variables of its cell keep their values.

        value: one for all rows, or a tensor or sequence (B,). Raises LsrlError: L408 for a state that the model does
        not hold or a value that cannot occur, L602 to L605 for one that is not of the state's type.
        """
        parts = self._elements(name)
        if parts:
            vector = value.tolist() if hasattr(value, "tolist") else value
            if not isinstance(vector, Sequence) or len(vector) != len(parts):
                raise LsrlError.of("L602", f"`{name}` is a vector of {len(parts)}, which {value!r} is not")
            for part, x in zip(parts, vector, strict=True):
                state = self.write(state, part, x)
            return state
        if name in self._derived:
            return self._write_derived(state, self._derived[name], value)
        p = self._find(name)
        return self._put(state, p, name, [{name: v} for v in _rows(value, self.types[name], name, len(state[0]))])

    def _put(self, state: State, p: Placement, name: str, wanted: Sequence[Mapping[str, Value]]) -> State:
        """Writes values of some variables of one placement in each row; name: what was asked for."""
        contents = self.contents(state, p.layer)
        new = contents.clone()
        for i, values in enumerate(wanted):
            try:
                row = p.encode(dict(values), [_exact(x) for x in contents[i].tolist()])
            except ValueError as error:
                raise LsrlError.of("L408", f"the model has no state with this value of `{name}`: {error}") from None
            if any((self._whole and x.denominator != 1) or (x < 0 and kind in ("number", "lag"))
                   for x, kind in zip(row, self.kinds[p.layer - 1], strict=True)):
                raise LsrlError.of("L408", f"the model has no state with this value of `{name}`: it is never reached")
            new[i] = torch.tensor([float(x) for x in row], dtype=torch.float64)
        place = self._parts[p.layer - 1]
        fresh = self._holders[p.layer - 1].state_of(new)
        device = state[place.start].device
        return (*state[: place.start], *(t.to(device) for t in fresh), *state[place.stop :])

    def _read_derived(self, state: State, d: Derived) -> Tensor:
        bits = torch.stack([self.read(state, name) for name in d.bits], -1)
        table = {row: _number(value) for row, value in d.rows}
        found = [table.get(tuple(row)) for row in bits.tolist()]
        if None in found:
            raise LsrlError.of("L408", f"this is no state of the model: it gives `{d.state}` no value")
        numbers = torch.tensor([float(x) for x in found if x is not None], dtype=torch.float64, device=bits.device)
        return _typed(numbers, self.types[d.state])

    def _write_derived(self, state: State, d: Derived, value: Any) -> State:
        """Changes as few of the bits as give the value."""
        now = torch.stack([self.read(state, name) for name in d.bits], -1).tolist()
        chosen: list[tuple[bool, ...]] = []
        for old, v in zip(now, _rows(value, self.types[d.state], d.state, len(now)), strict=True):
            rows = [row for row, x in d.rows if x == v]
            if not rows:
                raise LsrlError.of("L408", f"the model has no state with this value of `{d.state}`")
            chosen.append(min((sum(a != b for a, b in zip(row, old, strict=True)), row) for row in rows)[1])
        for p in dict.fromkeys(self._home[name] for name in d.bits):
            state = self._put(state, p, d.state, [{n: b for n, b in zip(d.bits, row, strict=True) if n in p.states}
                                                  for row in chosen])
        return state

    def _find(self, name: str) -> Placement:
        if name not in self._home:
            raise LsrlError.of("L408", f"the model holds no state `{name}`", help=did_you_mean(name, self._home)
                               or ("it holds " + ", ".join(self._home) if self._home else "it holds none"))
        return self._home[name]

    def _elements(self, name: str) -> list[str]:
        """The elements of a vector state that was split, in order; none for a scalar."""
        out: list[str] = []
        while name not in self._home and f"{name}[{len(out)}]" in self._home:
            out.append(f"{name}[{len(out)}]")
        return out


def _exact(x: float) -> Rational:
    return int(x) if x == int(x) else Fraction(x)


def _number(v: Value) -> Rational:
    assert isinstance(v, int | Fraction)
    return v


def _evaluate(forms: Sequence[Form], contents: Tensor) -> Tensor:
    """Each form's value (B, forms), the float64 nearest to it: sums are of whole numbers, and divided at the end."""
    weights = torch.zeros(len(forms), contents.shape[1], dtype=torch.float64)
    bias = torch.zeros(len(forms), dtype=torch.float64)
    under = torch.ones(len(forms), dtype=torch.float64)
    for k, form in enumerate(forms):
        common = math.lcm(*(x.denominator for x in (form.bias, *(w for w, _ in form.terms))))
        under[k], bias[k] = common, float(form.bias * common)
        for w, i in form.terms:
            weights[k, i] = float(w * common)
    device = contents.device
    return (contents @ weights.T.to(device) + bias.to(device)) / under.to(device)


def _typed(x: Tensor, t: Type) -> Tensor:
    match scalar_of(t):
        case Bool():
            return x > 0.5
        case Real():
            return x
        case _:
            return x.round().long()


def _rows(value: Any, t: Type, name: str, batch: int) -> list[Value]:
    """One checked value for each of the rows."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    given = list(plain) if isinstance(plain, list | tuple) else [plain] * batch
    if len(given) != batch:
        raise LsrlError.of("L602", f"`{name}` is given {len(given)} values for {batch} sequences")
    out: list[Value] = []
    for v in given:
        try:
            out.append(read_value(v, t))
        except ValueError as bad:
            code, message = getattr(bad, "code", "L602"), getattr(bad, "message", str(bad))
            raise LsrlError.of(code, f"`{name}`: {message}") from None
    return out


def describe_symbols(circuit: Circuit, types: Mapping[str, Type], holders: Sequence[Holder],
                     tensors: Sequence[Sequence[tuple[str, int]]], kinds: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """The debug map as JSON values: `variables` (layer, tensor, indices, weights, levels), `units` (their meaning), and
    `derived`: states that several variables, bits, say together.

    A variable's value is bias + Σ weight · content of unit, at every step; the content of a unit is
    (element of the tensor − off) / (on − off) with (off, on) = `levels`. Layers count from 0 here, as torch counts.
    In a state that is in another basis the sum is over elements, with the levels (0, 1), and a unit has a `mixture`:
    the elements and weights whose sum its content is.
    """
    def variable(name: str, p: Placement, total: Form) -> dict[str, Any]:
        at = p.layer - 1
        return {"variable": name, "type": str(types[name]), "layer": at,
                **_where(total, holders[at], tensors[at], len(kinds[at]))}

    variables: list[dict[str, Any]] = []
    for p in circuit.placements:
        for column, name in enumerate(p.states):
            total = Form.total(f.scale(_number(row[column])) for f, row in zip(p.forms, p.values, strict=True))
            variables.append(variable(name, p, total))
        for name, count in p.numbers:
            variables.append(variable(name, p, count.form))
    derived = [{"variable": d.state, "type": str(types[d.state]), "bits": list(d.bits),
                "values": [[list(map(int, row)), _row((value,))[0]] for row, value in d.rows]} for d in circuit.derived]
    units = [{"layer": layer, "index": i, "kind": kind, "means": unit.symbol.text, "span": _place(unit.symbol.span),
              "states": list(unit.symbol.states), **place}
             for layer, (row, row_kinds) in enumerate(zip(circuit.layers, kinds, strict=True))
             for i, (unit, kind, place) in enumerate(zip(
                 row, row_kinds, _unit_places(holders[layer], tensors[layer], len(row)), strict=True))]
    return {"variables": variables, "derived": derived, "units": units}


def _unit_places(holder: Holder, tensors: Sequence[tuple[str, int]], units: int) -> list[dict[str, Any]]:
    """For each unit the state tensor and the element that hold it, and its levels: the element at contents 0 and 1.

    A unit without memory has none of these: it shows its content itself.
    """
    out: list[dict[str, Any]] = [{"tensor": None, "element": None, "levels": None} for _ in range(units)]
    mixed = {i: sums for i in range(units) if (sums := holder.mixture(i)) is not None}
    for i, sums in mixed.items():
        out[i] = {"tensor": tensors[0][0], "element": None, "levels": None,
                  "mixture": [[j, str(Fraction(w))] for j, w in sums]}
    places = [(i, at) for i in range(units) if i not in mixed and (at := holder.element(i)) is not None]
    if places:
        off, on = (holder.state_of(torch.full((1, units), float(x), dtype=torch.float64)) for x in (0, 1))
        for i, (k, j) in places:
            out[i] = {"tensor": tensors[k][0], "element": j, "levels": [float(off[k][0, j]), float(on[k][0, j])]}
    return out


def _where(total: Form, holder: Holder, tensors: Sequence[tuple[str, int]], units: int) -> dict[str, Any]:
    """Where the units of a form are held, and at which levels."""
    if any(holder.mixture(i) is not None for _, i in total.terms):
        total = Form.of(((w * Fraction(by), j) for w, i in total.terms for j, by in holder.mixture(i) or ()),
                        total.bias)
        return {"tensor": [tensors[0][0]] * len(total.terms), "indices": [j for _, j in total.terms],
                "weights": [str(w) for w, _ in total.terms], "bias": str(total.bias),
                "levels": [[0.0, 1.0]] * len(total.terms)}
    zero = holder.state_of(torch.zeros(1, units, dtype=torch.float64))
    one = holder.state_of(torch.ones(1, units, dtype=torch.float64))
    places = []
    for _, i in total.terms:
        at = holder.element(i)
        assert at is not None, "a program's variable is held by units with memory"
        places.append(at)
    return {"tensor": [tensors[k][0] for k, _ in places], "indices": [i for _, i in places],
            "weights": [str(w) for w, _ in total.terms], "bias": str(total.bias),
            "levels": [[float(x[k][0, i]) for x in (zero, one)] for k, i in places]}


def _place(span: Span) -> str:
    return "" if span is NOWHERE else str(span)


def form_to_json(form: Form) -> Any:
    """A form as JSON values; rationals as text."""
    return [[[str(w), i] for w, i in form.terms], str(form.bias)]


def form_from_json(data: Any) -> Form:
    """The form that `form_to_json` wrote. Raises ValueError or TypeError for anything else."""
    terms, bias = data
    return Form(tuple((_rational(w), int(i)) for w, i in terms), _rational(bias))


def _rational(text: Any) -> Rational:
    x = Fraction(str(text))
    return int(x) if x.denominator == 1 else x


def placement_to_json(p: Placement) -> Any:
    """A placement as JSON values."""
    return {
        "layer": p.layer, "states": list(p.states),
        "values": [_row(row) for row in p.values],
        "forms": [form_to_json(f) for f in p.forms], "patterns": [list(x) for x in p.patterns],
        "units": list(p.units), "merged": [[_row(x) for x in members] for members in p.merged],
        "numbers": [[name, form_to_json(c.form), [[u, str(a), str(b), clip] for u, a, b, clip in c.units]]
                    for name, c in p.numbers],
    }


def _row(row: tuple[Value, ...]) -> list[Any]:
    return [str(v) if isinstance(v, Fraction) else v for v in row]


def derived_to_json(d: Derived) -> Any:
    """As JSON values."""
    return [d.state, list(d.bits), [[list(map(int, row)), _row((value,))[0]] for row, value in d.rows]]


def derived_from_json(data: Any, types: Mapping[str, Type]) -> Derived:
    """What `derived_to_json` wrote. Raises ValueError, TypeError or KeyError for anything else."""
    state, bits, rows = data
    return Derived(str(state), tuple(map(str, bits)), tuple(
        (tuple(map(bool, row)), _value(value, types[str(state)])) for row, value in rows))


def placement_from_json(data: Any, types: Mapping[str, Type]) -> Placement:
    """The placement that `placement_to_json` wrote. Raises ValueError, TypeError or KeyError for anything else."""
    states = tuple(map(str, data["states"]))

    def joint(row: Any) -> tuple[Value, ...]:
        return tuple(_value(v, types[n]) for v, n in zip(row, states, strict=True))

    values = tuple(joint(row) for row in data["values"])
    merged = tuple(tuple(joint(row) for row in members) for members in data["merged"])
    numbers = tuple((str(name), Count(form_from_json(form), tuple(
        (int(u), _rational(a), _rational(b), bool(clip)) for u, a, b, clip in units)))
        for name, form, units in data["numbers"])
    return Placement(int(data["layer"]), states, values, tuple(map(form_from_json, data["forms"])),
                     tuple(tuple(map(int, x)) for x in data["patterns"]), tuple(map(int, data["units"])),
                     merged, numbers)


def _value(v: Any, t: Type) -> Value:
    match t:
        case Bool():
            return bool(v)
        case Int() | Symbols():
            return int(v)
        case _:
            return Fraction(str(v))
