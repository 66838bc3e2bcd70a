"""The example programs that weights are constructed for."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ROOT", "weight_examples"]

ROOT = Path(__file__).resolve().parent.parent


def weight_examples() -> list[Path]:
    """All examples but the learnable cells of examples/cells, whose sizes are given when they are compiled."""
    return sorted(p for p in (ROOT / "examples").glob("*/*.lsrl") if p.parent.name != "cells")
