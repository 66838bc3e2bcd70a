"""The choices of a layout."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Choices that change how large a circuit gets, never what it computes.

    registers: the states to be counted instead of enumerated. wide: cells also observe functions of what they read.
    lag: old states come from units that repeat them; else every unit of a cell tells them. letters: a map may make
    letters for a cell. mirror: registers with feedback are counted once more for those who read them. general: what a
    threshold of any weights costs, where an "and" costs 1; 2 with ReLU. select: what an index picks of the states of
    several cells is a variable of its own.
    """

    registers: frozenset[str] = frozenset()
    wide: bool = True
    lag: bool = True
    letters: bool = True
    mirror: bool = False
    general: int = 1
    select: bool = True
