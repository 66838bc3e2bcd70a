"""The least dtype of a certificate, models in every dtype that is claimed, and the way out where one is too small."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import pytest
import torch

from lsrl.backends.certificate import Certificate
from lsrl.backends.emission import short
from lsrl.backends.model import load_model
from lsrl.backends.registry import TARGETS, compile_graph, render_targets
from lsrl.backends.target import DTYPES
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.types import values
from lsrl.verify import verify
from lsrl.verify.testing import run_model
from tests.corpus import CORPUS, Case

NAMES = ("regular/parity", "regular/mod_5", "regular/dyck_1_bounded", "regular/detect_pattern", "memory/flip_flop",
         "memory/key_value", "memory/edges", "counting/majority", "counting/run_length", "tables/variety",
         "text/c_comments")
HALF = tuple(t for t in TARGETS if torch.bfloat16 in TARGETS[t].dtypes)
CASES = [next(c for c in CORPUS if c.path == name) for name in NAMES]


@cache
def graph_of(case: Case) -> Graph:
    return case.program.graph


def graph(text: str) -> Graph:
    return read_module(Source("test.lsrl", text), Path()).elaborate()


@pytest.mark.parametrize("target", HALF)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.path)
def test_every_claimed_dtype_is_exact(case: Case, target: str) -> None:
    """From the least dtype on, every one is compiled, run and verified; below it, none is exact for as long."""
    if case.outcome(target).startswith("L4"):
        pytest.skip("refused in every dtype")
    program = graph_of(case)
    certificate = compile_graph(program, target).certificate
    least = [short(d) for d in DTYPES].index(certificate.least_dtype)
    for place, dtype in enumerate(DTYPES):
        try:
            model = compile_graph(program, target, dtype)
        except LsrlError as error:
            codes = [d.code for d in error.diagnostics]
            assert codes == ["L407"]
            assert place < least
            continue
        mine = model.certificate
        tokens = 10**9 if mine.horizon is None else mine.horizon
        if place < least:
            assert certificate.horizon is None or tokens < certificate.horizon
        assert mine.horizon is None or certificate.horizon is not None
        rng = random.Random(case.path)
        rows = [{i.name: rng.choice([*values(i.type)]) for i in program.inputs} for _ in range(min(100, tokens))]
        assert list(run_model(model, program, rows)) == list(Interpreter(program).run(rows))
        outcome = case.outcome(target)
        verdict = verify(program, model, length=min(8, tokens) if outcome == "EXHAUSTED" else None, seconds=60)
        assert verdict.kind == outcome, verdict.render()
        assert verdict.covers["dtype"] == short(dtype)


def test_the_least_dtype_is_that_of_the_largest_number() -> None:
    """rnn_relu holds a number up to n as it is, so its dtype is the first with n + 1 whole numbers."""
    for n, wanted in ((50, "bfloat16"), (500, "float16"), (100_000, "float32")):
        certificate = compile_graph(graph(f"""program p(x: bool) -> int[0..{n}]:
    state s: int[0..{n}] = 0
    s := min(s + 1, {n}) if x else max(s - 1, 0)
    return s
"""), "rnn_relu").certificate
        assert certificate.least_dtype == wanted
        assert f"least dtype          {wanted}" in certificate.table()


def test_an_unbounded_counter_needs_the_dtype_of_its_horizon() -> None:
    program = graph("program p(x: bool) -> bool:\n    return count(x) > count(not x)\n")
    for dtype in (torch.float32, torch.float64):
        certificate = compile_graph(program, "lstm", dtype).certificate
        assert certificate.least_dtype == short(dtype)


@pytest.mark.parametrize("target", HALF)
def test_a_dtype_that_is_too_small_names_the_least_that_works(target: str) -> None:
    program = graph("""program p(x: int[0..900]) -> int[0..900]:
    return x
""")
    with pytest.raises(LsrlError) as error:
        compile_graph(program, target, torch.bfloat16)
    diagnostic = error.value.diagnostics[0]
    assert diagnostic.code == "L407"
    assert diagnostic.help == f"compile with dtype float16, the least in which `{target}` is exact"
    assert compile_graph(program, target, torch.float16).certificate.least_dtype == "float16"


def test_a_dtype_that_is_none_of_the_targets() -> None:
    program = graph("program p(x: bool) -> bool:\n    return x\n")
    with pytest.raises(LsrlError, match="not in int32") as error:
        compile_graph(program, "gru", torch.int32)
    assert error.value.diagnostics[0].help == "compile with dtype bfloat16, the least in which `gru` is exact"


@pytest.mark.parametrize("target", HALF)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_are_saved_probed_and_poked(target: str, dtype: torch.dtype, tmp_path: Path) -> None:
    program = graph("""program p(x: bool) -> int[0..4]:
    state s: int[0..4] = 0
    s := (s + 1) % 5 if x else s
    return s
""")
    model = compile_graph(program, target, dtype)
    model.save(tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors", program)
    assert again.certificate.dtype == short(dtype)
    word = torch.tensor([[True, False, True, True, False, True, True]])
    out, state = again(word)
    assert out.tolist() == [[1, 1, 2, 3, 3, 4, 0]]
    assert again.probe(state, "s").tolist() == [0]
    assert again(word, again.poke(state, "s", 3))[0].tolist() == [[4, 4, 0, 1, 1, 2, 3]]


def test_certificates_without_a_least_dtype_are_read() -> None:
    certificate = compile_graph(graph_of(CASES[0]), "gru").certificate
    data = certificate.to_json()
    assert Certificate.from_json(data) == certificate
    del data["least_dtype"]
    assert "least dtype" not in Certificate.from_json(data).table()


def test_the_table_of_targets_shows_the_least_dtype() -> None:
    lines = render_targets(graph_of(CASES[0])).splitlines()
    assert lines[0].endswith("least dtype")
    rows = {line.split()[0]: line for line in lines[1:]}
    assert rows["gru"].endswith("bfloat16") and rows["rnn_tanh"].endswith("bfloat16")
