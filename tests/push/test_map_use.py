"""How a map is used from push to push: what makes it another one, and in what a file differs from the last."""

from pathlib import Path

import pytest
from msgspec import structs

from gotsurge_async.push.map_use import MAP, MapUse, watched
from gotsurge_async.tables import FileMap, SourceOptions, open_source
from gotsurge_async.tables.options import read_map
from tests.support.order_forms import NOW

HEADER = "Ref,Pickup,Until,From,To,Fee"
MAP_TEXT = """
[columns]
"Ref" = "tracking_id"
"Pickup" = "from_time_window.start_time_utc"
"Until" = "from_time_window.end_time_utc"
"From" = "from_address.street_address"
"To" = "to_address.street_address"
"Fee" = "price"
[constants]
currency = "SGD"
broadcast_preference = "all"
vehicle_preference = "car"
service_type = "ftl"
client_time_utc = "now"
[dates]
"*" = ["31/12/2030 23:59", "2030-12-31 23:59"]
"""
ROW = "A,5/3/2030 09:00,05/03/2030 11:00,1 Quay,2 Pier,48.50"


def use_of(
    tmp_path: Path, *, header: str = HEADER, row: str = ROW, text: str = MAP_TEXT, zone: str = "Asia/Singapore"
) -> MapUse:
    """How a map reads a file of one row."""
    file = tmp_path / "orders.csv"
    file.write_text(f"{header}\n{row}\n")
    file_map = structs.replace(read_map(text.encode(), "m.toml"), name="m")
    options = SourceOptions(now=NOW, file_map=file_map, timezone=zone)
    uses: list[MapUse] = []
    with open_source(file, options=options) as source:
        source = watched(source, options, uses.append)
        assert len([*source.rows()]) == 1, [*map(str, source.report.faults)]
        assert MapUse.remembered(source.kept) == uses[0]
        assert source.sha256 is not None
    return uses[0]


def test_the_same_map_and_columns_are_the_same_use(tmp_path: Path) -> None:
    """Other rows, and comments in the map, change nothing that must be accepted."""
    one = use_of(tmp_path)
    other = use_of(tmp_path, row=ROW.replace("A,", "B,").replace("48.50", "50"), text=MAP_TEXT + "# a comment\n")
    assert one.digest == other.digest
    assert other.unlike(one) == []


@pytest.mark.parametrize(
    "change",
    [
        {"header": f"{HEADER},gs_note", "row": f"{ROW},x", "text": f'ignore = ["gs_note"]\n{MAP_TEXT}'},
        {"text": MAP_TEXT.replace('"all"', '"marine"')},
        {"text": MAP_TEXT.replace('"31/12/2030 23:59", "2030-12-31 23:59"', '"12/31/2030 23:59"')},
        {"zone": "Europe/Berlin"},
    ],
    ids=["a column", "a constant", "dates", "the zone"],
)
def test_what_decides_how_cells_are_read_makes_another_use(tmp_path: Path, change: dict[str, str]) -> None:
    """Another column, rule or zone has to be accepted again."""
    row = (
        {"row": ROW.replace("5/3/2030", "3/5/2030").replace("05/03/2030", "03/05/2030")}
        if "12/31" in change.get("text", "")
        else {}
    )
    assert use_of(tmp_path).digest != use_of(tmp_path, **{**row, **change}).digest


def test_differences_are_named(tmp_path: Path) -> None:
    """New columns, times in another shape, and prices ten times as high are told, each by a sentence."""
    last = use_of(tmp_path)
    header, text = HEADER.replace("Fee", "Fee,Remark"), f'ignore = ["Remark"]\n{MAP_TEXT}'
    now = use_of(tmp_path, header=header, text=text, row="B,2030-03-05 09:00,05/03/2030 11:00,1 Quay,2 Pier,485.00,x")
    assert now.unlike(last) == [
        'the column "Remark" is new',
        'the column "Pickup" has values like 9999-99-99 99:99; the last push with this map had 99/99/9999 99:99',
        "the prices are about SGD 485.00 each, but were about SGD 48.50 in the last push with this map",
    ]


def test_texts_of_the_file_are_told_without_what_moves_a_cursor(tmp_path: Path) -> None:
    """Escape sequences of names and cells are not printed, and little of a long cell is kept."""
    last = use_of(tmp_path)
    text = f'ignore = ["*"]\n{MAP_TEXT}'.replace(
        "[dates]", '[dates]\n"from_time_window.start_time_utc" = "31/12/2030 23:59 …"'
    )
    row = ROW.replace("09:00", f"09:00 \x1b[2J{'x' * 10_000}")
    now = use_of(tmp_path, header=f"{HEADER},\x1b[2JNote", row=f"{row},x", text=text)
    assert all(line.isprintable() and len(line) < 300 for line in now.unlike(last))
    assert len(now.shapes["Pickup"][0]) <= 60


def test_a_file_without_a_map_is_not_watched(tmp_path: Path) -> None:
    """Columns with the fields' own names need nobody's consent."""
    file = tmp_path / "orders.csv"
    file.write_text("tracking_id\nA\n")
    options = SourceOptions(now=NOW, file_map=FileMap())
    with open_source(file, options=options) as source:
        assert watched(source, options) is source
        assert MAP not in source.kept
