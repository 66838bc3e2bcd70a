"""The text of a graph's generated step function.

One statement a node; small vectors are unrolled into their elements, large ones stay tuples and go through
`lsrl.arithmetic`. In exact programs a whole rational may be held as an int inside, since the two calculate alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, TypeAlias

from lsrl.arithmetic import (
    convert,
    divide,
    float_to_int,
    floor_quotient,
    floor_remainder,
    fold_max,
    fold_min,
    operation,
    to_float,
    unary,
)
from lsrl.interpreter import param_values
from lsrl.ir.graph import Graph, State
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
    operands,
)
from lsrl.types import Bool, Int, Real, Symbols, Value, scalar_of, shape

__all__ = ["CheckFailedError", "StepSource", "step_source"]

_UNROLLED = 64  # elements of a vector that is held as one local an element
_PRODUCTS = 1024  # of a matrix product that is written out
_TERMS = 40  # of a sum in one expression: the compiler recurses over nested operators

Names: TypeAlias = "str | tuple[Names, ...]"


class CheckFailedError(Exception):
    """A check failed inside generated code: its number, the value of its subject, the states and the inputs."""

    def __init__(self, check: int, subject: Any, state: tuple[Any, ...], inputs: tuple[Any, ...]) -> None:
        super().__init__(check)
        self.check = check
        self.subject = subject
        self.state = state
        self.inputs = inputs


def step_source(graph: Graph, form: str = "transition") -> str:
    """The generated Python text of a graph's step, for reading; `form` is "transition" or "run_block"."""
    return StepSource(graph, param_values(graph)).text(form)


class StepSource:
    """Writes the text of the function. `_names` holds the locals of a node's elements, `_packed` that of its tuple."""

    def __init__(self, graph: Graph, params: Mapping[str, Value]) -> None:
        self.graph = graph
        self._params = params
        self._numeric = graph.numeric
        self._env: dict[str, Any] = {
            "CheckFailedError": CheckFailedError, "to_float": to_float, "divide": divide, "fold_min": fold_min,
            "fold_max": fold_max, "floor_quotient": floor_quotient, "floor_remainder": floor_remainder,
            "float_to_int": float_to_int, "ratio": _ratio, **{f"f_{name}": unary(name) for name in UNARY_FUNCTIONS}}
        self._lines: list[str] = []
        self._names: dict[Node, Names] = {}
        self._packed: dict[Node, str] = {}
        self._locals = 0

    def compile(self, form: str) -> Callable[..., Any]:
        text = self.text(form)
        exec(compile(text, f"<step of {self.graph.name}>", "exec"), self._env)
        function: Callable[..., Any] = self._env[form]
        return function

    def text(self, form: str) -> str:
        graph = self.graph
        self._lines, self._names, self._packed, self._locals = [], {}, {}, 0
        places = {s.name: f"s{i}" for i, s in enumerate(graph.states)}
        for i, stream in enumerate(graph.inputs):
            self._set_local(stream, f"x{i}")
        for node in graph.nodes:
            if isinstance(node, Read):
                self._set_local(node, places[node.state])
            elif not isinstance(node, Input):
                self._emit(node)
        states, inputs = _tuple(places.values()), _tuple(f"x{i}" for i in range(len(graph.inputs)))
        for i, check in enumerate(graph.checks):
            subject = "None" if check.subject is None else self._whole(check.subject)
            self._lines.append(f"if not {self._whole(check.condition)}: "
                               f"raise CheckFailedError({i}, {subject}, {states}, {inputs})")
        outputs = [self._whole(n) for _, n in graph.outputs]
        nexts = [self._next(s) for s in graph.states]
        if form == "transition":
            return self._transition(states, inputs, outputs, nexts)
        return self._run_block(states, outputs, nexts)

    def _transition(self, states: str, inputs: str, outputs: list[str], nexts: list[str]) -> str:
        head = [*([f"{states} = s"] if self.graph.states else []), *([f"{inputs} = x"] if self.graph.inputs else [])]
        body = [*head, *self._lines, f"return {_tuple(outputs)}, {_tuple(nexts)}"]
        return "\n    ".join(["def transition(s, x):", *body]) + "\n"

    def _run_block(self, states: str, outputs: list[str], nexts: list[str]) -> str:
        count = len(self.graph.inputs)
        head = "def run_block(s, xs, out):\n    append = out.append\n"
        head += f"    {states} = s\n" if nexts else ""
        head += f"    for {'x0' if count == 1 else ', '.join(f'x{i}' for i in range(count)) or '_'} in xs:\n"
        result = outputs[0] if len(outputs) == 1 else _tuple(outputs)
        body = [*self._lines, f"append({result})", *([f"{states} = {_tuple(nexts)}"] if nexts else [])]
        return head + "".join(f"        {line}\n" for line in body) + f"    return {states}\n"

    def _next(self, state: State) -> str:
        """The expression of a state's new value."""
        name, real = self._whole(state.next), isinstance(scalar_of(state.type), Real)
        if shape(state.type) and real and self._numeric and not isinstance(scalar_of(state.next.type), Real):
            t = state.type
            return f"{self._constant(lambda v: convert(v, t, True))}({name})"
        return self._as_real(name, state.next, real)

    # Locals and constants.

    def _set_local(self, node: Node, name: str) -> None:
        if shape(node.type):
            self._packed[node] = name
        else:
            self._names[node] = name

    def _fresh(self) -> str:
        self._locals += 1
        return f"v{self._locals}"

    def _assign(self, expression: str) -> str:
        name = self._fresh()
        self._lines.append(f"{name} = {expression}")
        return name

    def _constant(self, value: object) -> str:
        name = f"k{len(self._env)}"
        self._env[name] = value
        return name

    def _literal(self, value: Any) -> Names:
        if isinstance(value, tuple):
            return tuple(self._literal(v) for v in value)
        if isinstance(value, Fraction):
            value = _ratio(value.numerator, value.denominator)
        if isinstance(value, Fraction) or (isinstance(value, int) and value.bit_length() > 200) \
                or not math.isfinite(value):
            return self._constant(value)
        return repr(value)

    def _elements(self, node: Node) -> Names:
        """The names of a small node's elements, nested as its shape."""
        if node not in self._names:
            names = self._fresh_like(shape(node.type))
            self._lines.append(f"{_written(names)} = {self._packed[node]}")
            self._names[node] = names
        return self._names[node]

    def _fresh_like(self, dims: tuple[int, ...]) -> Names:
        return tuple(self._fresh_like(dims[1:]) for _ in range(dims[0])) if dims else self._fresh()

    def _whole(self, node: Node) -> str:
        """An expression of the node's value: a name, or a tuple of names that is stored once."""
        if not shape(node.type):
            name = self._names[node]
            assert isinstance(name, str)
            return name
        if node not in self._packed:
            self._packed[node] = self._assign(_written(self._names[node]))
        return self._packed[node]

    def _as_real(self, name: str, node: Node, real: bool = True) -> str:
        """The name of a scalar value, converted where a numeric program wants a float of it."""
        if real and self._numeric and not isinstance(scalar_of(node.type), Real):
            return f"to_float({name})"
        return name

    # Nodes.

    def _emit(self, node: Node) -> None:
        match node:
            case Const() | Param():
                value = node.value if isinstance(node, Const) else self._params[node.name]
                self._emit_constant(node, convert(value, node.type, self._numeric))
            case Pack():
                self._emit_pack(node)
            case Index():
                self._emit_index(node)
            case Slice(vector=vector, lo=lo, hi=hi):
                if _count(vector) <= _UNROLLED:
                    self._names[node] = self._elements(vector)[lo : hi + 1]
                else:
                    self._packed[node] = self._assign(f"{self._whole(vector)}[{lo}:{hi + 1}]")
            case Table():
                self._names[node] = self._assign(self._table(node))
            case MatMul():
                self._emit_matmul(node)
            case _ if _count(node) <= _UNROLLED:
                self._names[node] = self._unroll(node, [self._elements(x) for x in operands(node)], shape(node.type))
            case _:
                self._call(node)

    def _call(self, node: Node) -> None:
        """A node through `lsrl.arithmetic`, on whole tuples."""
        f = self._constant(operation(node, self._numeric))
        self._set_local(node, self._assign(f"{f}({', '.join(self._whole(x) for x in operands(node))})"))

    def _emit_constant(self, node: Node, value: Value) -> None:
        if _count(node) <= _UNROLLED:
            self._names[node] = self._literal(value)
        if shape(node.type):
            self._packed[node] = self._constant(value)

    def _emit_pack(self, node: Pack) -> None:
        if self._numeric and isinstance(scalar_of(node.type), Real) \
                and any(not isinstance(scalar_of(x.type), Real) for x in node.elements):
            self._call(node)
        elif _count(node) <= _UNROLLED:
            self._names[node] = tuple(self._elements(x) for x in node.elements)
        else:
            self._packed[node] = self._assign(_tuple(self._whole(x) for x in node.elements))

    def _emit_index(self, node: Index) -> None:
        size = shape(node.vector.type)[0]
        small = _count(node.vector) <= _UNROLLED
        if isinstance(node.index, Const):
            place = min(max(int(node.index.value), 0), size - 1)  # type: ignore[arg-type]
            if small:
                self._names[node] = self._elements(node.vector)[place]
            else:
                self._set_local(node, self._assign(f"{self._whole(node.vector)}[{place}]"))
            return
        place_text = _clamped(self._whole(node.index), node.index, 0, size)
        self._set_local(node, self._assign(f"{self._whole(node.vector)}[{place_text}]"))

    def _emit_matmul(self, node: MatMul) -> None:
        a, b = shape(node.a.type), shape(node.b.type)
        if math.prod(a) * math.prod(b[1:]) > _PRODUCTS or max(map(_count, (node.a, node.b, node))) > _UNROLLED:
            self._call(node)
            return
        left, right = self._elements(node.a), self._elements(node.b)
        real = isinstance(scalar_of(node.type), Real)

        def dot(u: Names, v: Names) -> str:
            return self._sum([f"{self._as_real(str(p), node.a, real)} * {self._as_real(str(q), node.b, real)}"
                              for p, q in zip(u, v, strict=True)])

        columns = tuple(zip(*right, strict=True)) if len(b) == 2 else (right,)
        rows = left if len(a) == 2 else (left,)
        products: tuple[tuple[Names, ...], ...] = tuple(tuple(dot(row, c) for c in columns) for row in rows)
        if len(a) == 2:
            self._names[node] = products if len(b) == 2 else tuple(row[0] for row in products)
        else:
            self._names[node] = products[0] if len(b) == 2 else products[0][0]

    def _unroll(self, node: Node, args: list[Names], dims: tuple[int, ...]) -> Names:
        if not dims:
            return self._assign(self._scalar(node, [str(a) for a in args]))
        return tuple(self._unroll(node, [a[i] if isinstance(a, tuple) else a for a in args], dims[1:])
                     for i in range(dims[0]))

    def _sum(self, terms: list[str]) -> str:
        """A local that holds the sum of terms, added from the first to the last."""
        acc = self._assign(" + ".join(terms[:_TERMS]))
        for start in range(_TERMS, len(terms), _TERMS):
            self._lines.append(f"{acc} = {' + '.join([acc, *terms[start : start + _TERMS]])}")
        return acc

    def _scalar(self, node: Node, args: list[str]) -> str:
        """The expression of one element of a node that acts element by element."""
        real = isinstance(scalar_of(node.type), Real)
        match node:
            case Affine():
                return self._affine(node, args, real)
            case Mul(a=a, b=b):
                return f"{self._as_real(args[0], a, real)} * {self._as_real(args[1], b, real)}"
            case Divide(a=a, b=b):
                return f"divide({self._as_real(args[0], a)}, {self._as_real(args[1], b)})"
            case Compare(op=op, a=a, b=b):
                floats = any(isinstance(scalar_of(x.type), Real) for x in (a, b))
                return f"{self._as_real(args[0], a, floats)} {op} {self._as_real(args[1], b, floats)}"
            case Logic(op="not"):
                return f"not {args[0]}"
            case Logic(op=op):
                return f" {op} ".join(args)
            case Mux(then=a, other=b):
                return f"{self._as_real(args[1], a, real)} if {args[0]} else {self._as_real(args[2], b, real)}"
            case MinMax(op=op):
                values = [self._as_real(x, n, real) for x, n in zip(args, node.args, strict=True)]
                if len(values) == 1:
                    return values[0]
                if real and self._numeric:
                    return f"fold_{op}({', '.join(values)})"
                p, q = values[0], values[1]
                return f"{p} if {p} {'<' if op == 'min' else '>'} {q} else {q}" if len(values) == 2 \
                    else f"{op}({', '.join(values)})"
            case FloorDiv(op=op, x=x):
                if self._numeric and isinstance(scalar_of(x.type), Real):
                    f = "floor_quotient" if op == "//" else "floor_remainder"
                    text = f"{f}({args[0]}, {self._literal(to_float(node.divisor))})"
                    return text if real else f"float_to_int({text})"
                text = f"{args[0]} {op} {self._literal(node.divisor)}"
                if real or (isinstance(scalar_of(x.type), Int) and Fraction(node.divisor).denominator == 1):
                    return f"to_float({text})" if real and self._numeric else text
                return f"int({text})"
            case Unary(function=name, x=x):
                return f"f_{name}({self._as_real(args[0], x)})"
            case _:
                raise TypeError(f"{type(node).__name__} does not act element by element")

    def _affine(self, node: Affine, args: list[str], real: bool) -> str:
        bias: Any = node.bias
        scale = 1
        coefficients: list[Any] = [c for c, _ in node.terms]
        if real and self._numeric:
            bias, coefficients = to_float(bias), [to_float(c) for c in coefficients]
        else:
            scale = math.lcm(*(Fraction(c).denominator for c in (bias, *coefficients)))
            bias, coefficients = int(bias * scale), [int(c * scale) for c in coefficients]
        terms = [_product(str(self._literal(c)), c, self._as_real(name, x, real))
                 for c, name, (_, x) in zip(coefficients, args, node.terms, strict=True)]
        if bias or not terms:
            terms.append(str(self._literal(bias)))
        elif len(terms) == 1 and coefficients[0] == 1 and isinstance(scalar_of(node.terms[0][1].type), Bool) \
                and not (real and self._numeric):
            terms = [f"+{terms[0]}"]  # the int of a bool
        total = " + ".join(terms) if len(terms) <= _TERMS else self._sum(terms)
        return total if scale == 1 else f"ratio({total}, {self._literal(scale)})"

    def _table(self, node: Table) -> str:
        entries = [convert(e, node.type, self._numeric) for e in node.entries]
        name = self._constant(tuple(_ratio(e.numerator, e.denominator) if isinstance(e, Fraction) else e
                                    for e in entries))
        place, stride = [], len(entries)
        for x, low, size in zip(node.args, node.los, node.sizes, strict=True):
            stride //= size
            code = _clamped(self._whole(x), x, low, size)
            place.append(code if len(node.args) == 1 else f"({code}) * {stride}")
        return f"{name}[{place[0] if len(place) == 1 else self._sum(place)}]"


def _tuple(names: Iterable[str]) -> str:
    listed = list(names)
    return f"({', '.join(listed)}{',' if len(listed) == 1 else ''})"


def _written(names: Names) -> str:
    return names if isinstance(names, str) else _tuple(map(_written, names))


def _count(node: Node) -> int:
    return math.prod(shape(node.type))


def _product(literal: str, coefficient: float, name: str) -> str:
    if coefficient == 1:
        return name
    return f"-{name}" if coefficient == -1 else f"{literal} * {name}"


def _clamped(name: str, node: Node, low: int, size: int) -> str:
    """The place of a code in a table of `size` from `low`; only an input or a bool is known to be inside."""
    match node.type:
        case Bool() if low == 0 and size == 2:
            return name
        case Symbols(names=names, other=other) if low == 0 and size == len(names) + other:
            return name
        case Int(lo=int(lo), hi=int(hi)) if isinstance(node, Input) and low <= lo and hi < low + size:
            return name if low == 0 else f"{name} - {low}"
        case _:
            place = name if low == 0 else f"{name} - {low}" if low > 0 else f"{name} + {-low}"
            return f"0 if {name} < {low} else {size - 1} if {name} > {low + size - 1} else {place}"


def _ratio(numerator: Any, denominator: int) -> Any:
    """An exact quotient, an int where it is whole."""
    if isinstance(numerator, int):
        return numerator // denominator if numerator % denominator == 0 else Fraction(numerator, denominator)
    quotient = numerator / denominator
    return quotient.numerator if quotient.denominator == 1 else quotient
