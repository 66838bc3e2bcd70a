"""The main job, on real input: `make demo`.

Checks, explains, compiles and proves examples/text/balanced.lsrl; runs the interpreter and the saved LSTM over source
files of Python's standard library and compares them at every character; then finds the break in a damaged copy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import lsrl
from lsrl.streams import open_input, open_output, run_stream

PROGRAM = Path(__file__).parent / "text" / "balanced.lsrl"
STEPS = 4096  # characters that the model reads at once, its state carried on


def command(*words: str) -> None:
    """Runs an `lsrl` command as a user would, its output shown."""
    print(f"\n$ lsrl {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "lsrl", *words])
    if done.returncode:
        sys.exit(done.returncode)


def sources(limit: int) -> list[Path]:
    """Source files of the standard library, up to `limit` bytes in all; short ones first, as they share batches."""
    chosen: list[Path] = []
    total = 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"), key=lambda p: (p.stat().st_size, p.name)):
        total += path.stat().st_size
        if total > limit and chosen:
            break
        if path.stat().st_size:
            chosen.append(path)
    return chosen


def run_program(program: lsrl.Program, path: Path, folder: Path) -> dict[str, np.ndarray]:
    """The interpreter's outputs over a text file, one array a name, by the way that `lsrl run` takes."""
    out = folder / "outputs.npz"
    with open_output(program.graph, out) as target:
        run_stream(program.graph, open_input(program.graph, path), target)
    with np.load(out) as arrays:
        return dict(arrays)


def codes_of(program: lsrl.Program, text: str) -> np.ndarray:
    """The text as symbol codes, (T,)."""
    alphabet = program.graph.inputs[0].type
    table = {c: alphabet.code(c) for c in set(text)}
    return np.fromiter((table[c] for c in text), np.int64, len(text))


def model_outputs(model: torch.nn.Module, codes: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The model's outputs on texts of different lengths, side by side in one batch, STEPS characters at a time."""
    longest = max(map(len, codes))
    batch = np.zeros((len(codes), longest), np.int64)
    for row, c in zip(batch, codes, strict=True):
        row[: len(c)] = c
    parts: list[dict[str, np.ndarray]] = []
    state = None
    with torch.no_grad():
        for lo in range(0, longest, STEPS):
            outputs, state = model(torch.from_numpy(batch[:, lo : lo + STEPS]), state)
            parts.append({n: x.numpy() for n, x in outputs.items()})
    whole = {n: np.concatenate([p[n] for p in parts], 1) for n in parts[0]}
    return [{n: x[k, : len(c)] for n, x in whole.items()} for k, c in enumerate(codes)]


def place(text: str, offset: int) -> str:
    line = text.count("\n", 0, offset) + 1
    return f"line {line}, column {offset - text.rfind(chr(10), 0, offset)}"


def read(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def agree_on_real_text(program: lsrl.Program, model: torch.nn.Module, characters: int,
                       folder: Path) -> list[tuple[Path, str, bool]]:
    """Compares interpreter and model on every character. Gives each file, its text, and whether it ends balanced."""
    files = sources(characters)
    texts = [read(p) for p in files]
    total = sum(map(len, texts))
    print(f"\ninterpreter and LSTM over {len(files)} source files of Python's standard library, {total:,} characters")
    began = time.monotonic()
    expected = [run_program(program, path, folder) for path in files]
    middle = time.monotonic()
    actual = model_outputs(model, [codes_of(program, t) for t in texts])
    end = time.monotonic()
    different = 0
    for path, e, a in zip(files, expected, actual, strict=True):
        wrong = np.zeros(len(e["ok"]), bool)
        for name in e:
            wrong |= np.asarray(e[name]) != a[name]
        different += int(wrong.sum())
        if wrong.any():
            print(f"  {path.name}: first difference at character {int(np.flatnonzero(wrong)[0])}")
    print(f"  interpreter {middle - began:.1f} s, LSTM {end - middle:.1f} s; "
          f"different outputs: {different} of {total * len(program.graph.outputs):,}")
    if different:
        sys.exit(1)
    return [(p, t, bool(e["ok"][-1])) for p, t, e in zip(files, texts, expected, strict=True) if len(t)]


def find_the_damage(program: lsrl.Program, model: torch.nn.Module, results: list[tuple[Path, str, bool]],
                    folder: Path) -> None:
    """Turns one closing bracket of a balanced file into another kind, and shows where both see the break."""
    balanced = [(p, t) for p, t, ok in results if ok and t.count(")") > 20]
    print(f"  {sum(ok for *_, ok in results)} of {len(results)} files end balanced (brackets in strings count, too)")
    path, text = max(balanced, key=lambda item: len(item[1]))
    at = [i for i, c in enumerate(text) if c == ")"][text.count(")") // 2]
    damaged = text[:at] + "]" + text[at + 1 :]
    print(f"\na damaged copy of {path.name}: the `)` at {place(text, at)} has become `]`")
    copy = folder / path.name
    copy.write_text(damaged, encoding="utf-8", newline="")
    seen = {"interpreter": run_program(program, copy, folder)["broken"],
            "LSTM": model_outputs(model, [codes_of(program, damaged)])[0]["broken"]}
    for name, broken in seen.items():
        first = int(np.flatnonzero(broken)[0])
        line = damaged.split("\n")[damaged.count("\n", 0, first)].strip()
        print(f"  {name}: broken from {place(damaged, first)} on: {line}")
        if first != at:
            sys.exit(f"{name} sees the break at {first}, it is at {at}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=2_000_000, help="of source text to read (2000000)")
    characters = parser.parse_args().characters
    torch.set_num_threads(1)  # layers this narrow gain nothing from a second thread, and lose much on a busy machine
    began = time.monotonic()
    command("check", str(PROGRAM))
    command("explain", str(PROGRAM))
    with tempfile.TemporaryDirectory() as folder:
        saved = str(Path(folder) / "balanced.safetensors")
        command("compile", str(PROGRAM), "--target", "lstm", "-o", saved)
        command("verify", str(PROGRAM), "--model", saved)
        program = lsrl.load(PROGRAM)
        model = lsrl.load_model(saved, program=program)
        results = agree_on_real_text(program, model, characters, Path(folder))
        find_the_damage(program, model, results, Path(folder))
    print(f"\ndone in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
