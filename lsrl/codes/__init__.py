"""The pages of `lsrl explain L204`: what each diagnostic code means, and how to get rid of it.

The pages stand in the Markdown files beside this one, one file a family (`L2.md` holds L200 to L299), one section a
code: `## L204 Title`, text, then an example. A fenced block marked `lsrl` is a program that produces the code, one
marked `lsrl ok` one that does not; `jsonl` rows after it are its input. The mark `target=gru` compiles it for a target.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from lsrl.diagnostics import LsrlError, did_you_mean

__all__ = ["CODES", "FAMILIES", "page"]

FAMILIES: dict[str, str] = {
    "L0": "lexis and syntax",
    "L1": "names and definitions",
    "L2": "types and ranges",
    "L3": "state and causality",
    "L4": "targets",
    "L5": "verification",
    "L6": "input and output data, and files",
}


@cache
def _pages() -> dict[str, tuple[str, str]]:
    """Code → (title, text), in order."""
    out: dict[str, tuple[str, str]] = {}
    for family in FAMILIES:
        text = resources.files(__package__).joinpath(f"{family}.md").read_text(encoding="utf-8")
        for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
            heading, _, body = section.partition("\n")
            code, _, title = heading.partition(" ")
            if code in out:
                raise ValueError(f"{code} has two pages")
            out[code] = (title.strip(), body.strip())
    return out


def page(code: str) -> str:
    """The page of a code, as Markdown text. Raises LsrlError (L107) for a code that there is not."""
    wanted = code.strip().upper()
    if wanted not in _pages():
        families = "; ".join(f"{f}xx {what}" for f, what in FAMILIES.items())
        raise LsrlError.of("L107", f"there is no diagnostic code `{code}`",
                           help=did_you_mean(wanted, _pages()) or f"the families are {families}")
    title, body = _pages()[wanted]
    return f"{wanted}: {title}\n\n{body}\n"


CODES: dict[str, str] = {code: title for code, (title, _) in _pages().items()}
"""Every code with its title, in order."""
