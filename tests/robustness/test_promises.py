"""Promises hold against the worst noise that can be found, and are not far from it where they are said to be tight."""

from __future__ import annotations

import copy
import math
from functools import cache
from statistics import NormalDist

import numpy as np
import pytest
import torch

import lsrl
from lsrl.backends.model import CompiledModel
from lsrl.backends.threshold_emission import SATURATION
from lsrl.program import Program
from lsrl.robustness import Promise, Trial, disturbed, make_trial, measure, promise
from lsrl.robustness.noise import scales
from lsrl.robustness.prediction import expected_sigma
from lsrl.verify.testing import random_inputs, run_program
from tests.corpus import CORPUS, ROOT, Case


@cache
def load(name: str) -> Program:
    return lsrl.load(ROOT / "examples" / f"{name}.lsrl")


def promised(model: CompiledModel, relative: bool = False, tokens: int = 64) -> Promise:
    found = promise(model, relative, tokens)
    assert isinstance(found, Promise), found
    return found


def moved(model: CompiledModel, delta: float, signs: dict[str, torch.Tensor], relative: bool = False) -> CompiledModel:
    """The model with every weight that is not zero moved by ±delta."""
    noisy, sizes = copy.deepcopy(model), scales(model, relative)
    noisy.limits = (None,) * len(noisy.limits)
    with torch.no_grad():
        for name, p in noisy.named_parameters():
            p.add_(delta * sizes[name] * signs[name])
    return noisy


def random_signs(model: CompiledModel, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randint(0, 2, p.shape, generator=generator) * 2.0 - 1 for n, p in model.named_parameters()}


def adverse_signs(model: CompiledModel, trial: Trial, at: int, seed: int) -> dict[str, torch.Tensor]:
    """Signs along the gradient of one output at token `at`, away from the side that it is on."""
    known = disturbed(model, 1e-6, seed)
    known.requires_grad_(True)
    raw, _ = known.raw(trial.fed())
    b, row = seed % raw.shape[0], seed % raw.shape[2]
    right = raw[b, at, row].detach().round()
    direction = 1.0 if seed % 2 else -1.0
    if model.outputs[0][1].__class__.__name__ == "Bool":
        direction = -1.0 if right > 0.5 else 1.0
    names, parameters = zip(*known.named_parameters(), strict=True)
    gradients = torch.autograd.grad(direction * raw[b, at, row], parameters, allow_unused=True)
    random = random_signs(model, seed)
    return {n: random[n] if g is None else torch.where(g == 0, random[n], g.sign())
            for n, g in zip(names, gradients, strict=True)}


def first_wrong(model: CompiledModel, trial: Trial) -> int | None:
    with torch.no_grad():
        outputs, _ = model.outputs_of(trial.fed())
    wrong = [t for t in range(trial.length) for n, x in trial.expected.items() if not torch.equal(
        outputs[n][:, t].to(x.dtype), x[:, t])]
    return min(wrong, default=None)


@pytest.mark.parametrize("case", [c for c in CORPUS if c.lstm[0] != "L"], ids=lambda c: c.name)
def test_an_lstm_stands_more_than_a_hundredth(case: Case) -> None:
    found = promised(case.program.compile("lstm"))
    assert found.delta > 1e-2 and found.tokens is None


@pytest.mark.parametrize("name", ["regular/parity", "regular/word_problem_s3", "counting/majority", "counting/queue",
                                  "memory/selective_copy", "regular/detect_pattern"])
@pytest.mark.parametrize(("target", "relative"), [("lstm", False), ("lstm", True), ("gru", False), ("rnn_tanh", False),
                                                  ("slstm", False), ("slstm", True)])
def test_below_the_promise_saturated_states_are_the_same_bit_for_bit(name: str, target: str, relative: bool) -> None:
    program = load(name)
    if name.startswith("counting") and target != "lstm":
        return  # refused
    model = program.compile(target)
    delta = promised(model, relative).delta
    trial = make_trial(program.graph, 8, 100, 3)
    _, state = model(trial.fed())
    for seed in range(10):
        signs = random_signs(model, seed) if seed < 5 else adverse_signs(model, trial, 99, seed)
        noisy = moved(model, 0.99 * delta, signs, relative)
        assert first_wrong(noisy, trial) is None
        _, after = noisy(trial.fed())
        assert all(torch.equal(a, b) for a, b in zip(state, after, strict=True))


@pytest.mark.parametrize("name", ["regular/parity", "counting/majority", "regular/tomita_4", "regular/even_pairs"])
def test_above_the_promise_some_noise_makes_an_lstm_err(name: str) -> None:
    program = load(name)
    model = program.compile("lstm")
    trial = make_trial(program.graph, 8, 64, 3)
    worse = 1.6 * promised(model).delta
    wrong = [first_wrong(moved(model, worse, adverse_signs(model, trial, t, t)), trial) for t in range(40, 64)]
    assert any(w is not None for w in wrong)


def test_the_promise_of_a_read_out_is_what_a_sum_by_hand_gives() -> None:
    model = load("regular/parity").compile("lstm")
    assert promised(model).delta == pytest.approx(0.5 / (2 * math.tanh(1.0) + 1), rel=1e-4)
    module = model.layers[0]
    w_in, w_own, bias, _ = (p.detach() for p in module.parameters())
    weights = torch.cat([w_in.abs(), w_own.abs(), bias.abs()[:, None]], 1)
    sizes = torch.tensor([1.0, math.tanh(1.0), math.tanh(1.0), 1.0])
    gates = (weights[4:6] @ sizes).tolist()  # of g, the only ones that are driven
    assert promised(model, relative=True).delta == pytest.approx((20 - 9.5) / max(gates), rel=1e-3)


@pytest.mark.parametrize("case", [c for c in CORPUS if c.lstm[0] != "L"], ids=lambda c: c.name)
def test_gates_are_as_far_from_zero_as_the_promise_takes_them_to_be(case: Case) -> None:
    program = case.program
    model = program.compile("lstm", dtype=torch.float64)
    sigmoid, tanh = SATURATION[torch.float64]
    trial = make_trial(program.graph, 4, 40, 1)
    x, state = model.encoder(trial.fed()), model.initial_state(4)
    for layer, module in enumerate(model.layers):
        assert isinstance(module, torch.nn.LSTM)
        own = state[model.stack.part(layer)]
        shown, _ = module(x, tuple(t[None].contiguous() for t in own))
        before = torch.cat([own[0][:, None], shown[:, :-1]], 1)
        w_in, w_own, b_in, b_own = (p.detach() for p in module.parameters())
        z = x @ w_in.T + b_in + before @ w_own.T + b_own
        for gate, part in enumerate(z.chunk(4, -1)):
            assert float(part.abs().min()) > (tanh if gate == 2 else sigmoid) * (1 - 1e-9)
        x = shown


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_taken_for_saturated_is(dtype: torch.dtype) -> None:
    from lsrl.robustness.saturating import EXACT

    sigmoid, tanh = (torch.tensor(x, dtype=dtype) for x in EXACT[dtype])
    assert [float(torch.sigmoid(x)) for x in (sigmoid, -sigmoid, 2 * sigmoid, -2 * sigmoid)] == [1, 0, 1, 0]
    assert [float(torch.tanh(x)) for x in (tanh, -tanh, 2 * tanh)] == [1, -1, 1]


@pytest.mark.parametrize("name", ["regular/parity", "memory/set_reset", "memory/window_majority", "counting/majority",
                                  "numeric/moving_average", "counting/dyck_1", "tables/variety", "counting/position",
                                  "regular/cycle_navigation", "memory/key_value", "text/c_comments"])
@pytest.mark.parametrize("relative", [False, True])
def test_below_the_promise_relus_do_not_err(name: str, relative: bool) -> None:
    program = load(name)
    model = program.compile("rnn_relu")
    found = promised(model, relative, 32)
    trial = make_trial(program.graph, 8, 200 if found.tokens is None else found.tokens, 3)
    for seed in range(10):
        signs = random_signs(model, seed) if seed < 5 else adverse_signs(model, trial, trial.length - 1, seed)
        assert first_wrong(moved(model, 0.99 * found.delta, signs, relative), trial) is None


@pytest.mark.parametrize(("name", "factor"), [("counting/position", 2.0), ("memory/window_majority", 3.0)])
def test_above_the_promise_some_noise_makes_relus_err(name: str, factor: float) -> None:
    program = load(name)
    model = program.compile("rnn_relu")
    found = promised(model)
    trial = make_trial(program.graph, 16, 64, 3)
    wrong = [first_wrong(moved(model, factor * found.delta, adverse_signs(model, trial, t, t)), trial)
             for t in range(32, 64)]
    assert any(w is not None for w in wrong)


def test_a_promise_for_few_tokens_says_for_how_many() -> None:
    assert promised(load("regular/parity").compile("rnn_relu")).tokens == 16
    assert promised(load("regular/parity").compile("rnn_relu"), tokens=8).tokens == 8
    assert promised(load("memory/window_majority").compile("rnn_relu")).tokens is None


def test_a_uniform_stack_has_the_promise_of_its_layers() -> None:
    for target in ("lstm", "rnn_relu"):
        program = load("counting/dyck_1")
        apart, one = (promised(program.compile(target, uniform=u)) for u in (False, True))
        assert one.delta == pytest.approx(apart.delta, rel=0.02) and one.tokens == apart.tokens


def test_layers_without_an_analysis_have_no_promise() -> None:
    model = load("regular/parity").compile("lstm")
    model.description["kind"] = "unknown"
    assert promise(model) == "no analysis of `unknown` layers"


def test_expected_noise_of_a_read_out() -> None:
    program = load("regular/parity")
    model = program.compile("lstm")
    trial = make_trial(program.graph, 32, 64, 0)
    norm = math.sqrt(2 * math.tanh(1.0) ** 2 + 1)
    sigma = expected_sigma(model, trial)
    assert sigma is not None
    assert sigma == pytest.approx(0.5 / (NormalDist().inv_cdf(0.75) * norm), rel=1e-3)
    wrong = measure(model, trial, (sigma, sigma / 3), draws=60).points  # by rising σ
    shares = [sum(w > 0 for w in p.wrong) / 60 for p in wrong]
    assert shares[0] < 0.2 and 0.4 < shares[1] < 0.95


def test_expected_noise_of_a_counter_of_relus_counts_its_tokens() -> None:
    program = load("counting/position")
    model = program.compile("rnn_relu")
    short, long = (expected_sigma(model, make_trial(program.graph, 2, n, 0)) for n in (16, 64))
    assert short is not None and long is not None and short / long > 3


def test_columns_of_one_scalar_count_one_value_at_a_time() -> None:
    from lsrl.robustness.columns import column_rows, reads

    program = lsrl.parse('program p(a: {"x", "y", "z"}, b: bool) -> bool:\n    return a == "x" and b or a == "z"\n')
    model = program.compile("lstm")
    rng = np.random.default_rng(0)
    weights = rng.random((3, model.encoder.width))
    every = np.array([[model.encoder({"a": torch.tensor([[a]]), "b": torch.tensor([[b]])})[0, 0].numpy()
                       for b in (0, 1)] for a in range(3)]).reshape(6, -1)
    assert np.allclose(reads(model.encoder, weights), (every @ weights.T).max(0))
    rows = column_rows(model)
    assert rows is not None and {tuple(r) for r in rows} == {tuple(r) for r in every.tolist()}


def test_random_inputs_of_a_study_are_those_of_the_verifier() -> None:
    graph = load("regular/parity").graph
    rows = random_inputs(graph, 10, np.random.default_rng(4))
    trial = make_trial(graph, 1, 10, 4)
    assert trial.inputs["bit"][0].tolist() == [r["bit"] for r in rows]
    assert trial.expected["out"][0].tolist() == [r["out"] for r in run_program(graph, rows)[0]]
