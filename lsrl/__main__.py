"""`python -m lsrl` is `lsrl`."""

from lsrl.cli.main import entry

if __name__ == "__main__":
    entry()
