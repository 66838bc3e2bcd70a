"""Runs of Triton kernels that tests start in a process of their own: in Triton's interpreter, or on a GPU.

Functions named `check_…` raise AssertionError where a kernel differs from the program's own interpreter.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Call, Options, Shape
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.backends.kernels.triton_kernel import Configuration, TritonKernel
from tests.backends.kernels.batches import NEVER, make_call, packed_call, shown, time_major, wanted
from tests.backends.kernels.test_bodies import coded
from tests.corpus import CORPUS

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMALL = Configuration(streams=2, tile=8, group=4, warps=1)
BOUND = 2e-6  # of float32 against float64, relative to 1 and the value, over some tens of tokens

Rows = Sequence[Mapping[str, Any]]


@cache
def program_of(name: str) -> lsrl.Program:
    return lsrl.load(next(c for c in CORPUS if c.name == name).file)


@cache
def kernel_of(name: str, options: Options) -> TritonKernel:
    return TritonKernel(Parts.of(make_lanes(program_of(name).graph)), options)


@cache
def sequence(name: str, seed: int, tokens: int) -> list[dict[str, Any]]:
    return coded(next(c for c in CORPUS if c.name == name), program_of(name), seed, tokens)


def on_device(call: Call) -> Call:
    def moved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=DEVICE).copy_(x)
                for n, x in tensors.items()}

    def one(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.to(DEVICE)

    return replace(call, inputs=moved(call.inputs), outputs=moved(call.outputs), before=moved(call.before),
                   after=moved(call.after), params=moved(call.params), resets=one(call.resets),
                   offsets=one(call.offsets), failed=one(call.failed))


def run(kernel: TritonKernel, call: Call, shape: Shape, configuration: Configuration = SMALL) -> Call:
    """The call, with its results, on the CPU."""
    there = on_device(call)
    kernel.launch(there, shape, configuration)

    def back(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: x.cpu() for n, x in tensors.items()}

    return replace(call, outputs=back(there.outputs), after=back(there.after),
                   failed=None if there.failed is None else there.failed.cpu())


def same(got: Sequence[Mapping[str, list[Any]]], want: Sequence[Mapping[str, list[Any]]], kernel: TritonKernel,
         bound: float = BOUND) -> None:
    """Equal, where values are exact; as float32 holds them in real outputs; else within the bound."""
    assert len(got) == len(want)
    for p, q in zip(got, want, strict=True):
        for n in q:
            for a, b in zip(p[n], q[n], strict=True):
                if kernel.parts.storage.exact:
                    assert a == (torch.tensor(b, dtype=torch.float32).item() if isinstance(b, float) else b), (n, a, b)
                else:
                    assert abs(a - b) <= bound * (1 + abs(b)), (n, a, b)


def never_failed(call: Call) -> None:
    assert call.failed is not None and (call.failed == NEVER).all(), call.failed


def check_whole(name: str, shape: Shape, tokens: int = 19, cut: int = 0) -> None:
    """An example equals the interpreter; cut into two calls with the state between, it gives the same."""
    kernel = kernel_of(name, Options())
    sequences = [sequence(name, seed, tokens) for seed in range(2)]
    whole = run(kernel, make_call(kernel.parts, Options(), sequences), shape)
    never_failed(whole)
    for got, rows in zip(shown(kernel.parts, whole.outputs), sequences, strict=True):
        same(got, wanted(program_of(name), rows), kernel)
    if cut:
        first = run(kernel, make_call(kernel.parts, Options(), [s[:cut] for s in sequences]), shape)
        then = run(kernel, make_call(kernel.parts, Options(), [s[cut:] for s in sequences], before=first.after,
                                     layout=time_major), shape)
        bound = 0.0 if kernel.parts.storage.exact else BOUND
        for n, x in whole.outputs.items():
            torch.testing.assert_close(torch.cat([first.outputs[n], then.outputs[n]], 1), x, rtol=bound, atol=bound)
        for n, x in whole.after.items():
            torch.testing.assert_close(then.after[n], x, rtol=bound, atol=bound)


def check_packed(name: str, shape: Shape, lengths: Sequence[int] = (9, 0, 3, 11)) -> None:
    """An example with resets, in packed sequences, from the last token to the first."""
    options = Options(resets=True, packed=True)
    kernel = kernel_of(name, options)
    sequences = [sequence(name, seed, n) for seed, n in enumerate(lengths)]
    rng = random.Random(name)
    resets = [[rng.random() < 0.2 for _ in s] for s in sequences]
    call = packed_call(kernel.parts, options, [s[::-1] for s in sequences], reverse=True)
    call = run(kernel, replace(call, resets=torch.tensor([x for r in resets for x in r[::-1]])), shape)
    never_failed(call)
    got = shown(kernel.parts, {n: x.unsqueeze(0) for n, x in call.outputs.items()})[0]
    at = 0
    for rows, flags in zip(sequences, resets, strict=True):
        cuts = [0, *(t for t in range(1, len(rows)) if flags[t]), len(rows)]
        want = [x for a, b in pairwise(cuts) for x in wanted(program_of(name), rows[a:b])]
        same(got[at : at + len(rows)][::-1], want, kernel)
        at += len(rows)


LANES = """program lanes(a: real[{n}], up: bool) -> (s: real[{n}], mixed: real[{n}], count: int[0..9], seen: bool):
    param w: real[{n}] = 0.5
    param c: real = 2
    state s: real[{n}] = 0.25
    state count: int[0..9] = 0
    state on: bool[{n}] = false
    s := 0.5 * s + a if up else 2 * a
    on := a > 0 if up else on
    count := min(count + 1, 9) if up else 0
    return (s = s, mixed = c * w * s if on else a, count = count, seen = up)
"""


def lanes_of(n: int) -> Parts:
    return Parts.of(make_lanes(lsrl.parse(LANES.format(n=n)).graph))


def check_lanes(shape: Shape, n: int, compiled_for: int) -> None:
    """A program of vectors runs for any length of them, whatever length it was compiled with."""
    rng = random.Random(n)
    options = Options(resets=True)
    program = lsrl.parse(LANES.format(n=n))
    parts = lanes_of(n)
    sequences = [[{"a": tuple(rng.randint(-8, 8) / 4 for _ in range(n)), "up": rng.random() < 0.7} for _ in range(14)]
                 for _ in range(2)]
    resets = [[rng.random() < 0.2 for _ in rows] for rows in sequences]
    kernel = TritonKernel(lanes_of(compiled_for), options)
    for layout in (time_major, lambda x: x):
        call = run(kernel, make_call(parts, options, sequences, resets=resets, layout=layout), shape,
                   Configuration(4, 4, 2, 1))
        for r, rows in enumerate(sequences):
            cuts = [0, *(t for t in range(1, len(rows)) if resets[r][t]), len(rows)]
            want = [x for a, b in pairwise(cuts) for x in wanted(program, rows[a:b])]
            same(shown(parts, call.outputs)[r], want, kernel)
        assert call.after["count"].tolist() == [row[-1]["count"][0] for row in shown(parts, call.outputs)]


def check_products(name: str, sizes: dict[str, Any]) -> None:
    """Lanes that meet in products: outputs, states and gradients are those of the kernel in C, whole and in runs."""
    from tests.backends.kernels.test_dense import drawn, gradients, made

    torch.manual_seed(1)
    x = drawn(made(name, **sizes), 3, 4)
    cuts = torch.tensor([0, 5, 5, 6, 12])
    for inputs, more in ((x, {"resets": torch.rand(3, 4) < 0.4}),
                         ({n: v.flatten(0, 1) for n, v in x.items()}, {"cu_seqlens": cuts})):
        found = []
        for target in ("triton", "c"):
            model = made(name, target=target, **sizes)
            given = {n: v.clone().requires_grad_() for n, v in inputs.items()}
            before = {n: (v + 0.25).requires_grad_()
                      for n, v in model.initial_state(len(cuts) - 1 if "cu_seqlens" in more else 3).items()}
            y, after = model(given, before, **more)
            shown = (*(y.values() if isinstance(y, dict) else (y,)), *after.values())
            found.append([*shown, *gradients(shown, [*given.values(), *before.values(), *model.parameters()])])
        for got, want in zip(*found, strict=True):
            assert float((got - want).detach().abs().max()) <= 2 ** -44 * float(want.detach().abs().max()), name


CHECKED = """program checked(x: int[-1..1]) -> int:
    state s: int[-2..2] = 0
    state n: int = 0
    s := s + x
    n := n + s
    return n
"""


def check_failures(shape: Shape) -> None:
    """The first token at which a check fails is told for each row; outputs before it are right."""
    program = lsrl.parse(CHECKED)
    kernel = TritonKernel(Parts.of(make_lanes(program.graph)), Options())
    rows = [[{"x": x} for x in xs] for xs in (
        [0] * 20, [1, 1, 1, *[0] * 17], [*[0] * 9, -1, -1, -1, *[1] * 8], [*[0] * 17, 1, 1, 1])]
    call = run(kernel, make_call(kernel.parts, Options(), rows), shape)
    assert call.failed is not None and call.failed.tolist() == [NEVER, 2, 11, 19]
    for got, given, failed in zip(shown(kernel.parts, call.outputs), rows, call.failed.tolist(), strict=True):
        same(got[: min(failed, 20)], wanted(program, given), kernel)


def check_nothing(shape: Shape) -> None:
    """No tokens: the final states are those before. No rows: nothing."""
    kernel = kernel_of("run_length", Options())
    one = make_call(kernel.parts, Options(), [[], []])
    done = run(kernel, replace(one, inputs={"tok": torch.zeros((2, 0), dtype=torch.uint8)}), shape)
    assert all((x == 0).all() for x in done.after.values())
    before = {n: torch.full_like(x, 1) for n, x in done.after.items()}
    done = run(kernel, replace(one, inputs={"tok": torch.zeros((2, 0), dtype=torch.uint8)}, before=before), shape)
    assert all((x == 1).all() for x in done.after.values())
    run(kernel, make_call(kernel.parts, Options(), []), shape)


def check_edges(shape: Shape, edge: torch.dtype, carry: torch.dtype, bound: float) -> None:
    """Real inputs and outputs of other float types. bound: relative to 1 and the value."""
    options = Options(edge=edge, carry=carry)
    for name in ("leaky_unit", "mean_so_far", "moving_average"):
        kernel = kernel_of(name, options)
        rows = sequence(name, 7, 19)
        call = run(kernel, make_call(kernel.parts, options, [rows]), shape)
        for got, want in zip(shown(kernel.parts, call.outputs)[0], wanted(program_of(name), rows), strict=True):
            for n, xs in want.items():
                for a, b in zip(got[n], xs, strict=True):
                    assert abs(a - b) <= bound * (1 + abs(b)), (name, a, b)


def check_function(name: str, carry: torch.dtype, bound: float) -> None:
    """A function of floats over its whole range, against float64. bound: relative to the value."""
    from lsrl.arithmetic import unary

    program = lsrl.parse(f"program f(x: real) -> real:\n    return {name}(x)\n")
    options = Options(edge=carry, carry=carry)
    kernel = TritonKernel(Parts.of(make_lanes(program.graph)), options)
    values = [s * x for x in (0.0, 1e-30, 1e-6, 1e-3, 0.3, 0.6, 0.624, 0.626, 0.7, 1.0, 2.5, 5.0, 9.0, 10.0, 20.0, 45.0,
                              80.0, 100.0, 1000.0, float("inf")) for s in (1.0, -1.0)] + [float("nan")]
    call = run(kernel, make_call(kernel.parts, options, [[{"x": x} for x in values]]), "sequential",
               Configuration(1, 1, 8, 1))
    for x, got in zip(values, call.outputs[program.graph.outputs[0][0]][0].tolist(), strict=True):
        held = torch.tensor(x, dtype=carry).item()
        want = unary(name)(held)
        least = torch.finfo(carry).tiny
        if want != want:
            assert got != got, (x, got)
        elif abs(want) > torch.finfo(carry).max or name in ("tanh", "sigmoid") and want in (-1.0, 0.0, 1.0):
            assert got == torch.tensor(want, dtype=carry).item(), (x, got, want)
        elif abs(want) < least:
            assert abs(got - want) <= least, (x, got, want)
        else:
            assert abs(got - want) <= bound * abs(want), (x, got, want)


def check_some_states(shape: Shape) -> None:
    """A state missing from those before begins at its initial value; one missing after is not given back."""
    program = program_of("run_length")
    kernel = kernel_of("run_length", Options())
    rows = sequence("run_length", 3, 12)
    call = make_call(kernel.parts, Options(), [rows], before={"run_length.n": torch.tensor([5])})
    done = run(kernel, replace(call, after={"run_length.last": call.after["run_length.last"]}), shape)
    start = {**program._interpreter.initial_state(), "run_length.n": 5}
    want = wanted(program, rows, start)
    same(shown(kernel.parts, done.outputs)[0], want, kernel)
    assert done.after["run_length.last"].tolist() == [rows[-1]["tok"]]


def check_adjoint(shape: Shape) -> None:
    """Gradients through kernels of the adjoint, run from the last token, equal those of a loop in torch."""
    from lsrl.backends.kernels.cost import Device
    from lsrl.backends.kernels.operator import Operator

    program = lsrl.parse("program gated(a: real[3], u: real[3]) -> real[3]:\n    param w: real[3] = 0.5\n"
                         "    state s: real[3] = 0\n    s := a * s + w * u\n    return s\n")
    options = Options(edge=torch.float64, carry=torch.float64)
    operator = Operator(make_lanes(program.graph, floats=True), options, lambda _, parts, o: TritonKernel(parts, o),
                        lambda _: Device("gpu", 1), shape)
    torch.manual_seed(0)
    a, u = (torch.rand(2, 9, 3, dtype=torch.float64, device=DEVICE, requires_grad=True) for _ in range(2))
    w = torch.rand(3, dtype=torch.float64, device=DEVICE, requires_grad=True)
    out = torch.ops.lsrl.scan([a, u], [], [w], None, None, operator.for_gradients(False, False).number, 2, 9, False)[0]
    weight = torch.rand_like(out)
    got = torch.autograd.grad((out * weight).sum(), (a, u, w))
    s = torch.zeros_like(a[:, 0])
    total = torch.zeros_like(w[0])
    for t in range(9):
        s = a[:, t] * s + w * u[:, t]
        total = total + (s * weight[:, t]).sum()
    for x, y in zip(got, torch.autograd.grad(total, (a, u, w)), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


def check_newton(shape: Shape) -> None:
    """Newton's method over time, each of its kernels in this shape, equals a token at a time, with its gradients."""
    from lsrl.backends.kernels.cost import Device
    from lsrl.backends.kernels.newton_operator import Newton, operator_for

    program = lsrl.parse("program lane(x: real[2], z: real[2]) -> real[2]:\n    param u: real[2] = 0.5\n"
                         "    state h: real[2] = 0.25\n    state c: real[2] = 0\n    f = sigmoid(z + u * h)\n"
                         "    c := f * c + (1 - f) * tanh(x - h)\n    h := tanh(c)\n    return h\n")
    options = Options(edge=torch.float64, carry=torch.float64)
    torch.manual_seed(0)
    x, z = (torch.randn(2, 9, 2, dtype=torch.float64, device=DEVICE, requires_grad=True) for _ in range(2))
    u = torch.rand(2, dtype=torch.float64, device=DEVICE, requires_grad=True)
    resets = torch.rand(2, 9, device=DEVICE) < 0.2
    results = []
    for method in ("sequential", "newton"):
        newton = Newton(method, None, 16)
        operator = operator_for(make_lanes(program.graph, floats=True), options,
                                lambda _, parts, o: TritonKernel(parts, o), lambda _: Device("gpu", 1), shape, newton)
        number = operator.for_gradients(True, False).number
        out, *rest = torch.ops.lsrl.scan([x, z], [], [u], resets, None, number, 2, 9, False)
        results.append([out, *rest[-2:], *torch.autograd.grad((out * out).sum(), (x, z, u))])
    assert newton.last is not None and newton.last.method == "newton" and newton.last.iterations > 2, newton.last
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def check_speculative(which: tuple[str, int, int], tokens: int) -> None:
    """Chunks from the states that the letters before leave possible are the walk through the table, and are cut."""
    from tests.backends.kernels.machines import machine, parts_of, walk

    options = Options(resets=True, packed=True)
    kernel = TritonKernel(parts_of(*which), options)
    rng = random.Random(tokens)
    word = [rng.randrange(which[2]) for _ in range(tokens)]
    for reverse, anew in ((False, [rng.random() < 0.05 for _ in word]), (True, None)):
        call = run(kernel, make_call(kernel.parts, options, [[{"x": x} for x in word]], reverse=reverse,
                                     resets=None if anew is None else [anew]), "speculative")
        never_failed(call)
        step = slice(None, None, -1 if reverse else 1)
        want = walk(machine(*which), word[step], 0, None if anew is None else anew[step])
        assert [row["out"] for row in shown(kernel.parts, call.outputs)[0]] == [[q] for q in want[step]]
        assert int(call.after["q"][0]) == want[-1]
    assert (kernel._speculation.cut, kernel._speculation.whole) == (2, 0), which


def check_any_start(shape: Shape) -> None:
    """States that no sequence reaches, in the codings of scans as well, give what the interpreter gives."""
    from lsrl.backends.kernels.cost import Device
    from lsrl.backends.kernels.operator import Operator
    from tests.backends.kernels.test_module import ALIKE, unreached

    for text, states in ((ALIKE, [(0, 1), (2, 0)]), (unreached(10), [(2,), (5,), (4,)])):
        program = lsrl.parse(text)
        operator = Operator(make_lanes(program.graph), Options(), lambda _, parts, o: TritonKernel(parts, o),
                            lambda _: Device("gpu", 1), shape)
        x = torch.tensor([[(r + t // 3) % 2 for t in range(5)] for r in range(len(states))], dtype=torch.uint8)
        before = [torch.tensor(column, dtype=torch.int32, device=DEVICE) for column in zip(*states, strict=True)]
        (out,), after = operator.run([x.to(DEVICE)], before, [], None, None, len(states), 5, False)
        for r, start in enumerate(states):
            now: dict[str, Any] = dict(zip([p.name for p in operator.lanes.states], start, strict=True))
            for token, got in zip(x[r].tolist(), out[r].tolist(), strict=True):
                want, now = program._interpreter.step(now, {"x": token})
                assert [got] == list(want.values())
            assert [int(v[r]) for v in after] == list(now.values())


def check_rows(shape: Shape) -> None:
    """Rows of matrices as lanes: outputs, states and gradients are those of the kernel in C."""
    from tests.backends.kernels.test_rows import drawn_for, module

    cells: list[tuple[str, dict[str, Any]]] = [("mixed", {"m": 3, "d": 2}), ("mamba", {"d": 5, "n": 2})]
    if shape == "sequential":  # columns as tiles, of lanes in two programs among others
        cells = [("mixed", {"m": 3, "d": 9}), ("gla", {"d": 9, "m": 40}), ("deltaproduct", {"r": 2, "d": 8, "m": 3})]
    for name, sizes in cells:
        found = []
        for target in ("triton", "c"):
            model = module(name, sizes, True, target)
            model.shape = shape
            given = {n: v.requires_grad_(v.is_floating_point()) for n, v in drawn_for(model, 2, 5).items()}
            before = {n: (v + 0.25).requires_grad_() for n, v in model.initial_state(2).items()}
            y, after = model(given, before, resets=torch.arange(10).reshape(2, 5) % 4 == 3)
            shown = (*(y.values() if isinstance(y, dict) else (y,)), *after.values())
            leaves = [x for x in (*given.values(), *before.values(), *model.parameters()) if x.requires_grad]
            grads = torch.autograd.grad(shown, leaves, [torch.full_like(x, i + 1) for i, x in enumerate(shown)])
            found.append([*shown, *grads])
        for got, want in zip(*found, strict=True):
            assert float((got - want).detach().abs().max()) <= 2 ** -44 * float(want.detach().abs().max()), name
