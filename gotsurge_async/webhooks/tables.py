"""Tables for spreadsheets: CSV whose cells do nothing, and workbooks."""

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet takes for a formula."""


def harmless(cell: str) -> str:
    """A cell that no spreadsheet executes: text of others stands in it. A number stays one."""
    return f"'{cell}" if cell.startswith(_DANGEROUS) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    sign, digits = cell[:1], cell[1:].replace(".", "", 1)
    return sign == "-" and digits.isascii() and digits.isdecimal()
