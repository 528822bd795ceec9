"""Words of commands."""

import os

import pytest

from gotsurge_async.system import shell

CASES = [
    ("orders.csv", "orders.csv", "orders.csv"),
    (r"C:\orders\may.csv", r"'C:\orders\may.csv'", r"C:\orders\may.csv"),
    ("our orders.csv", "'our orders.csv'", '"our orders.csv"'),
    ("a&b", "'a&b'", '"a&b"'),
    ("", "''", '""'),
]


@pytest.mark.parametrize(("text", "posix", "windows"), CASES)
def test_a_word_is_taken_whole(text: str, posix: str, windows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the shell of each system."""
    assert shell.word(text) == posix
    monkeypatch.setattr(os, "name", "nt")
    made = shell.word(text)
    monkeypatch.undo()
    assert made == windows
