"""Kernel modules at their edges: states, resets, packed sequences, layouts, empty sizes, files, and every refusal."""

from __future__ import annotations

import pickle
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import lsrl
from lsrl.backends.files import read_model_file, write_model_file
from lsrl.backends.kernels.call import Shape
from lsrl.backends.kernels.module import KernelModule
from lsrl.diagnostics import LsrlError
from tests.backends.kernels.test_torch import MINGRU

pytestmark = pytest.mark.usefixtures("quick_kernels")

BALANCED = """
program balanced(tok: {"(", ")", *}) -> (ok: bool, depth: int):
    state depth: int = 0
    state broken: bool = false
    depth := depth + match tok: "(" => 1, ")" => -1, _ => 0
    broken := broken or depth < 0
    return (ok = depth == 0 and not broken, depth = depth)
"""
QUARTERS = """
program quarters(x: real[-2..2 by 1/4], up: bool) -> real:
    state s: real = 0
    s := clamp(s + x, -4, 4) if up else x
    return s
"""
RANGES = """
program ranges(i: int[0..9], p: bool, r: real[-1..1], v: int[0..3][2]) -> int:
    return i + int(p) + int(r > 0) + v[0] + v[1]
"""
CHECKED = """
program checked(x: int[0..9]) -> int[0..20]:
    state s: int[0..20] = 0
    s := s + x
    return s
"""


def module(text: str, **options: Any) -> KernelModule:
    program = lsrl.parse(text, n=4) if "[n]" in text else lsrl.parse(text)
    return KernelModule(program.graph, "c", **options)


def refusal(f: Any, *args: Any, **options: Any) -> str:
    """The code and message of the one error."""
    with pytest.raises(LsrlError) as caught:
        f(*args, **options)
    (found,) = caught.value.diagnostics
    return f"{found.code} {found.message}"


def brackets(rows: int, tokens: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 3, (rows, tokens), generator=torch.Generator().manual_seed(seed))


def joined(outputs: list[dict[str, Tensor]], dim: int) -> dict[str, Tensor]:
    return {n: torch.cat([o[n] for o in outputs], dim) for n in outputs[0]}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def test_steps_and_splits_are_the_scan() -> None:
    model, tokens = module(BALANCED), brackets(3, 23)
    whole, last = model(tokens)
    state: dict[str, Tensor] | None = None
    shown = []
    for t in range(23):
        out, state = model.step(tokens[:, t], state)
        shown.append({n: x.unsqueeze(1) for n, x in out.items()})
    assert state is not None and same(joined(shown, 1), whole) and same(state, last)
    for cut in (0, 1, 11, 22, 23):
        first, between = model(tokens[:, :cut])
        second, after = model(tokens[:, cut:], between)
        assert same(joined([first, second], 1), whole) and same(after, last), cut


def test_splits_of_exact_rationals() -> None:
    model = module(QUARTERS, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-8, 9, (2, 12), generator=generator).double() / 4
    up = torch.rand(2, 12, generator=generator) < 0.3
    whole, last = model({"x": x, "up": up})
    head, between = model({"x": x[:, :5], "up": up[:, :5]})
    rest, after = model({"x": x[:, 5:], "up": up[:, 5:]}, between)
    assert torch.equal(torch.cat([head, rest], 1), whole) and same(after, last)


def test_packed_sequences_are_the_single_ones() -> None:
    for model, stream in ((module(BALANCED), brackets(1, 30)[0]), (module(MINGRU), torch.randn(30, 4))):
        offsets = torch.tensor([0, 7, 7, 8, 30])
        exact = model.exact
        given: Any = stream if exact else {"z": stream, "x": -stream}
        packed, after = model(given, cu_seqlens=offsets)
        packed = packed if exact else {"y": packed}
        for i in range(4):
            part = slice(int(offsets[i]), int(offsets[i + 1]))
            one, last = model(stream[None, part] if exact else {"z": stream[None, part], "x": -stream[None, part]})
            one = one if exact else {"y": one}
            assert same({n: x[0] for n, x in one.items()}, {n: x[part] for n, x in packed.items()})
            assert same({n: x[0] for n, x in last.items()}, {n: x[i] for n, x in after.items()})
        lead = {n: x[None] for n, x in given.items()} if isinstance(given, dict) else given[None]
        again, _ = model(lead, cu_seqlens=offsets.int())
        assert same({n: x[None] for n, x in packed.items()}, again if exact else {"y": again})


def test_resets_start_anew() -> None:
    model, tokens = module(BALANCED), brackets(1, 20)
    resets = torch.zeros(1, 20, dtype=torch.bool)
    resets[0, [6, 13]] = True
    got, last = model(tokens, resets=resets)
    parts = [model(tokens[:, a:b]) for a, b in ((0, 6), (6, 13), (13, 20))]
    assert same(got, joined([p[0] for p in parts], 1)) and same(last, parts[2][1])


def test_layouts_and_strides() -> None:
    model, tokens = module(BALANCED), brackets(3, 9)
    want, last = model(tokens)
    got, after = model(tokens.T.contiguous(), layout="TB")
    assert same({n: x.T for n, x in got.items()}, want) and same(after, last)
    wide = torch.zeros(6, 18, dtype=torch.int64)
    wide[::2, ::2] = tokens
    assert same(model(wide[::2, ::2])[0], want)


@pytest.mark.parametrize("rows, tokens", [(0, 5), (2, 0), (0, 0)])
def test_empty_sizes(rows: int, tokens: int) -> None:
    model = module(BALANCED)
    out, after = model(brackets(rows, tokens))
    assert out["ok"].shape == (rows, tokens) and same(after, model.initial_state(rows))
    floats = module(MINGRU)
    x = torch.zeros(rows, tokens, 4, requires_grad=True)
    y, state = floats({"z": x, "x": x}, {"h": torch.ones(rows, 4)})
    assert y.shape == (rows, tokens, 4) and torch.equal(state["h"], torch.ones(rows, 4))
    y.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape


@pytest.mark.parametrize("given, message", [
    ({"i": [[10]]}, "L603 input `i` at token 0 of sequence 0 is 10, outside int[0..9]"),
    ({"i": [[-1]]}, "L603 input `i` at token 0 of sequence 0 is -1, outside int[0..9]"),
    ({"i": [[0.5]]}, "L602 input `i` holds torch.float32, and is of type int[0..9]"),
    ({"i": [["a"]]}, "L602 input `i` is no tensor of numbers"),
    ({"i": [0]}, "L602 input `i` has shape (1,); (batch, tokens) is wanted"),
    ({"p": [[2]]}, "L603 input `p` at token 0 of sequence 0 is 2, outside bool"),
    ({"r": [[1.5]]}, "L603 input `r` at token 0 of sequence 0 is 1.5, outside real[-1..1]"),
    ({"r": [[float("nan")]]}, "L603 input `r` at token 0 of sequence 0 is nan, outside real[-1..1]"),
    ({"v": [[[0, 4]]]}, "L603 input `v` at token 0 of sequence 0, element [1] is 4, outside int[0..3]"),
    ({"v": [[[0, 1, 2]]]}, "L602 input `v` has shape (1, 1, 3); (batch, tokens, 2) is wanted"),
    ({"q": [[0]]}, "L606 the program has no input `q`"),
    ({"i": [[0, 0]]}, "L602 inputs of different lengths: `i` is 1 × 2, `p` is 1 × 1, `r` is 1 × 1, `v` is 1 × 1"),
])
def test_inputs_that_are_refused(given: dict[str, Any], message: str) -> None:
    fine = {"i": [[9]], "p": [[True]], "r": [[-1.0]], "v": [[[0, 3]]]}
    model = module(RANGES)
    assert model(fine)[0].tolist() == [[13]]
    assert refusal(model, {**fine, **given}) == message


def test_other_calls_that_are_refused() -> None:
    model, tokens = module(BALANCED), brackets(2, 6)
    state = model.initial_state(2)
    assert refusal(model, tokens.clone().fill_(3)) == \
        "L605 input `tok` at token 0 of sequence 0 is 3, and the alphabet has the codes 0 to 2"
    assert refusal(model, tokens, layout="TBD") == "L602 there is no layout 'TBD'"
    assert refusal(model, tokens, {"depth": state["depth"]}) == "L606 state `broken` is missing"
    assert refusal(model, tokens, {**state, "depths": state["depth"]}) == "L606 the program has no state `depths`"
    assert refusal(model, tokens, {**state, "depth": state["depth"][:1]}) == \
        "L602 state `depth` has shape (1,); (2,) is wanted"
    assert refusal(model, tokens, resets=torch.zeros(2, 5, dtype=torch.bool)) == \
        "L602 resets has shape (2, 5) of torch.bool; bools of shape (2, 6) are wanted"
    assert refusal(model, tokens, resets=torch.zeros(2, 6)) == \
        "L602 resets has shape (2, 6) of torch.float32; bools of shape (2, 6) are wanted"
    packed, ends = tokens[0], "there are 6 tokens: it starts at 0 and ends with their number"
    for offsets, message in (
            ([0, 5], "L602 cu_seqlens goes from 0 to 5, and " + ends),
            ([1, 6], "L602 cu_seqlens goes from 1 to 6, and " + ends),
            ([0, 4, 3, 6], "L602 cu_seqlens falls from 4 to 3 at place 2; it must ascend"),
            ([0.0, 6.0], "L602 cu_seqlens has shape (2,) of torch.float32; whole numbers of shape (sequences + 1,) are "
             "wanted")):
        assert refusal(model, packed, cu_seqlens=torch.tensor(offsets)) == message
    two, halved = module(QUARTERS), module(QUARTERS.replace("s + x", "s / 2 + x"))
    assert two.exact and not halved.exact
    assert refusal(two, torch.zeros(1, 1)) == "L606 the program has 2 inputs: `x`, `up`"
    for model in (two, halved):
        assert refusal(model, {"x": [[0.1]], "up": [[True]]}).startswith("L604 input `x` at token 0 of sequence 0")
    alone = module("program alone() -> int:\n    return index()\n")
    assert refusal(alone, torch.zeros(3)) == \
        "L606 the program has no input, so the numbers of sequences and tokens are not known"
    assert alone(torch.zeros(2, 3))[0].tolist() == [[0, 1, 2]] * 2
    assert refusal(module, BALANCED, dtype=torch.int8) == "L407 a kernel has no numbers of torch.int8"
    assert refusal(KernelModule, two.graph, "cc") == "L401 there is no kernel target `cc`"


def test_checks_of_the_program() -> None:
    """A range that is left, in the interpreter's words; without checks the kernel goes on."""
    x = torch.tensor([[9, 2, 0, 0], [9, 9, 3, 0]])
    assert "L204 `s` leaves its range int[0..20]" in refusal(module(CHECKED), x)
    assert module(CHECKED)(x[:1])[0].tolist() == [[9, 11, 11, 11]]
    assert module(CHECKED, check=False)(x)[0][1, :2].tolist() == [9, 18]


def test_no_gradients_of_an_exact_program() -> None:
    model = module(QUARTERS)
    x = torch.zeros(1, 2, requires_grad=True)
    up = torch.ones(1, 2, dtype=torch.bool)
    assert refusal(model, {"x": x, "up": up}).startswith("L414 `quarters` is exact")
    assert model({"x": x.detach(), "up": up})[0].tolist() == [[0, 0]]
    with torch.no_grad():
        model({"x": x, "up": up})
    out, _ = module(QUARTERS, floats=True)({"x": x, "up": up})
    out.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[2, 1]]


def saved(path: Path, **changes: Any) -> Path:
    """A kernel's file with its description changed, and a checksum that fits."""
    model = module(MINGRU)
    model.save(path)
    description, tensors = read_model_file(path)
    write_model_file(path, {**description, **changes}, tensors)
    return path


def test_a_saved_kernel_comes_back(tmp_path: Path) -> None:
    model = module(MINGRU, dtype=torch.bfloat16, check=False, shape="sequential")
    with torch.no_grad():
        model.get_parameter("b").copy_(torch.arange(4.0))
    model.save(tmp_path / "m.safetensors")
    again = lsrl.load_model(tmp_path / "m.safetensors", lsrl.parse(MINGRU, n=4))
    assert isinstance(again, KernelModule)
    assert (again.target, again.dtype, again.check, again.shape) == ("c", torch.bfloat16, False, "sequential")
    x = torch.randn(2, 5, 4).bfloat16()
    assert torch.equal(model({"z": x, "x": x})[0], again({"z": x, "x": x})[0])
    wide = model.double()
    wide.save(tmp_path / "wide.safetensors")
    assert lsrl.load_model(tmp_path / "wide.safetensors").b.dtype == torch.float64
    exact = module(BALANCED)
    exact.save(tmp_path / "e.safetensors")
    assert same(lsrl.load_model(tmp_path / "e.safetensors")(brackets(2, 9))[0], exact(brackets(2, 9))[0])
    assert refusal(lsrl.load_model, tmp_path / "e.safetensors", lsrl.parse(MINGRU, n=4)).startswith("L624 ")


def test_files_that_are_cut_or_altered(tmp_path: Path) -> None:
    data = saved(tmp_path / "m.safetensors").read_bytes()
    path = tmp_path / "bad.safetensors"
    for size in sorted({0, 1, 7, 8, 9, *range(16, len(data), max(1, len(data) // 30)), len(data) - 1}):
        path.write_bytes(data[:size])
        assert refusal(lsrl.load_model, path)[:4] in ("L621", "L622"), size
    for at in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 32]) + data[at + 1 :])
        assert refusal(lsrl.load_model, path)[:4] in ("L621", "L622", "L623"), at
    path.write_bytes(pickle.dumps(data))
    assert refusal(lsrl.load_model, path).startswith("L621")


@pytest.mark.parametrize("changes, code", [
    ({"graph": "no graph"}, "L623"), ({"graph": 3}, "L623"), ({"graph": ""}, "L623"), ({"dtype": "int8"}, "L623"),
    ({"shape": "round"}, "L623"), ({"shape": ["block"]}, "L623"), ({"target": "cobol"}, "L401"),
])
def test_descriptions_of_no_kernel(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    assert refusal(lsrl.load_model, saved(tmp_path / "m.safetensors", **changes)).startswith(code)


def test_files_that_claim_too_much(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    saved(path)
    description, tensors = read_model_file(path)
    for n in ("1000000000000", "5"):
        write_model_file(path, {**description, "graph": description["graph"].replace("real[4]", f"real[{n}]")}, tensors)
        assert refusal(lsrl.load_model, path).startswith("L623"), n
    write_model_file(path, description, {})
    assert refusal(lsrl.load_model, path).startswith("L623")
    write_model_file(path, description, {**tensors, "c": torch.zeros(4)})
    assert refusal(lsrl.load_model, path).startswith("L623")


DIVIDED = """
program divided(x: real, y: real) -> (a: real, b: real):
    param w: real = 1
    state s: real = 1
    s := s / y
    return (a = w * x, b = 0 * x)
"""


def test_the_first_number_that_is_not_finite_is_named() -> None:
    model = module(DIVIDED, debug=True)
    x, y = torch.ones(2, 5), torch.ones(2, 5)
    assert model({"x": x, "y": y})[1]["s"].tolist() == [1, 1]
    y[1, 2] = 0
    where = "is not finite, first at token 3 of sequence 1 of `divided`"
    assert refusal(model, {"x": x, "y": y}) == f"L616 state `s`, before the token, {where}"
    flat = {"x": x.reshape(10), "y": y.reshape(10)}
    assert refusal(model, flat, cu_seqlens=torch.tensor([0, 5, 10])) == f"L616 state `s`, before the token, {where}"
    assert refusal(model, {"x": x[:, :3], "y": y[:, :3]}) == \
        "L616 state `s` is not finite after the last token of `divided`"
    x[0, 1] = float("nan")
    assert refusal(model, {"x": x, "y": y}) == \
        "L616 input `x` is not finite, first at token 1 of sequence 0 of `divided`"
    with torch.no_grad():
        model.get_parameter("w").fill_(float("inf"))
    assert refusal(model, {"x": x, "y": y}) == "L616 param `w` is not finite"
    assert module(DIVIDED)({"x": x, "y": y})[0]["a"][0].isnan().tolist() == [False, True, False, False, False]


def test_options_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "divided.lsrl").write_text(DIVIDED, encoding="utf-8")
    model = lsrl.compile(tmp_path / "divided.lsrl", "c", debug=True, check=False, shape="sequential", floats=True)
    assert (model.debug, model.check, model.shape, model.lanes.floats) == (True, False, "sequential", True)


@pytest.mark.parametrize("gradients", [False, True])
def test_checks_are_made_whether_or_not_gradients_are_asked_for(gradients: bool) -> None:
    text = ("program p(x: real) -> (y: real, n: int):\n    param w: real = 1\n    state h: real = 0\n"
            "    state n: int[0..3] = 0\n    h := tanh(h + w * x)\n    n := n + (1 if x > 0.5 else 0)\n"
            "    return (y = h, n = n)\n")
    model = KernelModule(lsrl.parse(text).graph, "c")
    with torch.set_grad_enabled(gradients):
        assert model(torch.ones(2, 3))[0]["n"].tolist() == [[1, 2, 3]] * 2
        with pytest.raises(LsrlError, match=r"`n` leaves its range int\[0..3\] at token 4 of row 1"):
            model(torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0, 1.0]]))


ALIKE = """
program alike(x: int[0..1]) -> int[0..8]:
    state a: int[0..2] = 0
    state b: int[0..2] = 0
    a := (a + x) % 3
    b := (b + x) % 3
    return 3 * a + b
"""


def unreached(n: int, apart: int = 3) -> str:
    """An automaton that reaches only states which are 0 or 1 modulo `apart`; the others lead to any state."""
    rng = random.Random(n)
    reached = [q for q in range(n) if q % apart < 2]
    after = [[rng.choice(reached if q in reached else range(n)) for q in range(n)] for _ in range(2)]
    after[0][: len(reached)], after[1][0] = [0] * len(reached), reached[-1]
    for a, b in pairwise(reached):
        after[0][a] = b
    arms = "\n".join(f"        {x * n + q} => {after[x][q]}" for x in range(2) for q in range(n))
    return (f"program unreached(x: int[0..1]) -> int[0..{n - 1}]:\n    state q: int[0..{n - 1}] = 0\n"
            f"    q := match x * {n} + q:\n{arms}\n        _ => 0\n    return q\n")


def assert_any_state_is_a_start(text: str, states: list[dict[str, int]], shape: Shape | None) -> None:
    """Sequences from any states in range are the interpreter's, in one call and a step at a time."""
    program = lsrl.parse(text)
    found = KernelModule(program.graph, "c", shape=shape)
    x = torch.randint(0, 2, (len(states), 12), generator=torch.Generator().manual_seed(1))
    before = {n: torch.tensor([s[n] for s in states]) for n in states[0]}
    y, after = found(x, before)
    now = before
    for t in range(x.shape[1]):
        one, now = found.step(x[:, t], now)
        assert torch.equal(one, y[:, t])
    assert same(now, after)
    for row, state in enumerate(states):
        held: dict[str, Any] = dict(state)
        for token, out in zip(x[row].tolist(), y[row].tolist(), strict=True):
            want, held = program._interpreter.step(held, {"x": token})
            assert [out] == list(want.values())
        assert {n: int(v[row]) for n, v in after.items()} == held


@pytest.mark.parametrize("shape", [None, "split", "speculative"])
@pytest.mark.parametrize("text", [ALIKE, unreached(10), unreached(60)], ids=["alike", "maps", "larger"])
def test_states_in_range_that_are_never_reached(text: str, shape: Shape | None) -> None:
    """What no sequence leads to may still be handed in: two counters that differ, a state of an automaton."""
    states = [{"a": a, "b": b} for a in range(3) for b in range(3)] if text is ALIKE else \
        [{"q": q} for q in (0, 1, 2, 4, 5, 8)]
    for some in (states, states[1:2]):
        assert_any_state_is_a_start(text, some, shape)


def test_states_that_the_code_is_not_proved_for_are_refused() -> None:
    even = module("program even(x: int[0..3]) -> int[0..6]:\n    state s: int[0..6] = 0\n"
                  "    s := (s + 2 * x) % 8\n    return s\n")
    x = torch.tensor([[1, 2]])
    assert even(x, {"s": torch.tensor([4])})[0].tolist() == [[6, 2]]
    for s, what in ((3, "not among the multiples of 2"), (8, "outside the 0 to 6")):
        assert refusal(even, x, {"s": torch.tensor([s])}) == f"L603 state `s` is {s}, {what} that the program can reach"
    assert refusal(even.step, x[0, :1], {"s": torch.tensor([5])}).startswith("L603 ")
    never = module("program never(x: bool) -> bool:\n    state b: bool = false\n    b := b and x\n    return b\n")
    assert refusal(never, x == 1, {"b": torch.tensor([True])}) == \
        "L603 state `b` is 1, outside the 0 to 0 that the program can reach"
