"""The collector's thresholds are raised while something is compiled, and are afterwards what they were."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

import lsrl
from lsrl.backends import registry
from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.seldom_collected import seldom_collected

PARITY = "program parity(bit: bool) -> bool:\n    state odd: bool = false\n    odd := odd != bit\n    return odd\n"


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("target", ["lstm", "mingru"])
def test_a_compilation_is_seldom_collected(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gc.set_threshold(600, 9, 8)
    seen: list[tuple[int, int, int]] = []
    original = registry._scalar

    def noted(graph: Graph) -> Graph:
        seen.append(gc.get_threshold())
        return original(graph)

    monkeypatch.setattr(registry, "_scalar", noted)
    try:
        lsrl.compile(lsrl.parse(PARITY), target=target)
    except LsrlError:
        assert target == "mingru"
    assert seen and all(a >= 20_000 for a, _, _ in seen)
    assert gc.get_threshold() == (600, 9, 8)


@pytest.mark.parametrize("known", [(0, 10, 10), (50_000, 30, 60)])
def test_thresholds_are_never_lowered(known: tuple[int, int, int]) -> None:
    gc.set_threshold(*known)
    with seldom_collected():
        assert gc.get_threshold() == known
    assert gc.get_threshold() == known


def test_threads_that_overlap_leave_them_as_the_first_found_them() -> None:
    gc.set_threshold(600, 9, 8)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with seldom_collected():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)

    def first() -> None:
        with seldom_collected():
            thread.start()
            assert inside.wait(10)
            raise ValueError

    with pytest.raises(ValueError):
        first()
    assert gc.get_threshold()[0] >= 20_000, "the other is still inside"
    leave.set()
    thread.join()
    assert gc.get_threshold() == (600, 9, 8)
