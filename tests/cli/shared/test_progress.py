"""The progress of a push."""

import io
import re

import pytest
from rich.console import Console

from gotsurge_async.cli.shared import progress
from gotsurge_async.cli.shared.progress import Progress
from gotsurge_async.hooks import ChunkDone


def last_line(monkeypatch: pytest.MonkeyPatch, *chunks: tuple[int, int, int, int]) -> str:
    """The last line about a push of four orders where there is no terminal, after some chunks."""
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    stream = io.StringIO()
    push = Progress(Console(file=stream, soft_wrap=True, highlight=False), "run R-1", 4)
    with push.shown():
        for created, refused, in_doubt, unprocessed in chunks:
            push(ChunkDone(created=created, refused=refused, in_doubt=in_doubt, unprocessed=unprocessed, seconds=0.1))
    return stream.getvalue().splitlines()[-1]


def test_a_line_says_what_became_of_orders_in_the_words_of_the_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused and in doubt are distinguished, and neither where there is none."""
    line = last_line(monkeypatch, (1, 0, 1, 0), (0, 2, 0, 0))
    assert line.startswith("4 of 4 orders, 2 refused, 1 in doubt, ")
    assert line.endswith(", 0 s left")
    assert last_line(monkeypatch, (2, 0, 0, 0)).startswith("2 of 4 orders, ")


def test_no_time_is_guessed_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """While every chunk is put off, the line has no rate, and no time left."""
    assert last_line(monkeypatch, (0, 0, 0, 2)) == "0 of 4 orders"


def test_a_terminal_with_colours_shows_a_bar_and_the_words() -> None:
    """The bar leaves room for what stands after it."""
    stream = io.StringIO()
    push = Progress(Console(file=stream, force_terminal=True, color_system="standard", width=120), "pushing", 4)
    with push.shown():
        push(ChunkDone(created=1, refused=0, in_doubt=1, unprocessed=0, seconds=0.1))
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]|.*\r", "", stream.getvalue()).splitlines()
    assert re.fullmatch(r"pushing +━+\S+ +2 of 4 orders, 1 in doubt, [\d,.]+ orders/s, 0 s left *", lines[-1])


def test_a_terminal_shows_the_bar_before_the_first_chunk_ends() -> None:
    """While the service does not answer, a person sees that a push is under way, and how much there is to send."""
    stream = io.StringIO()
    with Progress(Console(file=stream, force_terminal=True, width=120), "pushing", 4).shown():
        assert "0 of 4 orders" in stream.getvalue()
