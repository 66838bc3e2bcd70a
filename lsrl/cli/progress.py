"""A line on standard error that tells how far long work has come; silent where nobody watches."""

from __future__ import annotations

import sys
import time
from types import TracebackType

__all__ = ["Progress"]

_EVERY = 0.1  # seconds between two updates
_AFTER = 0.5  # seconds before the first: short work shows nothing


class Progress:
    """`with Progress() as p: p("depth 3, 1,024 states")`: each text replaces the one before, at most ten a second."""

    def __init__(self) -> None:
        self._shown = 0
        self._next = time.monotonic() + _AFTER
        self._live = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if self._live and now >= self._next:
            self._next = now + _EVERY
            print(f"\r{text.ljust(self._shown)}", end="", file=sys.stderr, flush=True)
            self._shown = len(text)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._shown:
            print(f"\r{' ' * self._shown}\r", end="", file=sys.stderr, flush=True)
