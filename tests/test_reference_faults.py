"""What went wrong in the LSRL paper's reference implementation, each as a program here, right on every path.

Paths: the interpreter, the generated step, the NumPy batch, the graph after every pass, and every weight target. A
target in a fault's `hosts` must host it; any other hosts it exactly or refuses with a code that the fault names. What
is expected is plain Python. LSRL: Petrov et al. 2024, arXiv 2406.01424.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import lsrl
from lsrl.backends.model import CompiledModel
from lsrl.backends.registry import TARGETS
from lsrl.diagnostics import LsrlError
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.ir.validate import validate
from lsrl.passes import PIPELINE
from lsrl.python_step import compile_step
from lsrl.vectorized import run_batch
from lsrl.verify.machines import as_tensor
from lsrl.verify.testing import run_model
from tests.corpus import ROOT

Row = dict[str, Any]
BOTH = frozenset({"lstm", "rnn_relu"})
RELU = frozenset({"rnn_relu"})
LARGE = frozenset({"L402", "L403", "L404", "L406", "L407"})  # its numbers have too many values for bits, or no bound


@dataclass(frozen=True, eq=False)
class Fault:
    """right: the output of every token, from the whole input. rows: the input. hosts: targets that must host it.

    refusals: codes with which any other target may refuse it. dtype: of the weights; in float32 a target may refuse a
    fault of float64 with L407 and must be right where it does not.
    """

    name: str
    text: str
    rows: Sequence[Row]
    right: Callable[[Sequence[Row]], list[Any]]
    hosts: frozenset[str] = BOTH
    refusals: frozenset[str] = frozenset({"L402"})
    dtype: torch.dtype = torch.float32


def each(f: Callable[..., Any]) -> Callable[[Sequence[Row]], list[Any]]:
    """A function of one token's inputs, at every token."""
    return lambda rows: [f(**row) for row in rows]


def inputs(**values: Sequence[Any]) -> list[Row]:
    """Every combination of the values, a token each."""
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]


def chain(stages: int) -> str:
    """A program of that many steps, each of which folds the line once more."""
    lines = [f"    x{k} = abs(x{k - 1} - {1 + k % 5})" for k in range(1, stages + 1)]
    return "\n".join(["program deep(x0: int[0..9]) -> int:", *lines, f"    return x{stages}", ""])


def folded(stages: int) -> Callable[[Sequence[Row]], list[Any]]:
    def fold(x0: int) -> int:
        for k in range(1, stages + 1):
            x0 = abs(x0 - (1 + k % 5))
        return x0

    return each(fold)


def modulo(k: int) -> Fault:
    return Fault(f"modulo counter {k}", f"program turn(x: bool) -> int:\n    return modulo_counter({k})\n",
                 [{"x": t % 3 == 0} for t in range(2 * k + 5)], lambda rows: [t % k for t in range(len(rows))])


MATRIX = ((1, 2), (3, -1))
FAULTS = (
    Fault("a product and a multiple", "program p(x: int[-4..4]) -> int[2]:\n    return concat([x*x], [10*x])\n",
          inputs(x=range(-4, 5)), each(lambda x: (x * x, 10 * x))),
    Fault("a product read twice", "program p(x: int[-4..4]) -> int[3]:\n    y = x*x\n"
          "    return [y, 10*y, relu(y - 5)]\n",
          inputs(x=range(-4, 5)), each(lambda x: (x * x, 10 * x * x, max(x * x - 5, 0)))),
    Fault("five nodes that were rewritten without end", """program p(x: int[-2..2][2]) -> int[6]:
    return concat(concat(x, linear([[1, 2], [3, -1]], x, [1, 0])), relu(x))
""", inputs(x=list(itertools.product(range(-2, 3), repeat=2))),
          each(lambda x: (*x, *(sum(a * b for a, b in zip(row, x, strict=True)) + c
                                for row, c in zip(MATRIX, (1, 0), strict=True)), *(max(v, 0) for v in x)))),
    *(modulo(k) for k in (2, 70, 71, 72, 97, 128)),
    Fault("a step at 0.0005", "program p(x: real[-1..1 by 1/10000]) -> int:\n    return larger(x, 0)\n",
          inputs(x=[Fraction(k, 10_000) for k in (-10_000, -5, -1, 0, 1, 5, 10_000)]), each(lambda x: int(x > 0)),
          RELU, LARGE),
    Fault("a choice at 0.5005", "program p(x: real[0.499..0.5015 by 0.0005]) -> int:\n"
          "    return ifelse(x > 0.5, 7, 3)\n",
          inputs(x=[Fraction(k, 2000) for k in range(998, 1004)]), each(lambda x: 7 if x > Fraction(1, 2) else 3)),
    Fault("a condition of 1e-9", "program p(x: real[0..1 by 1e-9]) -> int:\n    return ifelse(x, 3, 0)\n",
          inputs(x=[Fraction(k, 10**9) for k in (0, 1, 2, 10**9 - 1, 10**9)]), each(lambda x: 3 if x else 0),
          RELU, LARGE, torch.float64),
    Fault("a branch of 2e10", "program p(c: bool) -> int:\n    return 20000000000 if c else 3\n",
          inputs(c=[True, False]), each(lambda c: 20_000_000_000 if c else 3), BOTH, frozenset({"L402"}),
          torch.float64),
    Fault("a branch of 0.1", "program p(c: bool) -> real:\n    return 0.1 if c else 0.7\n",
          inputs(c=[True, False]), each(lambda c: Fraction(1, 10) if c else Fraction(7, 10))),
    Fault("weights beyond 2^24", "program p(a: bool, b: bool) -> int:\n    return 16777217*int(a) + 3*int(b)\n",
          inputs(a=[True, False], b=[True, False]), each(lambda a, b: 16_777_217 * a + 3 * b), BOTH,
          frozenset({"L402"}), torch.float64),
    Fault("x times x", "program p(x: int[-9..9]) -> int:\n    return x * x\n", inputs(x=range(-9, 10)),
          each(lambda x: x * x)),
    Fault("two inputs", "program p(a: int[0..3], b: int[0..3]) -> int:\n    return 4*a - b\n",
          inputs(a=range(4), b=range(4)), each(lambda a, b: 4 * a - b)),
    Fault("the last two of a vector", "program p(v: int[0..2][4]) -> int[2]:\n    return v[2..3]\n",
          inputs(v=list(itertools.product(range(3), repeat=4))), each(lambda v: v[-2:])),
    Fault("150 stages", chain(150), inputs(x0=range(10)), folded(150)),
    Fault("a delay of 150", "program p(x: bool) -> bool:\n    return delay(x, 150, false)\n",
          [{"x": t % 7 in (1, 2, 4)} for t in range(320)],
          lambda rows: [t >= 150 and rows[t - 150]["x"] for t in range(len(rows))]),
)
faults = pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)


@cache
def graph_of(fault: Fault) -> Graph:
    return lsrl.parse(fault.text).graph


def shown(rows: Sequence[Any]) -> list[Any]:
    """Outputs of a program with one output, as `right` has them."""
    return [next(iter(r.values())) for r in rows]


@faults
def test_interpreter_and_step(fault: Fault) -> None:
    right = fault.right(fault.rows)
    assert shown(list(Interpreter(graph_of(fault)).run(fault.rows))) == right
    assert shown(list(compile_step(graph_of(fault)).run(fault.rows))) == right


@faults
def test_batch(fault: Fault) -> None:
    """Two rows, the second the first one backwards: no row sees the other."""
    batch = [list(fault.rows), list(fault.rows)[::-1]]
    objects = {}
    for i in graph_of(fault).inputs:
        columns = np.empty((2, len(fault.rows), *np.shape(fault.rows[0][i.name])), dtype=object)
        for k, rows in enumerate(batch):
            for t, row in enumerate(rows):
                columns[k, t] = row[i.name]
        objects[i.name] = columns
    found, _ = run_batch(graph_of(fault), objects, exact=True)
    for k, rows in enumerate(batch):
        answers = next(iter(found.values()))[k].tolist()
        assert [tuple(x) if isinstance(x, list) else x for x in answers] == fault.right(rows)


@faults
def test_every_pass(fault: Fault) -> None:
    graph = graph_of(fault)
    right = fault.right(fault.rows)
    for name, step in PIPELINE:
        graph = step(graph)
        validate(graph)
        assert shown(list(Interpreter(graph).run(fault.rows))) == right, name


def as_floats(x: Any) -> Any:
    """What a model's float64 output can say of an exact value."""
    return tuple(map(as_floats, x)) if isinstance(x, tuple) else float(x)


def compiled(graph: Graph, target: str, dtype: torch.dtype = torch.float32) -> CompiledModel | frozenset[str]:
    """The model of a program, or the codes with which the target refuses it."""
    try:
        return lsrl.compile(graph, target=target, dtype=dtype)
    except LsrlError as refusal:
        return frozenset(d.code for d in refusal.diagnostics)


def hosted(fault: Fault, target: str, dtype: torch.dtype, may_refuse: frozenset[str]) -> bool:
    """Whether a target hosts a fault; if it does it is right, in one sequence and in a batch."""
    graph = graph_of(fault)
    model = compiled(graph, target, dtype)
    if isinstance(model, frozenset):
        assert model <= may_refuse
        return False
    right = [as_floats(x) for x in fault.right(fault.rows)]
    for _ in range(2):  # nothing stays from one sequence to the next
        assert [as_floats(x) for x in shown(run_model(model, graph, fault.rows))] == right
    backwards = list(fault.rows)[::-1]
    batch = {i.name: torch.stack([as_tensor([r[i.name] for r in rows], i.type) for rows in (fault.rows, backwards)])
             for i in graph.inputs}
    with torch.no_grad():
        answer, _ = model(batch)
    for found, rows in zip(answer.double().tolist(), (fault.rows, backwards), strict=True):
        got = [tuple(x) if isinstance(x, list) else x for x in found]
        assert got == [as_floats(x) for x in fault.right(rows)]
    return True


@pytest.mark.parametrize("target", sorted(TARGETS))
@faults
def test_target(fault: Fault, target: str) -> None:
    must = target in fault.hosts
    assert hosted(fault, target, fault.dtype, frozenset() if must else fault.refusals) or not must
    if fault.dtype is not torch.float32:
        hosted(fault, target, torch.float32, fault.refusals | {"L407"})


@pytest.mark.parametrize("name", ["lsrl/vec2vec_1_1", "lsrl/vec2vec_2_2"])
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_point_lies_in_one_cell(name: str, target: str) -> None:
    """Points on the edges of cells too: the cell above and to the right of them holds them."""
    program = lsrl.load(ROOT / "examples" / f"{name}.lsrl")
    size = program.graph.inputs[0].type.size  # type: ignore[union-attr]
    d, grid, cells = (1, 4, 4) if size == 3 else (2, 1024, 4)
    side = grid // cells
    corners = list(itertools.product(range(0, grid, side), repeat=d))
    edges = range(grid) if d == 1 else sorted({min(max(c + e, 0), grid - 1)
                                                  for c in range(0, grid + 1, side) for e in (-1, 0, 1)})
    points = list(itertools.product(edges, repeat=d))
    values = {c: tuple(1 + (k + j) % (cells if d == 1 else 64) for j in range(size - d - 1))
              for k, c in enumerate(corners)}
    batch = torch.tensor([[[*p, *[0] * (size - d)], *([side, *c, *values[c]] for c in corners)] for p in points])
    right = torch.tensor([values[tuple(x // side * side for x in p)] for p in points])
    ran, _ = run_batch(program.graph, {"token": (batch / grid).numpy()})
    assert (next(iter(ran.values()))[:, -1] * grid == right.numpy()).all()
    model = compiled(program.graph, target)
    if isinstance(model, frozenset):
        assert model == {"L402"}
        assert (name, target) not in {("lsrl/vec2vec_1_1", "lstm"), ("lsrl/vec2vec_1_1", "rnn_relu"),
                                      ("lsrl/vec2vec_2_2", "rnn_relu")}
        return
    with torch.no_grad():
        answer, _ = model(batch / grid)
    assert torch.equal(answer[:, -1] * grid, right.double())


RECENT = "program recent(x: int[0..9]) -> int[3]:\n    return window(x, 3, 0)\n"


def test_state_is_not_kept() -> None:
    program = lsrl.parse(RECENT)
    assert program.run([5, 6, 7]) == program.run([5, 6, 7]) == [(0, 0, 5), (0, 5, 6), (5, 6, 7)]
    first, _ = program.step(9)
    again, _ = program.step(8)
    assert (first, again) == ((0, 0, 9), (0, 0, 8))


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_outputs_do_not_alias(target: str) -> None:
    """Outputs of earlier tokens stay what they were when later tokens are read."""
    program = lsrl.parse(RECENT)
    outputs, state = [], None
    for x in (1, 2, 3, 4):
        out, state = program.step(x, state)
        outputs.append(out)
    right = [(0, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 4)]
    assert outputs == right
    model = compiled(program.graph, target)
    if isinstance(model, frozenset):
        assert target not in BOTH
        assert model == {"L402"}
        return
    tensors, hidden = [], model.initial_state(1)
    with torch.no_grad():
        for x in (1, 2, 3, 4):
            out, hidden = model.step(torch.tensor([x]), hidden)
            tensors.append(out)
    assert [tuple(t[0].tolist()) for t in tensors] == right


@pytest.mark.parametrize("target", sorted(BOTH))
def test_time_is_the_second_dimension_even_where_both_are_equal(target: str) -> None:
    text = "program sums(v: int[0..3][3]) -> int[0..60][3]:\n    state s: int[0..60][3] = zeros(3)\n" \
           "    s := [min(s[i] + v[i], 60) for i in 0..2]\n    return s\n"
    program = lsrl.parse(text)
    tokens = [(1, 2, 3), (0, 0, 1), (2, 0, 0)]  # T = d = 3, and not symmetric
    right = [(1, 2, 3), (1, 2, 4), (3, 2, 4)]
    assert program.run(tokens) == right
    ran, _ = run_batch(program.graph, {"v": np.array([tokens])})
    assert [tuple(x) for x in next(iter(ran.values()))[0].tolist()] == right
    model = lsrl.compile(program, target=target)
    with torch.no_grad():
        answer, _ = model(torch.tensor([tokens]))
    assert [tuple(x) for x in answer[0].tolist()] == right
    for transposed in (torch.zeros(1, 3, 5, dtype=torch.int64), torch.zeros(3, 5, dtype=torch.int64)):
        with pytest.raises(LsrlError) as error:
            model(transposed)
        assert error.value.diagnostics[0].code.startswith("L60")
        with pytest.raises(LsrlError) as error:
            run_batch(program.graph, {"v": transposed.numpy()})
        assert error.value.diagnostics[0].code.startswith("L6")


@pytest.mark.parametrize("target", sorted(BOTH))
def test_two_inputs_are_never_fed_the_same_data(target: str) -> None:
    program = lsrl.parse("program p(a: int[0..3], b: int[0..3]) -> int:\n    return 4*a - b\n")
    model = lsrl.compile(program, target=target)
    for given in (torch.zeros(1, 4, dtype=torch.int64), {"a": torch.zeros(1, 4, dtype=torch.int64)}):
        with pytest.raises(LsrlError) as error:
            model(given)
        assert error.value.diagnostics[0].code in ("L602", "L606")
    with pytest.raises(LsrlError) as error:
        run_batch(program.graph, {"a": np.zeros((1, 4), dtype=np.int64)})
    assert error.value.diagnostics[0].code.startswith("L6")


@pytest.mark.parametrize("slice", ["v[-2..-1]", "v[2..9]", "v[-1]"])
def test_slices_outside_a_vector_are_errors(slice: str) -> None:
    with pytest.raises(LsrlError) as error:
        lsrl.parse(f"program p(v: int[0..2][4]) -> int:\n    return sum([{slice}])\n")
    assert error.value.diagnostics[0].code.startswith("L2")


def test_ten_thousand_stages() -> None:
    """What runs a program; passes and targets see 150 above."""
    fault = Fault("10,000 stages", chain(10_000), inputs(x0=range(10)), folded(10_000))
    right = fault.right(fault.rows)
    graph = graph_of(fault)
    assert shown(list(Interpreter(graph).run(fault.rows))) == right
    assert shown(list(compile_step(graph).run(fault.rows))) == right
    ran, _ = run_batch(graph, {"x0": np.arange(10)[None]})
    assert next(iter(ran.values()))[0].tolist() == right


DIGEST = """
import hashlib, io, sys, torch, lsrl
from lsrl.ir.printer import print_graph
from lsrl.passes import run_pipeline
program = lsrl.load(sys.argv[1])
out = hashlib.sha256(print_graph(run_pipeline(program.graph)).encode())
for target in ("lstm", "rnn_relu"):
    for name, x in lsrl.compile(program, target=target).state_dict().items():
        out.update(name.encode() + x.numpy().tobytes())
print(out.hexdigest())
"""


def test_same_text_same_bytes() -> None:
    """In processes whose hashes are seeded differently: the order of a set must decide nothing."""
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", DIGEST, str(ROOT / "examples/memory/selective_copy.lsrl")]
        found.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip())
    assert len(found) == 1
    assert len(found.pop()) == hashlib.sha256().digest_size * 2
