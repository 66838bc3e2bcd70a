"""The comparison of targets under noise: writes the table in docs/robustness.md.

`python -m benchmarks.robustness_table` measures some targets on a few programs and rewrites what stands between the two
marks of the page. Figures may differ in their last digit on another machine.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import lsrl
from lsrl.diagnostics import LsrlError
from lsrl.robustness import SIGMAS, Measurement, Prediction, make_trial, measure, predict

__all__ = ["MARKS", "PAGE", "table"]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "robustness.md"
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")
_PROGRAMS = ("regular/parity", "regular/detect_pattern", "regular/word_problem_s3", "counting/majority",
             "memory/key_value", "memory/induction_head", "text/c_comments", "text/balanced")
_LARGE = ("lsrl/tok2tok_3",)  # at the targets that saturate, and beside them one that does not
_SATURATING = ("lstm", "gru", "rnn_tanh", "slstm", "rnn_relu")
_TARGETS = (*_SATURATING, "mingru", "mamba")  # of the gated ones one of each kind of gate
_HEAD = """| program | target | 1e-6 | 1e-5 | 1e-4 | 1e-3 | 1e-2 | 1e-1 | expected | certain up to |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def table(names: Sequence[str], targets: Sequence[str], sequences: int = 32, draws: int = 10) -> str:
    """One line for each program and target that hosts it: the median share of wrong tokens for each σ."""
    out = _HEAD
    for name in names:
        program = lsrl.load(ROOT / "examples" / f"{name}.lsrl")
        trial = make_trial(program.graph, sequences, 64, 0)
        for target in targets:
            try:
                model = program.compile(target)
            except LsrlError:
                continue
            out += _line(name, target, measure(model, trial, SIGMAS, draws), predict(model, trial))
    return out


def _line(name: str, target: str, measured: Measurement, predicted: Prediction) -> str:
    shares = " | ".join("0" if not any(p.wrong) else f"{p.median:.1%}" for p in measured.points if p.sigma > 0)
    certain = ""
    if predicted.promise is not None:
        certain = f"{predicted.promise.delta:.2g}"
        certain += "" if predicted.promise.tokens is None else f", {predicted.promise.tokens} tokens"
    expected = "" if predicted.expected is None else f"{predicted.expected:.2g}"
    return f"| {name} | {target} | {shares} | {expected} | {certain} |\n"


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    rows = table(_PROGRAMS, _TARGETS) + table(_LARGE, _SATURATING).removeprefix(_HEAD)
    new = before + MARKS[0] + rows + MARKS[1] + after
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
