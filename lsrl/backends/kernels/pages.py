"""Memory for large tensors on the CPU: in huge pages, where the system gives them to those who ask.

A new tensor is pages that the first write to each has to bring about; for outputs of a kernel that costs more than the
kernel (a third of the time is left with pages of 2 MB, measured for 32 MB on Linux).
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor

__all__ = ["ask_for_huge_pages"]

_LEAST = 1 << 22  # bytes from which a tensor is asked for


def ask_for_huge_pages(x: Tensor) -> bool:
    """Asks the system for huge pages under a tensor that nothing was written to yet; whether it agreed."""
    advise = _advise()
    if advise is None or x.device.type != "cpu" or x.nbytes < _LEAST:
        return False
    first = -(-x.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (x.data_ptr() + x.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    return bool(advise(first, end - first, mmap.MADV_HUGEPAGE) == 0)


@cache
def _advise() -> Callable[..., Any] | None:
    """The system's `madvise`; None where it has none that knows huge pages."""
    if not sys.platform.startswith("linux") or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    try:
        found = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    found.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return found
