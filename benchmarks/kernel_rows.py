"""The rows of `benchmarks.kernels`: programs, their inputs and sizes, and what else computes the same."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lsrl
from benchmarks import kernel_rivals as rivals
from benchmarks.dense_rows import DENSE_ROWS
from benchmarks.kernel_rivals import Rival
from benchmarks.kernel_work import Goal, Work, quiet
from benchmarks.matrix_rows import MATRIX_ROWS
from lsrl.backends.kernels.call import Call
from lsrl.backends.kernels.module import KernelModule
from lsrl.streams import open_input, open_output, run_stream

__all__ = ["ROWS", "SERIES", "Goal", "Series", "Work"]

ROOT = Path(__file__).resolve().parent.parent

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
LANES = 256


@dataclass(frozen=True)
class Series:
    """A row at several sizes. row: makes it from device, rows and tokens. name: as rows have one."""

    name: str
    what: str
    row: Callable[[str, int, int], Work]


def module(text: str, device: str, **options: Any) -> KernelModule:
    program = lsrl.parse(text, n=LANES) if "[n]" in text else lsrl.parse(text)
    return KernelModule(program.graph, "triton" if device == "cuda" else "c", check=False, **options)


def random_streams(count: int, sizes: tuple[int, ...], device: str) -> list[Tensor]:
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

    def run() -> object:
        kernel.launch(call, shape)
        return outputs[0]

    return run


def gated(device: str, rows: int = 8, tokens: int = 4096) -> Work:
    sizes = (rows, tokens, LANES)
    g, u = random_streams(2, sizes, device)
    ours = module(GATED, device)

    def loop() -> Tensor:
        h, out = torch.zeros_like(g[:, 0]), []
        for t in range(tokens):
            h = g[:, t] * h + u[:, t]
            out.append(h)
        return torch.stack(out, 1)

    others: dict[str, Rival] = {"module call": ("", lambda: quiet(lambda: ours({"g": g, "u": u}))),
                                "torch loop": ("", lambda: quiet(loop))}
    others |= rivals.gated_on_cpu(g, u) if device == "cpu" else rivals.gated_on_gpu(g, u)
    elements = rows * tokens * LANES
    return Work("gated", f"gated h := g h + u, float32, {sizes}", elements, 12 * elements,
                launched(ours, {"g": g, "u": u}), others, Goal("copy", 1.0 if device == "cpu" else 0.85))


def gated_backward(device: str, rows: int = 8, tokens: int = 512) -> Work:
    sizes = (rows, tokens, LANES)
    g, u = (x.requires_grad_() for x in random_streams(2, sizes, device))
    ours = module(GATED, device)
    out = torch.ones(sizes, device=device)

    def ours_both() -> object:
        return torch.autograd.grad(ours({"g": g, "u": u})[0], (g, u), out)

    def loop() -> object:
        h, made = torch.zeros_like(g[:, 0]), []
        for t in range(tokens):
            h = g[:, t] * h + u[:, t]
            made.append(h)
        return torch.autograd.grad(torch.stack(made, 1), (g, u), out)

    elements = rows * tokens * LANES
    others: dict[str, Rival] = {} if tokens > 512 else {"torch loop": ("", lambda: loop)}  # its cost is quadratic
    others["only torch g * u with gradients"] = "", lambda: lambda: torch.autograd.grad(g * u, (g, u), out)
    if device == "cpu":
        others |= rivals.gated_backward_on_cpu(g.detach(), u.detach(), out)
    return Work("gated_backward", f"the same with gradients of g and u, {sizes}", elements, 32 * elements, ours_both,
                others, measures=("only torch g * u with gradients",))


def gated_backward_long(device: str) -> Work:
    return replace(gated_backward(device, 8, 4096), name="gated_backward_long")


def summed(device: str, rows: int = 8, tokens: int = 4096) -> Work:
    sizes = (rows, tokens, LANES)
    (x,) = random_streams(1, sizes, device)
    others: dict[str, Rival] = {"torch.cumsum": ("", lambda: quiet(lambda: torch.cumsum(x, 1)))}
    if device == "cpu":
        others |= {"np.cumsum": ("", lambda: lambda: np.cumsum(x.numpy(), 1)),
                   "jax cumsum": ("jax", lambda: rivals.jax_call("lax", "cumsum", x))}
    elements = rows * tokens * LANES
    return Work("summed", f"running sum, float32, {sizes}", elements, 8 * elements,
                launched(module(SUMMED, device), {"x": x}), others)


def greatest(device: str, rows: int = 8, tokens: int = 4096) -> Work:
    sizes = (rows, tokens, LANES)
    (x,) = random_streams(1, sizes, device)
    others: dict[str, Rival] = {"torch.cummax": ("", lambda: quiet(lambda: torch.cummax(x, 1)))}
    if device == "cpu":
        others |= {"np.maximum.accumulate": ("", lambda: lambda: np.maximum.accumulate(x.numpy(), 1)),
                   "jax cummax": ("jax", lambda: rivals.jax_call("lax", "cummax", x))}
    elements = rows * tokens * LANES
    return Work("greatest", f"running maximum, float32, {sizes}", elements, 8 * elements,
                launched(module(GREATEST, device), {"x": x}), others)


def smooth(device: str, rows: int = 8, tokens: int = 1024) -> Work:
    sizes = (rows, tokens, LANES)
    x, y, z, o = (s * 4 - 2 for s in random_streams(4, sizes, device))
    ours = module(SMOOTH, device)
    u = torch.full((LANES,), 0.25, device=device)

    def loop() -> Tensor:
        h = c = torch.zeros_like(x[:, 0])
        out = []
        for t in range(tokens):
            i, f = torch.sigmoid(x[:, t] + u * h), torch.sigmoid(y[:, t] + u * h)
            c = f * c + i * torch.tanh(z[:, t] + u * h)
            h = torch.sigmoid(o[:, t] + u * h) * torch.tanh(c)
            out.append(h)
        return torch.stack(out, 1)

    others: dict[str, Rival] = {"torch loop": ("", lambda: quiet(loop))}
    if device == "cpu":
        others |= {"jax lax.scan": ("jax", lambda: rivals.jax_smooth(x, y, z, o, 0.25))}
    elements = rows * tokens * LANES
    return Work("smooth", f"diagonal LSTM, float32, {sizes}", elements, 20 * elements,
                launched(ours, {"x": x, "y": y, "z": z, "o": o}), others)


def newton(device: str) -> Work:
    """Newton's method over time against the same cell a token at a time, in one kernel."""
    sizes = (1, 65_536, LANES)
    streams = {n: s * 4 - 2 for n, s in zip("xyzo", random_streams(4, sizes, device), strict=True)}
    ours, alone = module(SMOOTH, device, method="newton"), module(SMOOTH, device)
    elements = int(np.prod(sizes))
    return Work("newton", f"diagonal LSTM by Newton's method, float32, {sizes}", elements, 20 * elements,
                quiet(lambda: ours(streams)), {"a token at a time": ("", lambda: quiet(lambda: alone(streams)))})


def automaton(device: str, rows: int = 8, tokens: int = 1_000_000) -> Work:
    """Sixteen states, four letters."""
    made = _automaton("automaton", device, 16, rows, tokens)
    made.goal = Goal("rate", 2e9 if device == "cpu" else 2e11)
    return made


def one_sequence(device: str) -> Work:
    """Sixty states, more than a scan of their maps holds, and one sequence: chunks of it by speculation."""
    return _automaton("one_sequence", device, 60, 1, 8_000_000)


def _automaton(name: str, device: str, states: int, rows: int, tokens: int) -> Work:
    """A random automaton of four letters as a `match`."""
    rng = random.Random(7)
    letters = 4
    after = [[rng.randrange(states) for _ in range(letters)] for _ in range(states)]
    arms = "\n".join(f"        {x * states + q} => {after[q][x]}" for x in range(letters) for q in range(states))
    text = (f"program machine(x: int[0..{letters - 1}]) -> int[0..{states - 1}]:\n"
            f"    state q: int[0..{states - 1}] = 0\n    q := match x * {states} + q:\n{arms}\n        _ => 0\n"
            "    return q\n")
    x = torch.randint(0, letters, (rows, tokens), dtype=torch.uint8, device=device)
    others: dict[str, Rival] = {}
    if device == "cpu":
        others = rivals.automaton_on_cpu(np.array(after, np.uint8), x.numpy())
    return Work(name, f"automaton of {states} states, {letters} letters, a byte in and out, {rows} × {tokens:,}",
                rows * tokens, 2 * rows * tokens, launched(module(text, device), {"x": x}), others)


def parity(device: str, rows: int = 64, tokens: int = 200_000) -> Work:
    x = torch.rand(rows, tokens, device=device) < 0.5
    others: dict[str, Rival] = {"torch.cumsum % 2": ("", lambda: quiet(lambda: torch.cumsum(x, 1) % 2 == 1))}
    if device == "cpu":
        others["np.logical_xor.accumulate"] = ("", lambda: lambda: np.logical_xor.accumulate(x.numpy(), 1))
    ours = module("program parities(b: bool) -> bool:\n    return parity(b)\n", device)
    return Work("parity", f"parity, {rows} × {tokens:,}", rows * tokens, 2 * rows * tokens, launched(ours, {"b": x}),
                others)


def text_last(device: str) -> Work:
    """`lsrl run` as the command does it, from a file's bytes to the last output; in constant memory."""
    source = (ROOT / "examples" / "text" / "balanced.lsrl").read_text(encoding="utf-8")
    return _text("text_last", "`lsrl run balanced.lsrl --last`", source, True)


def text_bytes(device: str) -> Work:
    """The same with an output for each token, of one byte, to a file."""
    source = (ROOT / "examples" / "text" / "balanced.lsrl").read_text(encoding="utf-8")
    head = source.replace("(ok: bool, broken: bool)", "Told").split("    return")[0]
    source = ('type Told = {"o", "x", "-"}\n\n' + head[head.index("const"):]
              + '    told: Told = "x" if broken else "o" if depth == 0 else "-"\n    return told\n')
    return _text("text_bytes", "the same with one output byte a token, written to a file", source, False)


def _text(name: str, what: str, source: str, last: bool) -> Work:
    graph = lsrl.parse(source).graph
    folder = tempfile.TemporaryDirectory()
    data, out = os.path.join(folder.name, "in.txt"), os.path.join(folder.name, "out.txt")
    count = 2_800_000
    Path(data).write_bytes(b"x(a[b]{c})y {()} [[]] text plain " * count)
    size = os.path.getsize(data)

    def ours() -> object:
        assert folder  # lives as long as this does
        Path(out).unlink(missing_ok=True)  # some file systems write a file that replaces another to disk at once
        with open_input(graph, data, "text") as given, open_output(graph, out) as sink:
            return run_stream(graph, given, sink, last=last)

    return Work(name, f"{what}: {size / 1e6:.0f} MB of text, the kernel compiled before", size,
                size if last else 2 * size, ours, goal=Goal("rate", 150e6))


ROWS: tuple[Callable[[str], Work], ...] = (
    gated, gated_backward, gated_backward_long, summed, greatest, smooth, newton, automaton, one_sequence, parity,
    *DENSE_ROWS, *MATRIX_ROWS, text_last, text_bytes)
SERIES: tuple[Series, ...] = (
    Series("gated", "gated, float32, 256 lanes", gated),
    Series("smooth", "diagonal LSTM, float32, 256 lanes", smooth),
    Series("automaton", "automaton of 16 states", automaton))
