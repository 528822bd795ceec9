"""Numbers that a sheet displays in another form."""

import pytest

from gotsurge_async.tables.cells import decode_row
from gotsurge_async.tables.options import read_map
from tests.support.sheets import xlsx_bytes

from .test_workbook import HEADER, read_book, row_of


def test_leading_zeros_are_kept() -> None:
    """Those of text, and those that only the format of a number shows."""
    place = HEADER.index("to_address.zip_code")
    rows = [HEADER, row_of(to_address__zip_code="018956"), row_of(tracking_id="B", to_address__zip_code=18956)]
    outcome = read_book(xlsx_bytes(rows, formats={place: "000000"}, first=(2, 4)))
    assert [row.order.to_address.zip_code for row in outcome.rows] == ["018956", "018956"]


@pytest.mark.parametrize(
    ("code", "text"), [("000000;@", "000042"), ('"MV-"0000', "MV-0042"), ("00-0000", "00-0042"), ('0" "', "42")]
)
def test_a_text_is_what_the_format_of_a_number_shows(code: str, text: str) -> None:
    """Also in the result files; the field of a number has its number, and a cell that two fields share has it, too."""
    header = [*HEADER, "delivery_note_to_driver", "Net"]
    row = [*row_of(to_address__zip_code=42, cargo_net_quantity=42), 42, 42]
    names = ("to_address.zip_code", "cargo_net_quantity", "delivery_note_to_driver", "Net")
    formats = {header.index(name): code for name in names}
    shared = '[columns]\nNet = "total_item_weight"\n[join]\nto_contact.name = ["Net", "to_address.zip_code"]\n'
    file_map = read_map(shared.encode(), "m.toml")
    outcome = read_book(xlsx_bytes([header, row], formats=formats, first=(3, 2)), file_map=file_map)
    order = outcome.order
    assert order.to_address.zip_code == order.delivery_note_to_driver == text
    assert (order.cargo_net_quantity, order.total_item_weight) == (42, 42)
    assert order.to_contact is not None
    assert order.to_contact.name == (f"42 {text}" if code != "000000;@" else f"{text} {text}")
    assert decode_row(outcome.rows[0].original)[header.index("delivery_note_to_driver")] == text


@pytest.mark.parametrize(
    ("code", "form"),
    [
        ('"MV-"0000', 'as "MV-0042"'),
        ('"No. "0', 'as "No. 42"'),
        ("0000;-0000", 'as "0042"'),
        ("[<1000]0000;000000", "in another form"),
    ],
)
@pytest.mark.parametrize("name", ["tracking_id", "invoice_number", "to_address.zip_code"])
def test_a_key_that_is_shown_in_another_form_is_a_fault(code: str, form: str, name: str) -> None:
    """An order pushed with its number would be sent again with its text, or the other way around."""
    row = row_of(**{name.replace(".", "__"): 42})
    key = "tracking_id" if name == "invoice_number" else name
    outcome = read_book(xlsx_bytes([HEADER, row], formats={HEADER.index(name): code}), key=key)
    assert outcome.places == [(2, name)]
    assert f'shows {form}, but its value is "42": format the column as text' in outcome.faults[0]
    assert "if the order was pushed before, keep the key that it had" in outcome.faults[0]


@pytest.mark.parametrize(("code", "key"), [("000000", "000042"), ("000000;@", "000042"), ("0", "42"), ('0" "', "42")])
def test_a_key_may_have_leading_zeros(code: str, key: str) -> None:
    """They are a part of it; a format that shows the number itself changes nothing."""
    data = xlsx_bytes([HEADER, row_of(tracking_id=42)], formats={HEADER.index("tracking_id"): code})
    assert read_book(data).rows[0].key == key
