"""Numbers in generated C: functions on float32 against float64, 16-bit floats at the edges, NaN and infinities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import lsrl
from lsrl.arithmetic import unary
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.c_functions import ULPS
from lsrl.backends.kernels.c_kernel import CKernel
from lsrl.backends.kernels.call import Call, Options
from lsrl.backends.kernels.lanes import make_lanes

Array = NDArray[Any]
NAMES = tuple(ULPS)
FUNCTIONS = (f"program p(x: real[64]) -> ({', '.join(f'y_{n}: real[64]' for n in NAMES)}):\n"
             f"    return ({', '.join(f'y_{n} = {n}(x)' for n in NAMES)})\n")
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 88.7, 88.8, -87.4, -103.9, -104.1, 1e-45, -1e-45,
           3.4e38, -3.4e38, 0.6, -0.6, 0.59999996, 9.0, 10.0, 100.0, -10.0, -100.0, 16.6, 17.4]


def run(text: str, x: Tensor, options: Options) -> dict[str, Tensor]:
    """The outputs of a program over real[64], or real, for inputs (tokens, 64) or (tokens)."""
    k = CKernel(Parts.of(make_lanes(lsrl.parse(text).graph)), options)
    out = {p.name: torch.empty(1, *x.shape, dtype=options.edge) for p in k.parts.lanes.outputs}
    after = {p.name: torch.empty(1, *x.shape[1:], dtype=options.carry) for p in k.parts.lanes.states}
    k.launch(Call(1, len(x), {"x": x.to(options.edge).unsqueeze(0)}, out, {}, after), "sequential")
    return {n.removeprefix("y_"): y[0] for n, y in out.items()}


def every_exponent(each: int) -> Tensor:
    """Random float32 numbers of every exponent and both signs, and special ones; (tokens, 64)."""
    rng = np.random.default_rng(0)
    bits = (np.arange(512, dtype=np.uint32)[:, None] << 23) | rng.integers(0, 1 << 23, (512, each), dtype=np.uint32)
    x = np.concatenate([bits.reshape(-1).view(np.float32), np.array(SPECIAL * 64, np.float32)])
    return torch.from_numpy(x[: len(x) // 64 * 64].reshape(-1, 64).copy())


def precise(name: str, x: Array) -> Array:
    """In float64."""
    with np.errstate(all="ignore"):
        match name:
            case "sigmoid":
                return np.asarray(np.where(x >= 0, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x))))
            case "softplus":
                return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))
            case "silu":
                return np.where(x == -np.inf, -0.0, x * precise("sigmoid", x))
            case _:
                return np.asarray(getattr(np, name)(x))


def ulps(got: Array, want: Array) -> Array:
    """Errors in units in the last place of the float32 nearest to what is wanted; infinite where only one is NaN."""
    with np.errstate(all="ignore"):
        nearest = want.astype(np.float32)
        unit = np.spacing(np.minimum(np.abs(nearest), np.float32(3e38))).astype(np.float64)
        error = np.abs(got.astype(np.float64) - want) / unit
        error = np.where(got == nearest, 0, error)
    return np.where(np.isnan(got) | np.isnan(want), np.where(np.isnan(got) & np.isnan(want), 0, np.inf), error)


def test_functions_on_float32_keep_their_bounds() -> None:
    x = every_exponent(1 << 12)
    got = run(FUNCTIONS, x, Options())
    worst = {}
    for name in NAMES:
        error = ulps(got[name].numpy(), precise(name, x.double().numpy()))
        worst[name] = float(error.max())
        assert worst[name] <= ULPS[name], (name, worst[name], x.numpy().reshape(-1)[int(error.argmax())])
    # the bounds say something: they are not far above what is met
    assert all(worst[n] > ULPS[n] / 2 for n in NAMES if n != "sqrt"), worst


def test_functions_on_float64_are_the_interpreters() -> None:
    x = every_exponent(4).double()
    got = run(FUNCTIONS, x, Options(edge=torch.float64, carry=torch.float64))
    for name in NAMES:
        want = [unary(name)(v) for v in x.reshape(-1).tolist()]
        assert np.array_equal(got[name].reshape(-1).numpy(), np.array(want), equal_nan=True), name


COPY = """
program p(x: real) -> (y: real, z: real):
    state last: real = 0
    before = last
    last := x
    return (y = x, z = sqrt(before))
"""


@pytest.mark.parametrize("edge", [torch.bfloat16, torch.float16])
def test_every_16_bit_float_comes_in_and_goes_out_as_it_is(edge: torch.dtype) -> None:
    every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16).view(edge)
    for carry in (torch.float32, torch.float64):
        got = run(COPY, every, Options(edge=edge, carry=carry))
        assert torch.equal(got["y"].isnan(), every.isnan())
        numbers = ~every.isnan()
        assert torch.equal(got["y"].view(torch.int16)[numbers], every.view(torch.int16)[numbers])
        roots = every[:-1].to(carry).sqrt().to(edge)
        assert torch.equal(got["z"][1:].nan_to_num(nan=-1), roots.nan_to_num(nan=-1))


@pytest.mark.parametrize("edge", [torch.bfloat16, torch.float16])
def test_results_are_rounded_to_the_nearest_16_bit_float(edge: torch.dtype) -> None:
    """Once, ties to even: between two neighbours, at the middle, and a little above and below it."""
    bits = torch.arange(0, 0x7bff if edge == torch.float16 else 0x7f7f, dtype=torch.int16)
    low, high = bits.view(edge).double(), (bits + 1).view(edge).double()
    middle = (low + high) / 2
    even = torch.where(bits % 2 == 0, low, high)
    for x, want in ((middle, even), (torch.nextafter(middle, high), high), (torch.nextafter(middle, low), low)):
        for sign in (1, -1):
            got = run_double_to(edge, sign * x)
            assert torch.equal(got.double(), sign * want)


def run_double_to(edge: torch.dtype, x: Tensor) -> Tensor:
    """float64 numbers as the kernel's float64 values, written to `edge`: they come in as a state."""
    k = CKernel(Parts.of(make_lanes(lsrl.parse(
        "program p(x: real) -> real:\n    state s: real = 0\n    old = s\n    s := exp(x)\n    return old\n").graph)),
        Options(edge=edge, carry=torch.float64))
    y = torch.empty(len(x), 1, dtype=edge)
    call = Call(len(x), 1, {"x": torch.zeros(len(x), 1, dtype=edge)}, {"out": y}, {"s": x.clone()},
                {"s": torch.empty(len(x), dtype=torch.float64)})
    k.launch(call, "sequential")
    return y[:, 0]


def test_numbers_that_are_none_pass_through() -> None:
    text = """
program p(x: real) -> (least: real, most: real, mean: real, left: real, curved: real):
    state least: real = 0
    state most: real = 0
    state mean: real = 0
    least := min(least, x)
    most := max(most, x)
    mean := 0.5 * mean + 0.5 * x
    return (least = least, most = most, mean = mean, left = x % 3, curved = tanh(x))
"""
    program = lsrl.parse(text)
    xs = [1.0, -2.0, 7.25, -7.25, math.inf, 2.0, -math.inf, 1.0, math.nan, 3.0]
    got = run(text, torch.tensor(xs, dtype=torch.float64), Options(edge=torch.float64, carry=torch.float64))
    want = list(program._interpreter.run([{"x": x} for x in xs]))
    for name, y in got.items():
        assert np.array_equal(y.numpy(), np.array([row[name] for row in want]), equal_nan=True), name
    small = run(text, torch.tensor(xs), Options())
    for name, y in small.items():
        assert name == "curved" or np.array_equal(y.double().numpy(), got[name].numpy(), equal_nan=True), name


@pytest.mark.parametrize("edge", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("carry", [torch.float32, torch.float64])
def test_exact_programs_are_exact_with_any_edge(edge: torch.dtype, carry: torch.dtype) -> None:
    """Rationals are counts inside, whatever the carried float type: eighths come in and go out."""
    text = """
program p(x: real[-4..4 by 1/8]) -> real:
    state s: real[-8..8 by 1/8] = 0
    s := clamp(s + x, -8, 8)
    return s
"""
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(-32, 33, (500,), generator=draw).double() / 8
    total, want = 0.0, []
    for v in x.tolist():
        total = min(max(total + v, -8.0), 8.0)
        want.append(total)
    k = CKernel(Parts.of(make_lanes(lsrl.parse(text).graph)), Options(edge=edge, carry=carry))
    assert k.parts.storage.exact
    y = torch.empty(1, 500, dtype=edge)
    k.launch(Call(1, 500, {"x": x.to(edge)[None]}, {"out": y}, {}, {"s": torch.empty(1, dtype=torch.int32)}),
             "sequential")
    assert y[0].double().tolist() == want
