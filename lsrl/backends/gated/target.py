"""A gated target in one call: what its gates can do, its mixer, and how the mixer is made from units."""

from __future__ import annotations

from collections.abc import Callable

from lsrl.backends.gated.circuits import gated_circuit
from lsrl.backends.gated.emission import MakeMixer, emit_gated
from lsrl.backends.gated.gates import Gates
from lsrl.backends.gated.layers import Mixer, layer_maker
from lsrl.backends.target import Target

__all__ = ["Gates", "gated_target"]


def gated_target(name: str, summary: str, mixer: Callable[..., Mixer], make: MakeMixer, gates: Gates,
                 saturation: str = "every gate is 0 or 1 exactly") -> Target:
    """The registry row of a gated target.

    mixer: the module, made from its sizes; make: the mixer of some units, filled in. saturation: what the certificate
    says of the gates.
    """
    return Target(name, summary, lambda graph, target, dtype: gated_circuit(graph, target, dtype, gates),
                  lambda circuit, dtype: emit_gated(circuit, dtype, name, make, saturation),
                  layer=layer_maker(mixer))
