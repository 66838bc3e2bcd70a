"""Random automata through every target: hosted and PROVED exactly when the algebra says so.

`python -m benchmarks.random_automata --count 2000 --seed 0` draws least machines of 2 to 8 states and 2 to 4 letters,
compiles each for each target and verifies the model, or takes the refusal, and compares that with what
`tests.algebra_oracle` derives from the transition monoid. Anything else than a model that is PROVED or a refusal with
the code L402 is a mismatch, and so is either of these where the other is due (`delta` may host more than its rule). It
prints each mismatch with its table as it comes, then counts and seconds by target; the exit status is 1 if there was
one. A machine is decided by the seed and its number alone: `--first 17 --count 1` draws number 17 again. Ctrl-C ends
it with the counts so far.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import torch

import lsrl
from lsrl.backends.registry import TARGETS, find_target
from lsrl.diagnostics import LsrlError
from lsrl.verify import verify
from tests.algebra_oracle import RULES, Machine, allowed, facts_of
from tests.random_machines import graph_of, random_machine

__all__ = ["Outcome", "outcomes"]

@dataclass(frozen=True, slots=True)
class Outcome:
    """What one target did with one machine. found: the verdict, or the code of the refusal; seconds: of both."""

    number: int
    kind: str
    machine: Machine
    target: str
    hosted: bool
    found: str
    detail: str
    seconds: float

    @property
    def right(self) -> bool:
        """Whether it is what the algebra says."""
        return self.found in allowed(self.target, self.hosted)

    def line(self) -> str:
        due = " or ".join(allowed(self.target, self.hosted))
        return (f"number {self.number} ({self.kind}) at {self.target}: {self.found}, but {due} is due\n"
                f"  {self.detail}\n  next {self.machine.next}, output {self.machine.output}")


def outcomes(number: int, seed: int = 0, targets: Sequence[str] = tuple(RULES), most: int = 8,
             limit: float = 60.0) -> list[Outcome]:
    """The outcomes of one machine, at each target in turn. limit: seconds for each verdict."""
    kind, machine = random_machine(random.Random(f"{seed} {number}"), most)
    facts = facts_of(machine)
    graph = graph_of(machine)
    found: list[Outcome] = []
    for target in targets:
        start = time.perf_counter()
        try:
            verdict = verify(graph, lsrl.compile(graph, target=target), seconds=limit)
            told, detail = verdict.kind, verdict.headline
        except LsrlError as error:
            told, detail = error.diagnostics[0].code, error.diagnostics[0].message
        except Exception as fault:  # noqa: BLE001 - a fault of the compiler is a mismatch like any other
            told, detail = type(fault).__name__, str(fault)
        seconds = time.perf_counter() - start
        found.append(Outcome(number, kind, machine, target, RULES[target](facts), told, detail, seconds))
    return found


def _all(numbers: Iterable[int], seed: int, targets: Sequence[str], jobs: int,
         limit: float) -> Iterator[list[Outcome]]:
    pool = ProcessPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) if jobs > 1 else None
    with pool or nullcontext():
        numbers = list(numbers)
        n = len(numbers)
        given = numbers, [seed] * n, [targets] * n, [8] * n, [limit] * n
        yield from pool.map(outcomes, *given) if pool else map(outcomes, *given)


def table(found: Sequence[Outcome], targets: Sequence[str]) -> str:
    """Counts and seconds by target."""
    head = ("target", "due", "of them PROVED", "refused", "more than due", "mismatches", "seconds")
    rows: list[tuple[str, ...]] = [head]
    for t in targets:
        here = [o for o in found if o.target == t]
        rows.append((t, str(sum(o.hosted for o in here)), str(sum(o.hosted and o.right for o in here)),
                     str(sum(o.right and o.found != "PROVED" for o in here)),
                     str(sum(o.right and not o.hosted and o.found == "PROVED" for o in here)),
                     str(sum(not o.right for o in here)), f"{sum(o.seconds for o in here):.1f}"))
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths)))
                     for r in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first machine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each verdict")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    targets = [find_target(t).name for t in options.targets]
    found: list[Outcome] = []
    begun = shown = time.perf_counter()
    done = 0
    try:
        for each in _all(range(options.first, options.first + options.count), options.seed, targets, options.jobs,
                         options.seconds):
            found += each
            done += 1
            for o in each:
                if not o.right:
                    print(o.line(), flush=True)
            now = time.perf_counter()
            if now - shown > 5:
                shown = now
                wrong = sum(not o.right for o in found)
                print(f"{done} of {options.count}, {(now - begun) / done:.2f} s each, {wrong} mismatches",
                      file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    kinds: dict[str, int] = {}
    for o in found[::len(targets)]:
        kinds[o.kind] = kinds.get(o.kind, 0) + 1
    print(table(found, targets))
    print(f"{done} machines in {time.perf_counter() - begun:.0f} s: "
          + ", ".join(f"{n} {k}" for k, n in sorted(kinds.items())))
    if done < options.count:
        return 130
    return int(any(not o.right for o in found))


if __name__ == "__main__":
    sys.exit(main())
