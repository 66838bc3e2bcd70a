"""Layers over whole sequences: what has no memory runs without a loop, and shows what torch's own modules show."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lsrl.backends.memoryless import run_layer

KINDS = ("RNN_RELU", "RNN_TANH", "GRU", "LSTM")
GATES = {"RNN_RELU": 1, "RNN_TANH": 1, "GRU": 3, "LSTM": 4}
KEEPS = {"GRU": 1, "LSTM": 1}
CONTENT = {"RNN_RELU": 0, "RNN_TANH": 0, "GRU": 2, "LSTM": 2}
INPUTS, WIDTH, ROWS = 5, 9, 3


def layer_of(kind: str, remember: list[int], seed: int, dtype: torch.dtype = torch.float32) -> nn.RNNBase:
    """A layer of bits, saturated, in which these units have a memory: some read their layer, some are held."""
    generator = torch.Generator().manual_seed(seed)

    def signs(*size: int) -> Tensor:
        return (torch.randint(-1, 2, size, generator=generator) + 0.25).to(dtype)

    module = {"GRU": nn.GRU, "LSTM": nn.LSTM}.get(kind, nn.RNN)
    extra = {} if kind in KEEPS else {"nonlinearity": kind.removeprefix("RNN_").lower()}
    layer: nn.RNNBase = module(INPUTS, WIDTH, batch_first=True, dtype=dtype, **extra).requires_grad_(False)
    for p in layer.parameters():
        p.zero_()
    scale = 1 if kind == "RNN_RELU" else 256
    below, own, bias, own_bias = (p.view(GATES[kind], WIDTH, *p.shape[1:]) for p in layer.parameters())
    below[CONTENT[kind]] = scale * signs(WIDTH, INPUTS)
    (bias if kind == "GRU" else own_bias)[CONTENT[kind]] = scale * (signs(WIDTH) / 2)
    if kind in KEEPS:
        bias[:] += torch.tensor([256, -2048, 0, 256][: GATES[kind]], dtype=dtype)[:, None]
    for k, unit in enumerate(remember):
        if kind in KEEPS and k % 2:
            below[KEEPS[kind], unit] = 4096 * signs(INPUTS)
        else:
            own[CONTENT[kind], unit, [unit, (unit + 4) % WIDTH]] = scale * (0.125 if kind == "RNN_RELU" else 1)
    return layer


def by_torch(layer: nn.RNNBase, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    own = tuple(t[None] for t in state)
    shown, after = layer(x, own if len(own) > 1 else own[0])
    return shown, tuple(t[0] for t in (after if len(own) > 1 else (after,)))


def start(kind: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    c = torch.ones(ROWS, WIDTH, dtype=dtype)
    return (torch.tanh(c), c) if kind == "LSTM" else (c,)


def bits(steps: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randint(0, 2, (ROWS, steps, INPUTS), generator=torch.Generator().manual_seed(steps)).to(dtype)


@pytest.mark.parametrize("steps", [1, 15, 16, 40])
@pytest.mark.parametrize("remember", [[], [3], [0, 1, 7], list(range(WIDTH))], ids=len)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shown_is_what_torch_shows(kind: str, remember: list[int], steps: int) -> None:
    layer, x, state = layer_of(kind, remember, len(remember)), bits(steps), start(kind)
    shown, after = run_layer(layer, x, state)
    expected, ends = by_torch(layer, x, state)
    # tanh 1 in oneDNN's LSTM and in torch may differ in the last place; all else is equal to the bit
    error = 2e-7 if kind == "LSTM" else 0
    assert torch.allclose(shown, expected, rtol=0, atol=error)
    assert all(torch.allclose(a, b, rtol=0, atol=error) for a, b in zip(after, ends, strict=True))
    assert steps == 1 or (expected[:, 1:] != expected[:, :-1]).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_other_dtypes(kind: str, dtype: torch.dtype) -> None:
    layer, x, state = layer_of(kind, [2, 5], 1, dtype), bits(20, dtype), start(kind, dtype)
    (shown, _), (expected, _) = run_layer(layer, x, state), by_torch(layer, x, state)
    assert torch.allclose(shown.double(), expected.double(), rtol=0, atol=2 * torch.finfo(dtype).eps)


def called(layer: nn.RNNBase, x: Tensor, state: tuple[Tensor, ...]) -> int:
    """How often the module itself is called."""
    calls: list[nn.Module] = []
    with layer.register_forward_pre_hook(lambda module, given: calls.append(module)):
        run_layer(layer, x, state)
    return len(calls)


@pytest.mark.parametrize("kind", KINDS)
def test_the_module_is_called_only_where_most_units_remember(kind: str) -> None:
    few = [4] if kind in KEEPS else []
    assert called(layer_of(kind, [], 0), bits(40), start(kind)) == 0
    assert called(layer_of(kind, few, 0), bits(40), start(kind)) == 0
    assert called(layer_of(kind, list(range(WIDTH)), 0), bits(40), start(kind)) == 1


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("gate", [0, 1, 2, 3, 4])
def test_a_gate_that_moves_is_a_memory_or_no_constant(kind: str, gate: int) -> None:
    """A gate of one unit, or what r scales in a GRU, reads the inputs; then z or f is half shut."""
    layer, state = layer_of(kind, [], 3), start(kind)
    if gate == 4:
        layer.get_parameter("bias_ih_l0")[WIDTH + 6] = -1
    elif gate < GATES[kind]:
        layer.get_parameter("weight_ih_l0")[gate * WIDTH + 6] = torch.tensor([300.0, -900, 700, 500, -800])
    else:
        layer.get_parameter("bias_hh_l0")[2 * WIDTH + 6] = -50 * layer.get_parameter("bias_ih_l0")[2 * WIDTH + 6]
        layer.get_parameter("weight_ih_l0")[6] = -600
    x = bits(30)
    (shown, _), (expected, _) = run_layer(layer, x, state), by_torch(layer, x, state)
    assert torch.allclose(shown, expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_module(kind: str) -> None:
    layer, state = layer_of(kind, [1] if kind in KEEPS else [], 0), start(kind)
    for p in layer.parameters():
        p.div_(128)  # far from saturation, where gradients are not 0
    if kind in KEEPS:
        layer.get_parameter("bias_ih_l0")[WIDTH : 2 * WIDTH] = -2048
    for name in ("", "bias_ih_l0", "weight_hh_l0"):
        x = bits(20).requires_grad_(not name)
        wanted = layer.get_parameter(name).requires_grad_() if name else x
        mine, theirs = (torch.autograd.grad(f(layer, x, state)[0].square().sum(), wanted)[0]
                        for f in (run_layer, by_torch))
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-6) and theirs.any()
        wanted.requires_grad_(False)
