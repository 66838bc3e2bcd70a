"""A compiler from small sequence programs to exact weights of recurrent networks, with a verifier.

>>> import lsrl
>>> program = lsrl.parse("program p(bit: bool) -> int:\\n    return count(bit)\\n")
>>> program.run([True, False, True])
[1, 1, 2]
"""

from lsrl.diagnostics import Diagnostic, LsrlError
from lsrl.program import Program, compile, load, load_model, parse, verify  # noqa: A004 - used as lsrl.compile
from lsrl.version import __version__

__all__ = ["Diagnostic", "LsrlError", "Program", "__version__", "compile", "load", "load_model", "parse", "verify"]
