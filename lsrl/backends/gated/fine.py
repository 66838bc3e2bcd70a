"""Numbers that are not whole in gated layers: which factors a gate can nearly be, and what is added in which case."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from lsrl.backends.gated.apart import is_kept
from lsrl.backends.holdings import domain_of
from lsrl.backends.wiring import Quantum
from lsrl.ir.graph import State
from lsrl.ir.nodes import Const, Node
from lsrl.types import Bool

if TYPE_CHECKING:
    from lsrl.backends.gated.lowering import GatedLowering

__all__ = ["in_parts", "largest", "may_be"]


def largest(lowering: GatedLowering, factor: Node) -> Fraction:
    """What a factor is where it is not 0."""
    if isinstance(factor, Const):
        return Fraction(factor.value)  # type: ignore[arg-type]
    return Fraction(1) if isinstance(factor.type, Bool) else lowering.ranges[factor].hi or Fraction(1)


def may_be(lowering: GatedLowering, s: State, factor: Node, known: Fraction | None) -> bool:
    """Whether a gate, or a parameter, can nearly be that factor of a state: a fraction, or one fraction and 0.

    known: the factor, if it is constant.
    """
    gates = lowering.gates
    if gates.from_zero and s.init != 0:
        return False
    if known is not None:
        signs = gates.keeps == "constant" or gates.mixing == "matrix"
        return known.denominator > 1 and (-1 if signs else 0) <= known <= 1
    found = domain_of(factor, lowering.ranges[factor])
    return (gates.keeps != "constant" and not gates.apart and found is not None and len(found) == 2
            and found[0] == 0 and Fraction(found[1]) <= 1)  # type: ignore[arg-type]


def in_parts(lowering: GatedLowering, factor: Node, add: Node) -> tuple[bool, list[Quantum]]:
    """Whether nothing is added while the old value is kept; and what is added then, and what it is set to else, where
    the module scales both by 1 − keep and so has to tell them apart.

    The first of the two is given as what is above 0 and what is below it, each of which is exactly 0 where the value is
    not kept, and so may be enlarged.
    """
    make, maps = lowering.make, lowering.maps
    if not maps.fine:
        return True, []
    kept, zero = is_kept(lowering, factor), make.zero
    during = lowering.made(make.mux(kept, add, zero))
    r = make.range(during)
    if r.lo == 0 and r.hi == 0:
        return True, []
    if lowering.gates.keeps != "shared":
        return False, []
    minus = make.affine([(-1, during)], 0)
    nodes = [during, zero] if isinstance(factor, Const) else [
        make.extreme("max", during, zero), make.extreme("max", minus, zero)]
    return False, [maps.quantum(lowering.made(n)) for n in (*nodes, make.mux(kept, zero, add))]
