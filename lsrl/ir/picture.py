"""Places the boxes of a drawing in layers, and writes it as SVG or PNG.

A layer holds the boxes whose longest path from a source has that many arrows. Within a layer boxes are ordered by the
mean place of their neighbours (Sugiyama, Tagawa and Toda 1981), in a fixed number of sweeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from typing import TypeAlias
from xml.sax.saxutils import escape

from lsrl.diagnostics import LsrlError
from lsrl.ir.drawing import Drawing

__all__ = ["Placed", "place", "to_png", "to_svg"]

_SWEEPS = 8
_COLUMN_GAP, _ROW_GAP = 50.0, 14.0
_CHARACTER, _LINE, _PADDING, _MARGIN = 6.6, 15.0, 8.0, 24.0
_COLOURS = ("#cfe8fc", "#d8f0d2", "#fde3c8", "#ead9f7", "#fbd3dc", "#d3f0ee", "#f4efc4", "#e0e0e0")
_EDGE = {"input": "#1f77b4", "state": "#b8860b", "output": "#2ca02c", "check": "#c0392b", "node": "#777777"}


_MOST_BENDS = 20_000

Point: TypeAlias = "tuple[float, float]"


@dataclass(frozen=True, slots=True)
class Placed:
    """The centre and size of each box and the way of each arrow, in drawing order; the size of the whole; in points.

    A way is a chain of Bézier curves: a start, then two control points and an end for each curve.
    """

    centres: tuple[Point, ...]
    sizes: tuple[Point, ...]
    ways: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def place(drawing: Drawing) -> Placed:
    """Where boxes and arrows go: columns by layer from left to right. n log n in boxes and bends.

    An arrow over several layers bends in each, so that it goes around the boxes there (up to 20,000 bends in all).
    """
    sizes = [_size(box.label) for box in drawing.boxes]
    layer = [0] * len(sizes)
    for arrow in drawing.arrows:  # in the order of their targets, but for feedback
        if not arrow.feedback:
            layer[arrow.target] = max(layer[arrow.target], layer[arrow.source] + 1)
    chains: dict[int, list[int]] = {}
    left = _MOST_BENDS
    for number, arrow in enumerate(drawing.arrows):
        between = range(layer[arrow.source] + 1, layer[arrow.target])
        if not arrow.feedback and len(between) <= left:
            left -= len(between)
            chains[number] = [arrow.source, *range(len(layer), len(layer) + len(between)), arrow.target]
            layer += between
            sizes += [(0.0, 2.0)] * len(between)
    columns: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for i, at in enumerate(layer):
        columns[at].append(i)
    _order(columns, [pair for chain in chains.values() for pair in pairwise(chain)], len(layer))
    centres, width, height = _coordinates(columns, sizes)
    count = len(drawing.boxes)
    ways: list[tuple[Point, ...]] = []
    for number, arrow in enumerate(drawing.arrows):
        if arrow.feedback:
            ways.append(_back(centres, sizes, arrow.source, arrow.target))
        else:
            ways.append(_along(centres, sizes, chains.get(number, [arrow.source, arrow.target])))
    below = max((y for way in ways for _, y in way), default=0.0)
    return Placed(tuple(centres[:count]), tuple(sizes[:count]), tuple(ways), width, max(height, below + _MARGIN))


def _order(columns: list[list[int]], pairs: Sequence[tuple[int, int]], count: int) -> None:
    after: list[list[int]] = [[] for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    for source, target in pairs:
        after[source].append(target)
        before[target].append(source)
    rank = {i: float(at) for column in columns for at, i in enumerate(column)}

    def mean(i: int, beside: list[list[int]]) -> float:
        return sum(rank[j] for j in beside[i]) / len(beside[i]) if beside[i] else rank[i]

    for sweep in range(_SWEEPS):
        beside = before if sweep % 2 == 0 else after
        for column in columns if sweep % 2 == 0 else reversed(columns):
            means = {i: mean(i, beside) for i in column}
            column.sort(key=means.__getitem__)
            rank.update((i, float(at)) for at, i in enumerate(column))


def _coordinates(columns: Sequence[Sequence[int]], sizes: Sequence[Point]) -> tuple[list[Point], float, float]:
    heights = [sum(sizes[i][1] + _ROW_GAP for i in column) - _ROW_GAP for column in columns]
    tallest = max(heights, default=0.0)
    centres: list[Point] = [(0.0, 0.0)] * len(sizes)
    x = _MARGIN
    for column, height in zip(columns, heights, strict=True):
        width = max((sizes[i][0] for i in column), default=0.0)
        y = _MARGIN + (tallest - height) / 2
        for i in column:
            centres[i] = (x + width / 2, y + sizes[i][1] / 2)
            y += sizes[i][1] + _ROW_GAP
        x += width + _COLUMN_GAP
    return centres, max(x - _COLUMN_GAP, _MARGIN) + _MARGIN, tallest + 2 * _MARGIN


def _size(label: str) -> Point:
    lines = label.split("\n")
    return max(map(len, lines)) * _CHARACTER + 2 * _PADDING, len(lines) * _LINE + _PADDING


def _back(centres: Sequence[Point], sizes: Sequence[Point], source: int, target: int) -> tuple[Point, ...]:
    """From the lower side of one box around below to that of another."""
    (x0, y0), (x1, y1) = centres[source], centres[target]
    y0, y1 = y0 + sizes[source][1] / 2, y1 + sizes[target][1] / 2
    low = max(y0, y1) + 30.0
    return (x0, y0), (x0, low), (x1, low), (x1, y1)


def _along(centres: Sequence[Point], sizes: Sequence[Point], chain: Sequence[int]) -> tuple[Point, ...]:
    """From the right side of the first through the bends to the left side of the last."""
    x, y = centres[chain[0]]
    x += sizes[chain[0]][0] / 2
    way = [(x, y)]
    for i in chain[1:]:
        to, high = centres[i][0] - sizes[i][0] / 2, centres[i][1]
        bend = max(10.0, (to - x) / 2)
        way += [(x + bend, y), (to - bend, high), (to, high)]
        x, y = to, high
    return tuple(way)


def to_svg(drawing: Drawing) -> str:
    """The drawing as an SVG file. The same drawing always gives the same bytes."""
    placed = place(drawing)
    shown = [(i, title) for i, title in enumerate(drawing.cells) if any(b.cell == i for b in drawing.boxes)]
    height = placed.height + 20.0 + 18.0 * len(shown)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{placed.width:.0f}" height="{height:.0f}" '
           f'font-family="Helvetica, Arial, sans-serif" font-size="11">',
           f"<title>{escape(drawing.title)}</title>",
           '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
           '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>',
           '<rect width="100%" height="100%" fill="white"/>']
    for arrow, way in zip(drawing.arrows, placed.ways, strict=True):
        start, *rest = (f"{x:.1f},{y:.1f}" for x, y in way)
        dash = ' stroke-dasharray="4 3"' if arrow.feedback else ""
        out.append(f'<path d="M{start} C{" ".join(rest)}" fill="none" stroke="#555"{dash} marker-end="url(#tip)"/>')
    for box, (x, y), (w, h) in zip(drawing.boxes, placed.centres, placed.sizes, strict=True):
        fill = "white" if box.cell is None else _COLOURS[box.cell % len(_COLOURS)]
        radius = h / 2 if box.kind in ("input", "output") else 3.0
        weight = 1 if box.kind == "node" else 2
        out.append(f'<rect x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{radius:.1f}" '
                   f'fill="{fill}" stroke="{_EDGE[box.kind]}" stroke-width="{weight}"/>')
        lines = box.label.split("\n")
        for k, line in enumerate(lines):
            at = y + (k - (len(lines) - 1) / 2) * _LINE + 4
            style = ' font-weight="bold"' if k == 0 and len(lines) > 1 else ""
            out.append(f'<text x="{x:.1f}" y="{at:.1f}" text-anchor="middle"{style}>{escape(line)}</text>')
    for row, (i, title) in enumerate(shown):
        y = placed.height + 18.0 * row
        out.append(f'<rect x="{_MARGIN}" y="{y:.1f}" width="12" height="12" fill="{_COLOURS[i % len(_COLOURS)]}" '
                   'stroke="#777"/>')
        out.append(f'<text x="{_MARGIN + 18}" y="{y + 10:.1f}">cell {escape(title)}</text>')
    return "\n".join([*out, "</svg>", ""])


def to_png(drawing: Drawing) -> bytes:
    """The drawing as a PNG image. Raises LsrlError (L615) without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
        from matplotlib.path import Path
    except ImportError:
        raise LsrlError.of("L615", "PNG pictures need the package matplotlib",
                           help='install "lsrl[picture]", or write an .svg file') from None
    placed = place(drawing)
    dots = min(144.0, 20_000 * 72 / max(placed.width, placed.height))  # an image of at most 20,000 pixels a side
    figure = Figure(figsize=(placed.width / 72, (placed.height + 30) / 72), dpi=dots)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, placed.width)
    axes.set_ylim(placed.height + 30, 0)
    axes.axis("off")
    for arrow, way in zip(drawing.arrows, placed.ways, strict=True):
        curve = Path(way, (Path.MOVETO, *[Path.CURVE4] * (len(way) - 1)))
        axes.add_patch(FancyArrowPatch(path=curve, arrowstyle="-|>", mutation_scale=8, color="#555555",
                                       linestyle="--" if arrow.feedback else "-", linewidth=0.8))
    for box, (x, y), (w, h) in zip(drawing.boxes, placed.centres, placed.sizes, strict=True):
        fill = "white" if box.cell is None else _COLOURS[box.cell % len(_COLOURS)]
        radius = h / 2 if box.kind in ("input", "output") else 3.0
        axes.add_patch(FancyBboxPatch((x - w / 2, y - h / 2), w, h, boxstyle=f"round,pad=0,rounding_size={radius}",
                                      facecolor=fill, edgecolor=_EDGE[box.kind],
                                      linewidth=1 if box.kind == "node" else 2))
        axes.text(x, y, box.label.replace("$", r"\$"), ha="center", va="center", fontsize=8)
    out = BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
