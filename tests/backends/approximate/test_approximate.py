"""`approx`: every output of every hosted model is within its certificate's bound of the interpreter's exact value."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch

import lsrl
from lsrl.backends.model import CompiledModel
from lsrl.backends.registry import TARGETS, compile_graph, explain_targets
from lsrl.diagnostics import LsrlError
from lsrl.verify import verify
from tests.backends.approximate.programs import AVERAGE, LEAKY_RESET, PROGRAMS, SUM, streams, worst

CONSTANT = {"linear", "retnet", "lru"}
TANH = {"lstm", "gru", "rnn_tanh", "slstm"}
EXACT_LAG = {"rnn_relu", "linear", "rwkv", "mamba", "rglru", "bilinear"}
EVERY = set(TARGETS)
# What is hosted follows from the gates: a constant recurrence forgets by no input; layers of tanh host what is affine;
# a gate that admits 1 − what it keeps sums only where that may be tiny (RG-LRU's √(1 − a²) cannot); HGRN's lower bound
# of a gate is no matter of the input; numbers of the token before need a lag that is exact; a number without a bound
# cannot be gated by a ReLU map.
HOSTED = {
    "average": EVERY,
    "leaky": EVERY - CONSTANT - TANH - {"mamba"},
    "sum": EVERY - {"rglru"},
    "since": EVERY - CONSTANT - TANH - {"rnn_relu", "hgrn", "rwkv", "rglru"},
    "held": EVERY - CONSTANT - TANH,
    "delay": EXACT_LAG | TANH,
}
EPSILON = Fraction(1, 100)
PAIRS = [(name, target) for name in PROGRAMS for target in TARGETS]


def compiled(name: str, target: str, dtype: torch.dtype = torch.float32) -> CompiledModel:
    return compile_graph(lsrl.parse(PROGRAMS[name]).graph, target, dtype, approx=EPSILON)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "target"), PAIRS)
def test_outputs_are_within_the_bound(name: str, target: str, dtype: torch.dtype) -> None:
    """On streams at the ends of the ranges and random ones, in both forms, for as many tokens as the bound is for."""
    graph = lsrl.parse(PROGRAMS[name]).graph
    if target not in HOSTED[name]:
        with pytest.raises(LsrlError) as refusal:
            compiled(name, target, dtype)
        assert {d.code for d in refusal.value.diagnostics} <= {"L402", "L404", "L417"}
        return
    model = compiled(name, target, dtype)
    certificate = model.certificate
    assert 0 < certificate.error <= EPSILON and certificate.epsilon == "1/100"
    assert (certificate.input_limit is None) == (name != "average")
    length = min(certificate.horizon or 60, 60)
    for k, rows in enumerate(streams(graph, certificate.input_limit or 1, length, 5)):
        assert worst(graph, model, rows, stepwise=k % 4 == 0) <= certificate.error


@pytest.mark.parametrize("target", ["mingru", "gla", "rglru", "linear", "gru", "rnn_relu", "lru", "mamba"])
def test_a_recurrence_that_shrinks_has_a_bound_for_ever(target: str) -> None:
    model = compiled("average", target)
    assert model.certificate.horizon is None
    graph = model.graph
    for rows in streams(graph, model.certificate.input_limit or 1, 3000, 1)[::2]:
        assert worst(graph, model, rows, stepwise=False) <= model.certificate.error


@pytest.mark.parametrize("target", ["mingru", "linear", "lstm"])
def test_sums_have_a_horizon_that_grows_with_the_error_and_the_dtype(target: str) -> None:
    graph = lsrl.parse(SUM).graph
    small = compile_graph(graph, target, approx=0.001).certificate
    large = compile_graph(graph, target, approx=0.1).certificate
    wide = compile_graph(graph, target, torch.float64, approx=0.001).certificate
    assert small.horizon is not None and large.horizon is not None and wide.horizon is not None
    assert 10 < 3 * small.horizon < large.horizon < wide.horizon


def test_the_errors_of_sums_come_near_their_bounds() -> None:
    """HGRN loses 2⁻²³ of its sum a token, which is nearly all of the bound: the bound is no guess."""
    graph = lsrl.parse(SUM).graph
    model = compile_graph(graph, "hgrn", torch.float64, approx=EPSILON)
    assert model.certificate.horizon is not None
    rows = streams(graph, 1, model.certificate.horizon, 1)[0]
    assert 0.9 * model.certificate.error < worst(graph, model, rows, stepwise=False) <= model.certificate.error


@pytest.mark.parametrize("target", ["mingru", "gla", "lru", "rwkv", "rglru", "gru"])
def test_a_wrong_factor_is_found(target: str) -> None:
    """Mutants: the factor of the average moved by a little breaks the bound, and the verifier says so."""
    graph = lsrl.parse(AVERAGE).graph
    model = compiled("average", target)
    place = {"mingru": "z.bias", "gla": "alpha.bias", "lru": "nu", "rwkv": "decay_b.bias",
             "rglru": "rg_lru.recurrent_gate_bias", "gru": "weight_hh_l0"}[target]
    layer = model.layers[0]
    parameter = dict(layer.named_parameters())[place if target == "gru" else f"mixer.{place}"]
    verdict = verify(graph, model, tests=20)
    assert verdict.kind == "APPROXIMATE" and verdict.headline == "APPROXIMATE to 0.01" and verdict.seen > 0
    with torch.no_grad():
        parameter.add_(0.01)
    refuted = verify(graph, model, tests=20)
    assert refuted.kind == "REFUTED" and refuted.counterexample is not None
    assert "and the bound is" in refuted.counterexample.reason


def test_an_exact_program_stays_exact() -> None:
    """`approx` is for what is not hosted exactly: all else is compiled as without it."""
    parity = lsrl.load(Path("examples/regular/parity.lsrl"))
    model = parity.compile("gru", approx=0.1)
    assert not model.certificate.epsilon and verify(parity.graph, model).kind == "PROVED"
    with pytest.raises(LsrlError) as refusal:
        parity.compile("mingru", approx=0.1)
    assert refusal.value.diagnostics[0].code == "L402"


def test_comparisons_of_reals_without_a_grid_are_refused() -> None:
    text = SUM.replace("-> real", "-> bool").replace("running_sum(x)", "running_sum(x) > 1/2")
    for target in TARGETS:
        with pytest.raises(LsrlError) as refusal:
            lsrl.parse(text).compile(target, approx=0.1)
        assert refusal.value.diagnostics[0].code in ("L402", "L404"), target
    with pytest.raises(LsrlError, match="cannot tell the sides apart"):
        lsrl.parse(text).compile("gla", approx=0.1)


@pytest.mark.parametrize(("target", "allowed"), [("mingru", "0 or one number that is at most 1"), ("mamba", "0 or 1")])
def test_a_factor_of_two_fractions_is_refused(target: str, allowed: str) -> None:
    text = LEAKY_RESET.replace("0 if reset else 0.9 * a", "a / 2 + x if reset else 0.9 * a")
    with pytest.raises(LsrlError, match=f"what is not always {allowed}$|what is not always {allowed}\n"):
        lsrl.parse(text).compile(target, approx=EPSILON)


def test_models_are_saved_probed_and_poked(tmp_path: Path) -> None:
    program = lsrl.parse(LEAKY_RESET)
    model = program.compile("mingru", approx=EPSILON)
    model.save(tmp_path / "m.safetensors")
    again = lsrl.load_model(tmp_path / "m.safetensors", program)
    assert again.certificate == model.certificate
    x = torch.tensor([[0.5, -0.25, 1.0]], dtype=torch.float64)
    r = torch.zeros(1, 3, dtype=torch.bool)
    y, state = model({"x": x, "reset": r})
    assert torch.equal(again({"x": x, "reset": r})[0], y)
    assert abs(model.probe(state, "a").item() - y[0, -1].item()) < 1e-7
    moved = model.poke(state, "a", Fraction(-1, 2))
    assert abs(model.probe(moved, "a").item() + 0.5) < 1e-6
    after, _ = model({"x": x[:, :1], "reset": r[:, :1]}, moved)
    assert abs(after.item() - (-0.45 + 0.05)) < 1e-6


def test_small_signals_are_probed_poked_and_saved(tmp_path: Path) -> None:
    program = lsrl.parse(AVERAGE)
    for target in sorted(TANH):
        model = program.compile(target, approx=EPSILON)
        _, state = model(torch.tensor([[4.0, 8.0]]))
        assert abs(model.probe(state, "a").item() - 5) < 1e-5
        moved = model.poke(state, "a", 2)
        assert abs(model(torch.tensor([[0.0]]), moved)[0].item() - 1) < 1e-5
        model.save(tmp_path / "m.safetensors")
        again = lsrl.load_model(tmp_path / "m.safetensors", program)
        assert torch.equal(again(torch.tensor([[4.0, 8.0]]))[0], model(torch.tensor([[4.0, 8.0]]))[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1025.0])
def test_inputs_beyond_the_bound_are_refused(value: float) -> None:
    model = lsrl.parse(AVERAGE).compile("mingru", approx=EPSILON)
    assert model.certificate.input_limit == 1024
    with pytest.raises(LsrlError, match="up to 1024 in size") as bad:
        model(torch.tensor([[1.0, value]]))
    assert bad.value.diagnostics[0].code == "L603"


def test_a_smaller_error_takes_smaller_inputs() -> None:
    limits = [lsrl.parse(AVERAGE).compile("gla", approx=e).certificate.input_limit for e in (1e-2, 1e-3, 1e-4)]
    assert limits == [1024, 64, 16]


@pytest.mark.parametrize(("options", "code", "message"), [
    ({"approx": 0}, "L418", "an error of 0"), ({"approx": float("nan")}, "L418", "an error of nan"),
    ({"approx": 0.1, "horizon": 0}, "L418", "a horizon of 0"),
    ({"approx": 1e-9}, "L417", "its error in float32 is known to be at most 1e-09 for any token"),
    ({"approx": 1e-2, "horizon": 10**6}, "L417", "for 246 tokens, and not for 1,000,000"),
    ({"approx": 1e-2, "dtype": torch.bfloat16}, "L407", "not in bfloat16"),
])
def test_bad_wishes(options: dict[str, object], code: str, message: str) -> None:
    with pytest.raises(LsrlError, match=message) as refusal:
        lsrl.parse(SUM).compile("linear", **options)  # type: ignore[call-overload]
    assert refusal.value.diagnostics[0].code == code


@pytest.mark.parametrize("target", ["lstm", "rnn_relu", "linear"])
def test_a_horizon_is_checked_for_exact_models(target: str) -> None:
    majority = lsrl.load(Path("examples/counting/majority.lsrl"))
    known = majority.compile(target).certificate.horizon
    assert known is not None
    assert majority.compile(target, horizon=known).certificate.horizon == known
    with pytest.raises(LsrlError, match="grows without a bound") as refusal:
        majority.compile(target, horizon=known + 1)
    assert refusal.value.diagnostics[0].code == "L416" and "float64" in refusal.value.diagnostics[0].help
    wide = majority.compile(target, dtype=torch.float64, horizon=known + 1).certificate.horizon
    assert wide is not None and wide > 2**40


def test_the_table_of_targets_says_how_near() -> None:
    rows = {r.target: r for r in explain_targets(lsrl.parse(SUM).graph, approx=EPSILON)}
    assert {t for t, r in rows.items() if r.hosts} == HOSTED["sum"]
    assert all(0 < r.error <= EPSILON and r.horizon is not None for r in rows.values() if r.hosts)
    far = {r.target: r for r in explain_targets(lsrl.parse(SUM).graph, approx=EPSILON, horizon=1000)}
    assert not any(r.hosts for r in far.values())
