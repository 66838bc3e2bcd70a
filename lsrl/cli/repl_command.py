"""An interactive session: define programs, set an example input, and see every name's stream beside its definition."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lsrl.diagnostics import LsrlError

EXAMPLES = """examples:
  lsrl repl
  lsrl repl examples/text/balanced.lsrl
  printf ':input bit = [1, 1, 0]\\nparity(bit)\\n' | lsrl repl
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", help="a program to load first")


def run(options: argparse.Namespace) -> int:
    from lsrl.cli.session import Session

    session = Session()
    live = sys.stdin.isatty() and sys.stdout.isatty()
    failed = False
    if options.file is not None:
        print(session.enter(f":load {options.file}"))
    if live:
        print("lsrl: `:help` tells what can be entered, `:quit` leaves")
    for entry in _terminal() if live else _lines():
        if entry.strip() in (":quit", ":q", ":exit"):
            break
        try:
            answer = session.enter(entry)
            if answer:
                print(answer, flush=True)
        except LsrlError as error:
            failed = True
            print(error, file=sys.stderr if not live else sys.stdout, flush=True)
        except KeyboardInterrupt:
            print("interrupted")
    return 2 if failed and not live else 0


def _lines() -> Iterator[str]:
    """Entries of a script on standard input: blocks end at an empty line, as in the terminal."""
    from lsrl.cli.session import is_unfinished

    held = ""
    for line in sys.stdin:
        held += line.rstrip("\n")
        if is_unfinished(held):
            held += "\n"
            continue
        yield held
        held = ""
    if held.strip():
        yield held


def _terminal() -> Iterator[str]:
    """Entries typed by a person: with history across sessions, and several lines where a block is open."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    from lsrl.cli.session import is_unfinished

    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_unfinished(buffer.text):
            last = buffer.document.current_line
            indent = last[: len(last) - len(last.lstrip())]
            buffer.insert_text("\n" + indent + ("    " if last.rstrip().endswith(":") else ""))
        else:
            buffer.validate_and_handle()

    history: History = InMemoryHistory()
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "lsrl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "history").touch()
        history = FileHistory(str(folder / "history"))
    except OSError:
        print("the history of this session is not kept: its folder cannot be written", file=sys.stderr)
    prompt: PromptSession[str] = PromptSession(history=history, multiline=True, key_bindings=bindings,
                                               prompt_continuation="... ")
    while True:
        try:
            yield prompt.prompt(">>> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
