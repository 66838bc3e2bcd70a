"""Builds sdist → wheel, checks the wheel's list of files, installs it alone and runs it. Run by `make wheel`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def expected() -> set[str]:
    """Every file of the package that git tracks, the data files included."""
    listed = subprocess.run(["git", "ls-files", "lsrl"], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(listed.stdout.split())


def main() -> int:
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([sys.executable, "-m", "build", "--outdir", out, str(ROOT)], check=True,
                       stdout=subprocess.DEVNULL)
        [wheel] = Path(out).glob("*.whl")
        names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
        if names != expected():
            print("missing from the wheel:", sorted(expected() - names))
            print("in the wheel, not in git:", sorted(names - expected()))
            return 1
        target = Path(out) / "site"
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel)],
                       check=True)
        program = Path(out) / "p.lsrl"
        program.write_text("program twice(x: bool) -> int:\n    return count(x)\n")
        code = (f"import sys; sys.path.insert(0, {str(target)!r}); import lsrl; "
                f"print(lsrl.__file__, lsrl.load({str(program)!r}).name)")
        ran = subprocess.run([sys.executable, "-I", "-c", code], cwd=out, check=True, capture_output=True, text=True)
        if not ran.stdout.startswith(str(target)) or "twice" not in ran.stdout:
            print("the installed wheel does not run:", ran.stdout, ran.stderr)
            return 1
    print(f"wheel: {len(names)} files, as in git; installs and runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
