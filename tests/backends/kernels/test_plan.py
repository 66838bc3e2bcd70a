"""Plans are values: printed, counted and chosen from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lsrl
from lsrl.backends.kernels.adjoint import make_adjoint
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Options, Shape
from lsrl.backends.kernels.cost import Device, choose_shape
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.backends.kernels.plan import Plan, make_plan
from lsrl.cli.main import main
from lsrl.diagnostics import LsrlError
from tests.backends.kernels.cells import CELLS
from tests.backends.kernels.machines import parts_of
from tests.corpus import ROOT


def plan(text: str, edge: torch.dtype = torch.float32) -> Plan:
    program = lsrl.parse(text, n=4) if "[n]" in text else lsrl.parse(text)
    return make_plan(Parts.of(make_lanes(program.graph)), Options(edge))


def test_the_text_of_a_plan() -> None:
    program = lsrl.load(ROOT / "examples" / "regular" / "modular_arithmetic.lsrl")
    assert make_plan(Parts.of(make_lanes(program.graph))).text() == """\
kernel plan of `modular_arithmetic`
moves     tok uint8 in, out uint8 out: 2 B a token
numbers   exact; 12 B of state
work      20 operations a token, at most 11 values alive
cells
  operator  latch      latch   the later one that wrote; 2 operations on bool int32
  term      automaton  maps    maps of states, composed field by field; 32 operations on int32
  total     automaton  cyclic  + modulo the number of states; 4 operations on int32
table     75 states, 8 letters: on a CPU, a token is a look-up
          speculation: 1024 random letters leave 5 of 75 states possible before a chunk
shapes    sequential, block, split
"""


def test_bytes_are_those_of_the_edges() -> None:
    assert plan(CELLS["gated"]).token_bytes == 12
    assert plan(CELLS["gated"], edge=torch.bfloat16).token_bytes == 6
    assert plan(CELLS["matrix"]).token_bytes == 4 * (2 + 3)
    assert plan("program p(b: byte) -> bool:\n    return b == 3\n").token_bytes == 2


def test_a_cell_without_a_scan_says_why() -> None:
    found = plan(CELLS["smooth"])
    assert found.shapes == ("sequential",) and found.scan_bytes is None
    assert found.cells[0].without == "a token at a time: a smooth cell is no scan of few numbers"


@pytest.mark.parametrize(("which", "told", "shapes"), [
    (("register", 64, 2), "speculation: 16 random letters leave 1 of 64 states possible before a chunk",
     ("sequential", "speculative")),
    (("parities", 32, 2), "speculation: 16 random letters leave 2 of 32 states possible before a chunk",
     ("sequential", "speculative")),
    (("permutation", 24, 2), "letters permute the states: long sequences are not cut by speculation",
     ("sequential",))])
def test_what_speculation_there_is(which: tuple[str, int, int], told: str, shapes: tuple[Shape, ...]) -> None:
    found = make_plan(parts_of(*which))
    assert found.speculation == told and found.shapes == shapes
    assert found.table == f"{which[1]} states, 2 letters: on a CPU, a token is a look-up"
    assert f"table     {found.table}\n          {told}\nshapes    {', '.join(shapes)}\n" in found.text()


def test_the_adjoint_of_a_smooth_cell_is_a_scan() -> None:
    """Linear in the cotangents of two states: the parallel backward that a sequential forward allows."""
    adjoint = make_adjoint(make_lanes(lsrl.parse(CELLS["smooth"], n=4).graph), resets=False)
    found = make_plan(Parts.of(adjoint.lanes))
    assert [(c.states, c.method) for c in found.cells if len(c.states) == 2] == [(("~d.h", "~d.c"), "affine")]
    assert "block" in found.shapes and adjoint.needs == ("h", "c")


@pytest.mark.parametrize(("shapes", "device", "rows", "tokens", "chosen"), [
    (("sequential", "block", "split"), Device("gpu", 270_000), 1024, 512, "block"),
    (("sequential", "block", "split"), Device("gpu", 270_000), 300_000, 512, "sequential"),
    (("sequential", "block", "split"), Device("gpu", 270_000), 4, 1 << 20, "split"),
    (("sequential",), Device("gpu", 270_000), 4, 1 << 20, "sequential"),
    (("sequential", "speculative"), Device("gpu", 270_000), 4, 1 << 20, "speculative"),
    (("sequential", "speculative"), Device("gpu", 270_000), 4, 1 << 12, "sequential"),
    (("sequential", "speculative"), Device("gpu", 270_000), 4096, 1 << 20, "sequential"),
    (("sequential", "table"), Device("cpu", 32, 2), 4, 1 << 20, "table"),
    (("sequential", "table", "speculative"), Device("cpu", 16, 1), 1, 1 << 20, "table"),
    (("sequential", "table", "speculative"), Device("cpu", 64, 4), 1, 1 << 20, "speculative"),
    (("sequential", "table", "speculative"), Device("cpu", 64, 4), 1, 1 << 14, "table"),
    (("sequential", "table", "speculative"), Device("cpu", 64, 4), 2, 1 << 20, "table"),
    (("sequential", "split"), Device("cpu", 64, 4), 1, 1 << 20, "split"),
    (("sequential", "split"), Device("cpu", 32, 2), 1, 1 << 20, "sequential"),
    (("sequential", "split"), Device("cpu", 64, 4), 1, 1 << 12, "sequential"),
    (("sequential", "split"), Device("cpu", 32, 2), 8, 1 << 20, "sequential"),
    (("sequential", "split"), Device("cpu", 16, 1), 1, 1 << 20, "sequential"),
])
def test_the_shape_that_is_chosen(shapes: tuple[Shape, ...], device: Device, rows: int, tokens: int,
                                  chosen: Shape) -> None:
    found, why = choose_shape(shapes, device, rows, tokens, 1)
    assert found == chosen and why


def test_a_product_that_outgrows_64_bits_is_refused_with_its_place() -> None:
    text = "program powers(x: int[0..9]) -> int:\n    state s: int = 0\n    s := s + x\n    return s ** 4\n"
    with pytest.raises(LsrlError) as error:
        plan(text)
    first = error.value.diagnostics[0]
    assert (first.code, first.span.line, first.span.column) == ("L411", 2, 5)
    assert first.message == "a number of `powers` may need more than 64 bits"


def test_a_state_that_passes_its_limit_stops_the_run_there() -> None:
    model = lsrl.parse("program doubled(x: int[0..9]) -> int:\n    state s: int = 1\n    s := 2 * s + x\n"
                       "    return s\n").compile("c")
    out, _ = model(torch.zeros(2, 40, dtype=torch.long))
    assert out[1].tolist() == [2 ** t for t in range(1, 41)]
    with pytest.raises(LsrlError, match=r"L411.*grown beyond the numbers of its kernel at token 50 of row 0"):
        model(torch.zeros(2, 60, dtype=torch.long))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(ROOT / "examples" / "text" / "balanced.lsrl")
    assert main(["kernel", file, "--plan"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("kernel plan of `balanced`\n")
    assert main(["kernel", file, "--target", "c", "-o", str(tmp_path / "balanced.c")]) == 0
    text = (tmp_path / "balanced.c").read_text()
    assert all(line in text for line in shown.splitlines()) and "#include <stdint.h>" in text
    assert main(["kernel", file, "--target", "triton"]) == 0
    text = capsys.readouterr().out
    assert "@triton.jit" in text and "import lsrl" not in text and "from lsrl" not in text
    assert main(["kernel", file, "-o", str(tmp_path / "no" / "such.c")]) == 2
    assert "error[L611]" in capsys.readouterr().err
