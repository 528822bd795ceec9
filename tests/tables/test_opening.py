"""From what a user names to a source."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.errors import ConfigError
from gotsurge_async.tables import ColumnMap, FileMap, SourceOptions, SourceReport, open_source
from tests.support.order_forms import NOW

from .kit import good_json, table, write

JSONL = json.dumps(good_json())


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("orders.csv", table({}), {}),
        ("orders.CSV", table({}), {}),
        ("orders.tsv", table({}, delimiter="\t"), {}),
        ("orders.jsonl", JSONL, {}),
        ("orders.ndjson", JSONL, {}),
        ("orders.dat", JSONL, {"format": "jsonl"}),
        ("orders.json", table({}), {"format": "csv"}),
    ],
)
def test_the_ending_tells_the_format_unless_the_user_does(
    tmp_path: Path, name: str, text: str, options: dict[str, Any]
) -> None:
    """A path is opened, read and closed."""
    path = write(tmp_path / name, text)
    with open_source(str(path), options=SourceOptions(now=NOW, **options)) as source:
        assert source.name == str(path)
        assert [row.key for row in source.rows()] == ["SHS-1"]
        assert source.report.ok


@pytest.mark.parametrize(("text", "options"), [(table({}), {}), (JSONL, {"format": "jsonl"})])
def test_standard_input_is_csv_unless_the_user_says_so(
    monkeypatch: pytest.MonkeyPatch, text: str, options: dict[str, Any]
) -> None:
    """It is not closed."""
    stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    with open_source("-", options=SourceOptions(now=NOW, **options)) as source:
        assert source.name == "<stdin>"
        assert len(list(source.rows())) == 1
    assert not stdin.closed


def test_the_report_can_be_the_callers() -> None:
    """So faults can be shown while the file is read, under the name that the caller gives."""
    report = SourceReport()
    with open_source(io.BytesIO(b""), options=SourceOptions(now=NOW), report=report, name="upload.csv") as source:
        assert list(source.rows()) == []
    assert [fault.file for fault in report.faults] == ["upload.csv"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("orders.xyz", {}, "pass --format"),
        ("missing.csv", {}, "cannot be read: No such file"),
        ("folder.csv", {}, "cannot be read: Is a directory"),
        ("orders.jsonl", {"items": "items.csv"}, "leave out the items file"),
        ("orders.jsonl", {"delimiter": ";"}, "only for tables"),
        ("orders.jsonl", {"file_map": FileMap(orders=ColumnMap(ignore=frozenset("x")))}, "only for tables"),
        ("orders.csv", {"items": "no-items.csv"}, r"no-items\.csv: cannot be read"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, name: str, options: dict[str, Any], words: str) -> None:
    """The message names the file; nothing stays open."""
    (tmp_path / "folder.csv").mkdir()
    for existing in ("orders.xyz", "orders.jsonl", "orders.csv"):
        write(tmp_path / existing, JSONL)
    with pytest.raises(ConfigError, match=words):
        open_source(tmp_path / name, options=SourceOptions(now=NOW, **options))
