"""Random well-formed graphs and inputs for them: what every form of the interpreter is compared on."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from lsrl.diagnostics import NOWHERE
from lsrl.ir.graph import Check, Graph, State
from lsrl.ir.nodes import (
    UNARY_FUNCTIONS,
    Affine,
    Compare,
    Const,
    Divide,
    FloorDiv,
    Index,
    Input,
    Logic,
    MatMul,
    MinMax,
    Mul,
    Mux,
    Node,
    Pack,
    Param,
    Read,
    Slice,
    Table,
    Unary,
)
from lsrl.types import (
    BOOL,
    INT,
    REAL,
    Bool,
    Int,
    Real,
    Symbols,
    Type,
    Value,
    Vector,
    first_value,
    is_number,
    scalar_of,
    shape,
    with_shape,
)

__all__ = ["graphs", "rows", "values_of"]

AB = Symbols(("a", "b"), other=True)
HALVES = Real(Fraction(-1), Fraction(2), Fraction(1, 2))
INPUT_TYPES: tuple[Type, ...] = (
    BOOL, Int(-2, 3), AB, HALVES, INT, REAL, Vector(Int(0, 2), 2), Vector(BOOL, 2), Vector(HALVES, 3),
    Vector(Vector(Int(-1, 1), 2), 3))
STATE_TYPES: tuple[Type, ...] = (BOOL, INT, Int(0, 5), REAL, AB, Vector(INT, 2), Vector(BOOL, 2), Vector(REAL, 3))
_COEFFICIENTS: st.SearchStrategy[int | Fraction] = st.sampled_from([1, -1, 2, 0, Fraction(1, 2), Fraction(-2, 3), 5])
_DIVISORS: st.SearchStrategy[int | Fraction] = st.sampled_from([1, 2, 7, Fraction(1, 2), Fraction(3, 4)])
_RESULTS: st.SearchStrategy[Type] = st.sampled_from([BOOL, INT, REAL, AB])
_WHOLE: st.SearchStrategy[int | Fraction] = st.sampled_from([1, -1, 2, -3, 0, 5])


@st.composite
def graphs(draw: st.DrawFn, numeric: bool = False, most_nodes: int = 14) -> Graph:
    """A graph of one to three inputs, up to three states and, in numeric ones, all kinds of float nodes."""
    pool: list[Node] = []
    inputs = tuple(Input(f"x{i}", t, NOWHERE)
                   for i, t in enumerate(draw(st.lists(st.sampled_from(INPUT_TYPES), min_size=1, max_size=3))))
    pool += inputs
    kinds = draw(st.lists(st.sampled_from(STATE_TYPES), max_size=3))
    pool += [Read(f"s{i}", t, NOWHERE) for i, t in enumerate(kinds)]
    pool += [Const(draw(st.integers(-3, 4)), INT, NOWHERE), Const(draw(st.booleans()), BOOL, NOWHERE),
             Const(draw(st.fractions(-2, 2, max_denominator=4)), REAL, NOWHERE)]
    if numeric:
        pool += [Param("w", ("normal", (0.5,)), Vector(Vector(REAL, 3), 2), NOWHERE),
                 Unary("tanh", draw(st.sampled_from(_numbers(pool, ()))), REAL, NOWHERE)]
    products = 0
    for _ in range(draw(st.integers(2, most_nodes))):
        node = _draw_node(draw, pool, numeric, products < 2)
        if node is not None:
            products += isinstance(node, Mul | MatMul)
            pool.append(node)
    states = tuple(_draw_state(draw, f"s{i}", t, pool) for i, t in enumerate(kinds))
    outputs = tuple((f"y{i}", n) for i, n in enumerate(
        draw(st.lists(st.sampled_from(pool[len(inputs):]), min_size=1, max_size=3))))
    checks: list[Check] = []
    if draw(st.integers(0, 3)) == 0:
        condition = draw(st.sampled_from([n for n in pool if n.type == BOOL]))
        subject = draw(st.sampled_from(pool))
        checks.append(Check("assert", condition, "the value {value} is wrong", "L501", subject, NOWHERE))
    if numeric:  # keeps the graph numeric even if nothing else uses a float node
        tanh = next(n for n in pool if isinstance(n, Unary))
        outputs += (("t", tanh),)
    return Graph("random", inputs, states, outputs, tuple(checks), (), NOWHERE)


def _numbers(pool: list[Node], dims: tuple[int, ...] | None = None) -> list[Node]:
    return [n for n in pool if is_number(scalar_of(n.type)) and (dims is None or shape(n.type) in (dims, ()))]


def _dims(*args: Node) -> tuple[int, ...]:
    return max((shape(a.type) for a in args), key=len)


def _number_type(*args: Node) -> Type:
    real = any(isinstance(scalar_of(a.type), Real) for a in args)
    return with_shape(REAL if real else INT, _dims(*args))


def _compatible(draw: st.DrawFn, pool: list[Node], first: Node) -> Node:
    """A node of the first one's scalar kind that can stand beside it in an elementwise node."""
    kind = type(scalar_of(first.type))
    dims = shape(first.type)
    return draw(st.sampled_from([n for n in pool if type(scalar_of(n.type)) is kind
                                 and (not dims or shape(n.type) in (dims, ()))
                                 and (not isinstance(scalar_of(n.type), Symbols) or scalar_of(n.type) == AB)]))


def _draw_node(draw: st.DrawFn, pool: list[Node], numeric: bool, multiply: bool) -> Node | None:
    kind = draw(st.sampled_from(["affine", "affine", "mul", "compare", "logic", "mux", "minmax", "floordiv", "table",
                                 "pack", "index", "slice", "matmul", *(["divide", "unary"] if numeric else [])]))
    recent = draw(st.booleans())
    first = draw(st.sampled_from(pool[-4:] if recent else pool))
    number = draw(st.sampled_from(_numbers(pool)[-4:] if recent else _numbers(pool)))
    other = draw(st.sampled_from(_numbers(pool, shape(number.type) or None)))
    match kind:
        case "affine":
            return _affine(draw, pool, number)
        case "mul" if multiply:
            return Mul(number, other, _number_type(number, other), NOWHERE)
        case "divide":
            return Divide(number, other, with_shape(REAL, _dims(number, other)), NOWHERE)
        case "unary":
            return Unary(draw(st.sampled_from(UNARY_FUNCTIONS)), number, with_shape(REAL, shape(number.type)), NOWHERE)
        case "compare":
            if is_number(scalar_of(first.type)):
                op = draw(st.sampled_from(["==", "!=", "<", "<="]))
                return Compare(op, number, other, with_shape(BOOL, _dims(number, other)), NOWHERE)
            second = _compatible(draw, pool, first)
            return Compare(draw(st.sampled_from(["==", "!="])), first, second,
                           with_shape(BOOL, _dims(first, second)), NOWHERE)
        case "logic":
            bools = [n for n in pool if isinstance(scalar_of(n.type), Bool)]
            one = draw(st.sampled_from(bools))
            if draw(st.booleans()):
                return Logic("not", (one,), one.type, NOWHERE)
            args = (one, *(_compatible(draw, pool, one) for _ in range(draw(st.integers(0, 2)))))
            if len({shape(a.type) for a in args} - {()}) > 1:
                return None
            return Logic(draw(st.sampled_from(["and", "or"])), args, with_shape(BOOL, _dims(*args)), NOWHERE)
        case "mux":
            return _mux(draw, pool, first)
        case "minmax":
            return MinMax(draw(st.sampled_from(["min", "max"])), (number, other), _number_type(number, other), NOWHERE)
        case "floordiv":
            divisor = draw(_DIVISORS)
            whole = isinstance(divisor, int) and isinstance(scalar_of(number.type), Int)
            return FloorDiv(draw(st.sampled_from(["//", "%"])), number, divisor,
                            with_shape(INT if whole else REAL, shape(number.type)), NOWHERE)
        case "table":
            return _table(draw, pool)
        case "pack":
            return Pack((first, _same(draw, pool, first)), Vector(first.type, 2), NOWHERE) \
                if len(shape(first.type)) < 2 else None
        case "index" | "slice" | "matmul":
            return _vector_node(draw, pool, kind if multiply or kind != "matmul" else "index")
        case _:
            return None


def _same(draw: st.DrawFn, pool: list[Node], first: Node) -> Node:
    return draw(st.sampled_from([n for n in pool if n.type == first.type]))


def _affine(draw: st.DrawFn, pool: list[Node], first: Node) -> Node:
    candidates = [n for n in pool if isinstance(scalar_of(n.type), Bool | Int | Real)
                  and (not shape(first.type) or shape(n.type) in (shape(first.type), ()))]
    args = [first, *draw(st.lists(st.sampled_from(candidates), max_size=2))]
    if len({shape(a.type) for a in args} - {()}) > 1:
        args = [first]
    real = any(isinstance(scalar_of(a.type), Real) for a in args) or draw(st.booleans())
    coefficient = _COEFFICIENTS if real else _WHOLE
    return Affine(tuple((draw(coefficient), a) for a in args), draw(coefficient),
                  with_shape(REAL if real else INT, _dims(*args)), NOWHERE)


def _mux(draw: st.DrawFn, pool: list[Node], then: Node) -> Node | None:
    other = _compatible(draw, pool, then)
    condition = draw(st.sampled_from([n for n in pool if isinstance(scalar_of(n.type), Bool)]))
    args = (condition, then, other)
    if len({shape(a.type) for a in args} - {()}) > 1:
        return None
    scalar = scalar_of(then.type)
    plain = INT if isinstance(scalar, Int) else REAL if isinstance(scalar, Real) else scalar
    return Mux(condition, then, other, with_shape(plain, _dims(*args)), NOWHERE)


def _table(draw: st.DrawFn, pool: list[Node]) -> Node:
    finite = [n for n in pool if isinstance(n.type, Bool | Int | Symbols)]
    args = tuple(draw(st.lists(st.sampled_from(finite), min_size=1, max_size=2)))
    lows, sizes = [], []
    for a in args:
        lows.append(draw(st.integers(-2, 0)) if isinstance(a.type, Int) else 0)
        sizes.append(draw(st.integers(1, 4)) if isinstance(a.type, Int) else 2 if isinstance(a.type, Bool) else 3)
    count = sizes[0] * (sizes[1] if len(sizes) > 1 else 1)
    result = draw(_RESULTS)
    entries = tuple(draw(values_of(result)) for _ in range(count))
    return Table(args, tuple(lows), tuple(sizes), entries, result, NOWHERE)


def _vector_node(draw: st.DrawFn, pool: list[Node], kind: str) -> Node | None:
    vectors = [n for n in pool if isinstance(n.type, Vector)]
    if not vectors:
        return None
    vector = draw(st.sampled_from(vectors))
    assert isinstance(vector.type, Vector)
    if kind == "index":
        index = draw(st.sampled_from([n for n in pool if isinstance(n.type, Int)]))
        return Index(vector, index, vector.type.elem, NOWHERE)
    if kind == "slice":
        lo = draw(st.integers(0, vector.type.size - 1))
        hi = draw(st.integers(lo, vector.type.size - 1))
        return Slice(vector, lo, hi, Vector(vector.type.elem, hi - lo + 1), NOWHERE)
    left = [n for n in vectors if is_number(scalar_of(n.type))]
    for a in left:
        right = [b for b in left if shape(b.type)[0] == shape(a.type)[-1]]
        if right:
            b = draw(st.sampled_from(right))
            real = any(isinstance(scalar_of(x.type), Real) for x in (a, b))
            return MatMul(a, b, with_shape(REAL if real else INT, shape(a.type)[:-1] + shape(b.type)[1:]), NOWHERE)
    return None


def _draw_state(draw: st.DrawFn, name: str, t: Type, pool: list[Node]) -> State:
    scalar = scalar_of(t)
    fitting = [n for n in pool if shape(n.type) == shape(t) and type(scalar_of(n.type)) is type(scalar)
               and (not isinstance(scalar, Symbols) or scalar_of(n.type) == scalar)]
    following = draw(st.sampled_from(fitting[-3:]))
    if is_number(scalar) and draw(st.booleans()):  # growth
        read = next(n for n in pool if isinstance(n, Read) and n.state == name)
        plain = with_shape(INT if isinstance(scalar, Int) else REAL, shape(t))
        coefficient = draw(_WHOLE if isinstance(scalar, Int) else _COEFFICIENTS)
        following = Affine(((coefficient, read), (1, following)), draw(_WHOLE), plain, NOWHERE)
    if isinstance(scalar, Int) and scalar.lo is not None and scalar.hi is not None:
        low, high = Const(scalar.lo, INT, NOWHERE), Const(scalar.hi, INT, NOWHERE)
        following = MinMax("max", (low, MinMax("min", (high, following), INT, NOWHERE)), t, NOWHERE)
    return State(name, t, first_value(t), following, NOWHERE)


def values_of(t: Type) -> st.SearchStrategy[Any]:
    """Values of a type, in the form `lsrl.types` says (rationals as Fractions)."""
    match t:
        case Vector(elem=elem, size=n):
            return st.tuples(*(values_of(elem) for _ in range(n)))
        case Bool():
            return st.booleans()
        case Int(lo=lo, hi=hi):
            return st.integers(-5 if lo is None else lo, 5 if hi is None else hi)
        case Real(grid=Fraction() as grid, lo=Fraction() as lo, hi=Fraction() as hi):
            return st.integers(int(lo / grid), int(hi / grid)).map(lambda i: i * grid)
        case Real():
            return st.fractions(-3, 3, max_denominator=6)
        case Symbols():
            return st.integers(0, len(t.names) + t.other - 1)
        case _:
            raise ValueError(f"no values of {t}")


def rows(graph: Graph, most: int = 6) -> st.SearchStrategy[list[dict[str, Value]]]:
    """Input rows for a graph."""
    return st.lists(st.fixed_dictionaries({n.name: values_of(n.type) for n in graph.inputs}), max_size=most)
