"""The table of header words: its fields are ours, and no name says two things without the draft asking."""

import csv
from pathlib import Path

import pytest

import gotsurge_async
from gotsurge_async.models.tasks import Order
from gotsurge_async.tables.fields import columns_of, required_of
from gotsurge_async.tables.maps.guessing import meanings

FILE = Path(gotsurge_async.__file__).parent / "tables" / "maps" / "headers.csv"
with FILE.open(encoding="utf-8", newline="") as _file:
    LINES = list(csv.DictReader(_file))
LANGUAGES = ("en", "de", "fr", "es", "zh")
SIDES = ("from", "to", "from place", "to place", "none")


@pytest.mark.parametrize("line", LINES, ids=lambda line: line["field"])
def test_a_line_of_the_table(line: dict[str, str]) -> None:
    """It has a field of an order, and its words give that field, alone or with a side."""
    assert [*line] == ["field", *LANGUAGES]
    field = line["field"].partition("#")[0]
    if field in SIDES:
        return
    both = ("pickup", "delivery") if field == "*_note_to_driver" else ("from", "to")
    for side in both if field.startswith("*") else ("",):
        own = field.replace("*_time_window", f"{side}_time_window").replace("*", side)
        assert own in columns_of(Order) or own == f"{side}_time_window"
        for language in LANGUAGES:
            for word in filter(None, line[language].split("|")):
                assert own in {meaning.field for meaning in meanings(word)}, (word, own)


def test_a_line_stands_once() -> None:
    """A word is added to the line of its field."""
    fields = [line["field"] for line in LINES]
    assert len({*fields}) == len(fields)


def test_each_language_has_what_an_order_needs() -> None:
    """All but the preference of drivers, for which no language has a usual word."""
    lines = {line["field"]: line for line in LINES}
    needed = {f"*{name.removeprefix('from')}" for name in required_of(Order) if name.startswith("from_")}
    needed |= {name for name in required_of(Order) if not name.startswith("from_")} - {"broadcast_preference"}
    for name in needed:
        matching = [line for field, line in lines.items() if field.partition(".")[0] == name]
        assert matching, name
        assert all(any(line[language] for line in matching) for language in LANGUAGES), name


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("fee", []),
        ("ship", []),
        ("Delivery company", []),
        ("Shipping date", []),
        ("Versanddatum", []),
        ("From date", ["from_time_window.start_time_utc", "to_time_window.start_time_utc"]),
        ("Phone", ["from_contact.phone", "to_contact.phone"]),
        ("Menge", ["cargo_net_quantity", "total_item_quantity"]),
        ("Price", ["price"]),
        ("x" * 1_000, []),
        ("", []),
    ],
)
def test_names(name: str, fields: list[str]) -> None:
    """A name that may mean another thing means nothing; one of several fields means all of them."""
    assert [meaning.field for meaning in meanings(name)] == fields
