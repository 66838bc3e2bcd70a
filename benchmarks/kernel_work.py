"""What a row of `benchmarks.kernels` is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from benchmarks.kernel_rivals import Rival

__all__ = ["Goal", "Work", "quiet"]


@dataclass(frozen=True)
class Goal:
    """What a row is to reach. of: "copy", "rate" (elements a second) or a rival's name; least: of copy's speed, of that
    rate, or of the rival's speed."""

    of: str
    least: float

    def __str__(self) -> str:
        if self.of == "rate":
            return f"{self.least:.3g} a second"
        return f"{self.least:.0%} of copy" if self.of == "copy" else f"{self.least:.3g}× {self.of}"


@dataclass
class Work:
    """name and description of a row. elements: tokens times lanes. bytes: what the kernel must move.

    ours and what rivals make are called without arguments and give the outputs, or the first of them; those of a rival
    are compared, unless it is one of `measures`, which calculate something else. patience: seconds after which a
    contender runs no further round.
    """

    name: str
    what: str
    elements: int
    bytes: int
    ours: Callable[[], object]
    rivals: dict[str, Rival] = field(default_factory=dict)
    goal: Goal | None = None
    patience: float = 4.0
    measures: tuple[str, ...] = ()


def quiet(run: Callable[[], object]) -> Callable[[], object]:
    def f() -> object:
        with torch.no_grad():
            return run()

    return f
