"""Maps that are proposed: what is sure, what is not, and that they are maps."""

import io
from datetime import datetime

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
    """The draft names what names and values prove; of the rest it has each reading as a comment, or the reason."""
    made = drafted(plain_table(["Orders of March"], [], HEADER, ROW), timezone="Asia/Singapore")
    assert read_map(made.text.encode(), "m")
    for line in (
        "header_row = 3",
        'timezone = "Asia/Singapore"',
        '"Order ID" = "tracking_id"',
        '"Ship to address" = "to_address.street_address"',
        '"Fare" = "price"',
        'client_time_utc = "now"  # when it is pushed',
        'currency = "SGD"',
        '# service_type = "ftl"  # is required: one of ftl, ltl',
        '# "Delivery date" = "to_time_window.start_time_utc"  # 13/03/2030 2:00 PM: Delivery, the delivery, not before',
        '# "Delivery date" = "to_time_window.end_time_utc"  # 13/03/2030 2:00 PM: Delivery, the delivery, not after',
        '"to_time_window.start_time_utc" = "31/12/2030 11:59 PM"',
        '"price" = "S$1,234.56"',
        '# "to_contact.phone" = "+65 61234567"  # reads 9175 5010 as +6591755010',
        '# "to_contact.phone" = "+852 21234567"  # reads 9175 5010 as +85291755010',
        '"Marine" = "marine"',
        '  "Blurb",  # such as x',
        '  "Amount",  # such as 5',
    ):
        assert line in made.text.splitlines()
    assert made.sure == ["Order ID", "Ship to address", "Fare", "Kind", "Pcs"]
    assert [*made.choose] == ["Recipient Phone", "Delivery date"]
    assert made.choose["Delivery date"] == ["to_time_window.start_time_utc", "to_time_window.end_time_utc"]
    assert made.unknown == {"Blurb": "such as x", "Amount": "such as 5"}


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
        (["2030年4月3日14:00"], ['"to_time_window.start_time_utc" = "2030年12月31日23:59"']),
    ],
)
def test_days_and_months_that_could_be_either(texts: list[str], lines: list[str]) -> None:
    """Where every sample can be read in two ways no rule is active: both stand there, with what they make of one."""
    made = drafted(plain_table(["Delivery start"], *([text] for text in texts)))
    assert made.text.partition("[dates]\n")[2].splitlines() == lines
    active = len(lines) == 1
    assert (made.sure, [*made.choose]) == ((["Delivery start"], []) if active else ([], ["Delivery start"]))
    assert bool(read_map(made.text.encode(), "m").orders.dates) is active


@pytest.mark.parametrize("rows", [["03/04/2030 14:00", "03/09/2030 14:00"], ["03/04/2030 14:00", "03/13/2030 14:00"]])
def test_months_first(rows: list[str]) -> None:
    """No pickup goes out in the wrong month: without a day above 12 the push reports each of them."""
    name = "from_time_window.start_time_utc"
    text = table(*({"tracking_id": day, name: day} for day in rows)).replace(name, "Pickup start")
    made = drafted(text)
    result = read(text, file_map=read_map(made.text.encode(), "m"), timezone="Asia/Singapore")
    if made.sure[-1:] == ["Pickup start"] or "Pickup start" in made.sure:
        assert "03/13" in rows[1]
        assert '"12/31/2030 23:59"' in made.text
        assert "31/12/2030" not in made.text
    else:
        assert "03/09" in rows[1]
        assert len([fault for fault in result.faults if "Pickup start" in fault]) == len(rows)
        assert len(made.choose["Pickup start"]) == 2


def test_a_day_and_a_time_of_day() -> None:
    """They are joined by their names and values; the order of day and month is as open as anywhere."""
    header = ["Delivery date", "Delivery from", "Delivery until"]
    made = drafted(plain_table(header, ["13/04/2030", "14:00", "16:00"]))
    assert (made.sure, made.choose) == (header, {})
    join = read_map(made.text.encode(), "m").orders.join
    assert join["to_time_window.end_time_utc"].columns == ("Delivery date", "Delivery until")
    made = drafted(plain_table(header, ["03/04/2030", "14:00", "16:00"]))
    assert (made.sure, [*made.choose]) == ([], header)
    made = drafted(plain_table(header[1:2], ["14:00"]))
    assert "no column is its day" in made.unknown["Delivery from"]
    made = drafted(plain_table(["Delivery date", "From", "Until"], ["13/04/2030", "14:00", "16:00"]))
    assert made.choose["From"] == ["to_time_window.start_time_utc of Delivery date + From"]
    assert read_map(made.text.encode(), "m").orders.join == {}
    text = drafted(plain_table(["Delivery start"], ["03/04/2030"])).text
    assert '# "to_time_window.start_time_utc" = { like = "12/31/2030", time = "09:00" }' in text


@pytest.mark.parametrize(
    ("cells", "rules"),
    [
        (["1.234"], ['# "1234.56"  # reads 1.234 as 1.234', '# "1.234,56"  # reads 1.234 as 1234']),
        (["1,234"], ['# "1,234.56"  # reads 1,234 as 1234', '# "1.234,56"  # reads 1,234 as 1.234']),
        (["1,234 kg"], ['# "1,234.56 kg"  # reads 1,234 kg as 1234', '# "1.234,56 kg"  # reads 1,234 kg as 1.234']),
        (["1.234", "48.50"], []),
        (["1.234", "0.500"], []),
        (["1.234,00"], ['"1.234,56"']),
        (["48 kg"], ['"1234 kg"']),
    ],
)
def test_numbers_that_could_be_either(cells: list[str], rules: list[str]) -> None:
    """1.234 may be a thousand or one: no rule is active until a person chooses, and none reads it."""
    text = table(*({"tracking_id": cell, "total_item_weight": cell} for cell in cells))
    text = text.replace("total_item_weight", "Weight")
    made = drafted(text)
    lines = [
        line.replace('"total_item_weight" = ', "")
        for line in made.text.splitlines()
        if "# reads" in line or '_weight" =' in line
    ]
    assert [line for line in lines if line != '"Weight" = "total_item_weight"'] == rules
    assert ("Weight" in made.sure) is (len(rules) < 2)
    faults = read(text, file_map=read_map(made.text.encode(), "m")).faults
    assert any("Weight" in fault for fault in faults) is (len(rules) == 2), faults


def test_columns_of_one_name_in_two_blocks() -> None:
    """Each has its number and its own sample, also in a join; the push knows both."""
    header = ["Order No", "Pickup name", "Address", "Address 2", "Delivery name", "Address", "Address 2"]
    made = drafted(plain_table(header, ["A", "Tan", "7 Loyang Way", "Unit 3", "Siti", "Berth J07", "Pier 2"]))
    assert (made.sure, made.choose.keys() & {"Address", "Address#2"}) == (
        ["Order No", "Pickup name", "Delivery name"],
        {"Address", "Address#2"},
    )
    value = '{ columns = ["Address#2", "Address 2#2"], with = ", " }  # Berth J07, Pier 2: Delivery, street and number'
    assert f'# "to_address.street_address" = {value}' in made.text.splitlines()
    value = '{ columns = ["Address", "Address 2"], with = ", " }  # 7 Loyang Way, Unit 3: Pickup, street and number'
    assert f'# "from_address.street_address" = {value}' in made.text.splitlines()


def test_two_blocks_of_a_day_and_two_times_of_day() -> None:
    """Each time is joined with the day of its own block; whether a block is the pickup is for a person to say."""
    header = ["Date", "From", "Until"] * 2
    made = drafted(plain_table(header, ["13/04/2030", "09:00", "11:00", "14/04/2030", "14:00", "16:00"]))
    assert made.sure == []
    value = '{ columns = ["Date#2", "Until#2"], with = " " }  # 14/04/2030 16:00: Delivery, the delivery, not after'
    assert f'# "to_time_window.end_time_utc" = {value}' in made.text.splitlines()
    assert '["Date", "From#2"]' not in made.text
    made = drafted(plain_table(["Pickup date", "Pickup date", "Pickup from"], ["13/04/2030", "14/04/2030", "14:00"]))
    assert made.sure == []
    assert len(made.choose["Pickup from"]) == 2


def test_two_lines_of_an_address() -> None:
    """They are joined by their names, also where the second is empty; of two whole addresses one has to be chosen."""
    made = drafted(plain_table(["Ship to address", "Ship to address 2"], ["7 Loyang Way", ""]))
    assert made.sure == ["Ship to address", "Ship to address 2"]
    assert read_map(made.text.encode(), "m").orders.join["to_address.street_address"].between == ", "
    made = drafted(plain_table(["Shipping street", "Ship to address"], ["7 Loyang Way", "8 Loyang Way"]))
    assert (made.sure, [*made.choose]) == ([], ["Shipping street", "Ship to address"])


def test_words_of_which_none_is_allowed() -> None:
    """A column of a preference is sure only if its values are; others are left to translate."""
    made = drafted(plain_table(["Fleet", "Vehicle"], ["Evergreen", "Lorry 10ft"], ["Evergreen", "Lorry"]))
    assert (made.sure, [*made.choose]) == ([], ["Fleet", "Vehicle"])
    assert "none of its values is an allowed one" in made.text
    assert '# "Lorry" = …  # one of ltl, motorcycle' in made.text
    assert '"Lorry 10ft" = "lorry_10ft"' in made.text


def test_columns_of_one_name_in_a_join() -> None:
    """A day of which a file has two is joined by its own name."""
    header = ["Order No", "Pickup date", "Pickup from", "Blurb", "Pickup date", "Blurb"]
    row = ["A", "13/04/2030", "14:00", "x", "", "y"]
    made = drafted(plain_table(header, row))
    join = read_map(made.text.encode(), "m").orders.join
    assert join["from_time_window.start_time_utc"].columns == ("Pickup date", "Pickup from")
    assert [*made.choose] == ["Pickup date#2"]
    assert [*made.unknown] == ["Blurb", "Blurb#2"]
    result = read(
        plain_table(header, ["A", "13/04/2030", "14:00", "x", "", "y"]), file_map=read_map(made.text.encode(), "m")
    )
    assert any("Pickup date" in fault for fault in result.faults)


@pytest.mark.parametrize(
    ("name", "cells", "why"),
    [
        ("Ship to address", ["14:00"], "14:00 is not words"),
        ("Ship to address", ["7 Loyang Way", "9175 5010"], "9175 5010 is not words"),
        ("Delivery street", ["ops@example.com"], "is not words"),
        ("Delivery street", ["12x30x40"], "is not words"),
        ("Delivery street", ["INV-2030-17"], "is not words"),
        ("Delivery street", ["KW 11"], "is not words"),
        ("Delivery street", ["Marine"], "is not words"),
        ("Delivery building", ["#N/A"], "is not words"),
        ("Delivery contact name", ["yes"], "is not a name"),
        ("Order No", ["6.59E+09"], "is not the name of an order"),
        ("Order No", ["TRUE"], "is not the name of an order"),
        ("Recipient name", ["S$48.50"], "is not a name"),
        ("Delivery vessel", ["7 Loyang Way"], "is not a vessel's name"),
        ("Delivery phone", ["Tan Wei Ming"], "is not a phone number"),
        ("Delivery phone", ["13/03/2030 14:00"], "is not a phone number"),
        ("Delivery IMO", ["9074728"], "is not an IMO number"),
        ("Delivery email", ["Tan"], "is not an email address"),
        ("Delivery postcode", ["13/03/2030"], "is not a postal code"),
        ("Delivery city", ["018956"], "is not a place"),
        ("Vehicle", ["S$4.00"], "is not one of"),
        ("Fare", ["marine"], "is not a number"),
        ("Fare", ["(48.50)"], "is not a number"),
        ("Weight", ["S$5.00"], "is not a number"),
        ("Weight", ["6.59E+09"], "is not a number"),
        ("Latitude delivery", ["103.9"], "is not a number"),
        ("Pickup time", ["7 Loyang Way"], "is not a time"),
        ("Currency", ["dollars"], "is not a code"),
        ("Order No", ["14:00"], "is not the name of an order"),
        ("Time zone", ["Singapore time"], "is not a time zone"),
    ],
)
def test_values_that_contradict_a_name(name: str, cells: list[str], why: str) -> None:
    """Nothing is proposed, the reason is reported, and the column is not left out before a person says so."""
    made = drafted(plain_table([name], *([cell] for cell in cells)))
    assert (made.sure, made.choose) == ([], {})
    assert why in made.unknown[name]
    assert f'  # "{name}",' in made.text
    result = read(plain_table([name], *([cell] for cell in cells)), file_map=read_map(made.text.encode(), "m"))
    assert any(f"{name}: no field has this name" in fault for fault in result.faults)


def test_names_that_mean_something_else() -> None:
    """A fee is no preference, a place to ship from is no vessel, and a place is not joined with a time."""
    header = ["fee", "Ship from", "Collect from", "Pickup start", "Delivery note", "Country of origin"]
    made = drafted(plain_table(header, ["marine", "Loyang Base", "Cold Store", "13/03/2030 14:00", "DN-1", "Japan"]))
    assert made.sure == ["Pickup start"]
    assert made.choose.keys() == {"Ship from", "Collect from"}
    assert made.choose["Ship from"][0] == "from_address.street_address"
    assert made.unknown.keys() == {"fee", "Delivery note", "Country of origin"}
    assert read_map(made.text.encode(), "m").orders.join == {}


@pytest.mark.parametrize(
    ("name", "cell", "field"),
    [
        ("STRASSE EMPFÄNGER", "Kai 4", "to_address.street_address"),
        ("Empfaenger-Straße", "Kai 4", "to_address.street_address"),
        ("Telefonnummer des Absenders", "+49 40 1234567", "from_contact.phone"),
        ("Rue de l\u2019enle\u0300vement", "12 rue de la Paix", "from_address.street_address"),
        ("N° de commande", "A-1", "tracking_id"),
        ("Código Postal de entrega", "28013", "to_address.zip_code"),
        ("Nº de pedido", "A-1", "tracking_id"),
        ("收货地址", "上海路5号", "to_address.street_address"),
        ("收貨人的電話", "+86 138 1234 5678", "to_contact.phone"),
        ("\uff08提货\uff09\uff29\uff2d\uff2f号", "9074729", "from_contact.vessel_imo"),
        ("shipToPostcode", "018956", "to_address.zip_code"),
        ("Weight (kg)", "310", "total_item_weight"),
        ("Frachtpreis EUR", "48,50", "price"),
    ],
)
def test_names_in_other_languages(name: str, cell: str, field: str) -> None:
    """Accents, case, the order of words, ss for ß and wide characters make no difference."""
    made = drafted(plain_table([name], [cell]))
    assert (made.sure, read_map(made.text.encode(), "m").orders.columns) == ([name], {name: field})


def test_units_and_currencies_that_are_said() -> None:
    """They become constants if every value, or the name, says them; else they are left to choose."""
    made = drafted(plain_table(["Weight (kg)", "Fare"], ["310", "48,50 €"])).text
    assert 'total_weight_unit = "kg"' in made.splitlines()
    assert 'currency = "EUR"' in made.splitlines()
    made = drafted(plain_table(["Fare"], ["$48.50"])).text
    assert '# currency = "SGD"' in made.splitlines()
    assert '# currency = "USD"' in made.splitlines()


@pytest.mark.parametrize(
    ("cell", "rules", "sure"),
    [
        ("+6591755010", [], True),
        ("+65 9175 5010", ['"to_contact.phone" = "+"'], True),
        ("6591755010", ['# "to_contact.phone" = "+65 61234567"  # reads 6591755010 as +6591755010'], False),
        ("08012345678", [], False),
    ],
)
def test_phone_numbers(cell: str, rules: list[str], sure: bool) -> None:
    """The country is sure only if each number says it."""
    made = drafted(plain_table(["Delivery phone"], [cell]))
    assert set(rules) <= set(made.text.splitlines())
    assert ("Delivery phone" in made.sure) is sure


def test_a_sample_with_a_line_break_or_a_control_character() -> None:
    """It is shown in a comment, which may hold neither."""
    for cell in ("S$1\x7f2\x01", "31/12\n2030", "03/04/2030\n14:00"):
        made = drafted(plain_table(["Delivery date", "Fare", "Blurb"], [cell] * 3))
        assert read_map(made.text.encode(), "m")


def test_our_own_table_needs_no_map() -> None:
    """Nothing is renamed, and nothing is unsure."""
    made = drafted(table({}))
    assert (made.choose, made.unknown) == ({}, {})
    assert read(table({}), file_map=read_map(made.text.encode(), "m")).rows
    assert "[columns]" not in made.text


def test_a_workbook() -> None:
    """Its sheet is named, and its numbers and dates need no rule."""
    made = drafted(xlsx_bytes([["Order No", "Fare"], ["A", 48.5]], sheet="März"), "o.xlsx")
    assert 'sheet = "März"' in made.text
    assert "[numbers]" not in made.text


def test_a_workbook_with_texts_among_its_dates() -> None:
    """Nothing is proposed: a spreadsheet that takes days for months makes dates of those up to the 12th only."""
    made = drafted(xlsx_bytes([["Pickup start"], [datetime(2030, 3, 4, 14)], ["13/03/2030 14:00"]]), "o.xlsx")  # noqa: DTZ001
    assert "some of its times are text" in made.unknown["Pickup start"]
    made = drafted(xlsx_bytes([["Pickup start"], [datetime(2030, 3, 4)]]), "o.xlsx")  # noqa: DTZ001
    assert 'time = "09:00" }  # reads 2030-03-04' in made.text


@pytest.mark.parametrize(("data", "words"), [("", "no table"), (b"tracking_id,Gr\xf6\xdfe\n", "--encoding")])
def test_what_is_no_table(data: bytes | str, words: str) -> None:
    """The message says why."""
    with pytest.raises(ConfigError, match=words):
        drafted(data)
    with pytest.raises(ConfigError, match="not a table"):
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


def test_a_second_line_of_an_address_is_joined_or_asked_about() -> None:
    """Units such as #01-04 are joined to the street; a second line that is no such thing leaves the street unsure."""
    header = ["Ref", "Ship to address 1", "Ship to address 2"]
    joined = drafted(plain_table(header, ["A", "7 Loyang Way", "#01-04"], ["B", "2 Pier", ""], ["C", "3 Quay", "12B"]))
    assert 'columns = ["Ship to address 1", "Ship to address 2"], with = ", "' in joined.text
    assert {"Ship to address 1", "Ship to address 2"} <= {*joined.sure}
    other = drafted(plain_table(header, ["A", "7 Loyang Way", "ops@example.com"]))
    assert "Ship to address 1" in other.choose
    assert "Ship to address 2" in other.unknown
