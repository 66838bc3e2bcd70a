"""Pictures of graphs: DOT, SVG and PNG."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lsrl.diagnostics import LsrlError
from lsrl.ir.dot import graph_to_dot, write_picture
from lsrl.ir.drawing import draw
from lsrl.ir.parser import parse_graph
from lsrl.ir.picture import place

HERE = Path(__file__).parent
GRAPH = parse_graph((HERE / "balanced.graph").read_text(encoding="utf-8"))


def test_dot_text(golden: Callable[[str, Path], None]) -> None:
    golden(graph_to_dot(GRAPH), HERE / "balanced.dot")


def test_feedback_arrows_lead_to_their_state() -> None:
    drawing = draw(GRAPH)
    back = [(drawing.boxes[a.source].label, drawing.boxes[a.target].label) for a in drawing.arrows if a.feedback]
    assert back == [("depth\n· + ·", "depth: int"), ("broken\n· or ·", "broken: bool")]
    assert drawing.cells == ("depth", "broken")


def test_svg_is_well_formed_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        write_picture(GRAPH, tmp_path / name)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    shown = {e.text for e in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {'tok: {"(", ")", *}', "· == 0", "out", "assert L501", "cell depth"} <= shown


def test_boxes_do_not_overlap() -> None:
    placed = place(draw(GRAPH))
    boxes = list(zip(placed.centres, placed.sizes, strict=True))
    for i, ((x0, y0), (w0, h0)) in enumerate(boxes):
        assert w0 / 2 <= x0 <= placed.width - w0 / 2 and h0 / 2 <= y0 <= placed.height - h0 / 2
        for (x1, y1), (w1, h1) in boxes[:i]:
            assert abs(x0 - x1) >= (w0 + w1) / 2 or abs(y0 - y1) >= (h0 + h1) / 2


def test_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_picture(GRAPH, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_png_without_matplotlib_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(LsrlError) as caught:
        write_picture(GRAPH, tmp_path / "a.png")
    (one,) = caught.value.diagnostics
    assert one.code == "L615" and "lsrl[picture]" in one.help
    assert not list(tmp_path.iterdir())


def test_other_endings_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LsrlError, match=r"`\.gif`"):
        write_picture(GRAPH, tmp_path / "a.gif")
    with pytest.raises(LsrlError, match="cannot be written"):
        write_picture(GRAPH, tmp_path / "missing" / "a.svg")


def test_a_graph_too_large_to_draw_can_still_be_written_as_dot(tmp_path: Path) -> None:
    lines = ["graph big", "%0 = input x : int", *(f"%{i} = affine 1*%{i - 1} + 1 : int" for i in range(1, 4100))]
    big = parse_graph("\n".join([*lines, "output out = %4099", ""]))
    with pytest.raises(LsrlError, match="too large to draw"):
        write_picture(big, tmp_path / "a.svg")
    write_picture(big, tmp_path / "a.dot")
    assert (tmp_path / "a.dot").read_text(encoding="utf-8").count("->") == 4100 - 1 + 1
