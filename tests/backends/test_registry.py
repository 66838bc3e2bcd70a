"""The registry: which targets would host a refused program."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import lsrl
from lsrl.backends import registry
from lsrl.backends.refusal import RefusalError
from lsrl.diagnostics import Diagnostic, LsrlError, Source, Span

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


def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets that are asked from now on, as they are."""
    asked: list[str] = []
    original = registry._try

    def counted(row: registry.Target, scalar: Any, dtype: Any) -> Any:
        asked.append(row.name)
        return original(row, scalar, dtype)

    monkeypatch.setattr(registry, "_try", counted)
    monkeypatch.setattr(registry, "_HOSTED", {})
    return asked


def test_other_targets_are_asked_when_their_names_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tried(monkeypatch)
    for text in (PARITY, PARITY):
        with pytest.raises(LsrlError) as refusal:
            lsrl.compile(lsrl.parse(text), target="mingru")
        first = refusal.value.diagnostics[0]
        assert first.code == "L402" and "cannot host `odd`" in first.message
        assert set(asked) == {"mingru"}
    others = [name for name in registry.TARGETS if name != "mingru"]
    text = str(refusal.value)
    assert asked[2:] == others
    assert text.splitlines()[-1].endswith("and `bilinear` can host it")
    assert str(refusal.value) == text == first.render()
    assert asked[2:] == others


def round_trips() -> dict[str, Callable[[Any], Any]]:
    return {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@pytest.mark.parametrize("way", round_trips())
def test_a_refusal_is_copied_with_all_that_it_says(way: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        lsrl.compile(lsrl.parse(PARITY), target="mingru")
    again = round_trips()[way](refusal.value)
    assert type(again) is type(refusal.value) and again.reason == refusal.value.reason
    assert str(again) == str(refusal.value) and "can host it" in str(again)
    assert repr(again) == repr(refusal.value) == f"RefusalError({str(again)!r})"


@pytest.mark.parametrize("way", round_trips())
def test_errors_without_a_place_are_copied(way: str) -> None:
    here = Span(Source("p.lsrl", "a b"), 2, 3)
    error = LsrlError([Diagnostic("L401", "there is no such target", help="another"), Diagnostic("L402", "b", here)])
    again = round_trips()[way](error)
    assert str(again) == str(error) and "┌─ p.lsrl:1:3" in str(again) and "built in" not in str(again)


def test_a_text_that_is_found_out_later_is_as_good_as_one_that_is_given() -> None:
    calls: list[int] = []

    def help() -> str:
        calls.append(1)
        return "say so"

    late, early = Diagnostic("L401", "no", help=help), Diagnostic("L401", "no", help="say so")
    assert late.code == "L401" and not calls
    assert late == early and hash(late) == hash(early) and repr(late) == repr(early) and late.render() == early.render()
    assert calls == [1]
    assert Diagnostic("L401", "no").help == ""
