"""Words of commands."""

import os
import subprocess

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


@pytest.mark.parametrize("text", ["a\nb", "it's\\x\t\x01b", "é\u2028ü\n", "\x7f1f"])
def test_a_character_that_cannot_be_printed_breaks_no_line(text: str) -> None:
    """It is escaped, and the word that is pasted is the same text."""
    made = shell.word(text)
    done = subprocess.run(["bash", "-c", f"printf %s {made}"], capture_output=True, check=True)
    assert (made.isprintable(), done.stdout.decode()) == (True, text)
