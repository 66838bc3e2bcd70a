"""What the tests of Mamba and the RG-LRU share: programs for them, and checks that hold for both."""

from __future__ import annotations

import copy
import importlib.util
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import lsrl
from lsrl.backends.gated.layers import GatedLayer
from lsrl.backends.model import CompiledModel, load_model
from lsrl.interpreter import Interpreter
from lsrl.types import Bool, Int, Symbols
from lsrl.verify import verify
from lsrl.verify.testing import run_model
from tests.corpus import ROOT

__all__ = ["COUNTERS", "LATCHES", "assert_equal_in_the_library", "assert_forms_agree", "assert_mutants_are_refuted",
           "assert_saved_and_poked", "columns_of", "compiled", "graph_of", "parameter_of", "randomised", "rows_of"]

LATCHES = {
    "bit that starts true": """program p(a: bool, w: bool) -> (now: bool, old: bool):
    state n: bool = true
    o = n
    n := a if w else n
    return (now=n, old=o)
""",
    "number that starts inside its range": """program p(a: int[-20..30], w: bool) -> (now: int, old: int):
    state n: int = 7
    o = n
    n := a if w else n
    return (now=n, old=o)
""",
    "number without bound": """program p(a: int, w: bool) -> (now: int, old: int):
    state n: int = -7
    o = n
    n := a if w else n
    return (now=n, old=o)
""",
}
COUNTERS = {
    "both ways, by more than 1": """program p(up: bool, down: bool) -> (now: int, high: bool):
    state n: int = 7
    n := n + (2 if up else 0) - (3 if down else 0)
    return (now=n, high=n > 5)
""",
    "with a reset to two values": """program p(a: int[-3..4], reset: bool) -> (now: int, old: int):
    state n: int = -5
    o = n
    n := (11 if a > 0 else -40) if reset else n + a
    return (now=n, old=o)
""",
    "of a grid": """program p(a: real[-1..1 by 1/4], reset: bool) -> real:
    state n: real = 1/8
    n := 1/2 if reset else n + a
    return n
""",
    "cleared, and added to all the same": """program p(a: int, r: bool) -> int:
    state n: int = 2
    n := (0 if r else n) + a
    return n
""",
}


@cache
def graph_of(text: str) -> Any:
    """The graph of a text, or of an example by its path."""
    program = lsrl.parse(text) if "program" in text else lsrl.load(ROOT / "examples" / f"{text}.lsrl")
    return program.graph


def compiled(text: str, target: str, dtype: torch.dtype = torch.float32) -> CompiledModel:
    return lsrl.compile(graph_of(text), target=target, dtype=dtype)


def columns_of(model: CompiledModel, batch: int, steps: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random inputs by name, (batch, steps) each."""
    g = torch.Generator().manual_seed(seed)
    out: dict[str, torch.Tensor] = {}
    for name, t in model.inputs:
        match t:
            case Bool():
                out[name] = torch.randint(0, 2, (batch, steps), generator=g).bool()
            case Symbols():
                out[name] = torch.randint(0, len(t.names) + int(t.other), (batch, steps), generator=g)
            case Int():
                lo, hi = -9 if t.lo is None else t.lo, 9 if t.hi is None else t.hi
                out[name] = torch.randint(lo, hi + 1, (batch, steps), generator=g)
            case _:
                out[name] = torch.randint(-4, 5, (batch, steps), generator=g).double() / 4
    return out


def rows_of(columns: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
    """The first sequence of some columns, row by row."""
    steps = len(next(iter(columns.values()))[0])
    return [{n: x[0, t].item() for n, x in columns.items()} for t in range(steps)]


def parameter_of(model: CompiledModel, name: str) -> torch.Tensor:
    """The parameter of that name in the first mixer that has one which is not zero."""
    mixers = [layer.mixer for layer in model.layers if isinstance(layer, GatedLayer) and layer.mixer is not None]
    return next(m.get_parameter(name) for m in mixers if m.get_parameter(name).any())


def randomised(mixer: torch.nn.Module, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in mixer.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64) / 2)


def assert_forms_agree(model: CompiledModel) -> None:
    """A whole sequence, the same in parts, and token by token give the same bits, and the interpreter's values."""
    x = columns_of(model, 3, 150)
    whole, end = model.outputs_of(x)
    rng = random.Random(1)
    state, at, parts = model.initial_state(3), 0, []
    while at < 150:
        n = rng.choice([1, 1, 2, 5, 31])
        out, state = model.outputs_of({k: v[:, at : at + n] for k, v in x.items()}, state)
        parts.append(out)
        at += n
    for name, value in whole.items():
        assert torch.equal(torch.cat([p[name] for p in parts], 1), value)
    assert all(torch.equal(a, b) for a, b in zip(state, end, strict=True))
    rows = rows_of(x)
    assert list(run_model(model, model.graph, rows)) == list(Interpreter(model.graph).run(rows))


def assert_saved_and_poked(model: CompiledModel, value: Any, path: Path) -> None:
    """Saved and loaded a model is the same; probe follows `n` in the interpreter, and poke writes it."""
    model.save(path)
    again = load_model(path)
    x = columns_of(model, 2, 60)
    one, state = model.outputs_of(x)
    two, other = again.outputs_of(x)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert all(torch.equal(a, b) for a, b in zip(state, other, strict=True))
    assert all(not t.any() for t in model.initial_state(1))
    assert model.probe(model.initial_state(1), "n").item() == model.graph.states[0].init
    assert torch.equal(again.probe(state, "n").double(), one["now"][:, -1].double())
    poked = again.poke(state, "n", value)
    assert again.probe(poked, "n").tolist() == [value, value]
    held = {"w": torch.zeros(2, 1, dtype=torch.bool), "a": x["a"][:, :1]} if "w" in x else {
        k: torch.zeros_like(v[:, :1]) for k, v in x.items()}
    after, _ = again.outputs_of(held, poked)
    assert after["now"][:, 0].tolist() == [value, value]


def assert_mutants_are_refuted(model: CompiledModel, sites: dict[str, float]) -> None:
    """With the first non-zero entry of a parameter multiplied by a factor, the verifier finds a counterexample."""
    for site, factor in sites.items():
        mutant = copy.deepcopy(model)
        parameter = parameter_of(mutant, site)
        places = parameter.nonzero()
        with torch.no_grad():
            parameter[tuple(places[0])] *= factor
        assert verify(model.graph, mutant, seconds=60).kind == "REFUTED", site


def assert_equal_in_the_library(model: CompiledModel, steps: int, varied: str) -> None:
    """Layers of the transformers library give the same outputs; `varied` names one that takes more than one value."""
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("TRANSFORMERS IS NOT INSTALLED: pip install 'lsrl[transformers]'; its layers were not compared")
    x = columns_of(model, 2, steps)
    own, _ = model.outputs_of(x)
    theirs = model.to_transformers()(x)
    theirs = theirs if isinstance(theirs, dict) else {next(iter(own)): theirs}
    assert all(torch.equal(own[k], theirs[k]) for k in own)
    assert own[varied].min() < own[varied].max()
    short = {k: v[:, :1] for k, v in x.items()}
    one = model.to_transformers()(short)
    assert torch.equal(one if isinstance(one, torch.Tensor) else one[varied], own[varied][:, :1])
