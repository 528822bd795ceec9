"""Texts as people are shown them."""

import sys

from gotsurge_async.models.words import in_words, one_line, printable


def test_no_text_moves_a_cursor_or_reorders_what_is_written() -> None:
    """Controls, line breaks and marks of direction become spaces, and a line has single ones."""
    hidden = "\x1b[2J\r\n\t\x7f\x9b\u200b\u200e\u2028\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
    assert printable(f"a{hidden}b") == f"a [2J{' ' * (len(hidden) - 4)}b"
    assert one_line(f" a{hidden}b ") == "a [2J b"
    assert one_line("MV Ångström 海洋") == "MV Ångström 海洋"
    assert printable("".join(map(chr, range(sys.maxunicode + 1)))).isprintable()


def test_a_status_is_in_words() -> None:
    """Words as people write them, also of a status that the document does not list."""
    assert [in_words(status) for status in ("pending_pickup", "complete", "lost_at_Sea", "")] == [
        "Pending pickup", "Complete", "Lost at Sea", "",
    ]  # fmt: skip
