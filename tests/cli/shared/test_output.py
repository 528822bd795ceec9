"""`gotsurge_async.cli.shared.output`: what people, pipes and programs get."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gotsurge_async.cli.shared.output import lasting, print_json, print_record, print_table, shown
from gotsurge_async.money import Money
from tests.support.orders import NOW, order


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (Money.of("48.5", "SGD"), "SGD 48.50"),
        (Money(millicents=200_000, currency=""), "2.00"),
        (datetime(2026, 1, 2, 3, 4, 5, 678, UTC), "2026-01-02 03:04:05Z"),
        (["a", None, 3], "a, , 3"),
        ("a\tb\nc\x1b[31m", "a b c [31m"),
        (0, "0"),
    ],
)
def test_a_value_is_shown_on_one_line(value: Any, text: str) -> None:
    """Money in units of its currency, times in UTC, no control character reaches a terminal."""
    assert shown(value) == text


def test_a_table_is_tab_separated_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    """Headings first, a line a row; stderr if asked."""
    print_table(["a", "b"], [[1, None], ["x\ty", Money.of("2", "SGD")]])
    print_table(["a"], [["b"]], err=True)
    captured = capsys.readouterr()
    assert captured.out == "a\tb\n1\t\nx y\tSGD 2.00\n"
    assert captured.err == "a\nb\n"


def test_a_record_shows_what_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    """A line a field, and none for a field without a value."""
    print_record([("id", "1"), ("driver", None), ("urgent", False)])
    assert capsys.readouterr().out == "id\t1\nurgent\tno\n"


def test_a_terminal_gets_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the cells stand under each other, and text of the service is never taken for markup."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    print_table(["name", "price"], [["[red]rope[/red]", "SGD 2.00"], ["x", "SGD 10.00"]])
    print_record([("name", "[bold]rope")])
    out = capsys.readouterr().out
    assert "[red]rope[/red]" in out
    assert "[bold]rope" in out
    assert "\t" not in out
    lines = out.splitlines()
    assert lines[1].index("SGD") == lines[2].index("SGD")


def test_an_id_is_not_broken_over_two_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However narrow the terminal is, an id can be copied; the other columns give way."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    task_id = "5f0c51f2-7c6c-4d5b-a3a4-2f1b6a3a9f10"
    print_table(["id", "note"], [[task_id, "word " * 40]])
    assert task_id in capsys.readouterr().out


def test_json_is_the_api_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    """A model prints as the API writes it, with money in thousandths of a cent; a list of models as a list."""
    print_json(order("T-1"))
    one = json.loads(capsys.readouterr().out)
    assert (one["tracking_id"], one["price"], one["client_time_utc"]) == ("T-1", 500_000, "2026-01-01T00:00:00Z")
    print_json([order("T-1"), order("T-2")])
    assert [each["tracking_id"] for each in json.loads(capsys.readouterr().out)] == ["T-1", "T-2"]
    print_json({"at": NOW})
    assert json.loads(capsys.readouterr().out) == {"at": "2026-01-01T00:00:00Z"}


def test_an_id_is_never_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """However narrow the terminal is, ids of runs and tasks stand on one line, to be copied."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    run, task = "20261126T084635-prkp", "3f0c9a52-0000-4000-8000-000000000001"
    print_table(["RUN", "WHY", "FROM"], [[run, "a long story of refusals " * 4, "/home/mei/orders/monday.csv"]])
    print_table(["KEY", "TASK", "WHY"], [["A-KEY-THAT-IS-LONG", task, "too late, a driver has accepted it"]])
    out = capsys.readouterr().out
    assert run in out
    assert task in out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (99.4, "99 s"), (100, "2 min"), (5_999, "100 min"), (6_000, "2 h"), (5e9, "57,870 days")],
)
def test_a_time_is_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    """Nobody reads five billion seconds."""
    assert lasting(seconds) == text
