"""Golden files: text that a test pins, rewritten by `pytest --update-golden`."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

# The same random tests at every run, so that what fails was broken; `--hypothesis-profile=default` draws others.
# Hypothesis also draws constants out of the modules imported so far, and those depend on which tests ran before.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")
providers._get_local_constants = lambda: type(providers.GLOBAL_CONSTANTS)()

# Narrow layers gain nothing from threads, and on busy cores waiting for one another costs a hundredfold.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # where a test takes two all the same


@pytest.fixture(autouse=True, scope="session")
def _kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels that tests compile are kept for the session in a folder of its own, which all its processes share."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSRL_CACHE_DIR", str(shared / "kernel_cache"))
        yield


@pytest.fixture
def quick_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """C that is not optimised: for tests of what a kernel calculates, as optimising takes most of their time. Kernels
    as users get them are what the tests of sizes, chunks, proofs and random programs run, and one test of shapes."""
    monkeypatch.setenv("LSRL_CFLAGS", "-O0")


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the garbage collector need not walk through it every time."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what tests produce into their golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, Path], None]:
    """A function that compares a text with a golden file, or writes the file under --update-golden."""

    def compare(actual: str, path: Path) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(actual, encoding="utf-8")
        if not path.exists():
            pytest.fail(f"{path} is missing: run pytest --update-golden and read what it writes")
        assert actual == path.read_text(encoding="utf-8")

    return compare
