"""What is new in a push to a real GotSurge: maps are accepted once, first pushes have a canary, years are near."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gotsurge_async.client import GotSurge
from gotsurge_async.config import Credentials, Environment
from gotsurge_async.system import loops
from tests.push.test_map_use import HEADER, MAP_TEXT
from tests.support.commands import Shell

Real = Callable[..., Result]


@pytest.fixture
def real(shell: Shell) -> Real:
    """Pushes to the simulator as if it were GotSurge's sandbox."""
    simulator, known = shell.simulator, shell.simulator.accounts["plain"]

    async def bearer() -> str:
        place = Environment.named("local", api_base=simulator.api_base)
        keys = Credentials(client_key=known.client_key, secret_key=known.secret_key)
        async with GotSurge(place, credentials=keys) as gs:
            return (await gs.oauth.exchange(simulator.new_code("plain"))).bearer.reveal()

    token = loops.run(bearer())

    def run(*words: str | Path, **options: Any) -> Result:
        place = ("--env", "sandbox", "--api-base", simulator.api_base, *shell.ledger)
        return shell.run(*words, *place, "--mode", "direct", GOTSURGE_BEARER_TOKEN=token, **options)

    return run


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person sits there."""
    monkeypatch.setattr("gotsurge_async.cli.pushes.push.at_a_terminal", lambda: True)


def table(number: int, *, days: int = 30, more: str = "", price: str = "48.50") -> Path:
    """A table of so many orders that are picked up so many days from now, and a map of it."""
    day = datetime.now(UTC) + timedelta(days=days)
    ignored = f'ignore = ["{more}"]\n' if more else ""
    Path("m.toml").write_text(ignored + MAP_TEXT)
    rows = [
        f"{key},{day:%d/%m/%Y} 09:00,{day:%d/%m/%Y} 11:00,{key} Quay,2 Pier,{price}{',x' if more else ''}"
        for key in range(number)
    ]
    file = Path("orders.csv")
    file.write_text("\n".join([f"{HEADER},{more}" if more else HEADER, *rows]) + "\n")
    return file


WORDS = ("--map", "m.toml", "--timezone", "Asia/Singapore")


def test_a_new_map_is_accepted_once(real: Real, shell: Shell) -> None:
    """A job with a new map sends nothing and exits with 2; once accepted, it is sent without a word."""
    refused = real("push", table(3), *WORDS)
    assert refused.exit_code == 2
    assert "the map m.toml is new: check what it reads (gotsurge push --dry-run)" in refused.stderr
    assert shell.simulator.audit()["calls"].get("tasks.create", 0) == 0
    assert real("push", table(3), *WORDS, "--accept-map").exit_code == 0
    assert real("push", table(4), *WORDS).exit_code == 0
    assert shell.simulator.audit()["tasks"] == 4


def test_other_columns_and_rules_are_accepted_anew(real: Real, shell: Shell) -> None:
    """A column that came, and a map that was changed, are named, and nothing of the file is sent."""
    assert real("push", table(1), *WORDS, "--accept-map").exit_code == 0
    column = real("push", table(2, more="Colour"), *WORDS)
    assert column.exit_code == 2
    assert 'differs from the accepted one (the column "Colour" is new)' in column.stderr
    file = table(2)
    Path("m.toml").write_text(MAP_TEXT.replace('"car"', '"van_1.7m"'))
    encoding = real("push", table(2), *WORDS, "--encoding", "cp1252")
    assert (encoding.exit_code, "(its rules or reading options have changed)" in encoding.stderr) == (2, True)
    Path("m.toml").write_text(MAP_TEXT.replace('"car"', '"van_1.7m"'))
    rules = real("push", file, *WORDS)
    assert (rules.exit_code, "(its rules or reading options have changed)" in rules.stderr) == (
        2,
        True,
    )
    assert shell.simulator.audit()["tasks"] == 1


@pytest.mark.parametrize(
    ("answer", "code", "sent"), [("y\n", 0, 3), ("n\n", 2, 0), ("", 2, 0)], ids=["yes", "no", "end"]
)
@pytest.mark.usefixtures("terminal")
def test_a_person_is_shown_what_will_be_sent_and_asked(
    real: Real, shell: Shell, answer: str, code: int, sent: int
) -> None:
    """At a terminal a new map shows the first orders, days and prices; only yes sends them."""
    done = real("push", table(3), *WORDS, stdin=answer)
    assert "0, as it would be sent:" in done.stderr
    assert "prices: 3 orders of SGD 48.50 to 48.50, together 145.50" in done.stderr
    assert "Send 3 orders as shown?" in done.stderr
    assert (done.exit_code, shell.simulator.audit()["tasks"]) == (code, sent)


@pytest.mark.usefixtures("terminal")
def test_the_question_is_about_what_will_be_sent(real: Real, shell: Shell) -> None:
    """Orders that were pushed before are named, and not counted in the question."""
    assert real("push", table(2), *WORDS, "--accept-map").exit_code == 0
    done = real("push", table(3, more="Colour"), *WORDS, stdin="y\n")
    assert "2 of 3 orders will not be sent again: 2 already pushed" in done.stderr
    assert "Send 1 order as shown?" in done.stderr
    assert shell.simulator.audit()["tasks"] == 3


def test_a_refused_map_leaves_no_file_of_faults(real: Real, shell: Shell) -> None:
    """The next try, which accepts the map, can write it."""
    file = table(3)
    file.write_text(file.read_text().replace("1 Quay,2 Pier,48.50", "1 Quay,2 Pier,much"))
    words = (*WORDS, "--leave-faulty", "--faults", "left.csv")
    assert real("push", file, *words).exit_code == 2
    assert not Path("left.csv").exists()
    assert real("push", file, *words, "--accept-map").exit_code == 5
    assert (shell.simulator.audit()["tasks"], Path("left.csv").exists()) == (2, True)


@pytest.mark.usefixtures("terminal")
def test_only_the_file_that_was_shown_is_sent(real: Real, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is changed while the question is on the screen is refused."""

    def confirm(*_: Any, **__: Any) -> bool:
        return bool(table(4))

    monkeypatch.setattr("click.confirm", confirm)
    done = real("push", table(3), *WORDS)
    assert (done.exit_code, "has changed since it was shown" in done.stderr) == (2, True)
    assert shell.simulator.audit()["tasks"] == 0


@pytest.mark.usefixtures("terminal")
def test_a_first_push_without_a_map_is_shown(real: Real) -> None:
    """At a terminal the first push of an account shows a preview; the second does not."""
    file = table(2)
    fields = "tracking_id,from_time_window.start_time_utc,from_time_window.end_time_utc"
    fields += ",from_address.street_address,to_address.street_address,price"
    start = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    more = "currency,broadcast_preference,vehicle_preference,service_type,client_time_utc"
    for key, shown in (("A", True), ("B", False)):
        file.write_text(f"{fields},{more}\n{key},{start},{start},1,2,48.50,SGD,all,car,ftl,{start}\n")
        done = real("push", file)
        assert done.exit_code == 0, done.stderr
        assert ("as it would be sent" in done.stderr) is shown


@pytest.mark.parametrize("command", [["plan"], ["push", "--dry-run"]], ids=["plan", "dry run"])
def test_a_look_shows_the_preview(real: Real, shell: Shell, command: list[str]) -> None:
    """plan and --dry-run show it without asking, and with --json as data."""
    mode = () if command == ["plan"] else ("--mode", "direct")
    words = (*command, table(3, more="Colour"), *WORDS, "--env", "sandbox", *shell.ledger, *mode)
    done = shell.run(*words)
    assert done.exit_code == 0, done.stderr
    assert "columns that are not read: Colour" in done.stdout
    preview = json.loads(shell.run(*words, "--json").stdout)["preview"]
    assert preview["prices"]["SGD"] == {"least": "48.50", "greatest": "48.50", "sum": "145.50", "orders": 3}
    assert (preview["not_read"], len(preview["first"])) == (["Colour"], 3)
    assert [*preview["pickups"].values()] == [3]


def test_what_differs_from_the_last_push_is_said(real: Real, shell: Shell) -> None:
    """Prices ten times as high are a warning of the push, and stand in the preview of a dry run."""
    assert real("push", table(2), *WORDS, "--accept-map").exit_code == 0
    file = table(3, price="485.00")
    looked = real("push", file, *WORDS, "--dry-run")
    assert (
        "the prices are about SGD 485.00 each, but were about SGD 48.50 in the last push with this map" in looked.stdout
    )
    done = real("push", file, *WORDS)
    assert "warning: the prices are about SGD 485.00 each, but were about SGD 48.50 in the last push" in done.stderr


def test_a_first_push_sends_one_order_first(real: Real, shell: Shell) -> None:
    """Where the service is down, one order is in doubt instead of hundreds; the second push needs no canary."""
    first = real("push", table(45), *WORDS, "--accept-map", "--json")
    assert json.loads(first.stdout)["created"] == 45
    calls = shell.simulator.audit()["calls"]
    assert (calls["tasks.create"], calls["tasks.get"]) == (4, 1)
    assert json.loads(real("push", table(90), *WORDS, "--json").stdout)["created"] == 45
    calls = shell.simulator.audit()["calls"]
    assert (calls["tasks.create"], calls["tasks.get"]) == (7, 1)


@pytest.mark.parametrize(
    ("days", "words", "code"), [(500, (), 2), (-500, (), 2), (500, ("--any-date",), 0), (390, (), 0)]
)
def test_far_years_are_faults(real: Real, days: int, words: tuple[str, ...], code: int) -> None:
    """A pickup that is more than 400 days away is a fault for a real GotSurge, unless the date is meant."""
    done = real("push", table(1, days=days), *WORDS, "--accept-map", *words)
    assert done.exit_code == code
    assert ("is more than 400 days away" in done.stderr) is (code == 2)


def test_a_rehearsal_asks_for_nothing(shell: Shell) -> None:
    """A simulator takes any map and any year, and sends no canary."""
    done = shell.run("push", table(25, days=2000), *WORDS, *shell.place, *shell.ledger, "--mode", "direct")
    assert done.exit_code == 0
    assert shell.simulator.audit()["calls"].get("tasks.get", 0) == 0
