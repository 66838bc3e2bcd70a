"""Kernels that tests compile are kept for the session, in a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSRL_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        yield
