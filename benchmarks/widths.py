"""How wide each example is on each target, beside what it could be: writes docs/widths.md.

`python -m benchmarks.widths` rewrites the page; `--check` exits with 1 if it would change.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import lsrl
from benchmarks.examples import weight_examples
from benchmarks.targets_page import ROOT, rows_of
from lsrl.backends.joint import whole_automaton
from lsrl.backends.registry import TARGETS, TargetRow
from lsrl.passes import run_pipeline

__all__ = ["PAGE", "medians", "page"]

PAGE = ROOT / "docs" / "widths.md"
_MANY = 5  # states from which on the median counts an example
_HEAD = """# Widths

For every example and target that hosts it: layers, units in all layers, weights and biases, how many of them are not
zero, and what the units compare with. n and k are the states and the letter classes of the program's minimal automaton,
n·k the units of the plain construction, one for each pair of a state and a letter; they are missing where there is no
end of states. The least number of bits that tell n states apart, ⌈log₂ n⌉, is a bound from below for targets whose
units are bits: there must be as many units. It is written by `python -m benchmarks.widths`, and a test checks it.

What is known in general, for threshold units that read each other and the letter:

- An automaton of n states needs Ω((n log n)^⅓) units for some automata, and O(n^¾) are enough for all; with limits on
  weights or fan-in both bounds are linear in n (Alon, Dewdney and Ott, "Efficient simulation of finite automata by
  neural nets", JACM 38, 1991).
- O(√n) are enough, O(√(n log n)) with weights and thresholds −1 and 1, O(n) with a fan-in of two; the bounds are tight
  if ⌈log₂ n⌉ of the units hold the state (Horne and Hush, "Bounds on the complexity of recurrent neural network
  implementations of finite state machines", NIPS 6, 1993; √n also Indyk, "Optimal simulation of automata by neural
  nets", STACS 1995).

These are statements on the worst automaton with n states, up to a constant, for nets that may take several steps of
their units for one letter; here a layer takes one step, and layers stand on each other. So √n in the table is a
landmark and no bound for the row.

Gated linear targets have no such cells: a state never feeds back through a nonlinear unit, so an automaton is there a
cascade of latches, resets and, where a gate can turn, cyclic counters, layer by layer (Krohn and Rhodes 1965), with
ReLU maps between. n·k is no bound for a cascade: its least size is exponential in n for some automata (Maler and
Pnueli, "Tight bounds on the complexity of cascaded decomposition of automata", FOCS 1990). So their rows may lie
above n·k, and every map and delay of the cascade is counted in them; `bilinear`, whose transition is a full matrix,
takes a unit a state instead, and is never above n·k. Rows above n·k:

{above}
What is known of these:

- Delays are as many as a counter is high. Let the input be one letter again and again. A latch that reads it is set at
  the first token or never, and has one value from then on; so have a map, and a latch, of such values. Only a delay
  passes the change on a token later: what reads each other through at most d delays has one value from token d + 1 on.
  `dyck_1_bounded` is in different states after five "(" and after six. So a circuit of latches and delays has at least
  five delays above each other, in five layers (in `rwkv` five units that show what they held before the token). The
  circuits have these five and six latches. The rest are maps: a
  gate that closes at both ends of a range takes two of them, and sums are passed on beside each latch and each delay.
  That no circuit of this kind has n·k units is not proved.
- Gates that add while they keep could count the brackets in one unit, and a latch be set when the count leaves its
  range: that is right for ever, as the count does not matter afterwards. The compiler does not look for this.
- `tomita_3` has a group of two elements, whose bit is turned in one unit in `gateloop` and swapped between two in
  `delta`, among latches that read each other. No bound is known.
- `rwkv` shows what its units held before the token, so that an output which depends on the new state is made of the old
  one and the letter by maps above, where other targets show the new one.

{medians}
| example | target | layers | units | weights | non-zero | n | k | n·k | ⌈log₂ n⌉ | √n |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True, slots=True)
class Size:
    """An automaton's states and letter classes."""

    states: int
    letters: int

    @property
    def bits(self) -> int:
        return (self.states - 1).bit_length()


@cache
def size_of(path: Path) -> Size | None:
    """The size of a program's minimal automaton; None if it is not finite."""
    graph = run_pipeline(lsrl.load(path).graph)
    whole = whole_automaton(graph)
    return None if whole is None else Size(len(whole.automaton.states), len(whole.automaton.members))


def page(examples: Sequence[Path]) -> str:
    """The page's text for the given programs."""
    lines = [_line(path, row) for path in examples for row in rows_of(path) if row.hosts]
    table = "".join(f"- `{name}`: {value:.2f} of n·k in the median of {count} examples, at most {most:.2f}\n"
                    for name, (value, most, count) in medians(examples).items())
    over = "".join(f"- `{name}`: {', '.join(rows)}\n" for name, rows in above(examples).items())
    title = f"Units over n·k, in the examples with {_MANY} states or more:\n\n"
    return _HEAD.format(above=over, medians=title + table) + "".join(lines)


def above(examples: Sequence[Path]) -> dict[str, list[str]]:
    """For each example with rows of more than n·k units: n·k, and these rows' targets with their units."""
    out: dict[str, list[str]] = {}
    for path in examples:
        size = size_of(path)
        if size is None:
            continue
        most = size.states * size.letters
        wider = [f"`{row.target}` {row.width:,}" for row in rows_of(path) if row.hosts and row.width > most]
        if wider:
            out[f"{path.parent.name}/{path.stem}"] = [f"n·k {most:,}", *wider]
    return out


def medians(examples: Sequence[Path]) -> dict[str, tuple[float, float, int]]:
    """For each target the median and the largest of units over n·k, and of how many examples."""
    shares: dict[str, list[float]] = {name: [] for name in TARGETS}
    for path in examples:
        size = size_of(path)
        if size is not None and size.states >= _MANY:
            for row in rows_of(path):
                if row.hosts:
                    shares[row.target].append(row.width / (size.states * size.letters))
    return {name: (statistics.median(x), max(x), len(x)) for name, x in shares.items() if x}


def _line(path: Path, row: TargetRow) -> str:
    size = size_of(path)
    known = (f"{size.states:,} | {size.letters:,} | {size.states * size.letters:,} | {size.bits} | "
             f"{size.states**0.5:.1f}" if size else " | ".join([""] * 5))
    return (f"| {path.parent.name}/{path.stem} | {row.target} | {row.layers} | {row.width} | {row.params:,} | "
            f"{row.nonzero:,} | {known} |\n")


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
