"""Which scan a cell has, from its classes; or why it has to be run a token at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import product

from lsrl.analysis import details as d
from lsrl.analysis.automaton import Automaton
from lsrl.analysis.cells import Cell
from lsrl.backends.kernels.code import Builder, Kind, Table, Value, schedule
from lsrl.backends.kernels.lowering import Lowering
from lsrl.backends.kernels.scans import Affine, Clamp, Coded, Cyclic, Latch, Maps, Scan, Shift, Sum, packed
from lsrl.ir.graph import State
from lsrl.ir.nodes import Node
from lsrl.types import Bool, Int, Symbols
from lsrl.types import Value as ProgramValue

__all__ = ["choose_scan", "combine_cost", "detail_nodes"]

MOST_STATES = 16  # of an automaton whose letters are maps
MOST_ROWS = 3  # of a matrix that is multiplied in every combine
_LETTERS = 1 << 16  # joint values of an automaton's boundary
_FAR = 1 << 61


def detail_nodes(cell: Cell) -> list[Node]:
    """The nodes that the details of a cell name, which need not be nodes of the graph."""
    out: list[Node] = []
    for found in cell.details.values():
        match found:
            case d.Delay(u=u) | d.Accumulator(u=u):
                out.append(u)
            case d.Affine(u=us):
                out += us
            case d.Gated(g=g, u=u):
                out += [g, u]
            case d.Latch(write=write, value=value):
                out += [write, value]
            case d.AffineDense(matrix=matrix, u=us):
                out += [x for row in matrix for x in row] + list(us)
            case d.Tropical():
                out += [x for x in (found.u, found.lo, found.hi, found.reset, found.value) if x is not None]
            case d.Counters() if len(found.registers) == 1 and not found.control:
                out += [*found.keep.values(), *found.add.values()]
    return out


def choose_scan(cell: Cell, lower: Lowering) -> Scan | str:
    """The cheapest scan of a cell, or the reason that it has none."""
    scans: list[Scan] = []
    reasons: list[str] = []
    for name, found in cell.details.items():
        made = _scan(name, found, cell, lower)
        scans += [made] if isinstance(made, Scan) else []
        reasons += [made] if isinstance(made, str) else []
    return min(scans, key=combine_cost) if scans else reasons[0]


def combine_cost(scan: Scan) -> int:
    """How many operations combining two elements takes, and numbers it moves."""
    b = Builder()
    first, then = ([b.leaf("input", k, side, i) for i, k in enumerate(scan.kinds)] for side in ("first", "then"))
    if isinstance(scan, Shift) and not isinstance(scan, Latch):
        return 0
    made = schedule(scan.combine(b, tuple(first), tuple(then)))
    return sum(v.op not in ("input", "const") for v in made) + 2 * len(scan.kinds)


def _scan(name: str, found: d.Detail | None, cell: Cell, lower: Lowering) -> Scan | str:
    s, b = lower.storage, lower.b
    state = cell.members[0]
    kinds = tuple(s.state_kind(m) for m in cell.members)

    def held(node: Node, of: State = state) -> Value:
        return lower.held(lower(node), node, of)

    match found:
        case d.Delay(u=u):
            return Shift(cell.states, kinds, (b.const(True, "bool"), held(u)))
        case d.Latch(write=write, value=value):
            written = lower(write)
            never = written.op == "const" and not written.attribute  # what would be written is then the state itself
            return Latch(cell.states, kinds, (written, b.const(s.init(state), kinds[0]) if never else held(value)))
        case d.Accumulator(u=u):
            return Sum(cell.states, kinds, (held(u),))
        case d.Gated(g=g, u=u):
            return _affine(cell, kinds, [[g]], [u], lower)
        case d.Affine(matrix=matrix, u=us):
            return _constant_affine(cell, kinds, matrix, us, lower)
        case d.AffineDense(matrix=matrix_nodes, u=us):
            return _affine(cell, kinds, matrix_nodes, us, lower)
        case d.Tropical():
            return _clamp(found, cell, kinds[0], lower)
        case d.Counters() if name == "counter" and len(cell.states) == 1 and not found.control:
            register = cell.states[0]
            return _affine(cell, kinds, [[found.keep[register]]], [found.add[register]], lower)
        case d.Counters():
            return "its registers are compared inside the cell"
        case Automaton():
            return _automaton(found, cell, kinds, lower)
        case _:
            return f"a {name} cell is no scan of few numbers"


def _affine(cell: Cell, kinds: tuple[Kind, ...], matrix: Sequence[Sequence[Node]], us: Sequence[Node],
            lower: Lowering) -> Scan | str:
    s = lower.storage
    if len(matrix) > MOST_ROWS:
        return f"its matrix has {len(matrix)} rows, more than {MOST_ROWS}"
    if len(set(kinds)) > 1 or len({s.state_scale(m) for m in cell.members}) > 1:
        return "its states are held in different numbers"
    for row in matrix:
        for g in row:
            r = s.range(g)
            if kinds[0] != "float" and (s.scale(g) != 1 or r.magnitude is None or r.magnitude > 1):
                return "its old value is multiplied by a number other than -1, 0 and 1, and products would not fit"
    gains = [lower.b.cast(lower(g), kinds[0]) for row in matrix for g in row]
    offsets = [lower.held(lower(u), u, m) for u, m in zip(us, cell.members, strict=True)]
    if len(gains) == 1 and gains[0].op == "const" and gains[0].attribute == 1:
        return Sum(cell.states, kinds, tuple(offsets))
    return Affine(cell.states, kinds, (*gains, *offsets))


def _constant_affine(cell: Cell, kinds: tuple[Kind, ...], matrix: Sequence[Sequence[Fraction]], us: Sequence[Node],
                     lower: Lowering) -> Scan | str:
    s, b = lower.storage, lower.b
    if len(matrix) > MOST_ROWS:
        return f"its matrix has {len(matrix)} rows, more than {MOST_ROWS}"
    if len(set(kinds)) > 1 or len({s.state_scale(m) for m in cell.members}) > 1:
        return "its states are held in different numbers"
    if kinds[0] != "float" and any(x.denominator > 1 or abs(x) > 1 for row in matrix for x in row):
        return "its old value is multiplied by a number other than -1, 0 and 1, and products would not fit"
    gains = [b.const(float(x) if kinds[0] == "float" else int(x), kinds[0]) for row in matrix for x in row]
    offsets = [lower.held(lower(u), u, m) for u, m in zip(us, cell.members, strict=True)]
    return Affine(cell.states, kinds, (*gains, *offsets))


def _clamp(found: d.Tropical, cell: Cell, carried: Kind, lower: Lowering) -> Scan:
    b = lower.b
    kind: Kind = "float" if carried == "float" else "int64"
    far = math.inf if kind == "float" else _FAR

    def bound(node: Node | None, missing: float) -> Value:
        return b.const(missing, kind) if node is None else b.cast(lower.held(lower(node), node, cell.members[0]), kind)

    u, lo, hi = bound(found.u, 0), bound(found.lo, -far), bound(found.hi, far)
    if found.reset is not None and found.value is not None:
        reset, value = lower(found.reset), bound(found.value, 0)
        u, lo, hi = b.select(reset, b.const(0, kind), u), b.select(reset, value, lo), b.select(reset, value, hi)
    if found.lo is not None and found.hi is not None:  # clamping is to lo and then to hi
        lo = b.op("min", lo, hi)
    return Clamp(cell.states, (carried,), (u, lo, hi), far)


def _automaton(found: Automaton, cell: Cell, kinds: tuple[Kind, ...], lower: Lowering) -> Scan | str:
    n = len(found.states)
    rotations = _rotations(found)
    if n > MOST_STATES and rotations is None:
        return f"it has {n} states, more than the {MOST_STATES} whose maps fit into one number"
    digits = _digits(found.boundary, lower)
    if digits is None:
        return "its letters are too many for a table"
    words = list(product(*(range(lo, lo + count) for _, lo, count in digits)))
    order, amounts = rotations if rotations is not None else (list(range(n)), [])
    element_kind: Kind = "int32" if rotations is not None or n <= 8 else "int64"

    def effect(word: tuple[int, ...]) -> int:
        letter = tuple(bool(v) if isinstance(x.type, Bool) else v for v, (x, _, _) in zip(word, digits, strict=True))
        try:
            x = found.letter_of(letter)
        except KeyError:
            return 0 if rotations is not None else packed(range(n))
        if rotations is not None:
            return amounts[x]
        return packed([q if image < 0 else int(image) for q, image in enumerate(found.next[:, x])])

    entries = tuple(effect(word) for word in words)
    name = f"{cell.states[0].replace('[', '_').replace(']', '')}_letters"
    leaf = lower.b.lookup(Table(name, element_kind, entries), lower.place(digits)) if digits else \
        lower.b.const(entries[0], element_kind)
    values = tuple(tuple(_count(v, m, lower) for v, m in zip(found.states[q], cell.members, strict=True))
                   for q in order)
    low = tuple(min(v[i] for v in values) for i in range(len(kinds)))
    sizes = tuple(max(v[i] for v in values) - low[i] + 1 for i in range(len(kinds)))
    if math.prod(sizes) > _LETTERS:
        return "its states take too many values for a table"
    known = {v: q for q, v in enumerate(values)}
    code = tuple(known.get(tuple(x + lo for x, lo in zip(v, low, strict=True)), -1)
                 for v in product(*(range(k) for k in sizes)))
    make: type[Coded] = Cyclic if rotations is not None else Maps
    return make(cell.states, ("int32",), (leaf,), kinds, values, order.index(found.start), low, sizes, code)


def _count(value: ProgramValue, state: State, lower: Lowering) -> int:
    assert not isinstance(value, tuple)
    return int(Fraction(value) * lower.storage.state_scale(state))


def _digits(boundary: Sequence[Node], lower: Lowering) -> list[tuple[Node, int, int]] | None:
    """Each boundary node with its lowest value and how many it has; None if a joint table is too large."""
    out: list[tuple[Node, int, int]] = []
    for x in boundary:
        r = lower.storage.range(x)
        if not isinstance(x.type, Bool | Int | Symbols):
            return None
        if isinstance(x.type, Bool):
            out.append((x, 0, 2))
        elif isinstance(x.type, Symbols):
            out.append((x, 0, len(x.type.names) + x.type.other))
        elif r.lo is None or r.hi is None:
            return None
        else:
            out.append((x, int(r.lo), int(r.hi - r.lo) + 1))
    return out if math.prod(n for _, _, n in out) <= _LETTERS else None


def _rotations(found: Automaton) -> tuple[list[int], list[int]] | None:
    """The states in an order in which every letter adds a constant modulo their number, with the constants."""
    n = len(found.states)
    if (found.next < 0).any() or n < 2:
        return None
    for x in found.letters:
        order = [0]
        while (after := int(found.next[order[-1], x])) != 0 and len(order) <= n:
            order.append(after)
        if len(order) == n and len(set(order)) == n:
            break
    else:
        return None
    place = {q: i for i, q in enumerate(order)}
    amounts = [(place[int(found.next[0, x])] - place[0]) % n for x in found.letters]
    for x in found.letters:
        if any(place[int(found.next[q, x])] != (place[q] + amounts[x]) % n for q in range(n)):
            return None
    return order, amounts
