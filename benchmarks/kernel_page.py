"""What `benchmarks.kernels` found, as JSON, as a page of the documentation and as its picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Figure", "Measured", "Row", "SeriesRow", "keep", "page", "row_line"]

_GPU_ROWS = ("gated", "the same with gradients", "running sum", "running maximum", "diagonal LSTM", "LSTM", "GRU",
             "automaton of 16 states, a byte in and out", "parity")
_OURS = ("lsrl", "module call")
_COLOURS = {"lsrl": "#1b6ca8", "module call": "#7fb2d9", "copy": "#555555"}


@dataclass
class Figure:
    """Seconds of one contender: the quartiles of its rounds."""

    name: str
    low: float
    median: float
    high: float


@dataclass
class Row:
    """name, what was measured, tokens (times lanes), bytes moved, the figures; missing: rivals that were left out.

    goal: in words; goal_of and goal_least as `Goal` has them.
    """

    name: str
    what: str
    elements: int
    bytes: int
    figures: list[Figure] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    goal: str = ""
    goal_of: str = ""
    goal_least: float = 0.0

    def of(self, name: str) -> Figure | None:
        return next((f for f in self.figures if f.name == name), None)

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None where there is none, or its rival did not run."""
        own, other = self.of("lsrl"), self.of(self.goal_of)
        if not self.goal or own is None:
            return None
        if self.goal_of == "rate":
            return self.elements / own.median >= self.goal_least
        return None if other is None else other.median / own.median >= self.goal_least


@dataclass
class SeriesRow:
    """A row at several sizes along one axis, "tokens" or "rows"."""

    name: str
    what: str
    axis: str
    sizes: list[int]
    rows: list[Row]

    def costs(self, contender: str) -> Iterator[tuple[int, float]]:
        """Nanoseconds an element at each size at which the contender ran."""
        for size, row in zip(self.sizes, self.rows, strict=True):
            figure = row.of(contender)
            if figure is not None:
                yield size, figure.median / row.elements * 1e9

    @property
    def contenders(self) -> list[str]:
        return list(dict.fromkeys(f.name for row in self.rows for f in row.figures))


@dataclass
class Measured:
    """All that one run of the command found on one machine."""

    machine: str
    lsrl: str
    date: str
    rounds: int
    rows: list[Row]
    series: list[SeriesRow]

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Measured:
        """What `asdict` made a dict of."""
        def row(r: dict[str, Any]) -> Row:
            return Row(**{**r, "figures": [Figure(**f) for f in r["figures"]]})

        return cls(**{**kept, "rows": [row(r) for r in kept["rows"]],
                      "series": [SeriesRow(**{**s, "rows": [row(r) for r in s["rows"]]}) for s in kept["series"]]})


def row_line(row: Row) -> str:
    """A row of the page's table."""
    own, copy = row.of("lsrl"), row.of("copy")
    assert own is not None and copy is not None
    rivals = [f"{f.name} {f.median / own.median:.3g}×" for f in row.figures if f.name not in ("lsrl", "copy")]
    reached = {None: "", True: ": reached", False: ": missed"}[row.reached]
    return (f"| {row.what} | {_ms(own.median)} ({_ms(own.low)} to {_ms(own.high)}) | {row.elements / own.median:.3g} | "
            f"{row.bytes / 1e6:.3g} | {copy.median / own.median:.0%} | {', '.join(rivals) or '-'} | "
            f"{row.goal or '-'}{reached} |")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds < 0.9995 else f"{seconds * 1e3:.0f}"


_ABOUT = """# How fast kernels are

`python -m benchmarks --keep docs` measures and writes this page, `speed.json` and the picture; `--gpu` adds the part of
a GPU. In each round every contender of a row runs once, in one process; figures are medians, with the quartiles. "of
copy" is the time of copying as many bytes as the kernel must move, over the kernel's. Rows are the kernel alone, into
tensors that are there already, as copies and compiled loops have theirs; a `module call` also allocates its outputs.
Outputs of rivals are compared with ours.
"""
_NO_GPU = """
No GPU could be had for this page. Its rows are empty rather than guessed. Kernels for GPUs are compiled by tests, and
run in Triton's interpreter.

"""
_HEAD = ("| work | ours, ms (quartiles) | elements a second | MB moved | of copy | rivals: times ours | goal |\n"
         "| --- | --- | --- | --- | --- | --- | --- |\n")


def page(found: dict[str, Measured]) -> str:
    """The page of the documentation, from what was found on a "cpu" and on a "gpu"."""
    parts = [_ABOUT]
    for device, title in (("cpu", "On a CPU"), ("gpu", "On a GPU")):
        parts.append(f"\n## {title}\n")
        if device not in found:
            empty = _HEAD + "".join(f"| {what} | | | | | | |\n" for what in _GPU_ROWS)
            parts.append(_NO_GPU + empty if device == "gpu" else "\nNot measured yet.\n")
            continue
        one = found[device]
        parts.append(f"\n{one.date}, lsrl {one.lsrl}: {one.machine}. Medians of {one.rounds} rounds.\n\n{_HEAD}"
                     + "".join(row_line(r) + "\n" for r in one.rows))
        missing = sorted({m for row in one.rows for m in row.missing})
        parts.append("".join(["\nLeft out:\n\n", *(f"- {m}\n" for m in missing)]) if missing else "")
        parts += [_series_table(s) for s in one.series]
        if one.series:
            name = "speed.svg" if device == "cpu" else "speed_gpu.svg"
            parts.append(f"\n![Cost of an element against tokens and rows]({name})\n")
    return "".join(parts)


def _series_table(s: SeriesRow) -> str:
    fixed = "8 rows" if s.axis == "tokens" else "1,024 tokens"
    lines = [f"\n{s.what[0].upper()}{s.what[1:]}: ns an element with {fixed}, by {s.axis}.\n",
             f"| | {' | '.join(f'{n:,}' for n in s.sizes)} |", "| --- " * (len(s.sizes) + 1) + "|"]
    for name in s.contenders:
        costs = dict(s.costs(name))
        lines.append(f"| {name} | {' | '.join(f'{costs[n]:.3g}' if n in costs else '-' for n in s.sizes)} |")
    return "\n".join(lines) + "\n"


def keep(folder: Path, device: str, found: Measured) -> None:
    """Writes the JSON (with what the other device has there), the page and the picture."""
    file = folder / "speed.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    kept[device] = asdict(found)
    file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (folder / "speed.md").write_text(page({d: Measured.of(k) for d, k in kept.items()}), encoding="utf-8")
    if found.series:
        picture(found.series, folder / ("speed.svg" if device == "cpu" else "speed_gpu.svg"))


def picture(series: list[SeriesRow], path: Path) -> None:
    """Nanoseconds an element of every contender against tokens and rows, a panel for each series."""
    try:
        import matplotlib
    except ImportError:
        print("no picture was drawn: matplotlib is not installed")
        return
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "speed", "svg.fonttype": "none"})  # equal figures give equal bytes
    import matplotlib.pyplot as plt

    lines = (len(series) + 1) // 2
    figure, panels = plt.subplots(lines, 2, figsize=(11, 3.6 * lines), squeeze=False)
    names = list(dict.fromkeys(n for s in series for n in s.contenders if n not in _COLOURS))
    others = {n: f"C{1 + i}" for i, n in enumerate(names)}
    for panel, s in zip(panels.flat, series, strict=False):
        for name in s.contenders:
            points = list(s.costs(name))
            own = name in _OURS
            panel.plot([n for n, _ in points], [cost for _, cost in points], marker="o", markersize=3, label=name,
                       color=_COLOURS.get(name) or others[name], linewidth=2.2 if own else 1.2,
                       linestyle="--" if name == "copy" else "-")
        panel.set(xscale="log", yscale="log", title=s.what, ylabel="ns an element",
                  xlabel="tokens (8 rows)" if s.axis == "tokens" else "rows (1,024 tokens)")
        panel.grid(True, which="major", alpha=0.3)
        panel.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
