"""The package's version, in one place beside pyproject.toml."""

__version__ = "0.1.0"
