"""The argument of the process that reads a sheet, and the messages that it writes."""

from typing import TypeAlias

import msgspec

OUT_OF_MEMORY = 12
"""The exit code of the process where Python had no memory left."""
SIZE = 4
"""The number of bytes before each message that state its length, the highest first."""
ADVICE_TO_SPLIT = "save the sheet as CSV UTF-8, or split it into several workbooks"
FREE = 64 << 20
"""Bytes up to which it does not matter how many times its size a packed file expands to."""


class Request(msgspec.Struct, kw_only=True):
    """What is read, and the limits.

    Attributes:
        sheet: its name; the first visible one if None.
        memory: the most bytes of memory.
        seconds: the most seconds of CPU time.
        unpacked: the most bytes that the parts of the workbook may expand to.
        ratio: the most times its size that it may expand to.
        cells: the most cells of a sheet, with all that is empty between its first cell and its last.
        row: the most characters of a row.
    """

    sheet: str | None
    memory: int
    seconds: int
    unpacked: int
    ratio: int
    cells: int
    row: int


class Sheet(msgspec.Struct, tag=True):
    """What is known before the first row.

    Attributes:
        name: of the sheet that is read; None if there is no such sheet.
        visible: whether a sheet can be seen, by the names of all sheets of cells.
        hidden: the number of its hidden rows that have cells, and the first of them.
    """

    name: str | None
    visible: dict[str, bool]
    hidden: tuple[int, int] = (0, 0)


Row: TypeAlias = tuple[int, list[str] | None, list[int], dict[int, str], bool]
"""The row of the sheet, from 1, and its cells, None if they are too long. Then the places of cells that had a type, the
rules that cells without a value break, by place, and whether some cells hold bytes that are not text."""


class Rows(msgspec.Struct, tag=True):
    """Some rows, without those that are empty."""

    rows: list[Row]


class Refusal(msgspec.Struct, tag=True):
    """Nothing more of the workbook can be read."""

    message: str
    explain_code: str


class End(msgspec.Struct, tag=True):
    """All rows were read."""


Message: TypeAlias = Sheet | Rows | Refusal | End


class BadSheet(Exception):
    """Nothing more of the workbook can be read; the text says what it is, and what to do."""

    def __init__(self, message: str, explain_code: str = "E205") -> None:
        super().__init__(message)
        self.explain_code = explain_code
