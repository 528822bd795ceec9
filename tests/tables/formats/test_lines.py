"""The lines of a file and the records of a CSV: on which line they start, and quotes that are wrong."""

import csv
import gzip
import hashlib
import io
import re
import tracemalloc
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gotsurge_async.tables.formats import lines
from gotsurge_async.tables.formats.grid import CsvGrid, Record
from gotsurge_async.tables.formats.lines import MAX_LINE, BadFile, Digested, Text
from tests.tables.kit import read, table, two_lines


class Dribble(io.BytesIO):
    """A stream that gives a few bytes at a time, however many are asked for."""

    def __init__(self, data: bytes, few: int) -> None:
        super().__init__(data)
        self.few = few

    def read(self, size: int | None = -1, /) -> bytes:
        """The next few bytes."""
        return super().read(self.few)


def lines_of(data: bytes, few: int = 1 << 20) -> list[bytes | None]:
    return list(Text(Digested(Dribble(data, few))).lines())


@given(
    st.lists(st.sampled_from((b"\r", b"\n", b"a", b"\xef", b"\xbb", b"\xbf", b"\x0b", b"\x85"))).map(b"".join),
    st.integers(1, 5),
)
@example(b"\xef\xbb\xbfa\n", 1)
@example(b"\xef\xbb", 1)
@example(b"a\n\xef\xbb\xbf", 2)
@settings(deadline=None)
def test_lines_do_not_hang_on_how_the_bytes_arrive(data: bytes, few: int) -> None:
    """However they are cut, the lines are those of the whole, without the mark at the start and only there."""
    assert lines_of(data, few) == data.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)


def test_the_digest_covers_every_byte() -> None:
    """Also those of the mark and of lines that are left out."""
    data = b"\xef\xbb\xbf" + b"x" * (MAX_LINE + 5) + b"\r\nend"
    stream = Digested(io.BytesIO(data))
    assert list(Text(stream).lines()) == [None, b"end"]
    assert stream.digest.hexdigest() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("few", [70_000, 1 << 20, (1 << 20) + 1, 5 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_line_that_is_too_long_is_none(few: int, end: bytes) -> None:
    """It counts as one line, wherever the blocks end; the longest that is read is a line."""
    longest = b"x" * (MAX_LINE - len(end)) + end
    lines = lines_of(longest + b"x" * (2 * MAX_LINE) + end + b"a" + end + b"x" * (MAX_LINE + 1), few)
    assert [None if line is None else len(line) for line in lines] == [MAX_LINE, None, 1 + len(end), None]


def test_a_line_without_end_is_never_held_whole() -> None:
    """Its memory is given back while it is read."""

    class Endless(io.RawIOBase):
        blocks = 200

        def read(self, size: int = -1, /) -> bytes:
            self.blocks -= 1
            return bytes(size) if self.blocks else b""

    tracemalloc.start()
    assert list(Text(Digested(cast("BinaryIO", Endless()))).lines()) == [None]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * MAX_LINE


@pytest.mark.parametrize(
    ("start", "word"),
    [
        (b"PK\x03\x04", "workbook"),
        (b"\xd0\xcf\x11\xe0", "workbook"),
        (b"PAR1", "Parquet"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_other_kinds_of_file_are_known(start: bytes, word: str) -> None:
    """The message says what it is."""
    assert word in str(Text(Digested(io.BytesIO(start))).refusal())


def test_text_is_text() -> None:
    """No table and no JSON is taken for something else."""
    assert Text(Digested(io.BytesIO(b"tracking_id,price"))).refusal() is None
    assert Text(Digested(io.BytesIO())).refusal() is None


# --- records ---------------------------------------------------------------------------------------------------------

_pieces = st.sampled_from(("a", "é", ",", '"b\nc"', '"d""e\r\n"', "\n", "\r", "\r\n"))


@given(st.lists(_pieces, max_size=30).map("".join), st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_records_are_those_of_the_csv_module(text: str, few: int) -> None:
    """Without a quote out of place there is no fault, and each record has its lines; empty ones are left out."""
    messages: list[tuple[int, str]] = []
    grid = CsvGrid(Digested(Dribble(text.encode(), few)), None, ",")
    outcome = list(grid.records(lambda line, rule: messages.append((line, rule))))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    wanted: list[Record] = []
    start = 1
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                wanted.append(Record(start, cells, False, reader.line_num))
            start = reader.line_num + 1
    except csv.Error:
        assert messages
        assert outcome[: len(wanted)] == wanted
    else:
        assert (messages, outcome) == ([], wanted)


_bytes = st.sampled_from((b"a", b",", b'"', b'""', b"\n", b"\r", b"\0", b"\xff", b"\xc3\xa9", b'"b\nc"', b"PK"))


@given(st.lists(_bytes, max_size=30).map(b"".join), st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_records_do_not_hang_on_how_the_bytes_arrive(data: bytes, few: int) -> None:
    """However they are cut, the records and their faults are those of the whole."""

    def records(few: int) -> tuple[list[Record], list[tuple[int, str]], bool]:
        messages: list[tuple[int, str]] = []
        grid = CsvGrid(Digested(Dribble(data, few)), None, ",")
        return list(grid.records(lambda line, rule: messages.append((line, rule)))), messages, grid.stopped

    assert records(few) == records(1 << 20)


def test_lines_are_physical_lines() -> None:
    """Line breaks in quotes, blank lines and rows of empty cells count where they stand."""
    head, row = two_lines({"pickup_note_to_driver": "first\nsecond\r\nthird"})
    empty = "," * head.count(",")
    bad = row.replace("48.50", "x")
    outcome = read(f"{head}{row}\n{empty}\n{bad}{bad}")
    assert [each.line for each in outcome.rows] == [2]
    assert outcome.places == [(7, "price"), (10, "price")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_taken(end: str) -> None:
    """Files of Unix, Windows and the old Macintosh read alike."""
    outcome = read(table({}, {"tracking_id": "B"}, {"tracking_id": "C", "price": "x"}, end=end))
    assert [(row.line, row.key) for row in outcome.rows] == [(2, "SHS-1"), (3, "B")]
    assert outcome.places == [(4, "price")]


@pytest.mark.parametrize("quoted", [False, True])
def test_text_that_a_formula_keeps_is_text(quoted: bool) -> None:
    """So some programs keep zeros from Excel; another formula stays what it is."""
    head, row = two_lines({"to_address.zip_code": "ZIP", "invoice_number": "NUMBER"})
    for name, wrapped in (("ZIP", '="018956"'), ("NUMBER", '="A"&"B"')):
        row = row.replace(name, '"' + wrapped.replace('"', '""') + '"' if quoted else wrapped)
    outcome = read(head + row)
    assert (outcome.order.to_address.zip_code, outcome.order.invoice_number) == ("018956", '="A"&"B"')


def test_short_and_long_rows_are_faults() -> None:
    """A row with another number of cells than the header is not read as if it were right."""
    head, row = two_lines()
    outcome = read(head + f"{row.rstrip()},more\n{row.rstrip()},,\n{row.partition(',')[2]}")
    assert outcome.places == [(2, None), (4, None)]
    assert "20 cells, but the header has 19" in outcome.faults[0]
    assert "18 cells" in outcome.faults[1]
    assert [each.line for each in outcome.rows] == [3]


REST = "the rest of the file was not read"
STREET = "7 Loyang Way 4"


@pytest.mark.parametrize(
    ("broken", "words", "following"),
    [
        (("SHS-1,", 'B,"'), f"never closed; {REST}", False),
        (("SHS-1,", 'A,"', '"B"'), "before line 4", False),
        ("x" * (MAX_LINE + 1), "", False),
        ("\n".join(['"a', *['b","c'] * (MAX_LINE // 4)]), "", False),
        (("7 Loyang", "7" * 200_000), "longer than", True),
        ((STREET, f'"{"7" * 200_000}\nLoyang"'), f"a value is longer than 131072 characters; {REST}", False),
        ((STREET, f'"{"7" * 200_000} Loyang"'), "longer than", True),
        ((STREET, '"' + "7 Loyang\n" * 20_000 + '"'), 'longer than 131072 characters, or its quote (")', False),
    ],
    ids=[
        "open quote",
        "closed later",
        "long line",
        "many lines",
        "long value",
        "with lines",
        "in quotes",
        "short lines",
    ],
)
def test_a_record_that_is_broken(broken: str | tuple[str, ...], words: str, following: bool) -> None:
    """It is one fault of its first line; rows above are read, and those below where they are certainly rows."""
    head, row = two_lines()
    key = row.replace("SHS-1", broken[2]) if len(broken) == 3 else row
    line = broken + "\n" if isinstance(broken, str) else row.replace(broken[0], broken[1], 1)
    result = read(head + row + line + key)
    assert result.places == [(3, None)]
    assert words in result.faults[0]
    assert [each.line for each in result.rows] == ([2, 4] if following else [2])


def test_one_inside_a_quoted_value() -> None:
    """It must be doubled; unquoted it may stand as it is."""
    head, row = two_lines()
    assert read(head + row.replace("7 Loyang Way 4", '"7" Loyang"')).places == [(2, None)]
    order = read(head + row.replace("7 Loyang", '7" Loyang')).order
    assert order.from_address.street_address == '7" Loyang Way 4'


@pytest.mark.slow
def test_a_value_without_end_stays_small() -> None:
    """More than any order needs is not taken into memory."""
    outcome = read("tracking_id\n" + '"' + "a\n" * 100_000)
    assert (2, None) in outcome.places


class TestMostLines:
    """How many lines are read."""

    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "MOST_LINES", 20_000)

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_file_that_has_far_more_is_refused_early(self, packed: bool, tmp_path: Path) -> None:
        """Its size and its first lines show it, also where it is packed."""
        data = b"".join(b"%x\n" % (number * 2_654_435_761) for number in range(200_000))
        path = tmp_path / "orders.csv"
        path.write_bytes(gzip.compress(data) if packed else data)
        with path.open("rb") as file:
            stream = Digested(file)
            with pytest.raises(
                BadFile, match=r"has about [\d,]+ lines, but at most 20,000 are read: split it"
            ) as raised:
                list(Text(stream).blocks())
            assert stream.count < path.stat().st_size / 2
        assert re.search(r"about (1[5-9]|2[0-4])0,000 lines", str(raised.value))

    @pytest.mark.parametrize("more", [0, 1])
    def test_the_lines_of_a_stream_are_counted(self, more: int) -> None:
        """Its size is not known, and one that has not too many is read."""
        text = Text(Digested(io.BytesIO(b"a\n" * (20_000 + more))))
        if more:
            with pytest.raises(BadFile, match="has more than 20,000 lines"):
                list(text.lines())
        else:
            assert sum(1 for _ in text.lines()) == 20_000

    def test_it_is_one_fault_of_the_file(self) -> None:
        """Which is refused as a whole."""
        outcome = read("tracking_id\n" * 30_000)
        assert outcome.faults[-1].startswith("orders.csv: has more than 20,000 lines, but at most 20,000 are read: ")
        assert outcome.report.whole
