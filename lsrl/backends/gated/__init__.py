"""Targets whose state is linear in itself: gated linear recurrences with ReLU layers beside them."""
