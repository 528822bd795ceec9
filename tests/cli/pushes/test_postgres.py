"""Every command of a push on a ledger in PostgreSQL."""

import json
from collections.abc import Iterator
from pathlib import Path

import attrs
import psycopg
import pytest

from gotsurge_async.simulator import Simulator
from tests.cli.pushes.test_ledger import clean, every_command, tasks
from tests.support.commands import Runner, Shell
from tests.support.postgres import postgresql

pytestmark = pytest.mark.slow


@attrs.frozen
class DeskOnPostgres(Shell):
    """A shell whose ledger is a database."""

    url: str = ""

    @property
    def ledger(self) -> list[str | Path]:
        """The option that names the ledger."""
        return ["--ledger", self.url]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server for the module."""
    with postgresql() as url:
        yield url


@pytest.fixture
def shell(server: str, run: Runner, simulator: Simulator, tmp_path: Path) -> DeskOnPostgres:
    """A shell with a database of its own."""
    name = tmp_path.name.lower().replace("-", "_")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    with_password = server.replace("gotsurge@", "gotsurge:secret@").rpartition("/")[0]
    return DeskOnPostgres(run, simulator, tmp_path, url=f"{with_password}/{name}")


def test_every_command_works_on_it(shell: Shell) -> None:
    """A push, what is asked of it, what goes on with it, and the push again of what was undone."""
    done, summary = shell.push("A", "B")
    assert (done.exit_code, summary["created"]) == (0, 2), done.output
    run_id, before = summary["run"], tasks(shell)
    after = every_command(shell, run_id)
    known = {name: after[name].exit_code for name in ("runs", "status", "results", "reconcile", "undo")}
    assert set(known.values()) == {0}, [after[name].output for name, code in known.items() if code]
    assert (after["resume"].exit_code, "2 cancelled" in after["resume"].stdout) == (1, True)
    assert (after["retry"].exit_code, "has no refused orders" in after["retry"].stderr) == (2, True)
    assert (after["push"].exit_code, tasks(shell)) == (0, before + 2)  # undone, and pushed again
    assert json.loads(shell.on_ledger("status", run_id, "--json").stdout)["already_pushed"] == 2
    assert "secret" not in "".join(done.output for done in after.values())


def test_what_is_in_doubt_is_settled_with_the_commands_that_are_reported(shell: Shell) -> None:
    """They name the database without its password, which libpq takes from elsewhere, and work as they stand."""
    run_id = shell.push_lost("A", "B")
    status = clean(shell.on_ledger("status", run_id))
    assert "--ledger postgresql://gotsurge@127.0.0.1:" in status.stdout
    assert "secret" not in status.output
    command = next(line for line in status.stdout.splitlines() if "gotsurge reconcile" in line)
    words = command.partition("gotsurge ")[2].split()
    looked = clean(shell.run(*words, "--account", "platform", "--rescan-after", "0"))
    assert looked.exit_code in (0, 2, 3)
    word = ("resolve", run_id, "--key", "A", "--key", "B", "--not-created", "--by", "Mei", "--no-check")
    assert clean(shell.run(*word, *shell.ledger)).exit_code == 0
    done, summary = shell.push("A", "B")
    assert (done.exit_code, summary["created"]) == (0, 2)


@pytest.mark.parametrize("words", [("runs",), ("status", "RUN"), ("results", "RUN"), ("ledger", "check")])
def test_an_empty_database_is_no_ledger(shell: Shell, words: tuple[str, ...]) -> None:
    """What only looks says so, and makes no tables."""
    done = clean(shell.run(*words, *shell.ledger))
    assert (done.exit_code, "there is no ledger at postgresql://gotsurge@127" in done.stderr) == (2, True), done.output
    assert "secret" not in done.output
    assert clean(shell.call("resume", "RUN")).exit_code == 2
    assert clean(shell.run(*words, *shell.ledger)).exit_code == 2


def test_a_server_that_is_not_there_is_reported(shell: DeskOnPostgres) -> None:
    """With its address, without the password, and nothing is sent."""
    before = tasks(shell)
    shell = attrs.evolve(shell, url="postgresql://gotsurge:secret@127.0.0.1:1/none")
    done = every_command(shell, "RUN")
    assert tasks(shell) == before
    for name, each in done.items():
        refused = each.exit_code == 2 and "ledger postgresql://gotsurge@127.0.0.1:1/none: cannot be used" in each.stderr
        assert (name, refused or name == "push") == (name, True), each.output
    assert "secret" not in "".join(each.output for each in done.values())


def test_runs_are_archived_into_a_file(shell: Shell) -> None:
    """Which must be named; what was pushed stays known, and is exported from there."""
    shell.push("A", "B")
    words = ("ledger", "archive", "--before", "2100-01-01", *shell.ledger)
    assert "--to FILE" in clean(shell.run(*words)).stderr
    file = shell.folder / "archive.db"
    assert clean(shell.run(*words, "--to", file)).exit_code == 0
    done, summary = shell.push("A", "C", words=("--compact",))
    assert (done.exit_code, summary["already_pushed"], summary["created"]) == (0, 1, 1)
    assert len(clean(shell.run("ledger", "export", "-", *shell.ledger)).stdout.splitlines()) == 2
    assert len(clean(shell.run("ledger", "export", "-", "--ledger", file)).stdout.splitlines()) == 2
    status = json.loads(clean(shell.on_ledger("status", summary["run"], "--json")).stdout)
    assert (status["ledger_orders"], status["ledger_bytes"] > 0) == (4, True)
