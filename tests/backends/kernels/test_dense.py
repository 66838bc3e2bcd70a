"""Programs that multiply states by matrices, as lanes that meet in products: against references written by hand.

`dense=False` runs the same program as scalars, another way through the compiler; torch's own layers are a third.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import lsrl
from lsrl.backends.kernels.module import KernelModule
from lsrl.program import KernelName
from tests.backends.kernels.cell_references import unrolled

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "cells"
OWN = {
    "heads": """
program heads[h, d, k](x: real[k], y: real[h, d]) -> real[h, d]:
    param u: real[h, d, d] = normal(0.4)
    param w: real[h, d, k] = normal(0.4)
    param b: real[h, d] = normal(0.4)
    state s: real[h, d] = zeros(h, d)
    s := tanh([u[i] @ s[i] for i in 0..h-1] + [w[i] @ x for i in 0..h-1] + y * b)
    return s
""",
    "joined": """
program joined[d](x: real[d], y: real[d]) -> (first: real[2 * d], second: real):
    param w: real[2 * d, 2 * d] = normal(0.4)
    param v: real[d] = normal(0.4)
    state s: real[d] = zeros(d)
    state t: real[d] = zeros(d)
    z = w @ concat(s, x)
    s := tanh(z[0..d-1]) * v
    t := 0.5 * t + sigmoid(z[d..2 * d - 1]) * y
    return (first = concat(s, t), second = sum(s) + t[0] + y @ s)
""",
    "two_layers": """
program two_layers[d, k](x: real[d]) -> real[3]:
    param w: real[k, d] = normal(0.4)
    param u: real[k, k] = normal(0.4)
    param v: real[k, k] = normal(0.4)
    param r: real[k, k] = normal(0.4)
    param o: real[3, k] = normal(0.4)
    state a: real[k] = zeros(k)
    state b: real[k] = zeros(k)
    a := tanh(w @ x + u @ a)
    b := tanh(v @ (a * a) + r @ b)
    return o @ b + 1
""",
    "gate_of_all": """
program gate_of_all[k](x: real[k], g: real) -> (h: real[k], c: real):
    param u: real[k, k] = normal(0.4)
    param p: real = 0.5
    state h: real[k] = zeros(k)
    state c: real = 0.25
    c := sigmoid(g * p + c)
    h := c * h + (1 - c) * tanh(x + u @ (h * c))
    return (h = h, c = c)
""",
}


def state_shapes(name: str, p: dict[str, Tensor]) -> list[tuple[int, ...]]:
    if name == "heads":
        return [tuple(p["b"].shape)]
    if name == "joined":
        return [tuple(p["v"].shape)] * 2
    return [(len(p["u"]),), (len(p["u"]),) if name == "two_layers" else ()]


def references(name: str, params: dict[str, Tensor], x: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """The programs above, and the cells of the examples, as loops over tokens in torch."""
    if name not in OWN:
        return unrolled(name, params, x)
    p = params
    first = next(iter(x.values()))
    outputs: list[tuple[Tensor, ...]] = []
    rows, tokens = first.shape[:2]
    states = [first.new_zeros(rows, *dims) for dims in state_shapes(name, p)]
    if name == "gate_of_all":
        states[1] = states[1] + 0.25
    for t in range(tokens):
        now = {n: v[:, t] for n, v in x.items()}
        match name:
            case "heads":
                states = [torch.tanh(torch.einsum("hij,bhj->bhi", p["u"], states[0])
                                     + torch.einsum("hij,bj->bhi", p["w"], now["x"]) + now["y"] * p["b"])]
                outputs.append((states[0],))
            case "joined":
                d = len(p["v"])
                z = torch.cat([states[0], now["x"]], -1) @ p["w"].T
                states = [torch.tanh(z[:, :d]) * p["v"], 0.5 * states[1] + torch.sigmoid(z[:, d:]) * now["y"]]
                outputs.append((torch.cat(states, -1),
                            states[0].sum(-1) + states[1][:, 0] + (now["y"] * states[0]).sum(-1)))
            case "two_layers":
                a = torch.tanh(now["x"] @ p["w"].T + states[0] @ p["u"].T)
                b = torch.tanh((a * a) @ p["v"].T + states[1] @ p["r"].T)
                states = [a, b]
                outputs.append((b @ p["o"].T + 1,))
            case _:
                c = torch.sigmoid(now["g"] * p["p"] + states[1])
                w = c.unsqueeze(-1)
                states = [w * states[0] + (1 - w) * torch.tanh(now["x"] + (states[0] * w) @ p["u"].T), c]
                outputs.append((states[0], c))
    return tuple(torch.stack(ys, 1) for ys in zip(*outputs, strict=True))


def made(name: str, dtype: torch.dtype = torch.float64, target: KernelName = "c", dense: bool | None = True,
         **sizes: Any) -> KernelModule:
    """A program of these sizes, with params away from special values."""
    program = lsrl.parse(OWN[name], None, **sizes) if name in OWN else lsrl.load(FOLDER / f"{name}.lsrl", None, **sizes)
    model = lsrl.compile(program, target, dtype, dense=dense)
    torch.manual_seed(7)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.4 * torch.randn(p.shape, dtype=torch.float64))
    return model


def drawn(model: KernelModule, *lead: int) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {p.name: torch.randn(*lead, *p.dims, dtype=torch.float64) for p in model.ports.inputs}


def gradients(outputs: tuple[Tensor, ...], leaves: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(5)
    loss = sum(((torch.randn(y.shape, dtype=torch.float64).to(y.dtype) * y).sum() for y in outputs[1:]),
               (torch.randn(outputs[0].shape, dtype=torch.float64).to(outputs[0].dtype) * outputs[0]).sum())
    return list(torch.autograd.grad(loss, leaves))


def results(model: KernelModule, inputs: dict[str, Tensor], reference: bool, dtype: torch.dtype) -> list[Tensor]:
    """Outputs and gradients of inputs and params."""
    given = {n: x.to(dtype).requires_grad_() for n, x in inputs.items()}
    params = {n: x.detach().to(dtype).requires_grad_() for n, x in model.named_parameters()}
    if reference:
        outputs = references(model.graph.name, params, given)
    else:
        shown, _ = torch.func.functional_call(model, params, (given,))
        outputs = tuple(shown.values()) if isinstance(shown, dict) else (shown,)
    return [x.detach().double() for x in (*outputs, *gradients(outputs, [*given.values(), *params.values()]))]


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest element."""
    return float((a - b).detach().abs().max() / b.detach().abs().max().clamp(min=1e-30))


SIZED: list[tuple[str, dict[str, Any]]] = [
    ("lstm", {"d": 3, "k": 17}), ("gru", {"d": 3, "k": 16}), ("elman", {"d": 3, "k": 9}), ("slstm", {"k": 12}),
    ("peephole_lstm", {"d": 3, "k": 15}), ("orthogonal_rnn", {"d": 3, "k": 10}), ("cfc", {"d": 3, "k": 11}),
    ("heads", {"h": 3, "d": 5, "k": 2}), ("heads", {"h": 2, "d": 16, "k": 3}), ("joined", {"d": 10}),
    ("two_layers", {"d": 4, "k": 33}), ("gate_of_all", {"k": 13})]


@pytest.mark.parametrize(("name", "sizes"), SIZED)
def test_double(name: str, sizes: dict[str, Any]) -> None:
    """Within 8 units in the last place a token, of the largest element."""
    model = made(name, **sizes)
    assert model.lanes.mixes
    inputs = drawn(model, 5, 13)
    for got, want in zip(results(model, inputs, False, torch.float64), results(model, inputs, True, torch.float64),
                         strict=True):
        assert distance(got, want) <= 8 * 13 * 2 ** -52


@pytest.mark.parametrize(("name", "sizes"), SIZED[:2] + SIZED[7:8])
def test_single(name: str, sizes: dict[str, Any]) -> None:
    """Errors against float64 are at most 4 times those of the reference in float32, and 8 roundings."""
    model = made(name, torch.float32, **sizes)
    inputs = {n: x.float().double() for n, x in drawn(model, 3, 40).items()}
    exact = results(model, inputs, True, torch.float64)
    for got, other, want in zip(results(model, inputs, False, torch.float32),
                                results(model, inputs, True, torch.float32), exact, strict=True):
        assert distance(got, want) <= 4 * distance(other, want) + 8 * 2 ** -24


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 9, 20])
def test_rows_have_the_same_results_in_any_company(rows: int) -> None:
    model = made("gru", torch.float32, d=3, k=37)
    x = drawn(model, 20, 11)["x"].float()
    whole, after = model(x)
    some, last = model(x[:rows])
    alone, _ = model(x[rows - 1 : rows])
    assert torch.equal(some, whole[:rows]) and torch.equal(alone[0], whole[rows - 1])
    assert all(torch.equal(last[n], after[n][:rows]) for n in after)


@pytest.mark.usefixtures("quick_kernels")
@pytest.mark.parametrize("name", ["gru", "heads"])
def test_states_resets_layouts_and_packed_sequences(name: str) -> None:
    sizes: dict[str, Any] = {"d": 1, "k": 2} if name == "gru" else {"h": 2, "d": 2, "k": 1}
    model = made(name, **sizes)
    scalar = made(name, dense=False, **sizes)
    x = drawn(model, 4, 10)
    torch.manual_seed(1)
    resets = torch.rand(4, 10) < 0.3
    cuts = torch.tensor([0, 7, 7, 8, 31, 40])
    packed = {n: v.flatten(0, 1) for n, v in x.items()}
    turned = {n: v.transpose(0, 1) for n, v in x.items()}
    for inputs, more in ((x, {"resets": resets}), (packed, {"cu_seqlens": cuts, "resets": resets.flatten()}),
                         (turned, {"layout": "TB"})):
        found = []
        for m in (model, scalar):
            given = {n: v.clone().requires_grad_() for n, v in inputs.items()}
            torch.manual_seed(9)
            before = {n: torch.randn_like(v).requires_grad_()
                      for n, v in m.initial_state(5 if "cu_seqlens" in more else 4).items()}
            y, after = m(given, before, **more)
            leaves = [*given.values(), *before.values(), *m.parameters()]
            found.append([y, *after.values(), *gradients((y, *after.values()), leaves)])
        for got, want in zip(*found, strict=True):
            assert distance(got, want) <= 80 * 2 ** -52, more
    first, middle = model({n: v[:, :4] for n, v in x.items()})
    second, last = model({n: v[:, 4:] for n, v in x.items()}, middle)
    whole, after = model(x)
    assert torch.allclose(torch.cat([first, second], 1), whole, rtol=0, atol=2 ** -48)
    assert all(torch.allclose(last[n], after[n], rtol=0, atol=2 ** -48) for n in after)
    now, state = model.step({n: v[:, 0] for n, v in x.items()})
    assert torch.allclose(now, whole[:, 0], rtol=0, atol=2 ** -50) and now.shape == whole[:, 0].shape
    assert all(v.shape == after[n].shape for n, v in state.items())


@pytest.mark.parametrize(("name", "sizes"), [("gru", {"d": 2, "k": 3}), ("heads", {"h": 2, "d": 2, "k": 1}),
                                             ("gate_of_all", {"k": 3}), ("joined", {"d": 2})])
@pytest.mark.usefixtures("quick_kernels")
def test_first_and_second_gradients(name: str, sizes: dict[str, Any]) -> None:
    model = made(name, **sizes)
    names = [n for n, _ in model.named_parameters()]
    inputs = {n: x.requires_grad_() for n, x in drawn(model, 1, 3).items()}

    def run(*leaves: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(inputs, leaves, strict=False))
        y, after = torch.func.functional_call(model, dict(zip(names, leaves[len(inputs):], strict=True)), (given,))
        return (*(y.values() if isinstance(y, dict) else (y,)), *after.values())

    leaves = (*inputs.values(), *(p.detach().requires_grad_() for p in model.parameters()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert gradcheck(run, leaves, atol=1e-7, rtol=1e-5)
        assert gradgradcheck(run, leaves, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("layer", ["LSTM", "GRU"])
def test_the_layers_of_torch(layer: str) -> None:
    """64 units, float32: errors against torch's layer in float64 are at most 4 times those of its float32."""
    d, k, rows, tokens = 24, 64, 5, 50
    model = made(layer.lower(), torch.float32, d=d, k=k)
    rnn = getattr(torch.nn, layer)(d, k, batch_first=True)
    with torch.no_grad():
        for mine, theirs in (("w", "weight_ih_l0"), ("u", "weight_hh_l0"), ("b", "bias_ih_l0")):
            getattr(rnn, theirs).copy_(getattr(model, mine))
        rnn.bias_hh_l0.copy_(model.c) if layer == "GRU" else rnn.bias_hh_l0.zero_()
    x = drawn(model, rows, tokens)["x"].float()
    exact = copy.deepcopy(rnn).double()(x.double())[0]
    assert distance(model(x)[0].double(), exact) <= 4 * distance(rnn(x)[0].double(), exact) + 8 * 2 ** -24


def test_outputs_that_no_token_changes() -> None:
    """They have the dimensions of tokens all the same, and gradients."""
    program = lsrl.parse("""program p[d](x: real[d]) -> (y: real[d], c: real[d], e: real, f: bool):
    param w: real[d, d] = normal(0.1)
    param b: real[d] = normal(1)
    state h: real[d] = zeros(d)
    h := tanh(w @ h + x)
    return (y = h, c = 2 * b, e = 3, f = true)
""", d=3)
    x = torch.rand(2, 4, 3, dtype=torch.float64)
    for inputs, more in ((x, {}), (x.flatten(0, 1), {"cu_seqlens": torch.tensor([0, 3, 8])})):
        found = []
        for dense in (True, False):
            model = KernelModule(program.graph, "c", torch.float64, dense=dense)
            out, _ = model(inputs, **more)
            grads = torch.autograd.grad(out["c"].sum() + out["y"].sum(), list(model.parameters()))
            found.append([*out.values(), *grads])
        for got, want in zip(*found, strict=True):
            assert got.shape == want.shape and got.dtype == want.dtype
            assert torch.allclose(got.double(), want.double(), rtol=0, atol=2 ** -44)


def test_what_is_left_to_torch() -> None:
    """A read-out goes after the kernel, and input projections before it, but in C; only what a state needs is in it."""
    other = made("two_layers", target="auto", dense=None, d=4, k=33)
    assert [p.name for p in other.lanes.inputs] == ["w @ x"] and not other.lanes.projections
    model = made("two_layers", dense=None, d=4, k=33)
    assert [p.name for p in model.lanes.inputs] == ["x"] and [m.matrix for m in model.lanes.projections] == ["w"]
    x = drawn(model, 2, 5)["x"]
    assert torch.allclose(model(x)[0], other(x)[0], rtol=0, atol=2 ** -48)
    assert sorted(m.matrix for m in model.lanes.mixes) == ["r", "u", "v"]
    assert [p.dims for p in model.lanes.outputs] == [(33,)] and model(torch.zeros(2, 3, 4))[0].shape == (2, 3, 3)
    text = model.plan.text()
    assert "w @ x: 33 × 4" in text and "u @ a: 33 × 33" in text and "shapes    sequential\n" in text
    assert "static void two_layers_product(" in model.source()


def test_few_lanes_are_scalars_unless_asked_for() -> None:
    assert not made("gru", dense=None, d=2, k=8).lanes.mixes
    assert made("gru", dense=None, d=2, k=9).lanes.mixes
    assert not made("gru", dense=False, d=2, k=9).lanes.mixes


def test_blocks_of_different_sizes_are_scalars() -> None:
    program = lsrl.parse("""
program both(x: real[6]) -> real[6]:
    param u: real[2, 3, 3] = normal(0.4)
    param v: real[6, 6] = normal(0.4)
    state s: real[2, 3] = zeros(2, 3)
    state t: real[6] = zeros(6)
    t := tanh(v @ t + x)
    s := tanh([u[i] @ s[i] for i in 0..1] + [[t[3 * i + j] for j in 0..2] for i in 0..1])
    return t
""")
    assert not lsrl.compile(program, "c", dense=True).lanes.mixes


def test_kept_and_copied(tmp_path: Path) -> None:
    model = made("heads", torch.float32, h=2, d=5, k=3)
    x = {n: v.float() for n, v in drawn(model, 2, 4).items()}
    want, _ = model(x)
    model.save(tmp_path / "cell.safetensors")
    for other in (lsrl.load_model(tmp_path / "cell.safetensors"), copy.deepcopy(model),
                  pickle.loads(pickle.dumps(model))):
        assert other.lanes.mixes and torch.equal(other(x)[0], want)


def test_half_precision_at_the_edges() -> None:
    model = made("lstm", torch.float32, d=3, k=20)
    x = drawn(model, 2, 30)["x"].bfloat16()
    got, after = model(x)
    assert got.dtype == torch.bfloat16 and after["h"].dtype == torch.float32
    assert torch.equal(got, model(x.float())[0].bfloat16())


def test_compiled_by_torch() -> None:
    model = made("joined", torch.float32, d=9)
    x = {n: v.float().requires_grad_() for n, v in drawn(model, 2, 5).items()}
    whole = torch.compile(lambda a, b: model({"x": a, "y": b})[0]["first"].sum(), fullgraph=True, backend="aot_eager")
    want = model(x)[0]["first"].sum()
    got = whole(x["x"], x["y"])
    assert torch.allclose(got, want)
    for a, b in zip(torch.autograd.grad(got, list(x.values())), torch.autograd.grad(want, list(x.values())),
                    strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_state_that_no_output_shows_starts_anywhere() -> None:
    """What a state is declared to start from says nothing of what a run is given, nor does 0 of a cotangent."""
    model = lsrl.compile(lsrl.parse("""
program still(x: real) -> real:
    param w: real = 0.5
    state s: real = 0
    s := 0.5 * s
    return w * x
"""), "c", torch.float64)
    before = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    _, after = model(torch.zeros(1, 2, dtype=torch.float64), {"s": before})
    assert after["s"].item() == 0.75
    assert torch.autograd.grad(after["s"].sum(), before)[0].item() == 0.25


def test_gradients_of_half_precision_are_those_of_its_numbers() -> None:
    """What is recorded of inputs, and multiplied with cotangents, is what the kernel calculates with."""
    model = made("lstm", torch.float32, d=3, k=20)
    x = drawn(model, 2, 30)["x"].bfloat16()
    back = torch.randn(2, 30, 20).bfloat16()
    found = []
    for given in (x, x.float()):
        leaf = given.clone().requires_grad_()
        found.append(torch.autograd.grad(model(leaf)[0], [leaf, *model.parameters()], back.to(leaf.dtype)))
    assert found[0][0].dtype == torch.bfloat16 and torch.equal(found[0][0], found[1][0].bfloat16())
    assert all(torch.equal(a, b) for a, b in zip(found[0][1:], found[1][1:], strict=True))


def test_what_gradients_need_lies_side_by_side() -> None:
    """Vectors of products beside the inputs that are multiplied, the other records and the cotangents together."""
    operator = made("gru", torch.float32, d=3, k=17)._operator(torch.float32)
    recording = operator.for_gradients(False, False)
    out, vectors, rest = recording.packs.packs
    assert (out.names, out.dims) == (("out",), (17,))
    assert (vectors.inputs, vectors.outputs, vectors.sizes) == (("x",), ("~before.h",), (3, 17))
    assert len(rest.outputs) > 2 and not rest.inputs and set(rest.sizes) == {17}
    x = torch.randn(2, 5, 3)
    tensors, _ = recording.run([x], [], [torch.randn(p.dims) for p in recording.lanes.params], None, None, 2, 5, False)
    shown = recording.packs.apart(tensors)
    assert list(shown) == [p.name for p in recording.lanes.outputs] and tensors[1].shape == (2, 5, 20)
    assert torch.equal(tensors[1][..., :3], x) and torch.equal(shown["~before.h"][:, 1:], shown["out"][:, :-1])
    adjoint, backward = operator.adjoint(False, frozenset({"out"}), torch.device("cpu"))
    assert set(adjoint.products.values()) <= set(backward.packs.packs[0].outputs)
