"""The noise study as a table, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from lsrl.diagnostics import LsrlError
from lsrl.robustness.noise import Measurement
from lsrl.robustness.prediction import Prediction
from lsrl.streams.sinks import write_whole

__all__ = ["Row", "draw_plot", "plot_ending", "render_json", "render_table"]


@dataclass(frozen=True, slots=True)
class Row:
    """One target of a study."""

    target: str
    parameters: int
    nonzero: int
    measurement: Measurement
    prediction: Prediction


def render_table(rows: Sequence[Row]) -> str:
    """Wrong tokens for each σ and target: the median over the draws, and the least and the greatest where they differ.

    Below it, for each target, the first error measured and what is predicted.
    """
    if not rows:
        return ""
    sigmas = [p.sigma for p in rows[0].measurement.points]
    cells = [["noise σ", *(r.target for r in rows)]]
    for i, sigma in enumerate(sigmas):
        cells.append([f"{sigma:.3g}", *(_share(r.measurement.points[i].wrong) for r in rows)])
    facts = [["target", "non-zero", "first error", "half the draws", "expected", "certain up to"]]
    for r in rows:
        m, p = r.measurement, r.prediction
        certain = "nothing promised"
        if p.promise is not None:
            length = "" if p.promise.tokens is None else f" for {p.promise.tokens} tokens"
            certain = f"{p.promise.delta:.2g}{length}"
        facts.append([r.target, f"{r.nonzero:,}", _size(m.first_error), _size(m.first_half),
                      "none" if p.expected is None else f"{p.expected:.2g}", certain])
    reasons = [f"{r.target}: " + (f"first to give way: {r.prediction.promise.weakest}"
                                  if r.prediction.promise is not None else r.prediction.why) for r in rows]
    return "\n".join([*_aligned(cells), "", *_aligned(facts), "", *reasons])


def _share(wrong: Sequence[float]) -> str:
    from statistics import median

    least, most = min(wrong), max(wrong)
    shown = f"{median(wrong):.1%}"
    return shown if least == most else f"{shown} ({least:.1%} to {most:.1%})"


def _size(sigma: float | None) -> str:
    return "none" if sigma is None else f"{sigma:.3g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(x.ljust(w) for x, w in zip(row, wide, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("─" * w for w in wide))
    return lines


def render_json(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """The study as a JSON object. about: the program, the options and the seed."""
    targets = []
    for r in rows:
        p = r.prediction
        certain = None if p.promise is None else {
            "delta": p.promise.delta, "tokens": p.promise.tokens, "weakest": p.promise.weakest}
        targets.append({
            "target": r.target, "parameters": r.parameters, "nonzero": r.nonzero,
            "points": [{"sigma": x.sigma, "median": x.median, "wrong": list(x.wrong)} for x in r.measurement.points],
            "first_error": r.measurement.first_error, "first_half": r.measurement.first_half,
            "expected": p.expected, "promise": certain, "no_promise": p.why})
    return json.dumps({**about, "targets": targets}, indent=1, ensure_ascii=False)


def plot_ending(path: str | Path) -> str:
    """The picture's form, "svg" or "png". Raises LsrlError (L613) for another ending."""
    ending = Path(path).suffix.lower()
    if ending not in (".svg", ".png"):
        raise LsrlError.of("L613", f"no plot has the file ending `{ending}`", help="use .svg or .png")
    return ending[1:]


def draw_plot(rows: Sequence[Row], title: str, path: str | Path) -> None:
    """Writes the share of wrong tokens over σ: medians as lines, the range over the draws as bands, a dashed line
    where a promise ends. The same rows always give the same bytes.

    Raises LsrlError: L613 for another ending than .svg and .png, L615 without matplotlib, L611 if the file cannot be
    written.
    """
    form = plot_ending(path)
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise LsrlError.of("L615", "plots need the package matplotlib",
                           help='install "lsrl[picture]", or take the figures with --json') from None
    figure = Figure(figsize=(7.0, 4.2), dpi=144)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for k, r in enumerate(rows):
        points = [p for p in r.measurement.points if p.sigma > 0]
        sigmas = [p.sigma for p in points]
        colour = f"C{k % 10}"
        axes.plot(sigmas, [100 * p.median for p in points], marker="o", markersize=3, color=colour, label=r.target)
        axes.fill_between(sigmas, [100 * min(p.wrong) for p in points], [100 * max(p.wrong) for p in points],
                          color=colour, alpha=0.15, linewidth=0)
        if r.prediction.promise is not None:
            axes.axvline(r.prediction.promise.delta, color=colour, linestyle="--", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_ylim(-3, 103)
    axes.set_xlabel("standard deviation of the noise on non-zero weights")
    axes.set_ylabel("wrong tokens, %")
    axes.set_title(title)
    axes.legend(loc="upper left", fontsize=8)
    figure.tight_layout()
    out = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "lsrl"}):
        figure.savefig(out, format=form, metadata={"Date": None} if form == "svg" else {"Software": None})
    write_whole(path, out.getvalue())
