"""Every time that a command shows to people is in one form and in one zone."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result

from gotsurge_async.simulator import Simulator
from gotsurge_async.webhooks.inbox import Inbox
from tests.support.commands import Runner, Shell, write_orders

TIME_LIKE = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d[T ])?(?<![\d:+-])\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d| ?UTC)?(?![\d:])|LMT"
)
CELL = re.compile(r'"[^"]*"')
"""What stands in a file is shown as it stands there."""
KOLKATA = "+05:30"
Words = tuple[str | Path, ...]


@pytest.fixture(scope="module", autouse=True)
def _in_kolkata() -> Iterator[None]:
    """A system that is in the zone of Kolkata."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="module")
def office(served: Simulator, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, str]:
    """A shell of the plain partner with a filled ledger and order book, and a run of them."""
    folder = tmp_path_factory.mktemp("office")
    shell = Shell(Runner(folder), served, folder)
    return shell, filled(shell)


def others(text: str, offset: str) -> list[str]:
    """What looks like a time, and is in another form or another zone."""
    return [
        found[0]
        for found in TIME_LIKE.finditer(CELL.sub("", text))
        if found["zone"] != offset or (found["day"] is not None and "T" in found["day"])
    ]


def filled(shell: Shell) -> str:
    """A ledger and an order book with orders in many states; a run of them."""
    write_orders(shell.folder / "faulty.csv", ["F"])
    text = (shell.folder / "faulty.csv").read_text()
    (shell.folder / "faulty.csv").write_text(text.replace("2030-03-04T02:00:00Z", "2030-03-04T00:30:00Z"))
    (shell.folder / "over.csv").write_text(text.replace("2030-", "2020-").replace("F,", "OVER,"))
    run_id = shell.push_lost("LOST", settle=900)
    _, summary = shell.push("A", "B", "C")
    tasks = {task["tracking_id"]: task["id"] for task in shell.simulator.tasks()}
    shell.simulator.move(tasks["A"], "complete", through=True)
    shell.simulator.move(tasks["B"], "unsuccessful_delivery", through=True)
    shell.call("watch", summary["run"], "--read-rate", "200", "--read-after", "0", "--timeout", "1")

    async def put() -> None:
        async with Inbox.open(shell.folder / "ledger.book.db") as inbox:
            await inbox.put("local/plain", b'{"id": "%b", "current_status": "complete"}' % tasks["A"].encode())

    asyncio.run(put())
    assert run_id != summary["run"]
    return str(summary["run"])


def shown_by(shell: Shell, run_id: str) -> dict[str, Result]:
    """What each command shows that has times to show."""
    reads: Words = ("--rescan-after", "0")
    task = next(task["id"] for task in shell.simulator.tasks() if task["tracking_id"] == "A")
    commands: dict[str, tuple[Callable[..., Result], Words]] = {
        "push": (shell.call, (shell.folder / "faulty.csv", "--out", shell.folder / "out")),
        "plan": (shell.call, (shell.folder / "over.csv",)),
        "runs": (shell.on_ledger, ()),
        "status": (shell.on_ledger, (run_id,)),
        "results": (shell.on_ledger, (run_id, "--out", shell.folder / "again")),
        "reconcile": (shell.call, ()),
        "audit": (shell.call, (*reads, "--out", shell.folder / "out")),
        "undo": (shell.call, (run_id,)),
        "orders": (shell.on_ledger, ()),
        "orders A": (shell.on_ledger, ()),
        "alerts": (shell.on_ledger, ("--not-accepted", "99999999")),
        "inbox list": (shell.on_ledger, ()),
        "inbox show": (shell.on_ledger, ("1",)),
        "tasks get": (lambda *words: shell.run(*words, *shell.place), (task,)),
        "ledger check": (shell.on_ledger, ()),
        "auth accounts": (lambda *words: shell.run(*words), ()),
        "doctor": (lambda *words: shell.run(*words, *shell.place), ()),
    }
    return {name: call(*name.split(), *words) for name, (call, words) in commands.items()}


def test_every_command_shows_times_of_the_system(office: tuple[Shell, str]) -> None:
    """In one form, with the zone; the commands that have no time to show are few."""
    results = shown_by(*office)
    assert not {name: wrong for name, done in results.items() if (wrong := others(done.output, KOLKATA))}
    silent = {name for name, done in results.items() if KOLKATA not in done.output}
    assert silent <= {"runs", "results", "undo", "ledger check", "auth accounts"}
    assert "2030-03-04 09:30:00+05:30" in results["orders A"].output


def test_the_zone_that_is_named_is_that_of_all_times(office: tuple[Shell, str]) -> None:
    """Of the table's and of all others; of a map, too."""
    shell, run_id = office
    (shell.folder / "m.toml").write_text('[file]\ntimezone = "Asia/Tokyo"\n')
    cases: tuple[tuple[Words, str], ...] = (
        (("push", shell.folder / "over.csv", "--dry-run", "--timezone", "Asia/Singapore"), "+08:00"),
        (("plan", shell.folder / "faulty.csv", "--map", shell.folder / "m.toml"), "+09:00"),
        (("plan", shell.folder / "faulty.csv", "--timezone", "UTC"), "Z"),
    )
    for words, offset in cases:
        done = shell.run(*words, *shell.ledger, *shell.place)
        assert not others(done.output, offset), done.output
        assert offset in done.output
    done = shell.on_ledger("alerts", "--run", run_id, "--not-accepted", "99999999", "--timezone", "Asia/Singapore")
    assert not others(done.output, "+08:00")
    assert "+08:00" in done.output


def test_what_programs_read_is_in_utc(office: tuple[Shell, str]) -> None:
    """Documents, result files and tables for spreadsheets, whatever the zone of the system."""
    shell, run_id = office
    (order,) = [each for each in shell.document(shell.on_ledger("orders", "--json")) if each["tracking_id"] == "A"]
    assert order["due_at"] == "2030-03-04T04:00:00Z"
    assert "2030-03-04 04:00:00Z" in shell.on_ledger("orders", "--csv").stdout
    status = shell.document(shell.on_ledger("status", run_id, "--json"))
    assert datetime.fromisoformat(status["created_at"]).utcoffset() == UTC.utcoffset(None)
    assert KOLKATA not in "".join(path.read_text() for path in (shell.folder / "out").iterdir())
