"""What a user says about a file, and where it cannot be right."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.bulk.sources import ColumnMap, FileMap, SourceOptions
from gotsurge_async.bulk.sources.maps.column_map import zone_named
from gotsurge_async.errors import ConfigError
from tests.support.order_forms import NOW

from .kit import write


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "docx"}, "say one of csv"),
        ({"delimiter": ";;"}, "one character"),
        ({"delimiter": '"'}, "one character"),
        ({"delimiter": ""}, "one character"),
        ({"timezone": "Asia/Singapor"}, 'did you mean "Asia/Singapore"'),
        ({"timezone": "/etc/passwd"}, "is not known"),
        ({"file_map": FileMap(orders=ColumnMap(columns={"x": "nope"}))}, "there is no field"),
        ({"file_map": FileMap(items=ColumnMap(constants={"quantaty": "1"}))}, 'did you mean "quantity"'),
    ],
)
def test_what_cannot_be_right_is_refused_at_once(options: dict[str, Any], words: str) -> None:
    """Before any file is opened."""
    with pytest.raises(ConfigError, match=words):
        SourceOptions(**{"now": NOW, **options})


def test_now_is_an_instant() -> None:
    """A naive time is none."""
    with pytest.raises(ValueError, match="no time zone"):
        SourceOptions(now=datetime(2030, 1, 1))  # noqa: DTZ001 - the point of the test


@pytest.mark.parametrize("text", ["tab", "\\t", "\t"])
def test_a_tab_can_be_written_in_three_ways(text: str) -> None:
    """One of them works in every shell."""
    assert SourceOptions(now=NOW, delimiter=text).delimiter == "\t"


def test_a_map_file(tmp_path: Path) -> None:
    """Dotted names may stand in quotes or not, and values are written as TOML has them."""
    path = write(
        tmp_path / "map.toml",
        'ignore = ["Remark"]\n[columns]\n"Ship to" = "to_address.street_address"\n'
        '[constants]\nfrom_address.country = "SG"\n"to_address.country" = "MY"\ncargo_net_quantity = 4\n'
        "client_time_utc = 2030-03-04T01:00:00Z\n"
        '[items.columns]\nQty = "quantity"\n[items.constants]\nweight_unit = "kg"\n',
    )
    assert FileMap.load(path) == FileMap(
        orders=ColumnMap(
            columns={"Ship to": "to_address.street_address"},
            constants={
                "from_address.country": "SG",
                "to_address.country": "MY",
                "cargo_net_quantity": "4",
                "client_time_utc": "2030-03-04T01:00:00+00:00",
            },
            ignore=frozenset({"Remark"}),
        ),
        items=ColumnMap(columns={"Qty": "quantity"}, constants={"weight_unit": "kg"}),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[columns", "is not TOML"),
        (b"\xff", "is not TOML"),
        ('[columns]\nA = "to_adress.city"', 'did you mean "to_address.city"'),
        ('[columns]\nA = "price"\nB = "price"', '"B" and "A" both give price'),
        ('[columns]\nA = "price"\n[constants]\nprice = 5', "both give price"),
        ('[column]\nA = "price"', 'did you mean "columns"'),
        ("[columns]\nA = 1", "table of texts"),
        ("constants = 1", "is a table"),
        ('ignore = "A"', "is a list"),
        ("items = 1", "is a table"),
        ("[constants]\nservice_type = [1]", "give text, a number, or a time"),
        ("[constants]\nclient_time_utc = 2030-03-04", "give text, a number, or a time"),
        ('[items.columns]\nA = "price"', "there is no field"),
    ],
)
def test_a_map_file_that_cannot_be_right(tmp_path: Path, text: str | bytes, words: str) -> None:
    """The message names the file, the entry and what would be right."""
    path = write(tmp_path / "map.toml", text)
    with pytest.raises(ConfigError, match=words) as caught:
        FileMap.load(path)
    assert str(caught.value).startswith(str(path))


def test_a_map_file_that_is_not_there(tmp_path: Path) -> None:
    """It is told by name."""
    with pytest.raises(ConfigError, match=r"map\.toml: cannot be read"):
        FileMap.load(tmp_path / "map.toml")


def test_a_system_without_time_zones_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has none unless they were installed."""
    monkeypatch.setattr("gotsurge_async.bulk.sources.maps.column_map.available_timezones", set)
    with pytest.raises(ConfigError, match="pip install tzdata"):
        zone_named("Asia/Nowhere")
