"""Commands that are interrupted as by Ctrl-C, in a process of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable

from tests.corpus import ROOT

__all__ = ["interrupted"]


def interrupted(words: list[str], when: Callable[[], bool], text: str = "") -> tuple[int, str, str]:
    """Status, output and errors of `lsrl` with these words, which gets the signal once `when` holds, or after 20 s.

    text: of its standard input, which stays open.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "lsrl", *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        # what runs in the background of a shell ignores the signal, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.flush()
        end = time.monotonic() + 20
        while not when() and time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err.strip()
    finally:
        process.kill()
