"""The rows of `benchmarks.kernels`: programs, their inputs and sizes, and what else computes the same."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lsrl
from lsrl.backends.kernels.call import Call
from lsrl.backends.kernels.module import KernelModule
from lsrl.streams import open_input, open_output, run_stream

__all__ = ["ROWS", "Work"]

ROOT = Path(__file__).resolve().parent.parent
Rival = tuple[str, Callable[[], Callable[[], object]]]

GATED = """
program gated[n](g: real[n], u: real[n]) -> real[n]:
    state h: real[n] = zeros(n)
    h := g * h + u
    return h
"""
SUMMED = """
program summed[n](x: real[n]) -> real[n]:
    state s: real[n] = zeros(n)
    s := s + x
    return s
"""
GREATEST = """
program greatest[n](x: real[n]) -> real[n]:
    state s: real[n] = zeros(n)
    s := max(s, x)
    return s
"""
SMOOTH = """
program lane[n](x: real[n], y: real[n], z: real[n], o: real[n]) -> real[n]:
    param u: real[n] = 0.25
    state h: real[n] = zeros(n)
    state c: real[n] = zeros(n)
    i = sigmoid(x + u * h)
    f = sigmoid(y + u * h)
    g = tanh(z + u * h)
    c := f * c + i * g
    h := sigmoid(o + u * h) * tanh(c)
    return h
"""


@dataclass
class Work:
    """name and description of a row. elements: tokens times lanes. bytes: what the kernel must move.

    rivals: by name the package that it needs ("" for none) and what makes it ready. patience: seconds after which a
    contender runs no further round.
    """

    name: str
    what: str
    elements: int
    bytes: int
    ours: Callable[[], object]
    rivals: dict[str, Rival] = field(default_factory=dict)
    patience: float = 20.0


def module(text: str, device: str, **options: Any) -> KernelModule:
    program = lsrl.parse(text, n=256) if "[n]" in text else lsrl.parse(text)
    return KernelModule(program.graph, "triton" if device == "cuda" else "c", check=False, **options)


def random_streams(count: int, sizes: tuple[int, int, int], device: str) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.rand(sizes, device=device) for _ in range(count)]


def launched(model: KernelModule, inputs: dict[str, Tensor]) -> Callable[[], object]:
    """The kernel alone, into tensors that are there already, as copies and compiled loops write theirs."""
    x = next(iter(inputs.values()))
    operator = model._operator(model.dtype)
    streams = [inputs[p.name] for p in model.lanes.inputs]
    rows, tokens = x.shape[:2]
    outputs, after = operator.empty(streams, None, rows, tokens, x)
    names = [[p.name for p in ports] for ports in (model.lanes.outputs, model.lanes.states)]
    call = Call(rows, tokens, inputs, dict(zip(names[0], outputs, strict=True)), {},
                dict(zip(names[1], after, strict=True)),
                {p.name: w.detach() for p, w in zip(model.lanes.params, model.parameters(), strict=True)})
    kernel = operator.kernel(x.device, False, False)
    shape = operator._shape(kernel, x.device, call)
    return lambda: kernel.launch(call, shape)


def quiet(run: Callable[[], object]) -> Callable[[], object]:
    def f() -> object:
        with torch.no_grad():
            return run()

    return f


def gated(device: str, scale: float) -> Work:
    sizes = (8, int(4096 * scale), 256)
    g, u = random_streams(2, sizes, device)
    ours = module(GATED, device)

    def loop() -> Tensor:
        h, out = torch.zeros_like(g[:, 0]), []
        for t in range(sizes[1]):
            h = g[:, t] * h + u[:, t]
            out.append(h)
        return torch.stack(out, 1)

    rivals: dict[str, Rival] = {"torch loop": ("", lambda: quiet(loop))}
    if device == "cpu":
        a, b, c = g.numpy(), u.numpy(), np.empty(sizes, np.float32)

        def numpy_loop() -> object:
            h = np.zeros((sizes[0], sizes[2]), np.float32)
            for t in range(sizes[1]):
                h = a[:, t] * h + b[:, t]
                c[:, t] = h
            return c

        rivals |= {"NumPy loop": ("", lambda: numpy_loop), "numba": ("numba", lambda: _numba_gated(a, b, c)),
                   "jax associative_scan": ("jax", lambda: _jax_gated(a, b))}
    else:
        rivals["accelerated-scan"] = ("accelerated_scan", lambda: _accelerated(g, u))
    elements = int(np.prod(sizes))
    rivals["module call"] = ("", lambda: quiet(lambda: ours({"g": g, "u": u})))
    return Work("gated", f"gated h := g h + u, float32, {sizes}", elements, 12 * elements,
                launched(ours, {"g": g, "u": u}), rivals)


def gated_backward(device: str, scale: float) -> Work:
    sizes = (8, int(512 * scale), 256)
    g, u = (x.requires_grad_() for x in random_streams(2, sizes, device))
    ours = module(GATED, device)
    out = torch.ones(sizes, device=device)

    def ours_both() -> object:
        return torch.autograd.grad(ours({"g": g, "u": u})[0], (g, u), out)

    def loop() -> object:
        h, made = torch.zeros_like(g[:, 0]), []
        for t in range(sizes[1]):
            h = g[:, t] * h + u[:, t]
            made.append(h)
        return torch.autograd.grad(torch.stack(made, 1), (g, u), out)

    elements = int(np.prod(sizes))
    return Work("gated_backward", f"the same with gradients of g and u, {sizes}", elements, 32 * elements, ours_both,
                {"torch loop": ("", lambda: loop)})


def summed(device: str, scale: float) -> Work:
    sizes = (8, int(4096 * scale), 256)
    (x,) = random_streams(1, sizes, device)
    ours = module(SUMMED, device)
    elements = int(np.prod(sizes))
    return Work("summed", f"running sum, float32, {sizes}", elements, 8 * elements, launched(ours, {"x": x}),
                {"torch.cumsum": ("", lambda: quiet(lambda: torch.cumsum(x, 1)))})


def greatest(device: str, scale: float) -> Work:
    sizes = (8, int(4096 * scale), 256)
    (x,) = random_streams(1, sizes, device)
    ours = module(GREATEST, device)
    elements = int(np.prod(sizes))
    return Work("greatest", f"running maximum, float32, {sizes}", elements, 8 * elements, launched(ours, {"x": x}),
                {"torch.cummax": ("", lambda: quiet(lambda: torch.cummax(x, 1)))})


def smooth(device: str, scale: float) -> Work:
    sizes = (8, int(1024 * scale), 256)
    x, y, z, o = (s * 4 - 2 for s in random_streams(4, sizes, device))
    ours = module(SMOOTH, device)
    u = torch.full((256,), 0.25, device=device)

    def loop() -> Tensor:
        h = c = torch.zeros_like(x[:, 0])
        out = []
        for t in range(sizes[1]):
            i, f = torch.sigmoid(x[:, t] + u * h), torch.sigmoid(y[:, t] + u * h)
            c = f * c + i * torch.tanh(z[:, t] + u * h)
            h = torch.sigmoid(o[:, t] + u * h) * torch.tanh(c)
            out.append(h)
        return torch.stack(out, 1)

    elements = int(np.prod(sizes))
    return Work("smooth", f"diagonal LSTM, float32, {sizes}", elements, 20 * elements,
                launched(ours, {"x": x, "y": y, "z": z, "o": o}), {"torch loop": ("", lambda: quiet(loop))})


def automaton(device: str, scale: float) -> Work:
    """Sixteen states, four letters: a random automaton as a `match`."""
    rng = random.Random(7)
    states, letters, rows, tokens = 16, 4, 8, int(1_000_000 * scale)
    after = [[rng.randrange(states) for _ in range(letters)] for _ in range(states)]
    arms = "\n".join(f"        {x * states + q} => {after[q][x]}" for x in range(letters) for q in range(states))
    text = (f"program machine(x: int[0..{letters - 1}]) -> int[0..{states - 1}]:\n"
            f"    state q: int[0..{states - 1}] = 0\n    q := match x * {states} + q:\n{arms}\n        _ => 0\n"
            "    return q\n")
    ours = module(text, device)
    x = torch.randint(0, letters, (rows, tokens), dtype=torch.uint8, device=device)
    rivals: dict[str, Rival] = {}
    if device == "cpu":
        given, out = x.numpy(), np.empty((rows, tokens), np.uint8)
        rivals = {"numba": ("numba", lambda: _numba_machine(np.array(after, np.uint8), given, out))}
    return Work("automaton", f"automaton of {states} states, {letters} letters, a byte in and out, {rows} × {tokens:,}",
                rows * tokens, 2 * rows * tokens, launched(ours, {"x": x}), rivals)


def parity(device: str, scale: float) -> Work:
    rows, tokens = 64, int(200_000 * scale)
    ours = module("program parities(b: bool) -> bool:\n    return parity(b)\n", device)
    x = torch.rand(rows, tokens, device=device) < 0.5
    return Work("parity", f"parity, {rows} × {tokens:,}", rows * tokens, 2 * rows * tokens,
                launched(ours, {"b": x}), {
        "torch.cumsum % 2": ("", lambda: quiet(lambda: torch.cumsum(x, 1) % 2 == 1))})


def text(device: str, scale: float) -> Work:
    """`lsrl run` as the command does it, from bytes to the last output; in constant memory."""
    program = lsrl.load(ROOT / "examples" / "text" / "balanced.lsrl")
    data = ("x(a[b]{c})y {()} [[]] text " * 5 + "\n").encode() * int(700_000 * scale)

    def ours() -> object:
        with open_input(program.graph, io.BytesIO(data)) as source, \
                open_output(program.graph, io.BytesIO(), "jsonl") as sink:
            return run_stream(program.graph, source, sink, last=True)

    return Work("text", f"`lsrl run balanced.lsrl --last` on {len(data) / 1e6:.0f} MB, compilation included", len(data),
                len(data), ours)


def _numba_gated(a: Any, b: Any, c: Any) -> Callable[[], object]:
    import numba

    def run(a: Any, b: Any, c: Any) -> None:
        for row in range(a.shape[0]):
            h = np.zeros(a.shape[2], np.float32)
            for t in range(a.shape[1]):
                for d in range(a.shape[2]):
                    h[d] = a[row, t, d] * h[d] + b[row, t, d]
                    c[row, t, d] = h[d]

    compiled = numba.njit(fastmath=True)(run)
    return lambda: compiled(a, b, c)


def _numba_machine(after: Any, x: Any, out: Any) -> Callable[[], object]:
    import numba

    def run(after: Any, x: Any, out: Any) -> None:
        for row in range(x.shape[0]):
            q = 0
            for t in range(x.shape[1]):
                q = after[q, x[row, t]]
                out[row, t] = q

    compiled = numba.njit(run)
    return lambda: compiled(after, x, out)


def _jax_gated(a: Any, b: Any) -> Callable[[], object]:
    import jax

    scan = jax.jit(lambda g, u: jax.lax.associative_scan(
        lambda p, q: (p[0] * q[0], q[0] * p[1] + q[1]), (g, u), axis=1)[1])
    return lambda: scan(a, b).block_until_ready()


def _accelerated(g: Tensor, u: Tensor) -> Callable[[], object]:
    from accelerated_scan.triton import scan

    gates, tokens = (x.transpose(1, 2).contiguous() for x in (g, u))
    return lambda: scan(gates, tokens)


ROWS: tuple[Callable[[str, float], Work], ...] = (
    gated, gated_backward, summed, greatest, smooth, automaton, parity, text)
