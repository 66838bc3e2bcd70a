"""Which shape a kernel runs in: a model of what limits it, from the sizes of the call and of the device."""

from __future__ import annotations

from dataclasses import dataclass

from lsrl.backends.kernels.call import Shape

__all__ = ["Device", "choose_newton", "choose_shape"]

_MIN_CHUNK = 4096  # tokens that a chunk of time must have to pay for its summary
_PASSES = 2  # over the inputs in the split shape on a CPU
_SPECULATED = 1 << 19  # tokens that a sequence must have to pay for the start of its chunks
_FEW_THREADS = 4  # for a sequence: two take as long as one does, which overlaps look-ups in chunks as well (measured)
_TOGETHER = 64  # lanes that a thread of a CPU takes together
_START = 4000  # operations after each other, in the time that an iteration takes to start and to be looked at


@dataclass(frozen=True)
class Device:
    """kind: "cpu" or "gpu". workers: how many sequences it needs at once to be busy: threads times what one interleaves
    on a CPU, lanes of all processors on a GPU. threads: on a CPU. summed: of how many neighbouring lanes its kernels
    sum what belongs to all lanes; 0: of none."""

    kind: str
    workers: int
    threads: int = 1
    summed: int = 0


def choose_shape(shapes: tuple[Shape, ...], device: Device, rows: int, tokens: int, lanes: int) -> tuple[Shape, str]:
    """The shape for a call, of those that a kernel has, and why.

    A look-up table needs no calculation at all. Otherwise one pass a token at a time moves each byte once and does
    least work, so it is taken where rows times lanes keep the device busy, or nothing else is there. Where they do
    not, time is what is left to share out: in blocks on a GPU, in chunks where blocks are too few as well.
    """
    streams = rows * lanes
    if "table" in shapes:
        if "speculative" in shapes and _FEW_THREADS * rows <= device.threads and tokens >= _SPECULATED:
            return "speculative", f"{rows} sequences of {tokens} tokens for {device.threads} threads"
        return "table", "one look-up in a table of (state, letter) a token"
    if device.kind == "cpu":
        busy = rows * -(-lanes // _TOGETHER)
        if "split" in shapes and _PASSES * busy < device.threads and tokens >= _MIN_CHUNK * device.threads:
            return "split", f"{streams} streams of {tokens} tokens for {device.threads} threads"
        return "sequential", f"{streams} streams, state in registers"
    if "speculative" in shapes and streams * 128 < device.workers and tokens >= _SPECULATED:
        return "speculative", f"{streams} streams of {tokens} tokens are too few to run a token at a time"
    if "block" not in shapes or streams >= device.workers:
        return "sequential", f"{streams} streams keep the device busy" if "block" in shapes else \
            "a cell of the program has no scan"
    if "split" in shapes and streams * 128 < device.workers and tokens >= _MIN_CHUNK:
        return "split", f"{streams} streams of {tokens} tokens are too few for blocks alone"
    return "block", f"{streams} streams are too few to run a token at a time"


def choose_newton(device: Device, rows: int, tokens: int, lanes: int, iterations: int, step: int,
                  scan: int) -> tuple[bool, str]:
    """Whether Newton's method over time is expected to be faster than a token at a time, and why.

    iterations: that are expected, and the evaluation after them. step, scan: operations of a token, in the program and
    in an iteration. A token at a time, operations wait for each other however few the streams are; an iteration does
    more of them, but all at once, and has to be started and looked at.
    """
    if device.kind == "cpu":
        return False, "a CPU is busy with a token at a time: an iteration does all of that work, and more"
    streams = rows * lanes
    alone = tokens * step * max(1.0, streams / device.workers)
    together = iterations * (streams * tokens * scan / device.workers + _START)
    return together < alone, (f"{iterations} passes of {scan} operations a token, {streams} streams at once, against "
                              f"{step} operations a token after each other")
