"""`gotsurge columns` and `gotsurge template`: a table to begin with."""

import json
import stat
from pathlib import Path

import pytest

from tests.support.commands import Runner


def test_columns_are_a_table_for_pipes_and_programs(run: Runner) -> None:
    """Piped there is a line a column; --json has the same."""
    head, *rows = run("columns").stdout.splitlines()
    assert head.split("\t") == ["column", "type", "unit", "allowed", "required", "example", "section", "meaning"]
    documents = json.loads(run("columns", "--json").stdout)
    assert [row.split("\t")[0] for row in rows] == [each["name"] for each in documents]
    assert {each["section"] for each in documents} >= {"Order", "Pickup", "Delivery", "Money", "Cargo", "Items"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("price",), ["price"]),
        (("to_time_window",), ["to_time_window.start_time_utc", "to_time_window.end_time_utc"]),
        (("phone",), ["from_contact.phone", "to_contact.phone", "officer_contact.phone"]),
        (("total", "--required"), None),
    ],
)
def test_some_are_chosen_by_name(run: Runner, words: tuple[str, ...], names: list[str] | None) -> None:
    """A name, its start or its end choose; where nothing is left it is said."""
    done = run("columns", *words, "--json")
    if names is None:
        assert done.exit_code == 2
    else:
        assert [each["name"] for each in json.loads(done.stdout)] == names


def test_a_name_that_is_none_is_reported_with_the_nearest(run: Runner) -> None:
    """A mistyped name is not an empty table."""
    done = run("columns", "vehicle_preferense")
    assert done.exit_code == 2
    assert "did you mean vehicle_preference?" in done.stderr


def test_a_template_is_written_where_it_is_wanted(run: Runner, tmp_path: Path) -> None:
    """Its format is that of the file's ending; a file that is there stays unless --force says otherwise."""
    done = run("template", tmp_path / "orders.xlsx")
    assert done.exit_code == 0
    assert "of which tracking_id, broadcast_preference, " in done.stderr
    assert (tmp_path / "orders.xlsx").read_bytes().startswith(b"PK")
    assert stat.S_IMODE((tmp_path / "orders.xlsx").stat().st_mode) == 0o600
    assert run("template", tmp_path / "orders.xlsx").exit_code == 2
    assert run("template", tmp_path / "orders.xlsx", "--force").exit_code == 0
    assert run("template", tmp_path / "orders").exit_code == 2
    few, all_ = (run("template", *words).stdout.split(",") for words in ((), ("--all",)))
    assert 20 < len(few) < len(all_)
    assert run("template", "--items").stdout.startswith("\ufefftracking_id,name,")
    assert run("template", "--format", "xlsx").stdout_bytes.startswith(b"PK")


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_a_template_can_be_pushed(run: Runner, tmp_path: Path, ending: str) -> None:
    """The row of examples has no fault."""
    file = tmp_path / f"orders.{ending}"
    assert run("template", file, "--example", "--all").exit_code == 0
    done = run("push", file, "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert "1 order, no faults" in done.stdout
