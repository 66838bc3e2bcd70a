"""Programs of which little is left: no input that matters, no state that matters, nothing at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lsrl.backends.model import load_model
from lsrl.backends.registry import TARGETS, compile_graph
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter
from lsrl.verify import verify
from lsrl.verify.testing import run_model

PROGRAMS = {
    "constant": "program p(x: bool) -> bool:\n    return false\n",
    "constant number": "program p(x: bool) -> int:\n    return 7\n",
    "input alone": "program p(x: bool) -> bool:\n    return x\n",
    "a state that never changes": "program p(x: bool) -> bool:\n    state s: bool = true\n    return s\n",
    "a state that turns out constant": """program p(x: {"a", "b"}) -> bool:
    state s: bool = true
    s := x == hold(x, s, "a")
    return s
""",
    "time alone": "program p(x: bool) -> bool:\n    return first_token()\n",
}


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize("name", PROGRAMS)
def test_little_to_do(name: str, target: str, uniform: bool, tmp_path: Path) -> None:
    graph = read_module(Source("p.lsrl", PROGRAMS[name]), Path()).elaborate()
    rows = [{"x": bool(t % 3)} for t in range(7)] if "{" not in PROGRAMS[name] else [{"x": t % 2} for t in range(7)]
    want = list(Interpreter(graph).run(rows))
    if uniform and TARGETS[target].layer is not None:
        with pytest.raises(LsrlError) as error:
            compile_graph(graph, target, torch.float32, uniform)
        assert error.value.diagnostics[0].code == "L409"
        return
    model = compile_graph(graph, target, torch.float32, uniform)
    assert list(run_model(model, graph, rows)) == want
    assert verify(graph, model).kind == "PROVED"
    model.save(tmp_path / "p.safetensors")
    assert list(run_model(load_model(tmp_path / "p.safetensors"), graph, rows)) == want
