"""What was found out about the graphs that were looked at last."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Concatenate, ParamSpec, TypeVar

from lsrl.ir.graph import Graph

__all__ = ["remembered"]

P = ParamSpec("P")
R = TypeVar("R")


def remembered(most: int) -> Callable[[Callable[Concatenate[Graph, P], R]], Callable[Concatenate[Graph, P], R]]:
    """A function of a graph, and of further hashable positional arguments, that keeps its last `most` results.

    Graphs count as one only if they are the same object: equal ones have other nodes, and these other places in a text.
    """

    def wrap(function: Callable[Concatenate[Graph, P], R]) -> Callable[Concatenate[Graph, P], R]:
        kept: dict[Hashable, tuple[Graph, R]] = {}  # the graph is held, so that no other can get its number

        def known(graph: Graph, /, *args: P.args, **kwargs: P.kwargs) -> R:
            key = (id(graph), args, tuple(kwargs.items()))
            found = kept.pop(key, None)
            if found is None:
                found = graph, function(graph, *args, **kwargs)
            kept[key] = found
            while len(kept) > most:
                kept.pop(next(iter(kept)))
            return found[1]

        functools.update_wrapper(known, function)
        return known

    return wrap
