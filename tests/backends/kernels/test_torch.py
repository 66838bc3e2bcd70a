"""Kernel modules inside torch: compiling, exporting, vmap, autocast, checkpointing, copies, two processes."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import lsrl
from lsrl.backends.kernels.module import KernelModule
from tests.backends.kernels import data_parallel

MINGRU = """
program mingru[n](z: real[n], x: real[n]) -> real[n]:
    param b: real[n] = 0.25
    state h: real[n] = zeros(n)
    g = sigmoid(z + b)
    h := (1 - g) * h + g * x
    return h
"""


class Block(nn.Module):
    """A cell between projections, as in a model."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before = nn.Linear(4, 8)
        self.cell = KernelModule(lsrl.parse(MINGRU, n=4).graph, "c")
        self.after = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        z, h = self.before(x).chunk(2, -1)
        out: Tensor = self.after(self.cell({"z": z, "x": h})[0])
        return out


def gradients(block: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    out: Tensor = block(x)
    return (out.detach(), *torch.autograd.grad((out * out).sum(), list(block.parameters())))


def equal(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def _own_compiler_state() -> Iterator[None]:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_own_compiler_state")
def test_compile_without_graph_breaks(x: Tensor) -> None:
    """Of a module that has not run before, with gradients, and at other sizes after."""
    block = Block()
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    for given in (x, x[:2, :5], x[:1, :6]):
        out = compiled(given)
        got = (out.detach(), *torch.autograd.grad((out * out).sum(), list(block.parameters())))
        assert equal(got, gradients(block, given))


@pytest.mark.usefixtures("_own_compiler_state")
def test_export_with_sizes_of_the_run(x: Tensor) -> None:
    block = Block()
    sizes = {"x": {0: torch.export.Dim("B"), 1: torch.export.Dim("T")}}
    with torch.no_grad():
        exported = torch.export.export(block, (x,), dynamic_shapes=sizes).module()
        for given in (x, x[:2, :4]):
            assert torch.equal(exported(given), block(given))


def test_operator_checks() -> None:
    """torch's own tests of an operator: schema, fake kernel, autograd, and tracing with sizes of the run."""
    model = Block().cell
    operator = model._operator(torch.float32).for_gradients(True, False)
    streams = [torch.randn(2, 3, 4, requires_grad=True) for _ in range(2)]
    resets = torch.tensor([[False, True, False]] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = torch.library.opcheck(torch.ops.lsrl.scan.default, (
            streams, [torch.randn(2, 4, requires_grad=True)], [torch.randn(4, requires_grad=True)], resets, None,
            operator.number, 2, 3, False))
    assert set(done.values()) == {"SUCCESS"}


def test_vmap_makes_rows(x: Tensor) -> None:
    block = Block()
    many = torch.stack([x, -x, 2 * x])
    with torch.no_grad():
        assert torch.equal(torch.vmap(block)(many), torch.stack([block(row) for row in many]))
        got = torch.vmap(block, in_dims=2, out_dims=1)(many.movedim(0, 2))
        assert torch.equal(got, torch.stack([block(row) for row in many], 1))


def test_vmap_over_params_states_and_resets(x: Tensor) -> None:
    """An ensemble: each of its members has a param of its own."""
    model = KernelModule(lsrl.parse(MINGRU, n=4).graph, "c")
    members = torch.randn(3, 4)
    before = torch.randn(3, 3, 4)
    resets = torch.rand(3, 3, 7) < 0.3

    def run(b: Tensor, h: Tensor, anew: Tensor) -> tuple[Tensor, Tensor]:
        out, after = torch.func.functional_call(model, {"b": b}, ({"z": x, "x": x}, {"h": h}), {"resets": anew})
        return out, after["h"]

    with torch.no_grad():
        got = torch.vmap(run)(members, before, resets)
        want = [run(*one) for one in zip(members, before, resets, strict=True)]
        one_param = torch.vmap(run, in_dims=(None, 0, 0))(members[0], before, resets)
    for i in range(2):
        assert torch.equal(got[i], torch.stack([w[i] for w in want]))
        assert torch.equal(one_param[i][0], want[0][i])


def test_checks_under_vmap() -> None:
    """Ranges of inputs cannot be looked at there; the program's own checks are made, and say which place failed."""
    text = "program total(x: int) -> int:\n    state s: int[0..9] = 0\n    s := s + x\n    return s\n"
    model = KernelModule(lsrl.parse(text).graph, "c")
    x = torch.tensor([[[1, 2], [3, 4]], [[5, 4], [5, 5]]])
    model.check = False
    with pytest.raises(RuntimeError, match="failed at token 1 of row 1, place 1 of vmap"):
        torch.vmap(model)(x)
    assert torch.vmap(model)(x[:1])[0].tolist() == [[[1, 3], [3, 7]]]


def test_functional_call(x: Tensor) -> None:
    block, other = Block(), Block()
    with torch.no_grad():
        other.cell.get_parameter("b").fill_(-1)
        want = other(x)
        assert torch.equal(torch.func.functional_call(block, dict(other.named_parameters()), (x,)), want)
        assert not torch.equal(block(x), want)


def test_autocast(x: Tensor) -> None:
    """bfloat16 at the edge, float32 inside: the state is not rounded, and parameters have float32 gradients."""
    block = Block()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, h = block.before(x).chunk(2, -1)
        made, state = block.cell({"z": z, "x": h})
        out = block(x)
    assert z.dtype == made.dtype == out.dtype == torch.bfloat16 and state["h"].dtype == torch.float32
    wide, after = block.cell({"z": z.float(), "x": h.float()})
    assert torch.equal(made, wide.bfloat16()) and torch.equal(state["h"], after["h"])
    out.float().sum().backward()
    grad = block.cell.get_parameter("b").grad
    assert grad is not None and grad.dtype == torch.float32 and bool(grad.abs().sum() > 0)


def test_checkpointing(x: Tensor) -> None:
    from torch.utils.checkpoint import checkpoint

    block = Block()
    out = checkpoint(block, x, use_reentrant=False)
    assert isinstance(out, Tensor)
    got = (out.detach(), *torch.autograd.grad((out * out).sum(), list(block.parameters())))
    assert equal(got, gradients(block, x))


def test_copies_and_pickles(x: Tensor) -> None:
    block = Block()
    want = gradients(block, x)
    copied = copy.deepcopy(block)
    with torch.no_grad():
        block.cell.get_parameter("b").fill_(9)
    assert equal(gradients(copied, x), want)
    assert equal(gradients(pickle.loads(pickle.dumps(copied)), x), want)
    buffer = io.BytesIO()
    torch.save(copied.state_dict(), buffer)
    buffer.seek(0)
    block.load_state_dict(torch.load(buffer, weights_only=True))
    assert equal(gradients(block, x), want)


def test_other_float_types_of_a_module(x: Tensor) -> None:
    block = Block()
    assert block.double()(x.double()).dtype == torch.float64
    assert block.cell({"z": x.double(), "x": x.double()})[1]["h"].dtype == torch.float64
    assert block.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    assert block.cell({"z": x.bfloat16(), "x": x.bfloat16()})[1]["h"].dtype == torch.float32


@pytest.mark.slow
def test_two_processes_of_data_parallel(tmp_path: Path) -> None:
    """The gradients that DistributedDataParallel averages are those of the whole batch."""
    got = data_parallel.run(tmp_path)
    block, x, target = data_parallel.parts()
    ((block(x) - target) ** 2).mean().backward()
    for p, q in zip(block.parameters(), got, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(q, p.grad, rtol=1e-5, atol=1e-7)
