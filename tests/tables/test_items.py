"""Items of a second file, joined to the orders by tracking id."""

import hashlib
import io
import stat
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async.errors import ConfigError
from gotsurge_async.models.tasks import Item
from gotsurge_async.tables import ColumnMap, FileMap, SourceOptions, open_source
from gotsurge_async.tables.fields import ItemRow, columns_of
from tests.support.order_forms import CELLS, NOW, items

from .kit import plain_table, read, table, write


@pytest.fixture
def items_file(tmp_path: Path) -> Path:
    """Where the items are; a test writes them."""
    return tmp_path / "items.csv"


def item_rows(*rows: tuple[str, ...], columns: tuple[str, ...] = ("tracking_id", "name", "quantity")) -> str:
    return plain_table(columns, *rows)


def test_items_go_to_their_orders_in_the_order_of_the_file(items_file: Path) -> None:
    """Also when they are scattered over the file, and when an order has none."""
    write(
        items_file, item_rows(("B", "b1", "1"), ("A", "a1", "2.5"), ("B", "b2", "3"), ("B", "b3", ""), ("A", "a2", "4"))
    )
    result = read(table({"tracking_id": "A"}, {"tracking_id": "B"}, {"tracking_id": "C"}), items=items_file)
    assert result.faults == []
    a, b, c = (row.order for row in result.rows)
    assert a.items == (Item(name="a1", quantity=2.5), Item(name="a2", quantity=4.0))
    assert [item.name for item in b.items] == ["b1", "b2", "b3"]
    assert c.items == ()
    assert c.cargo_net_quantity == 4


def test_two_orders_of_one_tracking_id_do_not_both_get_its_items(items_file: Path) -> None:
    """With another key they are two orders, and nobody knows whose items these are; without items, nothing is wrong."""
    write(items_file, item_rows(("A", "a1", "1")))
    rows = [{"tracking_id": key, "invoice_number": f"I-{number}"} for number, key in enumerate("AABB")]
    result = read(table(*rows), items=items_file, key="invoice_number")
    assert result.places == [(3, "tracking_id")]
    assert "an order above has the same tracking_id" in result.faults[0]
    assert result.report.whole


@given(st.lists(items(), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_any_item_comes_back_from_a_table(its_items: list[Item]) -> None:
    """Item to CSV row to item is the identity, whatever stands in the texts."""
    columns = tuple(columns_of(ItemRow))

    def cell(item: Item, name: str) -> str:
        value: Any = "SHS-1" if name == "tracking_id" else getattr(item, name)
        return "" if value is None else str(value)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "items.csv")
        rows = [tuple(cell(item, name) for name in columns) for item in its_items]
        write(path, plain_table(columns, *rows))
        assert read(table({}), items=path).order.items == tuple(its_items)


def test_faults_of_items_name_the_items_file(items_file: Path) -> None:
    """With its line and column; a wrong item is not an orphan as well."""
    write(
        items_file,
        item_rows(
            ("SHS-1", "a\nb", "1"), ("SHS-1", "c", "1,5"), ("", "d", "1"), ("SHS-1", "", ""), ("SHS-1", "e", "-1")
        ),
    )
    result = read(table({}), items=items_file)
    name = str(items_file)
    assert [(fault.file, fault.line, fault.column) for fault in result.report.faults] == [
        (name, 4, "quantity"),
        (name, 5, "tracking_id"),
        (name, 6, "tracking_id"),
        (name, 7, "quantity"),
    ]


@given(st.lists(st.tuples(st.sampled_from(list(columns_of(ItemRow))), st.text(max_size=12)), max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_cells_of_items_give_a_row_or_faults(changes: list[tuple[str, str]]) -> None:
    """An empty or wrong item is a fault."""
    good = {**dict.fromkeys(columns_of(ItemRow), ""), "tracking_id": "SHS-1", "name": "Rope", "quantity": "2"}
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "items.csv"), plain_table(good, good.values(), {**good, **dict(changes)}.values()))
        result = read(table({}), items=path)
        assert not result.report.ok or len(result.order.items) == 2


class TestOrphans:
    """Items whose order is not there."""

    def test_one_is_a_fault_with_its_line(self, items_file: Path) -> None:
        """Items of one order that follow each other are reported once, with their number."""
        write(items_file, item_rows(("SHS-1", "a", "1"), ("X", "b", "1"), ("Y", "c", "1"), ("Y", "d", "1")))
        result = read(table({}), items=items_file)
        rule = "orders.csv has no order with this tracking_id"
        assert result.faults == [
            f'{items_file}:3: tracking_id: "X": {rule}',
            f'{items_file}:4: tracking_id: "Y": {rule} (2 items from this line on)',
        ]

    def test_they_are_no_fault_in_a_file_that_a_push_wrote(self, items_file: Path) -> None:
        """It holds only some of the orders."""
        write(items_file, item_rows(("SHS-1", "a", "1"), ("X", "b", "1")))
        assert read(table({"gs_status": "rejected"}), items=items_file).order.items
        assert read(table({"gs_status": "rejected", "tracking_id": "Y"}, {"tracking_id": "X"}), items=items_file).rows

    @pytest.mark.parametrize("leaving", [False, True])
    def test_a_file_that_a_push_wrote_has_an_item_of_some_order(self, items_file: Path, *, leaving: bool) -> None:
        """Else its keys have another form, and all items would be lost silently."""
        write(items_file, item_rows(("MV-1", "a", "1"), ("MV-2", "b", "1")))
        text = table({"gs_status": "rejected", "tracking_id": "1"}, {"tracking_id": "2"})
        options = SourceOptions(now=NOW, items=items_file)
        with open_source(io.BytesIO(text.encode()), options=options, name="r.csv") as source:
            if leaving:
                source.faulty = lambda *_: None
            assert len([*source.rows()]) == 2
            (fault,) = source.report.lines()
            assert fault.startswith(f"{items_file}: tracking_id: r.csv has no order with a tracking_id of this file")
            assert source.report.whole
        assert read(table({"gs_status": "rejected", "price": "x"}), items=items_file).places == [(2, "price")]

    def test_a_wrong_order_is_there_all_the_same(self, items_file: Path) -> None:
        """Its own fault is the only one."""
        write(items_file, item_rows(("SHS-1", "a", "1")))
        assert read(table({"price": "x"}), items=items_file).places == [(2, "price")]

    def test_they_are_not_reported_when_an_order_could_not_be_read(self, items_file: Path) -> None:
        """They may belong to it."""
        write(items_file, item_rows(("X", "a", "1")))
        text = table({}, {"tracking_id": "X"}).rstrip()
        assert read(f"{text},more\n", items=items_file).places == [(3, None)]


def test_orders_without_tracking_ids_cannot_have_items(items_file: Path) -> None:
    """There is one fault, and no item is lost silently."""
    write(items_file, item_rows(("A", "a", "1"), ("B", "b", "1")))
    text = table({}, columns=[name for name in CELLS if name != "tracking_id"])
    assert read(text, items=items_file, key="invoice_number").places == [(1, "tracking_id")]
    result = read(table({"tracking_id": ""}), items=items_file, key="invoice_number")
    assert result.places == [(2, "tracking_id"), (3, "tracking_id")]


def test_a_header_that_is_wrong(items_file: Path) -> None:
    """The join needs the tracking id, and an unknown column offers the nearest."""
    write(items_file, item_rows(("a", "1"), columns=("name", "quantaty")))
    result = read(table({}), items=items_file)
    assert [(fault.file, fault.line, fault.column) for fault in result.report.faults] == [
        (str(items_file), 1, "quantaty"),
        (str(items_file), 1, "tracking_id"),
    ]


def test_a_map_names_the_columns_of_the_items_too(items_file: Path) -> None:
    """Their own table has its own names."""
    write(items_file, item_rows(("SHS-1", "Rope", "zz"), columns=("Order", "What", "Who")))
    columns = {"Order": "tracking_id", "What": "name"}
    file_map = FileMap(items=ColumnMap(columns=columns, constants={"weight_unit": "kg"}, ignore=frozenset({"Who"})))
    assert read(table({}), items=items_file, file_map=file_map).order.items == (Item(name="Rope", weight_unit="kg"),)


def test_a_file_that_is_not_there(items_file: Path) -> None:
    """The error comes before anything is read."""
    with pytest.raises(ConfigError, match=r"items\.csv: cannot be read: No such file"):
        read(table({}), items=items_file)


def test_the_hash_of_the_items_is_known_at_the_end(items_file: Path, tmp_path: Path) -> None:
    """A plan fixes both files."""
    text = item_rows(("SHS-1", "a", "1"))
    write(items_file, text)
    orders_file = write(tmp_path / "orders.csv", table({}))
    with open_source(orders_file, options=SourceOptions(now=NOW, items=items_file)) as source:
        assert source.items_sha256 is None
        assert len(list(source.rows())) == 1
        assert source.items_sha256 == hashlib.sha256(text.encode()).hexdigest()


def _many(tmp_path: Path, count: int, text: str = "a thing with a long name") -> tuple[Path, Path]:
    orders_file = write(tmp_path / f"orders{count}.csv", table(*({"tracking_id": f"A{n}"} for n in range(count))))
    rows = ((f"A{n}", f"{text} {n % 7}", "1") for n in range(count))
    return orders_file, write(tmp_path / f"items{count}.csv", item_rows(*rows))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_items(tmp_path: Path) -> None:
    """What waits for its order waits on disk: a byte an order, no more, is kept in memory."""
    peaks = []
    for count in (200, 4_000, 10_000):
        orders_file, items_file = _many(tmp_path, count)
        tracemalloc.start()
        with open_source(orders_file, options=SourceOptions(now=NOW, items=items_file)) as source:
            assert sum(len(row.order.items) for row in source.rows()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The first run also pays for what is made once.
    assert peaks[2] < 1.2 * peaks[1]


def _temporary_files() -> set[Path]:
    """The open files of this process that SQLite has made for itself."""
    files = [file for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    return {file for file in files if "etilqs_" in str(file.readlink())}


def test_what_waits_on_disk_is_private_and_leaves_nothing(tmp_path: Path) -> None:
    """The temporary file has mode 0600 and no name in any folder, also while it is in use."""
    orders_file, items_file = _many(tmp_path, 5_000, "x" * 2_000)
    before = _temporary_files()
    with open_source(orders_file, options=SourceOptions(now=NOW, items=items_file)) as source:
        next(source.rows())
        (ours,) = _temporary_files() - before
        assert stat.S_IMODE(ours.stat().st_mode) == 0o600
        assert str(ours.readlink()).endswith(" (deleted)")
    assert _temporary_files() == before
