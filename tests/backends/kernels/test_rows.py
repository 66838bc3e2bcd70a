"""States that are matrices: rows as lanes, and loops over the columns of a row."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import lsrl
from lsrl.backends.kernels.bodies import MANY_COLUMNS
from lsrl.backends.kernels.call import Shape
from lsrl.backends.kernels.columns import find_columns
from lsrl.backends.kernels.dense import arrange
from lsrl.backends.kernels.module import KernelModule
from lsrl.frontend.modules import load_module
from lsrl.types import Real, scalar_of
from tests.backends.kernels import triton_runs
from tests.backends.kernels.test_cells import FOLDER, distance, results

pytestmark = pytest.mark.usefixtures("quick_kernels")

# Cells whose states are matrices, with a size whose columns are run in a loop (8 and more) and one whose are not.
MATRICES = {
    "deltanet": [{"d": 9, "m": 5}, {"d": 2, "m": 3}], "deltaproduct": [{"r": 2, "d": 8, "m": 3}],
    "gla": [{"d": 9, "m": 9}, {"d": 3, "m": 2}], "linear_attention": [{"d": 8, "m": 3}],
    "mamba": [{"d": 70, "n": 8}, {"d": 3, "n": 2}], "mlstm": [{"d": 11, "e": 3}], "retnet": [{"d": 10, "m": 4}],
    "rwkv6": [{"d": 9, "m": 3}]}
CASES = [(name, sizes) for name, all_sizes in MATRICES.items() for sizes in all_sizes]

# An exponential that two passes need, a sum that begins one, a state that lanes share beside one that they do not.
MIXED = """program mixed[m, d](x: real[m], k: real[d], keep: bool) -> (y: real[m], z: real[d], n: real):
    param rate: real[d] = normal(0.5)
    state s: real[m, d] = [[(i % 2) / 4 for i in 0..d-1] for j in 0..m-1]
    state peak: real[m] = 0
    state total: real[d] = ones(d) / 2
    decay = exp(-exp(rate) * k * k)
    fed = tanh(total + k)
    for i in 0..m-1:
        near = max(fed * s[i])
        s[i] := decay * s[i] + (x[i] - sum(exp(-s[i]) * k) - near) / d * exp(-s[i]) if keep else s[i] / 2
        peak[i] := max(peak[i] / 2, sum(s[i] * fed))
    total := total / 2 + fed
    return (y = peak, z = total, n = sum(total * k))
"""


def module(name: str, sizes: Mapping[str, Any], dense: bool | None = True, target: str = "c",
           dtype: torch.dtype = torch.float64) -> KernelModule:
    program = lsrl.parse(MIXED, None, **sizes) if name == "mixed" else lsrl.load(
        FOLDER / f"{name}.lsrl", None, **sizes)
    made = KernelModule(program.graph, target, dtype, dense=dense)
    torch.manual_seed(7)
    with torch.no_grad():
        for p in made.parameters():
            p.add_((0.3 * torch.randn(p.shape, dtype=torch.float64)).to(dtype))
    return made


def test_every_cell_with_a_matrix_has_rows() -> None:
    found = set()
    for path in FOLDER.glob("*.lsrl"):
        sizes: dict[str, Any] = {g.id: 3 for g in load_module(path).programs[path.stem].generics}
        lanes = arrange(lsrl.load(path, None, **sizes).graph, dense=True).lanes
        if any(p.lane and p.elements > 1 for p in lanes.states):
            found.add(path.stem)
    assert found == set(MATRICES)


@pytest.mark.parametrize(("name", "sizes"), CASES, ids=str)
def test_equals_the_equations(name: str, sizes: dict[str, int]) -> None:
    """Outputs and gradients, within 8 units in the last place a token and column, of the largest element."""
    model = module(name, sizes)
    assert any(p.lane and p.elements > 1 for p in model.lanes.states)
    tokens, columns = 7, max(p.elements for p in model.lanes.states)
    operator = model._operator(torch.float64)
    _, backward = operator.adjoint(False, frozenset(p.name for p in model.lanes.outputs), torch.device("cpu"))
    for parts in (operator.parts, backward.parts):
        assert (find_columns(parts, ()) is not None) == (columns >= MANY_COLUMNS)
    inputs = drawn_for(model, 2, tokens)
    got, want = (results(model, inputs, r, torch.float64) for r in (False, True))
    for key in want:
        assert distance(got[key], want[key]) <= 8 * tokens * columns * 2 ** -52, key


def drawn_for(model: KernelModule, rows: int, tokens: int) -> dict[str, Tensor]:
    """Inputs of the program, small enough for products of keys to stay bounded."""
    torch.manual_seed(2)
    out = {}
    for p in model.ports.inputs:
        x = torch.randn(rows, tokens, *p.dims, dtype=torch.float64) / 2
        out[p.name] = x if isinstance(scalar_of(p.type), Real) else x > 0
    return out


@pytest.mark.parametrize(("m", "d"), [(2, 9), (2, 2)])
def test_equals_a_program_of_scalars(m: int, d: int) -> None:
    """With states given and taken, resets, packed sequences and time first, and the gradients of all of it."""
    apart, together = module("mixed", {"m": m, "d": d}), module("mixed", {"m": m, "d": d}, False)
    together.load_state_dict(apart.state_dict())
    assert [p.name for p in apart.lanes.states if p.lane] == ["s", "peak"]
    assert (find_columns(apart._operator(torch.float64).parts, ()) is not None) == (d >= MANY_COLUMNS)
    inputs = drawn_for(apart, 2, 6)
    torch.manual_seed(3)
    for option in ("plain", "state", "resets", "packed", "time_major"):
        shown = []
        count = 3 if option == "packed" else 2
        given = {n: x + 0.1 * torch.randn_like(x) for n, x in apart.initial_state(count).items()}
        resets = torch.rand(2, 6) < 0.3
        for model in (apart, together):
            streams = {n: x.clone().requires_grad_(x.is_floating_point()) for n, x in inputs.items()}
            before = {n: x.clone().requires_grad_() for n, x in given.items()}
            moved = {n: x.flatten(0, 1) for n, x in streams.items()} if option == "packed" else \
                {n: x.transpose(0, 1) for n, x in streams.items()} if option == "time_major" else streams
            out, after = model(moved, None if option in ("plain", "resets") else before,
                               resets=resets if option == "resets" else None,
                               cu_seqlens=torch.tensor([0, 2, 2, 12]) if option == "packed" else None,
                               layout="TB" if option == "time_major" else "BT")
            values = [*out.values(), *after.values()]
            loss = sum((x * torch.linspace(0.5, 1, x.numel(), dtype=x.dtype).reshape(x.shape)).sum() for x in values)
            assert isinstance(loss, Tensor)
            leaves = [x for x in (*streams.values(), *before.values(), *model.parameters()) if x.requires_grad]
            grads = torch.autograd.grad(loss, leaves, allow_unused=True)
            shown.append([*values, *(torch.zeros(1) if g is None else g for g in grads)])
        for got, want in zip(*shown, strict=True):
            assert got.shape == want.shape
            assert distance(got.detach(), want.detach()) <= 2 ** -40, option


def test_as_many_rows_as_columns() -> None:
    """Which vectors are lanes is not told by their length."""
    apart, together = module("mixed", {"m": 8, "d": 8}), module("mixed", {"m": 8, "d": 8}, False)
    together.load_state_dict(apart.state_dict())
    assert [p.name for p in apart.lanes.states if p.lane] == ["s", "peak"]
    inputs = drawn_for(apart, 2, 6)
    with torch.no_grad():
        (got, _), (want, _) = apart(inputs), together(inputs)
    assert all(distance(got[n], want[n]) <= 2 ** -44 for n in want)


def test_gradients() -> None:
    """First and second ones, against finite differences in random directions."""
    model = module("deltanet", {"m": 2, "d": 8})
    given = drawn_for(model, 1, 2)
    leaves = tuple(x.requires_grad_() for x in given.values())

    def f(*xs: Tensor) -> tuple[Tensor, ...]:
        out, after = model(dict(zip(given, xs, strict=True)))
        return (out, *after.values())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert gradcheck(f, leaves, atol=1e-7, rtol=1e-5, fast_mode=True)
        assert gradgradcheck(f, leaves, atol=1e-6, rtol=1e-4, fast_mode=True)


def test_steps_equal_the_scan_bit_for_bit() -> None:
    model = module("gla", {"d": 8, "m": 5}, dtype=torch.float32)
    inputs = {n: x.float() for n, x in drawn_for(model, 2, 5).items()}
    whole, after = model(inputs)
    state = None
    for t in range(5):
        y, state = model.step({n: x[:, t] for n, x in inputs.items()}, state)
        assert torch.equal(y, whole[:, t])
    assert state is not None and torch.equal(state["s"], after["s"])
    assert tuple(after["s"].shape) == (2, 5, 8)


def test_text_does_not_grow_with_the_columns() -> None:
    """A kernel of 64 columns is a few loops; its text differs from that of 32 by the numbers alone."""
    texts = [module("gla", {"d": d, "m": 64}, None).source() for d in (32, 48)]
    assert "for (int64_t j = 0; j + 4 <= 48; j += 4)" in texts[1]
    codes = [text[text.index("#include"):] for text in texts]
    assert codes[0].replace("32", "48") == codes[1]


ELEMENTS = """program elements[m, d](x: real[m], k: real[d]) -> (y: real[m], first: real, sixth: real):
    state s: real[m, d] = zeros(m, d)
    state last: real = 1
    state z: real[d] = ones(d)
    z := tanh(z * sum(z * k) + k)
    for i in 0..m-1:
        s[i] := tanh(s[i] * sum(s[i] * z) + x[i] * k)
    last := {last}
    return (y = [s[i][0] + sum(s[i] * k) * s[i][5] for i in 0..m-1], first = {first}, sixth = last * z[5])
"""


@pytest.mark.parametrize(("last", "first"), [("last / 2 + z[0] * sum(z)", "z[0] * z[0]"), ("z[3]", "z[0]")])
def test_elements_of_columns_are_scalars_too(last: str, first: str) -> None:
    """What reads one column of many, before and after a pass has made it; a state, or an output, may be one itself."""
    program = lsrl.parse(ELEMENTS.format(last=last, first=first), None, m=2, d=8)
    models = [KernelModule(program.graph, "c", torch.float64, dense=dense) for dense in (True, False)]
    inputs = drawn_for(models[0], 2, 5)
    shown = []
    for model in models:
        streams = {n: x.clone().requires_grad_() for n, x in inputs.items()}
        out, after = model(streams)
        values = [*out.values(), *after.values()]
        shown.append([*values, *torch.autograd.grad(values, list(streams.values()), [x.cos() for x in values])])
    assert models[0].lanes.width == 2
    for got, want in zip(*shown, strict=True):
        assert distance(got.detach(), want.detach()) <= 2 ** -44


def drawn_program(seed: int) -> str:
    """The text of a program whose rows do the same; what they share, and what is a row's own, goes into everything."""
    rng = random.Random(seed)

    def vector(depth: int, own: bool) -> str:
        if depth == 0:
            return rng.choice(["k", "z", *["s[i]", "s[i]", "x[i] * k"] * own])
        a, b = (vector(depth - 1, own) for _ in range(2))
        return rng.choice([f"({a} + {b})", f"({a} - {b})", f"tanh({a}) * {b}", f"({scalar(depth - 1, own)} * {a})",
                           f"sigmoid({a})", f"min({a}, {b})", f"({a} if {scalar(depth - 1, own)} < 0.1 else {b})"])

    def scalar(depth: int, own: bool) -> str:
        if depth == 0:
            return rng.choice(["b", "u", "k[1]", *["x[i]", "r[i]", "s[i][3]", "s[i][0]"] * own])
        a = vector(depth - 1, own)
        return rng.choice([f"sum({a} * {vector(depth - 1, own)}) / 8", f"max({a})", f"tanh({scalar(depth - 1, own)})",
                           f"({scalar(depth - 1, own)} + {scalar(depth - 1, own)})", f"min({a})"])

    row = [f"s[i] := tanh({vector(3, True)})", f"r[i] := tanh({scalar(2, True)})"]
    shared = [f"z := tanh({vector(2, False)})", f"u := tanh({scalar(2, False)})"]
    rng.shuffle(row)
    body = ["for i in 0..m-1:", *(f"    {line}" for line in row)]
    lines = [*shared, *body] if rng.random() < 0.5 else [*body, *shared]
    return "\n    ".join([
        "program drawn[m, d](x: real[m], k: real[d], b: real) -> (y: real[m], w: real[m], c: real):",
        "state s: real[m, d] = ones(m, d) / 2", "state r: real[m] = zeros(m)", "state z: real[d] = zeros(d)",
        "state u: real = 1/4", *lines, f"return (y = [{scalar(2, True)} for i in 0..m-1], w = s @ k, "
        f"c = {scalar(2, False)})", ""])


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_equal_the_interpreter(seed: int) -> None:
    program = lsrl.parse(drawn_program(seed), None, m=3, d=8)
    model = KernelModule(program.graph, "c", torch.float64, dense=True)
    assert model.lanes.width == 3
    x = drawn_for(model, 1, 5)
    given = [{n: v[0, t].tolist() if v.dim() == 2 else tuple(v[0, t].tolist()) for n, v in x.items()} for t in range(5)]
    with torch.no_grad():
        out, _ = model(x)
    for t, want in enumerate(program.run(given)):
        for name, y in want.items():
            assert distance(out[name][0, t], torch.tensor(y, dtype=torch.float64)) <= 2 ** -40, (name, t)


def test_the_text_is_the_same_every_time() -> None:
    """Else it would be compiled anew each time, as the cache goes by the text. What differs is places in memory."""
    kept, texts = [], set()
    for n in range(6):
        kept.append([object() for _ in range(n)])
        texts.add(module("mixed", {"m": 2, "d": 9}).source())
    assert len(texts) == 1 and "int64_t j" in texts.pop()


UNLIKE = {
    "a row that is not like the others": "    s[0] := s[0] / 2",
    "a row that sees another": "    s[1] := s[1] + s[0]",
    "a sum over the rows": "    state t: real = 0\n    t := t / 2 + sum(s[0] * k) + sum(s[1] * k) + sum(s[2] * k)",
}


@pytest.mark.parametrize("line", UNLIKE.values(), ids=UNLIKE)
def test_rows_that_differ_are_scalars(line: str) -> None:
    text = ("program p(k: real[9], v: real[3]) -> real[3]:\n    state s: real[3, 9] = zeros(3, 9)\n"
            "    for i in 0..2:\n        s[i] := tanh(s[i] + v[i] * k)\n" + line + "\n    return s @ k\n")
    model = KernelModule(lsrl.parse(text).graph, "c", torch.float64, dense=True)
    assert model.lanes.width == 1
    k, v = torch.randn(1, 4, 9, dtype=torch.float64), torch.randn(1, 4, 3, dtype=torch.float64)
    out, _ = model({"k": k, "v": v})
    run = lsrl.parse(text).run([{"k": tuple(k[0, t].tolist()), "v": tuple(v[0, t].tolist())} for t in range(4)])
    want = torch.tensor([[float(x) for x in y] for y in run], dtype=torch.float64)
    assert distance(out[0], want) <= 2 ** -48


@pytest.mark.parametrize("shape", ["sequential", "block"])
def test_triton(shape: Shape, process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_rows, shape).result()
