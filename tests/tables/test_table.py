"""The header of a table: columns that are wrong, missing, required, or named by a map."""

from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.errors import ConfigError
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.tables import ColumnMap, FileMap
from gotsurge_async.tables.fields import columns_of
from gotsurge_async.tables.header import Header
from tests.support.order_forms import CELLS, NOW

from .kit import plain_table, read, table, two_lines, write


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("from_adress.street_address", "from_address.street_address"),
        ("Tracking ID", "tracking_id"),
        ("vessel_name", "from_contact.vessel_name"),
    ],
)
def test_an_unknown_column_offers_the_nearest(wrong: str, meant: str) -> None:
    """The name is shown as it stands in the file."""
    (fault,) = read(table({wrong: "x"})).faults
    assert fault == f'orders.csv:1: {wrong}: no field has this name; did you mean "{meant}"?'


def test_a_column_that_stands_twice() -> None:
    """Which of the two is meant is not known."""
    head, row = two_lines()
    (fault,) = read(f"{head.rstrip()},price\n{row.rstrip()},50").faults
    assert fault == "orders.csv:1: price: appears twice (columns 7 and 20): remove one of them"


def test_required_columns_that_are_missing_are_reported_once_and_rows_are_still_read() -> None:
    """Faults of the cells are found also when no order can be made."""
    columns = [name for name in CELLS if name not in ("service_type", "from_time_window.end_time_utc")]
    columns = [name for name in columns if not name.startswith("to_address.")]
    result = read(table({"price": "x"}, {"price": "0.50"}, columns=columns))
    missing = [(1, "from_time_window.end_time_utc"), (1, "service_type"), (1, "to_address")]
    assert sorted(result.places, key=str) == [*missing, (2, "price"), (3, "price")]


def test_columns_without_a_name_must_be_empty() -> None:
    """What stands there would be lost without a word."""
    head, row = table({}, {"tracking_id": "B"}).split("\n", 1)
    first, second = row.splitlines()
    result = read(f"{head},\n{first},\n{second},x\n")
    assert result.places == [(3, "column 20")]
    assert [each.key for each in result.rows] == ["SHS-1"]


def test_lists_and_free_objects_have_no_column() -> None:
    """The columns follow the classes of the models, without what a cell cannot hold."""
    assert {"price", "from_contact.vessel_imo", "officer_contact.name"} <= columns_of(Order).keys()
    assert {"items", "cargo_details", "epod", "extra", "from_address.extra", "from_address"}.isdisjoint(
        columns_of(Order)
    )


def test_a_whole_optional_object_may_be_empty() -> None:
    """No delivery window is not half of one."""
    empty = {"to_time_window.start_time_utc": "", "to_time_window.end_time_utc": ""}
    assert read(table(empty)).order.to_time_window is None


def test_columns_constants_and_what_is_ignored(tmp_path: Path) -> None:
    """A map names the fields, gives what is the same in each row, and leaves out the rest."""
    path = write(
        tmp_path / "map.toml",
        'ignore = ["Remark"]\n[columns]\n"No." = "tracking_id"\n"Ship to" = "to_address.street_address"\n'
        '[constants]\nservice_type = "ltl"\nclient_time_utc = "now"\nprice = 20.5\ncurrency = "SGD"\n'
        'from_address.street_address = "Depot"\nbroadcast_preference = "all"\nvehicle_preference = "ltl"\n',
    )
    text = plain_table(
        ["No.", "Ship to", "Remark", "from_time_window.start_time_utc", "from_time_window.end_time_utc"],
        ["A", "Berth 5", "zz", "2030-03-05T01:00:00Z", "2030-03-05T03:00:00Z"],
    )
    order = read(text, file_map=FileMap.load(path)).order
    assert (order.tracking_id, order.to_address.street_address, order.from_address.street_address) == (
        "A",
        "Berth 5",
        "Depot",
    )
    assert (order.client_time_utc, order.price) == (NOW, Money.of("20.50", "SGD"))


def test_a_fault_names_the_column_as_the_user_knows_it() -> None:
    """Not the field that it was mapped to."""
    file_map = FileMap(orders=ColumnMap(columns={"Preis": "price"}))
    cells = {name: value for name, value in CELLS.items() if name != "price"}
    result = read(plain_table([*cells, "Preis"], [*cells.values(), "1,50"]), file_map=file_map)
    assert result.places == [(2, "Preis")]


def test_all_unknown_columns_can_be_ignored() -> None:
    """With a star no unknown column is a fault."""
    assert read(table({"x": "1", "y": "2"}), file_map=FileMap(orders=ColumnMap(ignore=frozenset({"*"})))).order


def test_a_constant_and_a_column_for_one_field() -> None:
    """Which of the two is meant is not known."""
    result = read(table({}), file_map=FileMap(orders=ColumnMap(constants={"service_type": "ltl"})))
    assert result.places == [(1, "service_type")]


@pytest.mark.parametrize("field", ["price", "from_address.latitude"])
def test_a_column_that_is_a_constant_too_hides_no_fault(field: str) -> None:
    """Its cells are looked at all the same."""
    file_map = FileMap(orders=ColumnMap(constants={field: "7.50"}))
    assert read(table({field: "seven"}), file_map=file_map).places == [(1, field), (2, field)]


def test_columns_that_a_map_gives_too_are_reported_in_their_order() -> None:
    """The order of the faults is the same in every process."""
    result = read(table({}), file_map=FileMap(orders=ColumnMap(constants=CELLS)))
    assert result.places == [(1, name) for name in CELLS]


def test_a_constant_is_read_as_a_cell_is() -> None:
    """One that its field does not take stops before the first row."""
    with pytest.raises(ConfigError, match=r"price.*write an amount as a decimal"):
        read(table({}), file_map=FileMap(orders=ColumnMap(constants={"price": "1,50"})))


def test_a_column_that_the_map_names_must_be_there(tmp_path: Path) -> None:
    """An order does not go out without its price because the column is called otherwise; the nearest is offered."""
    path = write(tmp_path / "map.toml", '[columns]\nfare = "price"\n"Ref." = "invoice_number"\n')
    cells = {name: cell for name, cell in CELLS.items() if name not in ("price", "invoice_number")}
    text = table({"Fare": "48.50"}, columns=[*cells, "Fare"])
    result = read(text, file_map=FileMap.load(path))
    lacking = "from this column, which the file does not have"
    assert result.faults == [
        'orders.csv:1: Fare: no field has this name; did you mean "fare"?',
        f'orders.csv:1: fare: the map {path} takes price {lacking}; did you mean "Fare"?',
        f"orders.csv:1: Ref.: the map {path} takes invoice_number {lacking}",
    ]
    path.write_text('ignore = ["*"]\n[columns]\nfare = "price"\n')
    (fault,) = read(text, file_map=FileMap.load(path)).faults
    assert fault.endswith('did you mean "Fare"?')


@pytest.mark.parametrize(("length", "most"), [(10, 200), (20_000, 30)])
def test_rows_are_read_in_blocks_of_bounded_length(monkeypatch: pytest.MonkeyPatch, length: int, most: int) -> None:
    """At most two hundred rows are held at once, and far fewer where they are long."""
    blocks: list[int] = []
    make = Header.make

    def counted(header: Header, rows: Any, *more: Any) -> Any:
        blocks.append(len(rows))
        return make(header, rows, *more)

    monkeypatch.setattr(Header, "make", counted)
    result = read(table(*({"tracking_id": f"T-{number}", "delivery_notes": "x" * length} for number in range(450))))
    assert len(result.rows) == 450
    assert most // 2 < max(blocks) <= most
