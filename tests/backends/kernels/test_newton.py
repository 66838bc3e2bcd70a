"""Newton's method over time: what it finds is what a token at a time gives, and where it does not, that is given."""

from __future__ import annotations

import copy
import pickle
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.cost import Device, choose_newton
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.backends.kernels.module import KernelModule
from lsrl.backends.kernels.newton import linearised
from lsrl.diagnostics import LsrlError
from tests.backends.kernels.cells import CELLS
from tests.backends.kernels.gradchecks import OPTIONS, function, given

pytestmark = pytest.mark.usefixtures("quick_kernels")

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "cells"
LANES = ("gru_diagonal", "leaky_integrator", "lstm_diagonal", "rwkv4", "sru")
SMALL = """
program mixed(x: real[2], up: bool) -> (y: real, n: int[0..9], far: real):
    param w: real[2, 2] = 0.5
    state h: real[2] = zeros(2)
    state n: int[0..9] = 0
    state far: real = 0.25
    h := tanh(w @ h + x)
    n := min(n + 1, 9) if up else 0
    far := 0.5 * far + h[0] * h[1]
    return (y = h[0] - far, n = n, far = far)
"""
CHAOS = """
program logistic(x: real) -> real:
    state h: real = 0.3
    h := 3.9 * h * (1 - h) + 0.001 * x
    return h
"""


def pair(program: lsrl.Program, **options: Any) -> tuple[KernelModule, KernelModule]:
    """The program a token at a time and by Newton's method, with the same random params."""
    torch.manual_seed(3)
    one = KernelModule(program.graph, "c", torch.float64)
    with torch.no_grad():
        for p in one.parameters():
            p.add_(0.3 * torch.randn_like(p))
    other = KernelModule(program.graph, "c", torch.float64, method="newton", **options)
    other.load_state_dict(one.state_dict())
    return one, other


def method_of(model: KernelModule) -> str:
    assert model.newton is not None
    return model.newton.method


def program_of(name: str) -> lsrl.Program:
    return lsrl.parse(SMALL) if name == "mixed" else lsrl.load(FOLDER / f"{name}.lsrl", n=3)


PAIRS = [(name, option) for name in (*LANES, "mixed") for option in OPTIONS
         if name in ("lstm_diagonal", "mixed") or option in ("plain", "resets")]


@pytest.mark.parametrize(("name", "option"), PAIRS)
def test_equals_a_token_at_a_time(name: str, option: str) -> None:
    """Outputs, final states and all gradients, over 3 × 40 tokens: within 1e-9, at a tolerance of 1e-10."""
    results: list[list[Tensor]] = []
    for model in pair(program_of(name)):
        inputs = given(model, 3, 40, packed=option == "packed")
        f, leaves = function(model, inputs, option, 3, 40)
        made = f(*leaves)
        grads = torch.autograd.grad(sum((y * y).sum() for y in made if y.requires_grad), leaves, allow_unused=True)
        results.append([*made, *(g for g in grads if g is not None)])
        if model.newton is not None:
            assert model.newton.method == "newton", model.newton
            assert 2 <= model.newton.iterations <= 10 and model.newton.change <= 1e-10, model.newton
    assert model.newton is not None
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("option", ["plain", "resets", "packed"])
@pytest.mark.parametrize("name", ["smooth", "mixed"])
def test_gradients(name: str, option: str) -> None:
    text = SMALL if name == "mixed" else CELLS[name]
    program = lsrl.parse(text, n=2) if "[n]" in text else lsrl.parse(text)
    model = pair(program)[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f, leaves = function(model, given(model, 2, 4, packed=option == "packed"), option, 2, 4)
        assert gradcheck(lambda *xs: [y for y in f(*xs) if y.is_floating_point()], leaves, atol=1e-7, rtol=1e-5)
        if option != "packed":
            f, leaves = function(model, given(model, 1, 3), option, 1, 3)
            assert gradgradcheck(lambda *xs: [y for y in f(*xs) if y.requires_grad], leaves, atol=1e-6, rtol=1e-4)
    assert model.newton is not None and model.newton.method == "newton"


def lstm_step(params: dict[str, Tensor], x: Tensor, state: Tensor) -> Tensor:
    """`CELLS["smooth"]` of one channel: (h, c) after a token."""
    w, u = params["w"][0], params["u"][0]
    h, c = state
    i, f, g = torch.sigmoid(w * x + u * h), torch.sigmoid(w * x - u * h + 1), torch.tanh(u * x + w * h)
    c = f * c + i * g
    return torch.stack([torch.sigmoid(x) * torch.tanh(c), c])


def test_an_iteration_is_newtons() -> None:
    """h_t = f(g) + J (h_{t-1} - g), with the Jacobian of torch, from guesses that are far off."""
    program = lsrl.parse(CELLS["smooth"], n=1)
    model = pair(program)[1]
    operator = model._operator(torch.float64)
    torch.manual_seed(0)
    x, h, c = (torch.randn(1, 9, 1, dtype=torch.float64) for _ in range(3))
    params = {n: p.detach() for n, p in model.named_parameters()}
    iteration = operator.iteration  # type: ignore[attr-defined]
    got, _ = iteration.run([x, h, c], [], list(params.values()), None, None, 1, 9, False)
    state = torch.zeros(2, dtype=torch.float64)
    for t in range(9):
        torch.testing.assert_close(torch.stack([y[0, t, 0] for y in got]), state, rtol=1e-13, atol=1e-13)
        guess = torch.stack([h[0, t, 0], c[0, t, 0]])

        def step(s: Tensor, t: int = t) -> Tensor:
            return lstm_step(params, x[0, t, 0], s)

        jacobian = torch.func.jacrev(step)(guess)
        state = step(guess) + jacobian @ (state - guess)


def test_an_iteration_squares_the_error() -> None:
    one, model = pair(program_of("lstm_diagonal"))
    torch.manual_seed(0)
    x = {p.name: torch.randn(2, 200, 3, dtype=torch.float64) for p in model.lanes.inputs}
    changes = []
    for limit in range(1, 7):
        model = pair(lsrl.load(FOLDER / "lstm_diagonal.lsrl", n=3), iterations=limit)[1]
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            out, _ = model(x)
        assert model.newton is not None
        changes.append(model.newton.change)
        if model.newton.method == "sequential":
            assert torch.equal(out, one(x)[0])
    assert changes[2] < 0.1 and all(b < 10 * a * a + 1e-15 for a, b in pairwise(changes[2:])), changes


def test_tolerance_and_limit() -> None:
    x = torch.randn(2, 100, dtype=torch.float64)
    program = lsrl.parse("program p(x: real) -> real:\n    state h: real = 0\n    h := tanh(0.9 * h + x)\n"
                         "    return h\n")
    iterations = []
    for tolerance in (1e-12, 1e-2):
        one, model = pair(program, tolerance=tolerance)
        torch.testing.assert_close(model(x)[0], one(x)[0], rtol=0, atol=10 * tolerance)
        assert model.newton is not None and model.newton.method == "newton"
        iterations.append(model.newton.iterations)
    assert iterations[0] > iterations[1]


@pytest.mark.parametrize("tokens", [100, 400])
def test_chaos_falls_back(tokens: int) -> None:
    """The logistic map: errors grow from token to token. The result is a token at a time's, bit by bit."""
    one, model = pair(lsrl.parse(CHAOS), iterations=12)
    x = torch.randn(2, tokens, dtype=torch.float64, requires_grad=True)
    with pytest.warns(RuntimeWarning, match="did not converge for `logistic`.*one at a time"):
        out, after = model(x)
    assert model.newton is not None and model.newton.method == "sequential"
    assert model.newton.iterations <= 12 and not model.newton.change <= 1e-10
    want, last = one(x)
    assert torch.equal(out, want) and torch.equal(after["h"], last["h"])
    assert torch.equal(torch.autograd.grad(out.sum(), x)[0], torch.autograd.grad(want.sum(), x)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns once; the report tells the rest
        model(x)
    model(x[:, :5])
    assert method_of(model) == "newton", "five tokens are few enough: each iteration makes one more right"


def test_checks_are_made_and_sizes_of_nothing_run() -> None:
    text = ("program p(x: real) -> int:\n    state h: real = 0\n    state n: int[0..3] = 0\n    h := tanh(h + x)\n"
            "    n := n + (1 if h > 0.5 else 0)\n    return n\n")
    one, model = pair(lsrl.parse(text))
    x = torch.tensor([[0.1, 1.0, 1.0, -9.0, 2.0, -9.0]], dtype=torch.float64)
    assert torch.equal(model(x)[0], one(x)[0]) and model.newton is not None and model.newton.method == "newton"
    with pytest.raises(LsrlError) as error, torch.no_grad():
        model(x.repeat(1, 2))
    with pytest.raises(LsrlError) as wanted, torch.no_grad():
        one(x.repeat(1, 2))
    assert str(error.value) == str(wanted.value)
    for empty in (x[:, :0], x[:0], x[:, :1]):
        assert torch.equal(model(empty)[0], one(empty)[0])
        assert method_of(model) == "sequential"


def test_float32_and_bfloat16() -> None:
    program = program_of("lstm_diagonal")
    torch.manual_seed(0)
    for dtype, bound in ((torch.float32, 2e-6), (torch.bfloat16, 2e-2)):
        x = {n: torch.randn(2, 500, 3).to(dtype) for n in "ifgo"}
        a, b = (KernelModule(program.graph, "c", dtype, method=m) for m in ("sequential", "newton"))
        b.load_state_dict(a.state_dict())
        (y, s), (z, r) = a(x), b(x)
        assert b.newton is not None and b.newton.method == "newton"
        assert z.dtype == dtype and r["c"].dtype == torch.float32
        torch.testing.assert_close(z, y, rtol=0, atol=bound)
        torch.testing.assert_close(r["c"], s["c"], rtol=0, atol=2e-6)


@pytest.mark.parametrize(("text", "why"), [
    ("program p(x: real) -> real:\n    state s: real = 0\n    s := s / 2 + exp(x)\n    return s\n", "a scan already"),
    ("program p(x: bool) -> bool:\n    return parity(x)\n", "is a scan already"),
    ("program p(x: real) -> real:\n    state h: real[4] = zeros(4)\n    state k: real = 0\n"
     "    h := tanh(h + sum(h) * x)\n    return sum(h)\n", "has 4 states, and the scan of an iteration at most 3"),
    ("program p(x: real[9]) -> real[9]:\n    param w: real[9, 9] = normal(0.3)\n    state h: real[9] = zeros(9)\n"
     "    h := tanh(w @ h + x)\n    return h\n", "lanes meet in products with matrices"),
    ("program p(x: int[0..1]) -> int:\n    state a: int = 0\n    state b: int = 0\n    a := a + (1 if a < b else x)\n"
     "    b := b + (2 if b < a else x)\n    return b\n", "numbers are exact"),
])
def test_refusals(text: str, why: str) -> None:
    graph = lsrl.parse(text).graph
    with pytest.raises(LsrlError, match=why) as error:
        KernelModule(graph, "c", method="newton")
    assert error.value.diagnostics[0].code == "L415"
    KernelModule(graph, "c", method="auto")


@pytest.mark.parametrize(("options", "message"), [
    ({"method": "newten"}, "no method `newten`"), ({"method": "newton", "tolerance": 0.0}, "tolerance of 0.0"),
    ({"method": "auto", "iterations": 0}, "limit of 0 iterations")])
def test_options_that_are_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LsrlError, match=message) as error:
        KernelModule(program_of("sru").graph, "c", **options)
    assert error.value.diagnostics[0].code == "L415"


def test_the_cost_model_decides() -> None:
    """On a CPU never; on a GPU for few streams of many tokens."""
    model = KernelModule(program_of("sru").graph, "c", method="auto")
    plain = KernelModule(program_of("sru").graph, "c")
    x = {p.name: torch.randn(2, 50, 3) for p in model.lanes.inputs}
    assert torch.equal(model(x)[0], plain(x)[0])
    assert model.newton is not None and model.newton.method == "sequential" and "a CPU" in model.newton.why
    assert plain.newton is None
    gpu = Device("gpu", 132 * 2048)
    assert choose_newton(gpu, 1, 65536, 256, 6, 17, 90)[0]
    assert not choose_newton(gpu, 1, 64, 256, 6, 17, 90)[0], "starting six passes takes longer than 64 tokens"
    assert not choose_newton(gpu, 1024, 65536, 1024, 6, 17, 90)[0], "the streams keep it busy"


def test_copies_files_and_pickles_keep_the_method(tmp_path: Path) -> None:
    model = KernelModule(program_of("sru").graph, "c", method="newton", tolerance=1e-3, iterations=9)
    model.save(tmp_path / "m.safetensors")
    x = {p.name: torch.randn(2, 50, 3) for p in model.lanes.inputs}
    want = model(x)[0]
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), lsrl.load_model(tmp_path / "m.safetensors")):
        assert isinstance(other, KernelModule)
        assert torch.equal(other(x)[0], want)
        assert other.newton is not None and other.newton.method == "newton"
        assert other._newton.options == ("newton", 1e-3, 9)


def test_inside_torch() -> None:
    """Compiled without graph breaks, and under vmap, the operator solves as it does on its own."""
    model = KernelModule(program_of("gru_diagonal").graph, "c", method="newton")
    x = {p.name: torch.randn(4, 20, 3) for p in model.lanes.inputs}
    want = model(x)[0].detach()
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = torch.compile(model, fullgraph=True, backend="aot_eager")(x)[0]
    torch._dynamo.reset()
    assert torch.equal(got.detach(), want)
    with torch.no_grad():
        mapped = torch.vmap(lambda r, z, c: model({"r": r, "z": z, "c": c})[0])(*(v[:, None] for v in x.values()))
    torch.testing.assert_close(mapped[:, 0], want, rtol=0, atol=1e-5)


def test_the_program_of_an_iteration_holds_what_smooth_cells_need() -> None:
    """rwkv4's mean depends on its weight, and nothing of the weight on the mean."""
    parts = Parts.of(make_lanes(program_of("rwkv4").graph))
    lanes = linearised(parts)
    assert [p.name for p in lanes.states] == ["weight"] and [p.name for p in lanes.outputs] == ["~before.weight"]
    assert [c.kind for c in Parts.of(lanes).cells] == ["gated"]
