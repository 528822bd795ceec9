"""Exit codes, and the one document that ``--json`` gives whatever happens."""

import json
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.bulk import Ledger, LedgerError, Run
from gotsurge_async.cli.shared.exits import Exit, exit_code_of
from gotsurge_async.errors import ConfigError, GotSurgeError, NotSent, OutcomeUnknown, RateLimited, SignInNeeded
from gotsurge_async.ledger import LedgerUnusable, RunLost
from gotsurge_async.simulator import Fault, Simulator
from gotsurge_async.simulator.replies import RefusedError
from gotsurge_async.simulator.state.accounts import SignIn
from tests.support.commands import Shell, finish, local, start, write_orders

NOBODY = ["--env", "local", "--api-base", "http://127.0.0.1:9/api"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotSent("refused"), Exit.UNREACHABLE),
        (OutcomeUnknown("HTTP 503", operation="platform.tasks.list"), Exit.UNREACHABLE),
        (OutcomeUnknown("HTTP 503", operation="platform.drafts.create"), Exit.UNREACHABLE),
        (OutcomeUnknown("HTTP 503", operation="tasks.create"), Exit.REFUSED),
        (RateLimited("later"), Exit.REFUSED),
        (SignInNeeded(), Exit.SIGN_IN),
        (ConfigError("no"), Exit.USAGE),
    ],
)
def test_an_error_stands_for_a_code(error: GotSurgeError, code: Exit) -> None:
    """Not reached, or no answer to what may be repeated, is a code of its own."""
    assert exit_code_of(error) is code


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["push", "orders.csv", *NOBODY], 8, "gotsurge simulator"),
        (["push", "orders.csv", *NOBODY, "--mode", "direct"], 8, "gotsurge simulator"),
        (["push", "orders.csv"], 2, "--simulate"),
        (["push", "orders.csv", "--simulate", "--batch-size", "many"], 2, "many"),
        (["push", "orders.csv", "--simulate", "--no-such-option"], 2, "--no-such-option"),
        (["push", "none.csv", "--simulate"], 2, "none.csv"),
        (["push", "wrong.csv", "--simulate"], 2, "1 fault"),
        (["push", "wrong.csv", "--dry-run"], 2, "1 fault"),
        (["push", "orders.csv", "--simulate", "--map", "none.toml"], 2, "none.toml"),
        (["push", "orders.csv", "--simulate", "--ledger", "orders.csv"], 2, "orders.csv"),
        (["push", "orders.csv", "--simulate", "--env", "local"], 2, "--simulate"),
        (["push", "orders.csv", "--simulate", "--batch-size", "21"], 2, "20"),
        (["push", "orders.csv", "--simulate", "--ledger", "/proc/ledger.db"], 2, "/proc/ledger.db"),
        (["push", "orders.csv", "--simulate", "--max-price", "lots"], 2, "amount"),
        (["push", "orders.csv", "--env", "sandbox", "--api-base", "http://example.com/api"], 2, "https"),
        (["push", "orders.csv", "--env", "sandbox"], 4, "`gotsurge auth login --env sandbox`"),
        (["push", "orders.csv", "--env", "sandbox", "--account", "a"], 4, "auth login --env sandbox --account a`"),
        (["plan", "wrong.csv"], 2, "1 fault"),
        (["runs", "--ledger", "none.db"], 2, "none.db"),
        (["status", "RUN", "--ledger", "none.db"], 2, "none.db"),
        (["resolve", "RUN", "--ledger", "none.db", "--key", "A", "--not-created"], 2, "none.db"),
        (["resolve", "RUN"], 2, "--key"),
        (["resume", "RUN", *NOBODY, "--ledger", "none.db"], 2, "none.db"),
        (["reconcile", *NOBODY, "--ledger", "none.db"], 2, "none.db"),
        (["undo", "RUN", *NOBODY, "--ledger", "none.db"], 2, "none.db"),
        (["undo", "RUN"], 2, "no environment is named"),
    ],
)
def test_a_failure_is_a_document_too(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
) -> None:
    """Whatever is wrong, with --json standard output is one document with the error, its code and the run."""
    monkeypatch.chdir(shell.folder)
    write_orders(shell.folder / "orders.csv", ["A"])
    wrong = write_orders(shell.folder / "wrong.csv", ["A"])
    wrong.write_text(wrong.read_text().replace("48.50", "zero"))
    done = shell.run(*words, "--json")
    document = shell.document(done)
    assert (done.exit_code, document["exit"]) == (code, code), done.output
    assert said in document["error"]
    assert "run" in document
    assert "Traceback" not in done.stderr


def test_a_failure_names_the_run(shell: Shell) -> None:
    """The document of a command about a run has its id, also when there is no such run."""
    shell.push("A")
    done = [shell.call(command, "nothing", "--json") for command in ("resume", "retry", "reconcile", "undo")]
    done += [shell.on_ledger(command, "nothing", "--json") for command in ("status", "results")]
    done.append(shell.on_ledger("resolve", "nothing", "--key", "A", "--not-created", "--by", "me", "--json"))
    for document in map(shell.document, done):
        assert (document["exit"], "no run with the id nothing" in document["error"]) == (2, True)
        assert document["run"] in ("nothing", None)


async def test_an_interrupt_before_anything_was_sent_is_a_document(tmp_path: Path) -> None:
    """Ctrl-C while the service is asked what the account may do: exit 130, and nothing was sent."""
    write_orders(tmp_path / "orders.csv", range(3))
    async with Simulator() as simulator:
        simulator.order_fault(Fault(operation="platform.tasks.list", when="before", kind="delay", seconds=30))
        process = await start("push", "orders.csv", *local(simulator), "--json", cwd=tmp_path)
        await simulator.called("platform.tasks.list")
        process.send_signal(signal.SIGINT)
        done = await finish(process)
    assert done.code == 130
    assert done.document == {"error": "interrupted: nothing was sent", "exit": 130, "run": None, "explain": ["E112"]}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("mode", ["auto", "direct", "two-phase"])
def test_a_connection_that_is_refused_is_one_code(shell: Shell, mode: str) -> None:
    """Nobody listens: exit 8 in every mode, and where a run was made, its orders wait in it."""
    file = write_orders(shell.folder / "orders.csv", ["A", "B"])
    place = ["--env", "sandbox", "--api-base", "http://127.0.0.1:9/api", *shell.ledger, "--out", shell.folder / "out"]
    words = ("--mode", mode, "--any-date", "--json", "--quiet")
    done = shell.run("push", file, *place, *words, GOTSURGE_BEARER_TOKEN="token")
    document = shell.document(done)
    assert (done.exit_code, document["exit"]) == (8, 8), done.output
    if mode != "auto":
        assert (document["unprocessed"], document["in_doubt"]) == (2, 0)
        where = f"--env sandbox --api-base http://127.0.0.1:9/api --ledger {shell.folder / 'ledger.db'}"
        assert document["next"] == [f"gotsurge resume {document['run']} {where} --out {shell.folder / 'out'}"]


@pytest.mark.usefixtures("at_once")
def test_a_service_that_is_down_is_one_code(platform_shell: Shell) -> None:
    """Drafts that get no answer leave nothing in doubt: exit 8; a limit on calls is exit 5, as any other limit."""
    shell = platform_shell
    shell.simulator.order_fault(Fault(operation="platform.drafts.create", when="before", kind="status", status=503))
    done, summary = shell.push("A", "B")
    assert (done.exit_code, summary["unprocessed"], summary["in_doubt"]) == (8, 2, 0)
    assert [(each["verdict"], each["count"]) for each in summary["reasons"]] == [("unprocessed", 2)]
    assert "503" in summary["reasons"][0]["reason"]
    shell.simulator.clear_faults()
    late = Fault(
        operation="platform.drafts.create", when="before", kind="status", status=429, headers={"Retry-After": "999"}
    )
    shell.simulator.order_fault(late)
    done, summary = shell.push("A", "B")
    assert (done.exit_code, summary["unprocessed"]) == (5, 2)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("account", ["plain", "platform"])
def test_a_sign_in_that_dies_is_reported_with_all_that_was_done(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    """The token ends in the middle: summary, files and the command that goes on; exit 4, or 3 with doubts."""
    shell = Shell(shell.run, shell.simulator, shell.folder, account)

    def refuse(*_: object) -> None:
        raise RefusedError(400, "invalid_grant", "The refresh_token is unknown or used already")

    monkeypatch.setattr(SignIn, "refresh", refuse)
    for operation in ["tasks.create"] if account == "plain" else ["platform.drafts.broadcast", "platform.tasks.get"]:
        shell.simulator.order_fault(Fault(operation=operation, when="before", kind="status", status=401))
    done, summary = shell.push("A", "B")
    assert done.exit_code == (3 if summary["in_doubt"] else 4)
    assert (summary["in_doubt"] + summary["unprocessed"], summary["orders"]) == (2, 2)
    assert Path(summary["files"]["unprocessed"]).exists()
    assert "sign in" in summary["error"]
    assert "auth login" not in str(summary["next"])  # a simulator signs in by itself
    assert any(command.startswith("gotsurge resume") for command in summary["next"])
    shell.simulator.clear_faults()


def test_a_summary_says_its_code_and_no_error(shell: Shell) -> None:
    """A push that went well has exit 0 and no error in its document."""
    _, summary = shell.push("A")
    assert (summary["exit"], summary["error"], summary["next"], summary["reasons"]) == (0, None, [], [])
    assert json.loads(Path(summary["files"]["summary"]).read_text())["created"] == 1


@pytest.mark.slow
async def test_an_interrupt_after_the_sending_does_not_say_that_nothing_was_sent(tmp_path: Path) -> None:
    """While unused drafts are looked for all is sent: the command that writes the result files is named."""
    write_orders(tmp_path / "orders.csv", range(3))
    async with Simulator() as simulator:
        simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
        simulator.order_fault(
            Fault(operation="platform.tasks.list", when="before", kind="delay", seconds=30, after_calls=1)
        )
        words = [*local(simulator), "--account", "platform", "--mode", "two-phase", "--json", "--quiet"]
        process = await start("push", "orders.csv", *words, cwd=tmp_path)
        await simulator.called("platform.tasks.list", times=2)  # a new ledger looks its orders up first
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert b"stopping" in await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        done = await finish(process)
        assert simulator.audit()["tasks"] == 3
    document = done.document
    assert (done.code, document["exit"]) == (130, 130)
    assert "before the result files were written" in document["error"]
    assert document["next"] == [f"gotsurge results {document['run']} --env local --out FOLDER"]


@pytest.mark.parametrize("account", ["plain", "platform"])
def test_a_ledger_that_fails_in_the_middle_is_a_document(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    """It says what was in flight (an order that was sent is in doubt, a draft calls no driver), and what goes on."""
    shell = Shell(shell.run, shell.simulator, shell.folder, account)

    async def fail(*_: object, **__: object) -> None:
        raise LedgerUnusable("the disk is full", path="ledger.db")

    for write in ("record", "release_claim"):
        monkeypatch.setattr(Run, write, fail)
    done, document = shell.push("A", "B")
    code, words = {
        "plain": (3, "2 in doubt; no further order was sent"),
        "platform": (
            5,
            "2 orders must be drafted again (no driver saw the drafts); nothing is in doubt; no further order was sent",
        ),
    }[account]
    assert (done.exit_code, document["exit"]) == (code, code)
    assert document["error"] == f"ledger ledger.db: the disk is full\n{words} (run {document['run']})"
    assert document["next"][0].startswith(f"gotsurge resume {document['run']} --env local")
    assert f"next: gotsurge resume {document['run']}" in done.stderr


@pytest.mark.parametrize(("error", "doubted"), [(LedgerUnusable, True), (RunLost, False)])
def test_a_ledger_that_fails_and_cannot_be_read_leaves_the_careful_word(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, error: type[LedgerError], doubted: bool
) -> None:
    """What was in flight counts as in doubt, and so it does where the run is another process's by now."""

    async def fail(*_: object, **__: object) -> None:
        raise error("fails", path="ledger.db")

    monkeypatch.setattr(Run, "record", fail)
    if doubted:
        monkeypatch.setattr(Ledger, "counts", fail)
    done, document = shell.push("A", "B")
    assert (done.exit_code, "the orders that were in flight are in doubt" in document["error"]) == (3, True)


def test_a_disk_that_fills_while_a_file_is_loaded(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, and the push of the same file, which the message names, works once there is room."""
    keys = [f"K{number}" for number in range(2000)]
    opened = sqlite3.connect

    def small(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = opened(*args, **options)
        connection.execute("PRAGMA max_page_count = 60")
        return connection

    with monkeypatch.context() as full:
        full.setattr("sqlite3.connect", small)
        done, document = shell.push(*keys)
    assert (done.exit_code, document["exit"], shell.simulator.audit()["tasks"]) == (2, 2, 0)
    disk, nothing = document["error"].splitlines()
    assert "the disk is full; free some space, then try again" in disk
    assert nothing == "nothing was sent: when this is corrected, push the same file again"
    done, document = shell.push(*keys)
    assert (done.exit_code, document["created"]) == (0, 2000)
    assert set(shell.simulator.audit()["by_tracking_id"].values()) == {1}
