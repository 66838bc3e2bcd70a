"""The text of a program's kernel in C99: needs a compiler and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.c_build import Effort
from lsrl.backends.kernels.c_dense import DenseLoops
from lsrl.backends.kernels.c_functions import functions
from lsrl.backends.kernels.c_ports import Arguments, CPorts, Field
from lsrl.backends.kernels.c_sequential import Loops
from lsrl.backends.kernels.c_table import TableText
from lsrl.backends.kernels.c_values import CValues
from lsrl.backends.kernels.call import Options, Shape
from lsrl.backends.kernels.state_table import StateTable, find_table
from lsrl.backends.kernels.text import commented, identifier

__all__ = ["CText", "c_text"]

_INCLUDES = """#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>"""
_STREAMS = """#if defined(__SSE2__)
#include <emmintrin.h>
#endif"""


@dataclass(frozen=True)
class CText:
    """text: the whole file. name: the prefix of its functions. fields: the members of its arguments' struct.

    shapes: each is a function `<name>_<shape>`. table: of the table shape. effort: how much optimising is worth its
    time. scratch: bytes that each thread of a launch needs besides.
    """

    text: str
    name: str
    fields: tuple[Field, ...]
    shapes: tuple[Shape, ...]
    table: StateTable | None
    effort: Effort
    scratch: int = 0


def c_text(parts: Parts, options: Options, plan_text: str = "") -> CText:
    """The C text of a program. plan_text: what stands above it as a comment."""
    name = identifier(parts.lanes.source.name)
    carry = "double" if options.carry == torch.float64 else "float"
    values = CValues(carry, name)
    ports = CPorts(parts, options, values)
    table = find_table(parts, options.checks)
    arguments = Arguments(parts, options, table is not None)
    sequential = DenseLoops(name, arguments, ports) if parts.lanes.mixes else \
        Loops(name, arguments, ports, table is not None)
    loops = sequential.text()
    shapes: tuple[Shape, ...] = ("sequential",)
    if table is not None:
        loops += TableText(name, arguments, ports, table).text()
        shapes = (*shapes, "table")
    struct = [f"struct {name}_args {{", *(f"    {f.type}{f.name};" for f in arguments.fields), "};"]
    header = "\n".join(["/*", *commented(plan_text or f"{name}: a kernel in C99.", " *"), " */"])
    about = ("/* Strides are in elements, from one row and one token to the next. States that are not given start at "
             "their initial\n   values; arrays that are not given (0) are not written. */")
    blocks = [header, _INCLUDES, *[_STREAMS] * ("put" in values.functions), *functions(values.functions, carry),
              *values.tables, about + "\n" + "\n".join(struct), *loops]
    # tables and tiles of products gain from unrolled loops; other steps run as fast without, and compile sooner
    effort: Effort = "little" if sequential.large else "most" if table is not None or parts.lanes.mixes else "enough"
    scratch = sequential.scratch_bytes if isinstance(sequential, DenseLoops) else 0
    return CText("\n\n".join(blocks) + "\n", name, tuple(arguments.fields), shapes, table, effort, scratch)
