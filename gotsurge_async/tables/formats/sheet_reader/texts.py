"""The values of cells as text."""

import datetime as dt
from collections.abc import Callable
from typing import Any

_EXACT_DIGITS = 15
"""The number of digits that a spreadsheet keeps, and shows."""
_WHOLE = 2**53
"""The limit below which a float holds every whole number."""


def float_text(number: float, below: int = _WHOLE) -> str:
    """A float as text with as many digits as it needs; a whole number without decimals.

    A whole number that is not ``below`` the limit may have lost digits: it has the form 1.23e+15, and cannot be a key.
    """
    if not number.is_integer():
        return str(number)
    return str(int(number)) if abs(number) < below else f"{number:.16e}"


def duration_text(duration: dt.timedelta) -> str:
    """A duration as hours, minutes and seconds."""
    minutes, seconds = divmod(round(duration.total_seconds()), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


TEXTS: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false",
    int: str,
    # As a spreadsheet shows it: 0.1 + 0.2 is 0.3.
    float: lambda number: float_text(float(f"{number:.{_EXACT_DIGITS}g}"), 10**_EXACT_DIGITS),
    dt.datetime: dt.datetime.isoformat,
    dt.date: dt.date.isoformat,
    dt.time: dt.time.isoformat,
    dt.timedelta: duration_text,
}
"""The function that makes the text of a value of a sheet, by the value's type."""
