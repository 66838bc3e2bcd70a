"""Cyclic garbage is looked for seldom while something large is built that stays.

CPython looks through its young objects after every 700 that are made, and through older ones every so often (docs of
`gc`). What a compilation makes is no garbage until it ends, and beside it stand all the objects of torch: to look
through them takes an eighth of the time and finds next to nothing.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["seldom_collected"]

_THRESHOLDS = (20_000, 20, 50)

_lock = threading.Lock()
_inside = 0
_before = gc.get_threshold()


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Raises the thresholds of the collector until the last of those who are in here leaves, in whatever thread.

    A collector that is switched off stays so. Memory is bounded as before, by more.
    """
    global _inside, _before
    with _lock:
        _inside += 1
        if _inside == 1:
            _before = gc.get_threshold()
            if _before[0]:
                gc.set_threshold(*(max(a, b) for a, b in zip(_before, _THRESHOLDS, strict=True)))
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                gc.set_threshold(*_before)
