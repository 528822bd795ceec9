"""The good rows of a file with faults: which ones they are, and which faults refuse all the same."""

import io
import json
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async.errors import ConfigError
from gotsurge_async.tables import SourceOptions, SourceReport, open_source
from gotsurge_async.tables.checks.leaving import Leaving
from gotsurge_async.tables.source import Left
from tests.support.order_forms import NOW
from tests.tables.kit import good_json, plain_table, table

BAD = {"price": "0.50"}


class Found(NamedTuple):
    """What of a file is taken, and what is left."""

    keys: list[str]
    rules: list[str]
    lines: list[int | None]
    left: int | None
    ok: bool
    steps: list[str]


def leave(data: bytes | str, *, name: str = "orders.csv", **options: Any) -> Found:
    """Read a file without its faulty rows."""
    steps: list[str] = []
    lines: list[int | None] = []
    report = SourceReport(on_fault=lambda fault, _: lines.append(fault.line))
    stream = io.BytesIO(data.encode() if isinstance(data, str) else data)
    opened = open_source(stream, options=SourceOptions(now=NOW, **options), name=name, report=report)

    def keep(rows: int) -> Left:
        steps.append("kept")
        return Left(rows=rows, report=report)

    with Leaving(opened, keep) as source:
        keys = []
        for row in source.rows():
            steps.append(row.key)
            keys.append(row.key)
        left = None if source.left is None else source.left.rows
        return Found(keys, [fault.rule for fault in report.faults], lines, left, source.report.ok, steps)


def keyed(*keys: str, **changes: dict[str, str]) -> str:
    """A table of these keys, those that are named with changes."""
    return table(*({"tracking_id": key, **changes.get(key, {})} for key in keys))


def test_rows_with_faults_are_kept_before_the_first_good_one_is_given() -> None:
    """Two faults of one row are one row; what is left is known, and kept, before anything can be sent."""
    result = leave(keyed("A", "B", "C", B={**BAD, "from_contact.phone": "1"}))
    assert (result.keys, result.left, result.ok) == (["A", "C"], 1, True)
    assert result.steps == ["kept", "A", "C"]
    assert result.lines == [3, 3]


@pytest.mark.parametrize("bad", ["", "A", "A2"])
def test_of_rows_with_one_key_none_is_taken(bad: str) -> None:
    """Neither the first one nor any other, also where one of them has a fault of its own; each is one row."""
    rows = [{"tracking_id": key} for key in ("A", "B", "A", "C", "A")]
    if bad:
        rows[0 if bad == "A" else 2].update(BAD)
    result = leave(table(*rows))
    assert (result.keys, result.left, result.ok) == (["B", "C"], 3, True)
    assert sum("needs its own key" in rule for rule in result.rules) == (2 if bad else 3)


def lines_of_json() -> str:
    """One of which is no JSON, one with a fault, and two with one key."""
    lines = [good_json(tracking_id=key) for key in "ABCDB"]
    lines[2]["price"] = 1
    return "\n".join([*map(json.dumps, lines), "{"])


OVER = {f"from_time_window.{end}_time_utc": f"2020-01-01T0{hour}:00:00Z" for hour, end in enumerate(("start", "end"))}


@pytest.mark.parametrize(
    ("data", "name", "keys", "left"),
    [
        (keyed("B", "A", "C"), "orders.csv", ["B", "A", "C"], None),
        (keyed("A", "B") + "C,x\n", "orders.csv", ["A", "B"], 1),
        (keyed("A", "B", A=OVER, B=BAD), "orders.csv", ["A"], 1),
        (lines_of_json(), "orders.jsonl", ["A", "D"], 4),
    ],
    ids=["good", "too many cells", "an order with a warning only is sent", "JSON"],
)
def test_faulty_rows_are_left_out(data: str, name: str, keys: list[str], left: int | None) -> None:
    """The other rows are given in their order."""
    result = leave(data, name=name)
    assert (result.keys, result.left, result.ok) == (keys, left, True)


@pytest.mark.parametrize(
    "data",
    [
        keyed("A", "B", A=BAD, B=BAD),
        keyed("A", "B", B=BAD).replace("price", "prise", 1),
        keyed("A", "B", "C", B={"pickup_note_to_driver": 'say "hi"'}).replace('""hi""', '"hi"'),
        keyed("A", "B", "C", B={"pickup_note_to_driver": "Café"}).encode("cp1252"),
        keyed("A", "B", "C", B={"pickup_note_to_driver": "a\0b"}),
        keyed("A", "B") + '"C\nD",x\n',
    ],
    ids=["no good row", "header", "quotes", "bytes", "NUL", "a row of several lines that is none"],
)
def test_a_fault_of_the_whole_file_refuses_it(data: bytes | str) -> None:
    """Its header, its quotes, its bytes: which rows it is about is not certain."""
    result = leave(data)
    assert (result.steps, result.left, result.ok) == ([], None, False)


def test_a_folder_of_temporary_files_without_room_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows and items wait there, and those of a large file may not fit."""
    connect = sqlite3.connect

    def small(*words: Any, **options: Any) -> sqlite3.Connection:
        made = connect(*words, **options)
        made.execute("PRAGMA max_page_count = 8")
        return made

    monkeypatch.setattr(sqlite3, "connect", small)
    keys = [f"K-{n}" for n in range(500)]
    with pytest.raises(ConfigError, match="the folder of temporary files has no space"):
        leave(keyed(*keys))
    with pytest.raises(ConfigError, match="the folder of temporary files has no space"):
        leave(keyed("A"), items=items_of(tmp_path, *((key, "1") for key in keys)))


# --- items -----------------------------------------------------------------------------------------------------------


def items_of(folder: Path, *rows: tuple[str, str]) -> Path:
    """An items file: tracking ids and quantities."""
    path = folder / "items.csv"
    path.write_text(plain_table(("tracking_id", "name", "quantity"), *((key, "box", n) for key, n in rows)))
    return path


def test_an_order_with_a_faulty_item_is_left_out_whole(tmp_path: Path) -> None:
    """And the items of an order that is left out are no orphans."""
    items = items_of(tmp_path, ("A", "1"), ("B", "1"), ("B", "many"), ("C", "1"))
    result = leave(keyed("A", "B", "C", C=BAD), items=items)
    assert (result.keys, result.left, result.ok) == (["A"], 2, True)
    assert f"an item of this order has faults: {items}:4" in result.rules


@pytest.mark.parametrize(
    "row", [("X", "1"), ("X", "many"), ("", "1"), ("", "many")], ids=["orphan", "faulty orphan", "nameless", "both"]
)
def test_an_item_of_nobody_refuses_the_file(tmp_path: Path, row: tuple[str, str]) -> None:
    """Perhaps it is one of an order that would be sent without it."""
    result = leave(keyed("A", "B", B=BAD), items=items_of(tmp_path, ("A", "1"), row))
    assert (result.steps, result.left, result.ok) == ([], None, False)


def test_items_of_a_row_that_cannot_be_read_refuse_the_file(tmp_path: Path) -> None:
    """Whose they are is not known; without any such item the other rows are taken."""
    result = leave(keyed("A", "B") + "C,x\n", items=items_of(tmp_path, ("A", "1"), ("C", "1")))
    assert (result.steps, result.ok) == ([], False)
    result = leave(keyed("A", "B") + "C,x\n", items=items_of(tmp_path, ("A", "1")))
    assert (result.keys, result.left, result.ok) == (["A", "B"], 1, True)


def test_without_leaving_the_faults_are_those_of_before(tmp_path: Path) -> None:
    """A faulty item is one fault, and says nothing of its order."""
    items = items_of(tmp_path, ("A", "many"))
    with open_source(io.BytesIO(keyed("A").encode()), options=SourceOptions(now=NOW, items=items)) as source:
        assert len(list(source.rows())) == 1
        assert source.report.fault_count == 1


@given(st.lists(st.tuples(st.sampled_from("ABCDEF"), st.booleans()), min_size=1, max_size=8))
@settings(deadline=None)
def test_every_row_is_taken_or_left(rows: list[tuple[str, bool]]) -> None:
    """A row is taken if it has no fault, and its key stands nowhere else; the others are left, or all refused."""
    result = leave(table(*({"tracking_id": key, **(BAD if bad else {})} for key, bad in rows)))
    keys = [key for key, _ in rows]
    good = [key for key, bad in rows if not bad and keys.count(key) == 1]
    if good:
        assert (result.keys, result.left or 0, result.ok) == (good, len(rows) - len(good), True)
    else:
        assert (result.steps, result.left, result.ok) == ([], None, False)
