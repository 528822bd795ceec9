"""Records of a CSV file: on which line they start, and quotes that are wrong."""

import pytest

from .kit import read, table, two_lines


def test_lines_are_physical_lines() -> None:
    """Line breaks in quotes, blank lines and rows of empty cells count where they stand."""
    head, row = two_lines({"pickup_note_to_driver": "first\nsecond\r\nthird"})
    empty = "," * head.count(",")
    bad = row.replace("48.50", "x")
    found = read(f"{head}{row}\n{empty}\n{bad}{bad}")
    assert [each.line for each in found.rows] == [2]
    assert found.places == [(7, "price"), (10, "price")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_taken(end: str) -> None:
    """Files of Unix, Windows and the old Macintosh read alike."""
    found = read(table({}, {"tracking_id": "B"}, {"tracking_id": "C", "price": "x"}, end=end))
    assert [(row.line, row.key) for row in found.rows] == [(2, "SHS-1"), (3, "B")]
    assert found.places == [(4, "price")]


def test_short_and_long_rows_are_faults() -> None:
    """A row with another number of cells than the header is not read as if it were right."""
    head, row = two_lines()
    found = read(head + f"{row.rstrip()},more\n{row.rstrip()},,\n{row.partition(',')[2]}")
    assert found.places == [(2, None), (4, None)]
    assert "20 cells, but the header has 19" in found.faults[0]
    assert "18 cells" in found.faults[1]
    assert [each.line for each in found.rows] == [3]


def test_one_that_is_never_closed_does_not_hide_the_next_faults() -> None:
    """The lines behind it are read again as rows."""
    head, row = two_lines()
    opened = row.replace("SHS-1,", 'B,"', 1)
    found = read(head + row + opened + row.replace("48.50", "x") + row)
    assert found.places == [(3, None), (4, "price")]
    assert "never closed" in found.faults[0]
    assert [each.line for each in found.rows] == [2, 5]


def test_one_that_a_later_line_seems_to_close() -> None:
    """Both lines are named, and the later one is read again."""
    head, row = two_lines()
    found = read(head + row.replace("SHS-1,", 'A,"', 1) + row.replace("SHS-1", '"B"'))
    assert found.places == [(2, None)]
    assert "line 3" in found.faults[0]
    assert [each.key for each in found.rows] == ["B"]


def test_one_inside_a_quoted_value() -> None:
    """It must be doubled; unquoted it may stand as it is."""
    head, row = two_lines()
    assert read(head + row.replace("7 Loyang Way 4", '"7" Loyang"')).places == [(2, None)]
    order = read(head + row.replace("7 Loyang", '7" Loyang')).order
    assert order.from_address.street_address == '7" Loyang Way 4'


def test_a_file_of_nothing_else_is_given_up() -> None:
    """The reader does not look at the same lines for ever."""
    found = read("tracking_id\n" + '"a\n"b"c\n' * 1000)
    assert "the rest of the file was not read" in found.faults[-1]


def test_a_value_that_is_too_long() -> None:
    """It is a fault of its line, and the next row is read."""
    head, row = two_lines()
    found = read(head + row.replace("7 Loyang", "7" * 200_000) + row)
    assert found.places == [(2, None)]
    assert "longer than" in found.faults[0]
    assert [each.line for each in found.rows] == [3]


def test_a_value_without_end_stays_small() -> None:
    """More than any order needs is not taken into memory."""
    found = read("tracking_id\n" + '"' + "a\n" * 100_000)
    assert (2, None) in found.places
