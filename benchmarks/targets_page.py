"""Which target hosts which example, at what size, or why not: writes docs/targets.md.

`python -m benchmarks.targets_page` rewrites the page; `--check` exits with 1 if it would change.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import lsrl
from benchmarks.examples import ROOT, weight_examples
from lsrl.backends.registry import TARGETS, TargetRow, explain_targets

__all__ = ["PAGE", "ROOT", "page", "rows_of"]

PAGE = ROOT / "docs" / "targets.md"
_HEAD = """# Targets

{targets}

Programs whose numbers have no grid are refused here; with a bounded error most targets host them
([approximation.md](approximation.md)). What is hosted is also checked on random automata:
`python -m benchmarks.random_automata` draws least machines of 2 to 8 states and 2 to 4 letters and expects, of every
target, a model that is PROVED or a refusal, as an independent oracle derives it from the transition monoid.
Of 2,000 (seed 0) all were so. Number 1333 was not at first: at `gateloop` a bit that is swapped by a sum of angles
turned by what rounding left of them, which is no turn now. Number 1867, with 1,909 units in 44 layers at gated targets,
takes the verifier up to 41 s; it was tried at `mingru`, `rwkv`, `gateloop` and `mamba` of them.

The table tells for every example and target: units in all layers, layers, weights and biases, and the size n·k of the
plain construction: one unit for each pair of a state and a letter of the program's minimal automaton (none where there
is no end of states). "tokens" is the number of steps up to which float32 holds every value exactly; without one the
model is exact at every length. "dtype" is the least in which the same circuit is exact for as many tokens, of
bfloat16, float16, float32 and float64. The page is written by `python -m benchmarks.targets_page`, and a test checks
it.

| example | target | units | layers | weights | n·k | tokens | dtype |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def page(examples: list[Path]) -> str:
    """The page's text for the given programs."""
    targets = "\n".join(f"- `{t.name}`: {t.summary}" for t in TARGETS.values())
    refused: dict[str, list[str]] = {}
    table = "".join(_lines(examples, refused))
    reasons = "".join(f"- {reason}: {', '.join(names)}\n" for reason, names in refused.items())
    return _HEAD.format(targets=targets) + table + ("\n## Refused, and why\n\n" + reasons if reasons else "")


@cache
def rows_of(path: Path) -> tuple[TargetRow, ...]:
    """What each target makes of a program."""
    return tuple(explain_targets(lsrl.load(path).graph))


def _lines(examples: list[Path], refused: dict[str, list[str]]) -> Iterator[str]:
    for path in examples:
        name = f"{path.parent.name}/{path.stem}"
        for row in rows_of(path):
            if not row.hosts:
                refused.setdefault(f"`{row.target}`, {row.reason}", []).append(name)
            yield _line(name, row)


def _line(name: str, row: TargetRow) -> str:
    if not row.hosts:
        return f"| {name} | {row.target} | refused | | | | | |\n"
    horizon = "" if row.horizon is None else f"{row.horizon:,}"
    baseline = "" if row.baseline is None else f"{row.baseline:,}"
    size = f"{row.width} | {row.layers} | {row.params:,} | {baseline}"
    return f"| {name} | {row.target} | {size} | {horizon} | {row.least_dtype} |\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page would change")
    options = parser.parse_args()
    text = page(weight_examples())
    if options.check:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
