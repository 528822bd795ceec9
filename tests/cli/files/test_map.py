"""``gotsurge map``: maps are drafted, kept, shown and used by their names."""

import json
from pathlib import Path

import pytest

from tests.support.commands import Runner
from tests.tables.kit import plain_table, write

HEADER = ["Order ID", "From address", "To address", "Fare", "Pickup start", "Pickup end", "Kind", "Vehicle", "Service"]
ROW = ["A-1", "7 Loyang Way", "Berth J07", "S$48.50", "13/03/2030 14:00", "13/03/2030 16:00", "Marine", "car", "FTL"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A table as people write it."""
    return write(tmp_path / "orders.csv", plain_table(HEADER, ROW).replace(",", ";"))


def test_a_draft_is_kept_shown_listed_and_pushed(run: Runner, orders: Path) -> None:
    """From a table of somebody's own to a push, in five commands."""
    made = run("map", "draft", str(orders), "--name", "agent", "--timezone", "Asia/Singapore")
    assert made.exit_code == 0, made.stderr
    assert "9 columns are recognized" in made.stderr
    assert 'delimiter = ";"' in run("map", "show", "agent").stdout
    assert json.loads(run("map", "list", "--json").stdout)[0]["name"] == "agent"
    assert run("map", "list").stdout.splitlines()[1].startswith("agent\t")
    pushed = run("push", str(orders), "--map", "agent", "--simulate", "--json", "--out", "out")
    assert pushed.exit_code == 0, pushed.stderr
    assert json.loads(pushed.stdout)["created"] == 1


def test_a_draft_reports_what_is_sure_open_and_unknown(run: Runner) -> None:
    """For people on standard error, for programs as JSON; a push before anything was chosen reports the fields."""
    header = [*HEADER, "Phone", "Blurb", "Delivery date"]
    write(
        Path("o.csv"),
        plain_table(header, [*ROW[:4], "03/04/2030 14:00", "03/04/2030 16:00", *ROW[6:], "9175 5010", "x", "-"]),
    )
    made = run("map", "draft", "o.csv", "-o", "m.toml", "--json")
    report = json.loads(made.stdout)
    assert report["map"] == Path("m.toml").read_text(encoding="utf-8")
    assert report["sure"] == [*HEADER[:4], *HEADER[6:]]
    assert [*report["choose"]] == ["Pickup start", "Pickup end", "Phone"]
    assert report["choose"]["Phone"][:2] == ["from_contact.phone", "to_contact.phone"]
    assert report["unknown"] == {
        "Blurb": "such as x",
        "Delivery date": "the name suggests to_time_window, but - is not a time",
    }
    assert "  Pickup end: " in made.stderr
    assert "  Blurb: such as x\n" in made.stderr
    pushed = run("push", "o.csv", "--map", "m.toml", "--simulate", "--timezone", "Asia/Singapore")
    assert pushed.exit_code == 2
    for column in ("Pickup start", "Pickup end", "Phone", "Delivery date"):
        assert f": {column}: " in pushed.stderr, pushed.stderr


def test_a_draft_goes_to_a_file_or_to_standard_output(run: Runner, orders: Path) -> None:
    """A file that is there stays, unless that is said."""
    printed = run("map", "draft", str(orders)).stdout
    assert printed.startswith("# A proposal")
    assert run("map", "draft", str(orders), "-o", "m.toml").stdout == ""
    assert Path("m.toml").read_text(encoding="utf-8") == printed
    assert "--force" in run("map", "draft", str(orders), "-o", "m.toml").stderr
    assert run("map", "draft", str(orders), "-o", "m.toml", "--force").exit_code == 0


def test_a_map_that_somebody_wrote_is_checked_and_kept(run: Runner) -> None:
    """One that cannot be right is not."""
    write(Path("good.toml"), '[constants]\ncurrency = "SGD"\n')
    write(Path("bad.toml"), '[constant]\ncurrency = "SGD"\n')
    assert run("map", "keep", "good.toml", "good").exit_code == 0
    refused = run("map", "keep", "bad.toml", "bad")
    assert (refused.exit_code, 'did you mean "constants"' in refused.stderr) == (2, True)
    assert run("map", "show", "bad").exit_code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("map", "draft"), "Missing argument"),
        (("map", "draft", "none.csv"), "cannot be read"),
        (("map", "draft", "x.jsonl"), "not a table"),
        (("push", "o.csv", "--map", "nobody", "--simulate"), "there is no map nobody"),
        (("push", "o.csv", "--sql", "SELECT 1", "--from", "sqlite://"), "but not all three"),
        (("push", "--sql", "SELECT 1"), "(the query) needs --from"),
        (("push", "o.csv", "--from", "sqlite://"), "(the query) needs --from"),
        (("plan",), "Missing argument"),
        (("push", "--simulate"), "Missing argument"),
    ],
)
def test_what_is_wrong_is_reported(run: Runner, words: tuple[str, ...], message: str) -> None:
    """With exit code 2."""
    write(Path("x.jsonl"), "{}")
    found = run(*words)
    assert (found.exit_code, message in found.stderr) == (2, True), found.stderr


def test_a_query_is_pushed_and_planned(run: Runner, tmp_path: Path) -> None:
    """The URL may stand in the environment, and is in no output with what is secret in it."""
    import sqlite3

    with sqlite3.connect(tmp_path / "shop.db") as made:
        made.execute(f"CREATE TABLE orders ({', '.join(json.dumps(name) for name in HEADER)})")
        made.execute(f"INSERT INTO orders VALUES ({', '.join('?' * len(ROW))})", ROW)  # noqa: S608
    made.close()
    shop = f"sqlite:///{tmp_path}/shop.db"
    query = ("--sql", "SELECT * FROM orders", "--timezone", "Asia/Singapore")
    assert (
        run("map", "draft", *query, "-o", "m.toml", GOTSURGE_FROM=shop).stderr
        == "9 columns are recognized: " + ", ".join(HEADER) + "\n"
    )
    planned = run("plan", *query, "--map", "m.toml", "-o", "plan.json", "--json", GOTSURGE_FROM=shop)
    assert planned.exit_code == 0, planned.stderr
    words = ("--map", "m.toml", "--plan", "plan.json", "--simulate", "--json", "--out", "out")
    pushed = run("push", *query, *words, "--from", shop)
    assert pushed.exit_code == 0, pushed.stderr
    assert json.loads(pushed.stdout)["created"] == 1
