"""Tables at a terminal of 80 columns, as an operator sees them."""

import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from gotsurge_async.models.words import in_words
from gotsurge_async.simulator import Simulator
from tests.support.commands import Runner, Shell
from tests.support.running import running_simulator
from tests.support.terminal import at_a_terminal

CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
KEYS = [f"CALL-3222609-ROPE-{number:03}" for number in range(120)]
STATUSES = ("complete", "cancelled", "unsuccessful_delivery", "unsuccessful_pickup", "expired")


@attrs.frozen
class Office:
    """A folder with a ledger, and the runs in it."""

    folder: Path
    simulator: Simulator
    pushed: str
    lost: str

    def meant(self, word: str) -> str:
        """A word that a test cannot know, or the word itself."""
        return {"RUN": self.pushed, "LOST": self.lost, "BASE": self.simulator.api_base}.get(word, word)

    def sees(self, *words: str) -> str:
        """What a command shows at 80 columns."""
        words = tuple(self.meant(word) for word in words)
        folders = {f"XDG_{name}_HOME": str(self.folder / name) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        env = folders | {"TZ": "Asia/Singapore"}
        return CONTROLS.sub("", at_a_terminal(words, cwd=self.folder, env=env, columns=80).text)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A hundred and more orders in several states; the answers of some were lost."""
    folder = tmp_path_factory.mktemp("office")
    with running_simulator() as simulator:
        shell = Shell(Runner(folder), simulator, folder)
        _, summary = shell.push(*KEYS)
        for number, task in enumerate(simulator.tasks()):
            simulator.move(task["id"], STATUSES[number % len(STATUSES)], through=True)
        read_all = ("--read-rate", "1000", "--read-after", "0")  # it ends when all are at their end
        assert shell.call("watch", summary["run"], *read_all).exit_code == 1
        yield Office(folder, simulator, summary["run"], shell.push_lost("LOST-1", "LOST-2"))


def test_a_run_is_whole_and_has_no_zeros(shell: Shell) -> None:
    """The id of a run is not broken, and of the counts only those above zero are in the table."""
    _, summary = shell.push("A", "B")
    seen = at_a_terminal(["runs", *shell.ledger], cwd=shell.folder)
    row = CONTROLS.sub("", seen.text).splitlines()[1]
    assert row.split() == [summary["run"], "done", "2", "2", "created"]


@pytest.mark.slow
def test_orders_are_one_line_each(office: Office) -> None:
    """Each with its key, its status and when it is due, whole; what there is no room for is named below."""
    lines = office.sees("orders", "--run", "RUN", "--ledger", "ledger.db", "--limit", "120").splitlines()
    assert lines[0].split() == ["TRACKING", "ID", "STATUS", "VESSEL", "DUE"]
    rows = lines[1:121]
    assert [row.split()[0] for row in rows] == KEYS
    assert [in_words(status) in row for status, row in zip(STATUSES, rows, strict=False)] == [True] * 5
    assert all("2030-03-04 12:00+08:00" in row for row in rows)
    assert max(map(len, lines[:121])) <= 80
    assert "not shown at this width: TASK" in lines[121]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "whole"),
    [
        (("runs", "--ledger", "ledger.db"), ("RUN", "LOST")),
        (("alerts", "--ledger", "ledger.db"), KEYS[2:120:5]),
        (("orders", KEYS[2], "--ledger", "ledger.db"), (KEYS[2], "Unsuccessful delivery")),
        (("status", "RUN", "--ledger", "ledger.db"), ("RUN",)),
        (
            ("endpoints", "list"),
            ("platform.drafts.broadcast_with_tracking", "/platform/tasks/drafts/broadcast-with-tracking"),
        ),
        (("columns",), ("from_time_window.start_time_utc", "to_contact.lighter_company_name")),
        (("topics", "environment"), ("GOTSURGE_WEBHOOK_TOKEN_NEXT",)),
        (("explain",), ("exit-141", "E201")),
        (("explain", "E201"), ("E201: A file cannot be read\n\nWhat to do:",)),
        (("topics", "map"), ('  "Ship to" = "to_address.street_address"\n',)),
        (("simulator", "--options"), ("create_rule = all-or-nothing | partial | partial-refused\n    a create",)),
        (("auth", "accounts"), ("ACCOUNT",)),
        (("ledger", "check", "--ledger", "ledger.db"), ("sound",)),
        (("doctor", "--env", "local", "--api-base", "BASE"), ("partner.detail",)),
    ],
)
def test_a_table_fits(office: Office, words: tuple[str, ...], whole: tuple[str, ...]) -> None:
    """No line is wider than the terminal, and what is to be copied is on one line."""
    text = office.sees(*words)
    for name in whole:
        assert office.meant(name) in text
    assert [line for line in text.splitlines() if len(line) > 80] == []
