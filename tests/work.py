"""How much work something is, counted in lines of Python that are run: the same on every machine, however busy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["growth", "lines_run"]


def lines_run(action: Callable[[], object]) -> int:
    """The lines that run while `action` does, those of loops and comprehensions anew for each round."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def growth(small: Callable[[], object], large: Callable[[], object]) -> float:
    """How many times the work of `small` that of `large` is. `small` runs twice, to fill what is kept."""
    small()
    return lines_run(large) / lines_run(small)
