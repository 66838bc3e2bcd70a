"""Shows or empties the folder of compiled kernels."""

from __future__ import annotations

import argparse

EXAMPLES = """examples:
  lsrl cache            where compiled kernels are kept, how many, and their bytes
  lsrl cache --path     the folder alone, for scripts
  lsrl cache --clear    remove them; they are compiled again when they are needed

LSRL_CACHE_DIR names another folder, LSRL_CACHE_MB another limit than 256 megabytes.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--path", action="store_true", help="print the folder alone")
    what.add_argument("--size", action="store_true", help="print the bytes alone")
    what.add_argument("--clear", action="store_true", help="remove all compiled kernels")


def run(options: argparse.Namespace) -> int:
    from lsrl.backends.kernels.c_cache import cache_folder

    folder = cache_folder()
    if options.path:
        print(folder.path)
    elif options.size:
        print(folder.size())
    elif options.clear:
        gone = folder.clear()
        print(f"{gone} compiled kernel{'s' * (gone != 1)} removed from {folder.path}")
    else:
        count = len(folder.files())
        print(f"{folder.path}: {count} compiled kernel{'s' * (count != 1)}, "
              f"{folder.size():,} of {folder.limit:,} bytes")
    return 0
