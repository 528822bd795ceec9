"""Cells that have a type, of workbooks, Parquet and databases, as the text that a CSV would have."""

import uuid
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from gotsurge_async.bulk.sources.cells import Broken, Exact
from gotsurge_async.bulk.sources.lines import MAX_LINE, Record, Unreadable

_EXACT_DIGITS = 15
"""Digits of a number that a spreadsheet keeps, and shows."""


def float_text(number: float) -> Exact:
    """A float with as many digits as it needs; a whole one without decimals."""
    if number.is_integer() and abs(number) < 10**_EXACT_DIGITS:
        return Exact(int(number))
    return Exact(number)


def rounded_text(number: float) -> Exact:
    """The same of a spreadsheet's number: 0.1 + 0.2 is 0.3 there."""
    return float_text(float(f"{number:.{_EXACT_DIGITS}g}"))


def _timedelta_text(duration: timedelta) -> Exact:
    minutes, seconds = divmod(round(duration.total_seconds()), 60)
    return Exact(f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}")


def _time_text(moment: datetime | time) -> Exact:
    return Exact(moment.isoformat())


TEXTS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "",
    bool: lambda value: Exact("true" if value else "false"),
    int: Exact,
    float: float_text,
    Decimal: lambda value: Exact(f"{value:f}"),
    datetime: _time_text,
    date: lambda value: Exact(value.isoformat()),
    time: _time_text,
    timedelta: _timedelta_text,
    uuid.UUID: str,
}
"""What makes the text of a value, by its type."""


class Typed:
    """Makes records of rows of typed values.

    Args:
        texts: other ways to write values of some types than `TEXTS`.
    """

    def __init__(self, texts: dict[type, Callable[[Any], str]] | None = None) -> None:
        self._texts = {**TEXTS, **(texts or {})}

    def record(self, line: int, row: Sequence[Any], unreadable: Unreadable) -> Record | None:
        """A row as a record, or None: if it is empty, or cannot be read, which is told."""
        damaged = False
        try:
            cells = [value if type(value) is str else self._texts[type(value)](value) for value in row]
        except KeyError:
            cells, damaged = [self._text(value) for value in row], True
        whole = "".join(cells)
        if not whole.strip():
            return None
        if len(whole) > MAX_LINE:
            unreadable(line, f"the row is longer than {MAX_LINE} characters")
            return None
        return Record(line, cells, damaged or "\0" in whole, line)

    def _text(self, value: Any) -> str:
        if type(value) is str:
            return value
        make = self._texts.get(type(value))
        if make is None:
            return Broken(f"holds a {type(value).__name__}, and a cell holds one text, number or time")
        return make(value)
