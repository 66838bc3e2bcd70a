"""Each of 200 random single changes to compiled models that alters behaviour is REFUTED."""

from __future__ import annotations

import pytest

from benchmarks.mutations import mutants


@pytest.mark.slow
def test_changes_that_alter_behaviour_are_refuted() -> None:
    altering = 0
    for mutant in mutants(2000, seed=1):
        if mutant.alters:
            altering += 1
            assert mutant.caught, mutant
            assert mutant.verdict.first_wrong is not None
        elif not mutant.caught:
            assert mutant.verdict.kind in ("PROVED", "EXHAUSTED")
        if altering == 200:
            break
    assert altering == 200
