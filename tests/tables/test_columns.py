"""What is known of each column: as the models and the checks have it."""

from datetime import datetime

import pytest

from gotsurge_async.models.tasks import Order
from gotsurge_async.tables.columns import ColumnInfo, all_columns, item_columns, order_columns
from gotsurge_async.tables.fields import ItemRow, columns_of
from tests.tables.kit import plain_table, read

ALL = list(all_columns())


def test_every_column_is_described() -> None:
    """Each field that a table can give is there once, orders first."""
    assert sorted(info.name for info in order_columns()) == sorted(columns_of(Order))
    assert sorted(info.name for info in item_columns()) == sorted(columns_of(ItemRow))
    assert [*order_columns(), *item_columns()] == ALL


@pytest.mark.parametrize("info", ALL, ids=lambda info: f"{info.section}-{info.name}")
def test_nothing_is_left_out(info: ColumnInfo) -> None:
    """Each column has a meaning, a type, an example, a section, and values where only some are allowed."""
    assert info.meaning.endswith(".")
    assert info.example
    assert info.section
    assert info.required in ("yes", "no", "one of these", "both or neither", "with an amount")
    assert (info.type == "one of") == bool(info.allowed)
    assert not info.allowed or info.example in info.allowed
    if columns_of(ItemRow if info.section == "Items" else Order)[info.name].kind is datetime:
        assert "--timezone" in info.unit


def test_the_examples_are_an_order() -> None:
    """A row of all the examples has no fault, and one of the required alone with a street each has none."""
    every = order_columns()
    found = read(plain_table([info.name for info in every], [info.example for info in every]))
    assert found.faults == []
    least = [info for info in every if info.required == "yes" or info.name.endswith("street_address")]
    assert read(plain_table([info.name for info in least], [info.example for info in least])).faults == []


@pytest.mark.parametrize("info", [each for each in order_columns() if each.required == "yes"], ids=lambda i: i.name)
def test_what_is_required_is_required(info: ColumnInfo) -> None:
    """Without a column that is called required, there is a fault."""
    others = [each for each in order_columns() if each.name != info.name]
    assert read(plain_table([each.name for each in others], [each.example for each in others])).faults
