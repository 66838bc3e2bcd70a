"""A process that the tests of Triton's kernels share, as starting one imports torch and Triton."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.backends.kernels.processes import one_process


@pytest.fixture(scope="session")
def process() -> Iterator[ProcessPoolExecutor]:
    with one_process(interpreted=True) as pool:
        yield pool
