"""Do generated C kernels mean what programs mean? Random programs, run in every shape beside the interpreter.

`python -m benchmarks.random_kernels --count 500` prints how many programs were run, how many of them exactly, in which
shapes, and every program whose kernel differs.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.c_kernel import CKernel
from lsrl.backends.kernels.call import Options
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter, read_inputs
from lsrl.ir.graph import Graph
from lsrl.types import Bool, Real, scalar_of
from lsrl.values import flattened
from tests.backends.kernels.batches import NEVER, make_call, shown
from tests.strategies import programs, rows_for

__all__ = ["Outcome", "check", "draw"]

OPTIONS = Options(edge=torch.float64, carry=torch.float64, resets=True, packed=True)
_ROWS = 5


@dataclass(frozen=True)
class Outcome:
    """shapes: those that were run, empty where the program is refused. exact: compared bit for bit.

    wrong: what differed first, or nothing.
    """

    text: str
    shapes: tuple[str, ...]
    exact: bool
    wrong: str = ""


def draw(count: int, start: int = 0) -> list[tuple[str, Graph, list[list[dict[str, Any]]]]]:
    """Random programs, each with some sequences of inputs; reproducible from `start`."""
    out: list[tuple[str, Graph, list[list[dict[str, Any]]]]] = []

    @seed(start)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(st.data())
    def collect(data: st.DataObject) -> None:
        text = data.draw(programs(finite=data.draw(st.booleans()), numeric=data.draw(st.booleans())))
        graph = read_module(Source("random.lsrl", text), Path()).elaborate()
        tokens = data.draw(st.integers(1, 9))
        out.append((text, graph, [data.draw(rows_for(graph, tokens, tokens)) for _ in range(_ROWS)]))

    collect()
    return out


def check(text: str, graph: Graph, sequences: Sequence[Sequence[Mapping[str, Any]]]) -> Outcome:
    """Runs a program's kernel in all shapes, on one row and on several."""
    try:
        parts = Parts.of(make_lanes(graph))
    except LsrlError as error:
        code = error.diagnostics[0].code
        return Outcome(text, (), False, "" if code == "L411" else f"refused with {code}")
    kernel = CKernel(parts, OPTIONS)
    exact = parts.storage.exact or graph.numeric
    want = [[{n: [_plain(x, graph, n) for x in flattened(v)] for n, v in token.items()}
             for token in Interpreter(graph).run(rows)] for rows in sequences]
    coded = [[dict(read_inputs(graph, row, 0)) for row in rows] for rows in sequences]
    for shape in kernel.shapes:
        for rows in (1, len(sequences)):
            call = make_call(parts, OPTIONS, coded[:rows])
            kernel.launch(call, shape)
            assert call.failed is not None
            if int(call.failed.min()) != NEVER:
                return Outcome(text, kernel.shapes, exact, f"{shape}: a check fails at {call.failed.tolist()}")
            for r, (a, b) in enumerate(zip(shown(parts, call.outputs), want, strict=False)):
                for t, (p, q) in enumerate(zip(a, b, strict=True)):
                    if not _agree(p, q, exact and (shape != "split" or parts.storage.exact)):
                        return Outcome(text, kernel.shapes, exact, f"{shape}, row {r}, token {t}: {p}, not {q}")
    return Outcome(text, kernel.shapes, exact)


def _plain(x: Any, graph: Graph, name: str) -> Any:
    t = scalar_of(dict(graph.outputs)[name].type)
    return bool(x) if isinstance(t, Bool) else float(x) if isinstance(t, Real) else int(x)


def _agree(got: Mapping[str, list[Any]], want: Mapping[str, list[Any]], exact: bool) -> bool:
    bound = 0.0 if exact else 1e-9
    return all(a == b or (a != a and b != b) or (bound > 0 and math.isclose(a, b, rel_tol=bound, abs_tol=bound))
               for n in want for a, b in zip(got[n], want[n], strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args(arguments)
    found = [check(*x) for x in draw(options.count, options.seed)]
    shapes = Counter(s for o in found for s in o.shapes)
    print(f"seed {options.seed}: {len(found)} programs, {sum(not o.shapes for o in found)} refused (L411), "
          f"{sum(o.exact for o in found)} compared bit for bit; "
          + ", ".join(f"{n} in the shape {s}" for s, n in shapes.items()))
    wrong = [o for o in found if o.wrong]
    for o in wrong:
        print(f"\n{o.wrong}\n{o.text}")
    print(f"{len(wrong)} differ")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
