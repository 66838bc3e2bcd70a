"""Exact models as benchmark cases for interpretability work, in disguise if wanted: `lsrl export`."""

from __future__ import annotations

from lsrl.export.case import MARKER, compile_case, export_files
from lsrl.export.circuit_graph import circuit_to_graphml, circuit_to_json
from lsrl.export.disguise import DISGUISES, Disguise, disguise_circuit
from lsrl.export.folder import check_free, write_folder
from lsrl.export.splits import Split, make_splits

__all__ = ["DISGUISES", "MARKER", "Disguise", "Split", "check_free", "circuit_to_graphml", "circuit_to_json",
           "compile_case", "disguise_circuit", "export_files", "make_splits", "write_folder"]
