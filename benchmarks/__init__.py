"""Measurements. Each module runs by itself, `python -m benchmarks.NAME`, and prints what README and docs quote."""
