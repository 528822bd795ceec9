"""Maps that are proposed: what is sure, what is not, and that they are maps."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async.errors import ConfigError
from gotsurge_async.tables import SourceOptions, open_grid
from gotsurge_async.tables.formats.lines import BadFile
from gotsurge_async.tables.maps.draft import Draft, draft_map
from gotsurge_async.tables.options import read_map
from tests.support.order_forms import CELLS, NOW
from tests.support.sheets import xlsx_bytes
from tests.tables.kit import plain_table, read, table


def drafted(data: bytes | str, name: str = "orders.csv", **options: object) -> Draft:
    """The draft for a file."""
    stream = io.BytesIO(data.encode() if isinstance(data, str) else data)
    stream.name = name  # type: ignore[attr-defined]
    said = SourceOptions(now=NOW, **options)  # type: ignore[arg-type]
    with open_grid(stream, options=said) as grid:
        return draft_map(grid, said.dialect(), said.timezone)


HEADER = ["Order ID", "Ship to address", "Recipient Phone", "Fare", "Delivery date", "Kind", "Pcs", "Blurb", "Amount"]
ROW = ["A-1", "7 Loyang Way", "9175 5010", "S$1,200.00", "13/03/2030 2:00 PM", "Marine", "4", "x", "5"]


def test_what_is_sure_and_what_is_not() -> None:
    """The draft names columns, ways of writing and values; unknown columns are left out, and marked."""
    made = drafted(plain_table(["Orders of March"], [], HEADER, ROW), timezone="Asia/Singapore")
    assert read_map(made.text.encode(), "m")
    for line in (
        "header_row = 3",
        'timezone = "Asia/Singapore"',
        '"Order ID" = "tracking_id"',
        '"Ship to address" = "to_address.street_address"',
        '"Fare" = "price"',
        'client_time_utc = "now"  # when it is pushed',
        'currency = "SGD"  # not sure',
        '# service_type = "ftl"  # is required: one of ftl, ltl',
        '"to_time_window.start_time_utc" = "31/12/2030 11:59 PM"',
        '"price" = "S$1,234.56"',
        '"to_contact.phone" = "+65 61234567"',
        '"Marine" = "marine"',
        '  "Blurb",  # not sure: such as x',
        '  "Amount",  # not sure: "Fare" seems to be price',
    ):
        assert line in made.text.splitlines()
    assert made.unknown == ["Blurb", "Amount"]
    assert "Order ID" in made.sure


@pytest.mark.parametrize(
    ("texts", "lines"),
    [
        (
            ["03/04/2030 14:00", "05/06/2030 08:00"],
            [
                "# These dates can be read in 2 ways. Remove the # before the right one.",
                '# "to_time_window.start_time_utc" = "31/12/2030 23:59"  # reads 03/04/2030 14:00 as 2030-04-03',
                '# "to_time_window.start_time_utc" = "12/31/2030 23:59"  # reads 03/04/2030 14:00 as 2030-03-04',
            ],
        ),
        (
            ["03-03-2030 14:00", "03-04-2030 14:00"],  # the first one is one day in both
            [
                "# These dates can be read in 2 ways. Remove the # before the right one.",
                '# "to_time_window.start_time_utc" = "31-12-2030 23:59"  # reads 03-04-2030 14:00 as 2030-04-03',
                '# "to_time_window.start_time_utc" = "12-31-2030 23:59"  # reads 03-04-2030 14:00 as 2030-03-04',
            ],
        ),
        (
            ["28/11/26 2:00 PM"],
            [
                "# These dates can be read in 2 ways. Remove the # before the right one.",
                '# "to_time_window.start_time_utc" = "31/12/30 11:59 PM"  # reads 28/11/26 2:00 PM as 2026-11-28',
                '# "to_time_window.start_time_utc" = "30/12/31 11:59 PM"  # reads 28/11/26 2:00 PM as 2028-11-26',
            ],
        ),
        (["13/04/2030 14:00", "03/04/2030 14:00"], ['"to_time_window.start_time_utc" = "31/12/2030 23:59"']),
        (["04/13/2030 14:00", "03/04/2030 14:00"], ['"to_time_window.start_time_utc" = "12/31/2030 23:59"']),
        (["04/13/30 14:00"], ['"to_time_window.start_time_utc" = "12/31/30 23:59"']),
        (["03.04.2030 14:00"], ['"to_time_window.start_time_utc" = "31.12.2030 23:59"']),  # no country writes 4.13.2030
    ],
)
def test_days_and_months_that_could_be_either(texts: list[str], lines: list[str]) -> None:
    """Where every sample can be read in two ways no rule is active: both stand there, with what they make of one."""
    made = drafted(plain_table(["Delivery date"], *([text] for text in texts)))
    assert made.text.partition("[dates]\n")[2].splitlines() == lines
    active = len(lines) == 1
    assert (made.sure, made.unsure) == ((["Delivery date"], []) if active else ([], ["Delivery date"]))
    assert bool(read_map(made.text.encode(), "m").orders.dates) is active


def test_a_date_and_a_time_that_could_be_either() -> None:
    """Neither of the columns that give it is sure; and a date alone is as open."""
    made = drafted(plain_table(["Delivery date", "Delivery time"], ["03/04/2030", "14:00"]))
    assert (made.sure, sorted(made.unsure)) == ([], ["Delivery date", "Delivery time"])
    text = drafted(plain_table(["Delivery date"], ["03/04/2030"])).text
    assert '# "to_time_window.start_time_utc" = { like = "12/31/2030", time = "09:00" }' in text


def test_numbers_that_could_be_either() -> None:
    """S$1,234 may be a thousand or one: no rule is active, and the column is not sure."""
    made = drafted(plain_table(["Fare"], ["S$1,234"]))
    assert '# "price" = "S$1,234.56"  # not sure: fits S$1,234' in made.text.splitlines()
    assert (made.sure, made.unsure, read_map(made.text.encode(), "m").orders.numbers) == ([], ["Fare"], {})


def test_a_column_that_stands_twice_is_not_proposed() -> None:
    """A draft cannot say which of two is meant: both are commented out, with their places."""
    header, row = ["Order No", "Date", "Fare", "Date", "Blurb", "Blurb"], ["A", "13/04/2030", "5", "14/04/2030", "", ""]
    made = drafted(plain_table(header, row))
    why = "stands twice (columns 2 and 4): say what each is"
    assert f'# "Date" = "client_time_utc"  # not sure: {why}' in made.text.splitlines()
    assert '# "Date#2" = "client_time_utc"' in made.text.splitlines()
    assert (made.sure, made.unsure, made.unknown) == (["Order No", "Fare"], ["Date"], ["Blurb"])
    assert "Date" not in read_map(made.text.encode(), "m").orders.names()
    assert drafted(plain_table(["Street", "Street"], ["a", "b"])).text.count("Street") == 2  # not in [join]


def test_a_sample_with_a_line_break_or_a_control_character() -> None:
    """It is shown in a comment, which may hold neither."""
    for cell in ("S$1\x7f2\x01", "31/12\n2030", "03/04/2030\n14:00"):
        made = drafted(plain_table(["Delivery date", "Fare", "Blurb"], [cell] * 3))
        assert read_map(made.text.encode(), "m")


def test_our_own_table_needs_no_map() -> None:
    """Nothing is renamed, and nothing is unsure."""
    made = drafted(table({}))
    assert (made.unsure, made.unknown) == ([], [])
    assert read(table({}), file_map=read_map(made.text.encode(), "m")).rows
    assert "[columns]" not in made.text


def test_a_workbook() -> None:
    """Its sheet is named, and its numbers and dates need no rule."""
    made = drafted(xlsx_bytes([["Order No", "Fare"], ["A", 48.5]], sheet="März"), "o.xlsx")
    assert 'sheet = "März"' in made.text
    assert "[numbers]" not in made.text


@pytest.mark.parametrize(("data", "words"), [("", "no table"), (b"tracking_id,Gr\xf6\xdfe\n", "--encoding")])
def test_what_is_no_table(data: bytes | str, words: str) -> None:
    """The message says why."""
    with pytest.raises(ConfigError, match=words):
        drafted(data)
    with pytest.raises(ConfigError, match="no table"):
        drafted(b"{}", "orders.jsonl")
    with pytest.raises(ConfigError, match="--header-row"):
        drafted("a\n", header_row=4)


_words = st.sampled_from([*HEADER, *CELLS, "Order", "Name", "Delivery time", "Pickup", "x", "", "gs_error", 'a"\\\x7f'])
_cells = st.sampled_from([*ROW, *CELLS.values(), "", "'0123", "1.234,56", "31.12.2030", "\ud7ff", "\U0001f6a2", '"\\u'])


@given(
    st.lists(_words, min_size=1, max_size=12).flatmap(
        lambda header: st.tuples(
            st.just(header), st.lists(st.lists(_cells, min_size=len(header), max_size=len(header)), max_size=4)
        )
    )
)
@settings(max_examples=30, deadline=None)
def test_a_draft_is_always_a_map(drawn: tuple[list[str], list[list[str]]]) -> None:
    """Whatever stands in a table, what is proposed can be read as a map, and used."""
    text = plain_table(drawn[0], *drawn[1])
    try:
        made = drafted(text)
    except (ConfigError, BadFile):
        return
    file_map = read_map(made.text.encode(), "m")
    read(text, file_map=file_map)
