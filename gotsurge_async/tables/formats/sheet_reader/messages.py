"""The argument of the process that reads a sheet, and the messages that it writes."""

from typing import TypeAlias

import msgspec

OUT_OF_MEMORY = 12
"""The exit code of the process if Python had no memory left."""
SIZE = 4
"""The number of bytes before each message that contain its length, the highest first."""
ADVICE_TO_SPLIT = "save the sheet as CSV UTF-8, or split it into several workbooks"
SHOWS_ERROR = "is an error of the spreadsheet, such as #N/A: correct its formula"
"""The rule for a cell without a value."""
FREE = 64 << 20
"""Bytes up to which a packed file may expand to any number of times its size."""


class Request(msgspec.Struct, kw_only=True):
    """The sheet to read (the first visible one if None), and the limits.

    Attributes:
        memory: the most bytes of memory.
        seconds: the most seconds of CPU time.
        unpacked: the most bytes that the parts of the workbook may expand to.
        ratio: the most times its size that the workbook may expand to.
        cells: the most cells of a sheet, with all empty ones between its first cell and its last.
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
    """The facts about a sheet before its first row; its ``name`` is None if there is no such sheet.

    ``visible`` names all sheets of cells. ``hidden`` is the number of its hidden rows with cells, and the first of
    them.
    """

    name: str | None
    visible: dict[str, bool]
    hidden: tuple[int, int] = (0, 0)


Row: TypeAlias = tuple[int, list[str] | None, list[int], dict[int, str], bool, dict[int, str]]
"""The row's number, from 1, and its cells, None if they are too long. Then the places of cells that had a type, the
rules that cells without a value break, by place, and whether some cells hold bytes that are not text. Then the texts
that the sheet shows of numbers with a format, by place; "" if the text is not known."""


class Rows(msgspec.Struct, tag=True):
    """Some rows, without the empty ones."""

    rows: list[Row]


class Refusal(msgspec.Struct, tag=True):
    """Nothing more of the workbook can be read."""

    message: str
    explain_code: str


class End(msgspec.Struct, tag=True):
    """All rows were read."""


Message: TypeAlias = Sheet | Rows | Refusal | End


class BadSheet(Exception):
    """Nothing more of the workbook can be read; the text names the reason, and what to do."""

    def __init__(self, message: str, explain_code: str = "E205") -> None:
        super().__init__(message)
        self.explain_code = explain_code
