"""Packed files and other encodings: the same orders as in plain UTF-8, and their faults at the same places."""

import gzip
import io
import json

import pytest

from gotsurge_async.errors import ConfigError
from gotsurge_async.tables import SourceOptions
from gotsurge_async.tables.formats import lines
from gotsurge_async.tables.formats.lines import BadFile, Unpacked
from tests.support.order_forms import NOW, good_order
from tests.tables.kit import Read, good_json, read, table

TEXT = table({"from_address.street_address": "Größe 7 é"}, {"tracking_id": "B", "price": "x"})


def messages(result: Read) -> tuple[list[bytes], list[tuple[int | None, str | None]]]:
    """What is read and what is wrong."""
    return [row.payload for row in result.rows], result.places


PLAIN = messages(read(TEXT))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("given", [None, "cp1252"])
def test_a_byte_order_mark_is_believed(encoding: str, given: str | None) -> None:
    """Whatever else is said; and the form says that there was one."""
    result = read(TEXT.encode(encoding), encoding=given)
    assert messages(result) == PLAIN
    assert (result.form.encoding, result.form.bom) == (encoding.removesuffix("-sig"), True)


HALF = len(TEXT) // 2
WHOLE = gzip.compress(TEXT.encode())


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        *((TEXT.encode(name), name) for name in ("cp1252", "latin-1", "utf-16-le", "utf-16-be", "gb18030", "cp437")),
        # The advice to say utf-16 also helps where no byte order mark stands, and the low byte is first then.
        *((TEXT.encode(f"{name}-le"), name) for name in ("utf-16", "utf-32")),
        (gzip.compress(TEXT[:HALF].encode()) + gzip.compress(TEXT[HALF:].encode()) + bytes(100), None),  # a.gz b.gz
    ],
    ids=["cp1252", "latin-1", "utf-16-le", "utf-16-be", "gb18030", "cp437", "utf-16", "utf-32", "packed"],
)
def test_an_encoding_that_is_said(data: bytes, encoding: str | None) -> None:
    """Without a mark it must be said; several packed files may stand in one, filled up with zeros."""
    result = read(data, encoding=encoding)
    assert messages(result) == PLAIN
    assert not result.form.bom


@pytest.mark.parametrize(
    ("data", "word"),
    [
        *((WHOLE[:cut], "incomplete") for cut in (12, 60, -1)),
        (WHOLE[:-6] + bytes([WHOLE[-6] ^ 1]) + WHOLE[-5:], "damaged"),
    ],
    ids=["header", "start", "all but the end", "damaged"],
)
def test_a_packed_file_that_is_not_whole(data: bytes, word: str) -> None:
    """Its end may hold what matters, and one flipped bit is enough: it is a fault of the whole file."""
    assert word in read(data).faults[-1]


@pytest.mark.parametrize(
    ("data", "encoding", "words"),
    [
        (TEXT.encode("cp1252"), None, "--encoding cp1252"),
        (TEXT.encode("utf-16-le"), None, "--encoding utf-16"),
        (TEXT.replace("é", "\x81").encode("latin-1"), "cp1252", "is not in the encoding cp1252"),
    ],
)
def test_a_wrong_encoding_is_a_fault_with_a_hint(data: bytes, encoding: str | None, words: str) -> None:
    """The message names the option."""
    assert words in read(data, encoding=encoding).faults[0]


@pytest.mark.parametrize(("name", "words"), [("utf9", 'mean "utf-8"'), ("hex", "is not known"), ("idna", "not known")])
def test_an_encoding_that_is_none(name: str, words: str) -> None:
    """It is refused before a file is opened."""
    with pytest.raises(ConfigError, match=words):
        SourceOptions(now=NOW, encoding=name)


@pytest.mark.parametrize("name", ["orders.csv.gz", "orders.csv", "<stdin>"])
def test_a_packed_table(name: str) -> None:
    """Its first bytes tell it, whatever its name."""
    for encoding in ("utf-8", "utf-16"):
        result = read(gzip.compress(TEXT.encode(encoding)), name=name)
        assert messages(result) == PLAIN
        assert result.form.packed
    line = json.dumps(good_json()).encode()
    assert read(gzip.compress(line), name="orders.jsonl.gz").order.tracking_id == "SHS-1"


def test_a_packed_file_that_expands_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up long before it fills anything."""
    bomb = gzip.compress(bytes(72 << 20), compresslevel=9)
    unpacked = Unpacked(io.BytesIO(bomb))
    with pytest.raises(BadFile, match="decompress it first"):
        list(iter(lambda: unpacked.read(1 << 20), b""))
    monkeypatch.setattr(lines, "MOST_UNPACKED", 100)
    assert "expands to more than" in read(gzip.compress(TEXT.encode())).faults[0]


def test_what_excel_says_of_the_delimiter() -> None:
    """A first line sep=; is obeyed, and counts as a line; what the user says counts more."""
    for first in ("sep=;\r\n", '"sep=;"\n', "SEP=;\r"):
        result = read(first + table({}, {"tracking_id": "B", "price": "x"}, delimiter=";"))
        assert [row.order for row in result.rows] == [good_order()]
        assert result.places == [(4, "price")]
        assert result.form.delimiter == ";"
    assert read("sep=;\n" + table({}), delimiter=",").order == good_order()


def test_a_title_above_the_header() -> None:
    """It is recognized, and skipped with --header-row."""
    text = 'Orders of March,,\n"exported\nby Mei"\n\n' + table({}, {"tracking_id": "B", "price": "x"})
    assert read(text).faults == [
        "orders.csv:1: this is not the header; line 5 looks like the header: pass --header-row 5"
    ]
    assert read(text, header_row=5).places == [(7, "price")]
    assert "--header-row makes this line the header" in read(text, header_row=4).faults[0]
    assert "--header-row makes this line the header" in read(text, header_row=99).faults[0]
