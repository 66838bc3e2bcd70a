"""Programs as exact weights of torch modules: `compile_graph` for one target, `TARGETS` for all of them."""

from __future__ import annotations

from lsrl.backends.certificate import Certificate
from lsrl.backends.circuit import Circuit
from lsrl.backends.model import CompiledModel, load_model
from lsrl.backends.registry import TARGETS, Target, TargetRow, compile_graph, explain_targets, render_targets

__all__ = ["TARGETS", "Certificate", "Circuit", "CompiledModel", "Target", "TargetRow", "compile_graph",
           "explain_targets", "load_model", "render_targets"]
