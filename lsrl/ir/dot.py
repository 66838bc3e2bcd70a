"""Pictures of graphs: DOT text, SVG (nothing else needed) and PNG (by matplotlib, the extra `picture`)."""

from __future__ import annotations

import os
from pathlib import Path

from lsrl.diagnostics import LsrlError
from lsrl.ir.drawing import Box, Drawing, draw
from lsrl.ir.graph import Graph

__all__ = ["graph_to_dot", "write_picture"]

_MOST_BOXES = 4000
_SHAPES = {"input": "ellipse", "state": "box", "output": "doubleoctagon", "check": "diamond", "node": "plaintext"}


def graph_to_dot(graph: Graph) -> str:
    """The graph in Graphviz's language: cells as clusters, feedback as dashed arrows. Deterministic; linear."""
    drawing = draw(graph)
    lines = [f"digraph {_quoted(drawing.title)} {{", "  rankdir=LR;", '  node [fontname="Helvetica", fontsize=11];']
    members: list[list[int]] = [[] for _ in drawing.cells]
    for i, box in enumerate(drawing.boxes):
        if box.cell is None:
            lines.append(f"  {_dot_node(i, box)}")
        else:
            members[box.cell].append(i)
    for number, (title, boxes) in enumerate(zip(drawing.cells, members, strict=True)):
        if boxes:
            lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted('cell ' + title)}; style=rounded;"]
            lines += [f"    {_dot_node(i, drawing.boxes[i])}" for i in boxes]
            lines.append("  }")
    for arrow in drawing.arrows:
        style = " [style=dashed, constraint=false]" if arrow.feedback else ""
        lines.append(f"  n{arrow.source} -> n{arrow.target}{style};")
    return "\n".join([*lines, "}", ""])


def _dot_node(number: int, box: Box) -> str:
    style = ", style=filled, fillcolor=lightyellow" if box.kind == "state" else ""
    return f"n{number} [label={_quoted(box.label)}, shape={_SHAPES[box.kind]}{style}];"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def write_picture(graph: Graph, path: Path) -> None:
    """Writes the picture that the file's ending names: .svg, .png or .dot.

    Raises LsrlError: L613 for another ending or a graph too large to draw, L615 for PNG without matplotlib, L611 if the
    file cannot be written.
    """
    data = _picture(graph, path.suffix.lower())
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LsrlError.of("L611", f"{path} cannot be written: {error.strerror or error}") from None


def _picture(graph: Graph, ending: str) -> bytes:
    from lsrl.ir.picture import to_png, to_svg

    if ending == ".dot":
        return graph_to_dot(graph).encode()
    if ending not in (".svg", ".png"):
        raise LsrlError.of("L613", f"no picture has the file ending `{ending}`", help="use .svg, .png or .dot")
    drawing: Drawing = draw(graph)
    if len(drawing.boxes) > _MOST_BOXES:
        raise LsrlError.of("L613", f"a picture of {len(drawing.boxes)} boxes is too large to draw",
                           help="write a .dot file, or draw the graph after the passes (--after all)")
    return to_svg(drawing).encode() if ending == ".svg" else to_png(drawing)
