"""The registry: which targets would host a refused program."""

from __future__ import annotations

import pytest

import lsrl
from lsrl.backends import registry
from lsrl.diagnostics import LsrlError

PARITY = "program parity(bit: bool) -> bool:\n    state odd: bool = false\n    odd := odd != bit\n    return odd\n"
FLIP = PARITY.replace("parity", "flip").replace("false", "true")


@pytest.mark.parametrize("most", [0, 7, 18, 20])
def test_hosts_are_named_whenever_the_memory_of_them_is_emptied(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(registry, "_MOST_KNOWN", most)
    monkeypatch.setattr(registry, "_HOSTED", {})
    for text in (PARITY, FLIP, PARITY):
        with pytest.raises(LsrlError) as refusal:
            lsrl.compile(lsrl.parse(text), target="mingru")
        assert refusal.value.diagnostics[-1].help.startswith("`lstm`, `gru`, `rnn_tanh`, ")
