"""`gotsurge_async.cli.shared.output`: what people, pipes and programs get."""

import io
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from gotsurge_async.cli.shared.output import (
    Column,
    Step,
    event_line,
    fitted,
    lasting,
    print_json,
    print_record,
    print_table,
    prose,
    say,
    shown,
    spare,
)
from gotsurge_async.models.tasks import TaskStatus
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
    """Money in units of its currency, times in UTC without a command, no control character reaches a terminal."""
    assert shown(value) == text


def test_a_line_for_people_has_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """A step is one line, and only a line feed of a text begins another one."""
    say("two\nlines\r\x1b[31m\u202e")
    say(Step("1 lost", "To look", "gotsurge tasks get 't\n1'"))
    assert capsys.readouterr().err == "two\nlines  [31m \n1 lost. To look, run: gotsurge tasks get 't 1'\n"


def test_a_table_is_tab_separated_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    """Headings first, a line a row."""
    print_table(["a", "b"], [[1, None], ["x\ty", Money.of("2", "SGD")]])
    assert capsys.readouterr().out == "a\tb\n1\t\nx y\tSGD 2.00\n"


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


TASK = "5f0c51f2-7c6c-4d5b-a3a4-2f1b6a3a9f10"
AT = datetime(2030, 3, 4, 1, 2, 3, tzinfo=UTC)
COLUMNS: tuple[str | Column, ...] = (
    spare("TASK", 2), "KEY", "STATUS", "VESSEL", spare("SINCE"), prose("WHY"),
)  # fmt: skip
WHY = "the task is accepted: a driver has it, and GotSurge lets nobody take it back"
ROWS = [(TASK, "CALL-7-ROPE", "accepted", "MV Northern Meridian", AT, WHY), (TASK, "K", "done", "MV X", None, None)]


def printed(columns: Sequence[str | Column], rows: Sequence[Sequence[Any]], width: int) -> tuple[list[str], list[str]]:
    """The lines of a table at a width, without spaces at their ends, and what was left out."""
    parts, left_out = fitted(columns, rows, width)
    out = io.StringIO()
    console = Console(file=out, width=width)
    for part in parts:
        console.print(part, soft_wrap=True)
    return [line.rstrip() for line in out.getvalue().splitlines()], left_out


def lines(width: int) -> list[str]:
    """The table at a width."""
    return printed(COLUMNS, ROWS, width)[0]


def test_a_wide_terminal_shows_all_of_a_table() -> None:
    """Each row on its line, times to the second."""
    heading, first, _ = lines(200)
    assert heading.split() == ["TASK", "KEY", "STATUS", "VESSEL", "SINCE", "WHY"]
    assert f"MV Northern Meridian  2030-03-04 01:02:03Z  {WHY}" in first


@pytest.mark.parametrize(
    ("width", "left_out", "said"),
    [
        (127, [], "2030-03-04 01:02Z"),  # the seconds went; the sentence wraps
        (100, ["TASK"], "MV Northern Meridian"),
        (70, ["TASK", "SINCE"], "accepted  MV Northern"),
        (60, [], "KEY     CALL-7-ROPE\nSTATUS  accepted\n"),  # a record each
    ],
)
def test_columns_left_out_are_returned(width: int, left_out: list[str], said: str) -> None:
    """Seconds, then columns by their rank; where that is not enough each row is a record."""
    assert printed(COLUMNS, ROWS, width)[1] == left_out
    assert said in "\n".join(lines(width))
    assert max(map(cell_len, lines(width))) <= width


@pytest.mark.parametrize("width", [200, 132, 100, 80, 60, 40, 25])
def test_a_key_is_never_broken(width: int) -> None:
    """However narrow the terminal is, keys and states stand on one line, to be copied; so do ids that are shown."""
    keys = ["A-KEY-THAT-IS-LONG", "another key", "短い鍵"]
    rows = [(TASK, key, "unsuccessful_pickup", "MV Étoile", AT, WHY) for key in keys]
    made, left_out = printed(COLUMNS, rows, width)
    for key in (*keys, *(() if "TASK" in left_out else (TASK,))):
        assert any(key in line for line in made), key
    assert sum("unsuccessful_pickup" in line for line in made) == 3


def test_a_path_in_a_record_is_whole() -> None:
    """Also one that is longer than the terminal is wide: the terminal breaks it, and it can be copied."""
    path = "/home/mei/" + "orders/" * 20 + "monday.csv"
    made, _ = printed(["RUN", prose("FROM")], [("20261126T084635-prkp", path)], 80)
    assert made == ["RUN   20261126T084635-prkp", "FROM", f"  {path}"]


def test_a_record_breaks_no_word(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A value wraps at spaces beside its name; a checksum that is wider than the room there stands below."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    print_record([("given above it", "SGD +2385.92"), ("sha256", "3b887ecc" * 8), ("why", "word " * 20)])
    text = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert text.splitlines() == [
        "given above it  SGD +2385.92",
        "sha256          " + "3b887ecc" * 8,
        "why             " + " ".join(["word"] * 13),
        "                " + " ".join(["word"] * 7),
    ]
    monkeypatch.setenv("COLUMNS", "79")
    print_record([("given above it", "SGD +2385.92"), ("sha256", "3b887ecc" * 8)])
    assert "sha256\n  " + "3b887ecc" * 8 in re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)


def test_what_is_wide_counts_as_wide() -> None:
    """Cells stand under each other, also with signs that take two places."""
    made, _ = printed(["NAME", "PRICE"], [("船", "1"), ("ship", "2")], 80)
    assert made == ["NAME  PRICE", "船    1", "ship  2"]


def test_columns_left_out_at_a_terminal_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr, after the table; a pipe has every column, and no note."""
    print_table(COLUMNS, ROWS)
    piped = capsys.readouterr()
    assert piped.out.splitlines()[1] == f"{TASK}\tCALL-7-ROPE\taccepted\tMV Northern Meridian\t{shown(AT)}\t{WHY}"
    assert piped.err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "70")
    print_table(COLUMNS, ROWS)
    seen = capsys.readouterr()
    assert TASK not in seen.out
    assert seen.err.startswith("not shown at this width: TASK, SINCE;")


def test_a_terminal_gets_a_status_in_words(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As the service writes it in a pipe, which programs read."""
    status = TaskStatus.PENDING_PICKUP
    for words in ("pending_pickup", "Pending pickup"):
        print_table(("STATUS",), [(status,)])
        print_record([("status", status)])
        out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
        assert re.findall(r"(?i)pending.pickup", out + event_line((status,), (status,))) == [words] * 3
        monkeypatch.setenv("FORCE_COLOR", "1")


def test_what_comes_as_it_happens_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With tabs and whole in a pipe, short at a terminal."""
    assert event_line((AT, TASK, None), ("01:02:03Z", "K")) == f"2030-03-04 01:02:03Z\t{TASK}\t"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert event_line((AT, TASK, None), ("01:02:03Z", "K")) == "01:02:03Z  K"


def test_json_is_the_api_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    """A model prints as the API writes it, with money in thousandths of a cent; a list of models as a list."""
    print_json(order("T-1"))
    one = json.loads(capsys.readouterr().out)
    assert (one["tracking_id"], one["price"], one["client_time_utc"]) == ("T-1", 500_000, "2026-01-01T00:00:00Z")
    print_json([order("T-1"), order("T-2")])
    assert [each["tracking_id"] for each in json.loads(capsys.readouterr().out)] == ["T-1", "T-2"]
    print_json({"at": NOW})
    assert json.loads(capsys.readouterr().out) == {"at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (99.4, "99 s"), (100, "2 min"), (5_999, "100 min"), (6_000, "2 h"), (5e9, "57,870 days")],
)
def test_a_time_is_reported_in_the_unit_that_fits(seconds: float, text: str) -> None:
    """Nobody reads five billion seconds."""
    assert lasting(seconds) == text
