"""A gated target in one call: what its gates can do, its mixer, and how the mixer is made from units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import torch

from lsrl.backends.circuit import Circuit
from lsrl.backends.emission import Emission
from lsrl.backends.error_bound import Accuracy, ErrorBound, bound_errors
from lsrl.backends.gated.circuits import gated_circuit
from lsrl.backends.gated.emission import MakeMixer, emit_gated
from lsrl.backends.gated.gates import Gates
from lsrl.backends.gated.layers import Mixer, layer_maker
from lsrl.backends.target import Target
from lsrl.ir.graph import Graph

__all__ = ["Gates", "gated_target"]


def gated_target(name: str, summary: str, mixer: Callable[..., Mixer], make: MakeMixer, gates: Gates,
                 saturation: str = "every gate is 0 or 1 exactly", accuracy: Accuracy | None = None) -> Target:
    """The registry row of a gated target.

    mixer: the module, made from its sizes; make: the mixer of some units, filled in. saturation: what the certificate
    says of the gates. accuracy: of the module where numbers are not whole.
    """
    known = accuracy or Accuracy()

    def nearly(graph: Graph, target: str, dtype: torch.dtype, epsilon: Fraction,
               limit: int) -> tuple[Circuit, Emission, ErrorBound]:
        circuit = gated_circuit(graph, target, dtype, gates, fine=True)
        bound = bound_errors(circuit, dtype, epsilon, limit, known)
        emission = emit_gated(circuit, dtype, name, make, "gates may lie between 0 and 1", bound, limit)
        return circuit, replace(emission, epsilon=epsilon, errors=bound.errors), bound

    return Target(name, summary, lambda graph, target, dtype: gated_circuit(graph, target, dtype, gates),
                  lambda circuit, dtype: emit_gated(circuit, dtype, name, make, saturation),
                  layer=layer_maker(mixer), approximate=nearly)
