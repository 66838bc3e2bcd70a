"""Processes in which tests use Triton: its interpreter and its compiler exclude each other in one process."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

__all__ = ["one_process"]


@contextmanager
def one_process(interpreted: bool) -> Iterator[ProcessPoolExecutor]:
    """A pool of one process, in which Triton interprets kernels (on a GPU, runs them), or compiles them."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (interpreted,)) as pool:
        yield pool


def _begin(interpreted: bool) -> None:
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # NumPy's, on infinities and NaN
    os.environ.pop("TRITON_INTERPRET", None)
    if interpreted and not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"
