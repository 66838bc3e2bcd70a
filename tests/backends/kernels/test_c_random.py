"""Random programs as generated C, beside the interpreter; `python -m benchmarks.random_kernels` runs more of them."""

from __future__ import annotations

import os

from benchmarks.random_kernels import check, draw

COUNT = 30 * int(os.environ.get("LSRL_RANDOM_PROGRAMS", "1"))


def test_random_programs_equal_the_interpreter() -> None:
    found = [check(*x) for x in draw(COUNT)]
    assert [o for o in found if o.wrong] == []
    assert sum(bool(o.shapes) for o in found) > COUNT // 2
    assert any("table" in o.shapes for o in found)
    assert sum(o.exact for o in found) > COUNT // 4
