"""The records of a CSV file, each with the physical line on which it starts.

Two things need care. A record may run over many lines, so lines are counted where they are fed to the CSV reader. And
a quote that is never closed would take the whole rest of the file into one value: when that is seen, the lines after
the one with the quote are read again as records of their own, so that one such fault does not hide all others.

Most files need neither: so a file is read fast, by whole blocks of lines, up to the first record that is not plainly
right, and with care from there on.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

from gotsurge_async.bulk.sources.lines import MAX_LINE, TOO_LONG, not_text

_MAX_RESTARTS = 200

Wrong = Callable[[int, str], None]
"""Told the line and the rule when a record cannot be read."""


class Record(NamedTuple):
    """One record: the line on which it starts, its cells, and whether some of them hold bytes that are no text."""

    line: int
    cells: list[str]
    damaged: bool
    last_line: int


class _TooLong(Exception):
    """A line or a record that is longer than any order."""


class Records:
    """Reads records; those that cannot be read are told to ``wrong`` and left out.

    Attributes:
        lost: how many records could not be read.
        stopped: whether the end of the file was given up.
    """

    def __init__(self, blocks: Iterator[list[bytes | None]], delimiter: str, wrong: Wrong) -> None:
        self.lost: int = 0
        self.stopped: bool = False
        self._blocks = blocks
        self._delimiter = delimiter
        self._wrong = wrong

    def __iter__(self) -> Iterator[Record]:
        texts = _Texts(self._blocks)
        yield from self._fast(texts)
        yield from self._careful(_Feed(chain(texts.rest(), chain.from_iterable(self._blocks)), texts.start - 1))

    def _fast(self, texts: "_Texts") -> Iterator[Record]:
        """Records up to the first that may be wrong, with which ``texts`` then starts."""
        reader = csv.reader(chain.from_iterable(texts), delimiter=self._delimiter, strict=True)
        line = 1
        try:
            for cells in reader:
                last = reader.line_num
                texts.start = last + 1
                # A spreadsheet leaves rows of empty cells below its table.
                if any(map(str.strip, cells)):
                    yield Record(line, cells, False, last)
                line = last + 1
        except csv.Error:
            return

    def _careful(self, feed: "_Feed") -> Iterator[Record]:
        reader = csv.reader(feed, delimiter=self._delimiter, strict=True)
        restarts = 0
        while True:
            feed.begin()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, _TooLong) as error:
                self.lost += 1
                self._wrong(feed.start, _rule(error, feed))
                if feed.refused:
                    self.stopped = True
                    return
                restarts += feed.push_back()
                if restarts > _MAX_RESTARTS:
                    self.stopped = True
                    self._wrong(feed.start, "too many faults of this kind: the rest of the file was not read")
                    return
                continue
            if any(map(str.strip, cells)):
                yield Record(feed.start, cells, feed.damaged, feed.number)


class _Texts:
    """Gives the CSV reader block after block of lines, until one that holds a line that is no text or too long.

    Attributes:
        start: the line on which the current record starts; the reader of the records sets it.
    """

    def __init__(self, blocks: Iterator[list[bytes | None]]) -> None:
        self.start = 1
        self._blocks = blocks
        self._kept: list[bytes | None] = []
        self._first = 1  # the number of the first line that is kept

    def __iter__(self) -> Iterator[list[str]]:
        for block in self._blocks:
            self._kept = self.rest() + block
            self._first = self.start
            texts = _texts(self._kept)
            if texts is None:
                return
            yield texts[len(texts) - len(block) :]

    def rest(self) -> list[bytes | None]:
        """What was read of the file from the current record on."""
        return self._kept[self.start - self._first :]


def _texts(lines: list[bytes | None]) -> list[str] | None:
    """The text of some lines, or None if one of them is to be read with care."""
    raw: list[bytes] = [line for line in lines if line is not None]
    whole = b"".join(raw)
    if len(raw) < len(lines) or len(whole) > MAX_LINE or b"\0" in whole or not_text(whole):
        return None
    try:
        return [line.decode() for line in raw]
    except UnicodeDecodeError:
        return None


class _Feed:
    """Gives the CSV reader line after line, and remembers those of the current record."""

    def __init__(self, lines: Iterator[bytes | None], number: int) -> None:
        self.number = number
        self.start = 1
        self.damaged = False
        self.refused: str | None = None
        self._lines = lines
        self._again: deque[tuple[str, bool]] = deque()
        self._record: list[tuple[str, bool]] = []
        self._size = 0

    def begin(self) -> None:
        """The next line starts a record."""
        self.start = self.number + 1
        self.damaged = False
        self._record.clear()
        self._size = 0

    def push_back(self) -> bool:
        """Take the current record for its first line only; the other lines come again. Whether there were any."""
        rest = self._record[1:]
        self._again.extendleft(reversed(rest))
        self.number -= len(rest)
        return bool(rest)

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        text, damaged = self._again.popleft() if self._again else self._decoded()
        self._record.append((text, damaged))
        self.number += 1
        if damaged:
            self.damaged = True
        self._size += len(text)
        if self._size > MAX_LINE:
            raise _TooLong
        return text

    def _decoded(self) -> tuple[str, bool]:
        raw = next(self._lines)
        if self.number == 0:
            self.refused = not_text(raw or b"")
        if raw is None or self.refused:
            self.number += 1
            raise _TooLong(self.refused or TOO_LONG)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return raw.decode(errors="replace"), True
        return text, "\0" in text


def _rule(error: Exception, feed: _Feed) -> str:
    if isinstance(error, _TooLong) and error.args:
        return str(error)
    if isinstance(error, csv.Error) and "expected after" in str(error):
        if feed.number == feed.start:
            return 'a quote (") is out of place: quotes enclose a whole value, and one inside it is written twice ("")'
        return (
            f'a quote (") that opens a value here is not closed before line {feed.number}: '
            'close it, and write a quote inside a quoted value twice: ""'
        )
    if isinstance(error, csv.Error) and "field limit" in str(error) and feed.number == feed.start:
        return f"a value is longer than {csv.field_size_limit()} characters"
    return 'a quote (") that opens a value here is never closed'
