"""Graph → graph: one pass a file, each a function of the file's name. Valid in, valid out, meaning unchanged.

`PIPELINE` is what every target starts from. `AUTOMATON_PASSES` replace the states of the program by those of automata;
they come after it where a target wants them (weight targets minimise cell by cell themselves, so that what a program
variable holds can still be read from the model).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from lsrl.diagnostics import LsrlError, did_you_mean
from lsrl.ir.graph import Graph
from lsrl.passes.bool_mul_to_mux import bool_mul_to_mux
from lsrl.passes.drop_dead import drop_dead
from lsrl.passes.factor_automata import factor_automata
from lsrl.passes.flatten_chains import flatten_chains
from lsrl.passes.fold_constants import fold_constants
from lsrl.passes.merge_affine import merge_affine
from lsrl.passes.merge_equal import merge_equal
from lsrl.passes.merge_states import merge_states
from lsrl.passes.merge_tables import merge_tables
from lsrl.passes.minimise_automata import minimise_automata
from lsrl.passes.narrow_types import narrow_types
from lsrl.passes.simplify_logic import simplify_logic
from lsrl.passes.split_vectors import split_vectors

__all__ = ["AUTOMATON_PASSES", "PASSES", "PIPELINE", "Pass", "run_pipeline"]

Pass: TypeAlias = tuple[str, Callable[[Graph], Graph]]

PIPELINE: tuple[Pass, ...] = (
    ("split_vectors", split_vectors),
    ("fold_constants", fold_constants),
    ("flatten_chains", flatten_chains),
    ("simplify_logic", simplify_logic),
    ("merge_affine", merge_affine),
    ("merge_equal", merge_equal),
    ("merge_states", merge_states),
    ("drop_dead", drop_dead),
    ("narrow_types", narrow_types),
    ("bool_mul_to_mux", bool_mul_to_mux),
    ("merge_tables", merge_tables),
    ("merge_affine", merge_affine),
    ("drop_dead", drop_dead),
)

AUTOMATON_PASSES: tuple[Pass, ...] = (
    ("minimise_automata", minimise_automata),
    ("factor_automata", factor_automata),
)

PASSES: tuple[Pass, ...] = PIPELINE + AUTOMATON_PASSES


def run_pipeline(graph: Graph, after: str | None = None) -> Graph:
    """The graph after the pipeline, or after the last pass of the name `after` and all passes before it.

    Raises LsrlError (L107) if there is no such pass in `PASSES`.
    """
    names = [name for name, _ in PASSES]
    if after is not None and after not in names:
        known = tuple(dict.fromkeys(names))
        raise LsrlError.of("L107", f"there is no pass `{after}`",
                           help=did_you_mean(after, known) or f"the passes are {', '.join(known)}")
    last = len(PIPELINE) if after is None else len(names) - names[::-1].index(after)
    for _, step in PASSES[:last]:
        graph = step(graph)
    return graph
