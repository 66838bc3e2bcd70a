"""Random automata as graphs, and plain Python runs of them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from lsrl.diagnostics import NOWHERE
from lsrl.ir.graph import Graph, GraphBuilder, State
from lsrl.ir.nodes import Input, Read, Table
from lsrl.types import Int, Symbols

__all__ = ["RandomAutomaton", "random_automaton"]


@dataclass(frozen=True)
class RandomAutomaton:
    """next[q][x] and output[q][x] (a Mealy machine that starts in state 0)."""

    next: tuple[tuple[int, ...], ...]
    output: tuple[tuple[int, ...], ...]

    @property
    def letters(self) -> int:
        return len(self.next[0])

    def run(self, word: list[int]) -> list[int]:
        q, out = 0, []
        for x in word:
            out.append(self.output[q][x])
            q = self.next[q][x]
        return out

    def graph(self) -> Graph:
        """One input `x`, one state `q`, two tables."""
        n, k = len(self.next), self.letters
        build = GraphBuilder()
        x = build.add(Input("x", Symbols(tuple(f"l{i}" for i in range(k))), NOWHERE))
        q = build.add(Read("q", Int(0, n - 1), NOWHERE))
        top = max(max(row) for row in self.output)
        entries = tuple(v for row in self.next for v in row)
        outputs = tuple(v for row in self.output for v in row)
        following = build.add(Table((q, x), (0, 0), (n, k), entries, Int(0, n - 1), NOWHERE))
        shown = build.add(Table((q, x), (0, 0), (n, k), outputs, Int(0, top), NOWHERE))
        assert isinstance(x, Input)
        state = State("q", Int(0, n - 1), 0, following, NOWHERE)
        return Graph("random", (x,), (state,), (("out", shown),), (), (("q", following),), NOWHERE)


def random_automaton(rng: random.Random, states: int, letters: int, outputs: int = 2) -> RandomAutomaton:
    return RandomAutomaton(
        tuple(tuple(rng.randrange(states) for _ in range(letters)) for _ in range(states)),
        tuple(tuple(rng.randrange(outputs) for _ in range(letters)) for _ in range(states)))
