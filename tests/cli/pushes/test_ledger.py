"""`gotsurge ledger`, and every other command on a ledger that is damaged, older, gone, or not ours to write."""

import json
import random
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gotsurge_async.ledger.sql import databases
from tests.support.commands import Shell, write_orders
from tests.support.powerless import locked_away, powerless


def book(shell: Shell) -> Path:
    """The ledger's file."""
    return shell.folder / "ledger.db"


def change(path: Path, statement: str) -> None:
    """Damage a ledger past its checks."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()


def clean(done: Result) -> Result:
    """A command that ended with a word and a code, and without a traceback."""
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.output
    return done


def every_command(shell: Shell, run_id: str) -> dict[str, Result]:
    """Run every command that reads the ledger."""
    file = shell.folder / "orders.csv"
    out = ["--out", shell.folder / "out", "--quiet"]
    return {
        "runs": clean(shell.on_ledger("runs")),
        "status": clean(shell.on_ledger("status", run_id)),
        "results": clean(shell.on_ledger("results", run_id, "--out", shell.folder / "again")),
        "check": clean(shell.run("ledger", "check", *shell.ledger)),
        "reconcile": clean(shell.call("reconcile", run_id)),
        "undo": clean(shell.call("undo", run_id)),
        "retry": clean(shell.call("retry", run_id, *out)),
        "resume": clean(shell.call("resume", run_id, *out)),
        "push": clean(shell.call("push", file, *out)),
    }


def tasks(shell: Shell) -> int:
    """How many tasks the service has."""
    return int(shell.simulator.audit()["tasks"])


def test_a_sound_ledger_is_reported_as_such(shell: Shell) -> None:
    """`ledger check` says what the ledger holds, and ends with 0; as JSON too. Without a ledger it is 2."""
    shell.push("A", "B")
    done = clean(shell.run("ledger", "check", *shell.ledger))
    assert (done.exit_code, "verdict\tsound" in done.stdout, "orders\t2" in done.stdout) == (0, True, True)
    document = json.loads(shell.run("ledger", "check", *shell.ledger, "--json").stdout)
    assert (document["orders"], document["flaws"], document["counter"]) == (2, [], 2)
    assert shell.run("ledger", "check", "--ledger", shell.folder / "none.db").exit_code == 2


@pytest.mark.parametrize(
    ("statement", "place", "words"),
    [
        ("UPDATE chunks SET states = 'qc'", "table chunks, chunk 1: its states", ("results", "status", "runs")),
        ("UPDATE keys SET key = CAST(x'ff' AS TEXT) WHERE place = 1", "table keys, environment 'local', key", ()),
        ("UPDATE bodies SET meta = replace(meta, '[[2,', '[[\"x\",')", "bodies, chunk 1: its orders", ("results",)),
        ("UPDATE runs SET options = '[1]'", "table runs, row", ("runs", "status", "results")),
        ("DELETE FROM bodies", "table bodies, chunk 1: its orders are missing", ("results",)),
        ("DELETE FROM keys WHERE place = 1", "table keys, chunk 1, line 3, key B", ()),
    ],
)
def test_no_command_runs_into_a_damaged_row(shell: Shell, statement: str, place: str, words: tuple[str, ...]) -> None:
    """Whatever reads a damaged row names it; what would send or write is refused, and nothing is sent."""
    _, summary = shell.push("A", "B")
    change(book(shell), statement)
    before = tasks(shell)
    done = every_command(shell, summary["run"])
    assert tasks(shell) == before
    for word in (*words, "push", "resume", "retry", "undo", "reconcile"):
        assert (word, done[word].exit_code) == (word, 2)
        assert place in done[word].stderr, (word, done[word].stderr)
        assert "Do not start another ledger" in done[word].stderr
    assert (done["check"].exit_code, place in done["check"].stdout) == (1, True)


@pytest.mark.parametrize("column", ["body", "source"])
def test_an_order_that_cannot_be_decoded_is_not_sent(shell: Shell, column: str) -> None:
    """A row of a source or an order that is no JSON any more is named by what reads it, and is not claimed."""
    _, summary = shell.push("A", "B")
    change(book(shell), f"UPDATE bodies SET {column} = CAST('[' || substr({column}, 2) AS BLOB)")  # noqa: S608 - ours
    change(book(shell), f"UPDATE bodies SET {column} = CAST(']' || substr({column}, 2) AS BLOB)")  # noqa: S608 - ours
    change(book(shell), "UPDATE chunks SET states = 'pp'")
    change(book(shell), "DELETE FROM results")
    before = tasks(shell)
    out = ["--out", shell.folder / "out", "--quiet"]
    check = clean(shell.run("ledger", "check", *shell.ledger))
    flaw = f"line 2, key A: {'payload' if column == 'body' else 'source'} cannot be decoded"
    assert (check.exit_code, flaw in check.stdout) == (1, True), check.stdout
    if column == "body":
        done = clean(shell.call("resume", summary["run"], *out))
        assert shell.document(shell.on_ledger("status", summary["run"], "--json"))["states"] == {"pending": 2}
    else:
        done = clean(shell.on_ledger("results", summary["run"], "--out", shell.folder / "again"))
    assert done.exit_code in (2, 3)
    assert "table bodies, order 32, line 2" in done.stderr
    assert tasks(shell) == before


@pytest.mark.slow
def test_no_flip_of_a_bit_doubles(shell: Shell) -> None:
    """Bytes changed anywhere in the file: every command ends with a word, and the same push sends nothing again."""
    _, summary = shell.push(*"ABCDEFGH")
    good = book(shell).read_bytes()
    chance = random.Random(12)
    before = tasks(shell)
    refused = 0
    for _ in range(25):
        place = chance.randrange(len(good))
        flipped = bytearray(good)
        flipped[place] ^= 1 << chance.randrange(8)
        for beside in shell.folder.glob("ledger.db-*"):
            beside.unlink()
        book(shell).write_bytes(flipped)
        for words in (("runs",), ("status", summary["run"]), ("results", summary["run"], "--out", shell.folder / "x")):
            clean(shell.on_ledger(*map(str, words)))
        clean(shell.run("ledger", "check", *shell.ledger))
        pushed = clean(shell.call("push", shell.folder / "orders.csv", "--out", shell.folder / "out", "--quiet"))
        assert pushed.exit_code in (0, 2), (place, pushed.output)
        assert tasks(shell) == before, place
        refused += pushed.exit_code == 2
    assert refused


def test_a_backup_is_made_and_an_older_one_is_noticed(shell: Shell) -> None:
    """A copy is for its owner alone; put back, it is refused with both numbers until a person accepts it.

    What a refused push and `check` advise acts on the ledger that is meant, and on no other.
    """
    advice = f"`gotsurge ledger accept-older --ledger {book(shell)}`"
    shell.push("A")
    copy = shell.folder / "copy.db"
    done = clean(shell.run("ledger", "backup", copy, *shell.ledger))
    assert (done.exit_code, stat.S_IMODE(copy.stat().st_mode)) == (0, 0o600)
    assert shell.run("ledger", "backup", copy, *shell.ledger).exit_code == 2
    assert json.loads(shell.run("ledger", "backup", copy, *shell.ledger, "--force", "--json").stdout)["orders"] == 1
    shell.push("B")
    summaries = [json.loads(file.read_text()) for file in (shell.folder / "out").glob("*-summary.json")]
    assert sorted(summary["ledger_counter"] for summary in summaries) == [2, 4]
    shutil.copy(copy, book(shell))
    before = tasks(shell)
    refused = clean(shell.call("push", shell.folder / "orders.csv", "--out", shell.folder / "out", "--quiet"))
    assert (refused.exit_code, tasks(shell)) == (2, before)
    assert "its counter is 2, " in refused.stderr
    assert advice in refused.stderr
    assert shell.on_ledger("runs").exit_code == 0
    check = shell.run("ledger", "check", *shell.ledger)
    assert (check.exit_code, "is an older copy" in check.stdout, advice in check.stdout) == (1, True, True)
    assert "verdict\tolder than it was" in check.stdout
    assert "damaged" not in check.output
    assert shell.run("ledger", "accept-older", *shell.ledger, stdin="n\n").exit_code != 0
    out = ["--out", shell.folder / "out"]
    document = json.loads(clean(shell.run("ledger", "accept-older", *shell.ledger, *out, "--yes", "--json")).stdout)
    (lost,) = document.pop("runs")
    assert document == {"in_doubt": 0, "counter": 5, "unreadable": {}, "exit": 0}
    assert (shell.folder / "out" / f"{lost}-created.csv").exists()
    assert clean(shell.call("push", shell.folder / "orders.csv", *out)).exit_code == 0
    assert tasks(shell) == before
    change(book(shell), "UPDATE chunks SET updated_at = -1 WHERE id = 1")
    damaged = clean(shell.run("ledger", "check", *shell.ledger))
    assert ("verdict\tdamaged: 1 flaw\n" in damaged.stdout, advice in damaged.stderr) == (True, True)


def test_room_is_given_back(shell: Shell) -> None:
    """`ledger vacuum` says how much the ledger took and takes; a damaged one it leaves alone."""
    shell.push("A", "B")
    done = clean(shell.run("ledger", "vacuum", *shell.ledger))
    assert (done.exit_code, "MB before" in done.stdout) == (0, True)
    document = json.loads(shell.run("ledger", "vacuum", *shell.ledger, "--json").stdout)
    assert document["bytes_before"] >= document["bytes"] == book(shell).stat().st_size
    change(book(shell), "DELETE FROM bodies")
    done = clean(shell.run("ledger", "vacuum", *shell.ledger))
    assert (done.exit_code, "Do not start another ledger" in done.stderr) == (2, True)


def test_a_whole_folder_that_was_put_back_is_noticed_by_the_summaries(shell: Shell, register: Path) -> None:
    """Where the counter beside the ledger is older and no register is left, the summaries tell; also for resume."""
    _, first = shell.push("A")
    for name in ("ledger.db", "ledger.db.counter"):
        shutil.copy(shell.folder / name, shell.folder / f"{name}.old")
    shell.push("B")
    register.unlink()
    shutil.rmtree(register.with_name(f"{register.name}.counts"))
    for name in ("ledger.db", "ledger.db.counter"):
        shutil.copy(shell.folder / f"{name}.old", shell.folder / name)
    (shell.folder / "out" / "0-summary.json").write_text("{]")
    out = ["--out", shell.folder / "out", "--quiet"]
    for done in (shell.call("push", shell.folder / "orders.csv", *out), shell.call("resume", first["run"], *out)):
        assert (clean(done).exit_code, "-summary.json records 4" in done.stderr) == (2, True)
    accepted = shell.run("ledger", "accept-older", *shell.ledger, "--yes", "--out", shell.folder / "out", "--json")
    assert json.loads(clean(accepted).stdout)["counter"] == 5
    assert clean(shell.call("push", shell.folder / "orders.csv", *out)).exit_code == 0


def test_a_ledger_that_is_gone_is_not_begun_anew(shell: Shell) -> None:
    """Where a ledger was, a push is refused until a person says that it is really lost."""
    shell.push("A")
    book(shell).unlink()
    before = tasks(shell)
    out = ["--out", shell.folder / "out", "--quiet"]
    refused = clean(shell.call("push", shell.folder / "orders.csv", *out))
    assert (refused.exit_code, "is gone" in refused.stderr, tasks(shell)) == (2, True, before)
    assert not book(shell).exists()
    done = clean(shell.run("ledger", "accept-older", *shell.ledger, "--yes"))
    assert (done.exit_code, "0 orders of it are in doubt now" in done.stdout) == (0, True)
    assert f"`gotsurge runs --ledger {book(shell)}`" in done.stdout
    out.append("--new-ledger")
    file = write_orders(shell.folder / "orders.csv", ["Z"])
    assert clean(shell.call("push", file, *out)).exit_code == 3
    assert clean(shell.call("push", file, *out, "--not-sent-before")).exit_code == 0


def test_a_ledger_that_is_not_ours_to_write_can_be_looked_at(shell: Shell) -> None:
    """Where neither file nor folder may be written, all that only looks works, and what writes says why it does not."""
    _, summary = shell.push("A", "B")
    with locked_away(shell.folder / "ledger.db") as path:
        ledger = ["--ledger", path]
        out = shell.folder / "out"
        # Once for the modules that a command loads when it needs them, and that nobody else may read.
        for words in (("runs",), ("status", summary["run"]), ("undo", "none"), ("ledger", "check")):
            clean(shell.run(*words, *shell.ledger, *(shell.place if words[0] == "undo" else [])))
        with powerless():
            runs = clean(shell.run("runs", *ledger))
            status = clean(shell.run("status", summary["run"], *ledger, "--json"))
            check = clean(shell.run("ledger", "check", *ledger))
            undo = clean(shell.run("undo", summary["run"], *ledger, *shell.place))
            backup = clean(shell.run("ledger", "backup", path.parent / "copy.db", *ledger))
        results = clean(shell.run("results", summary["run"], *ledger, "--out", out))
        assert [runs.exit_code, status.exit_code, check.exit_code, results.exit_code] == [0, 0, 0, 0]
        assert (json.loads(status.stdout)["created"], json.loads(status.stdout)["held"]) == (2, False)
        assert (undo.exit_code, "cannot be written to" in undo.stderr) == (2, True)
        assert "can still read it" in undo.stderr
        assert (backup.exit_code, "check the path and its permissions" in backup.stderr) == (2, True)


def test_a_ledger_with_a_broken_beginning_is_a_document_too(shell: Shell) -> None:
    """Where tables cannot be read, `check --json` lists them as flaws, and ends with 1."""
    shell.push("A")
    for statement in ("DROP TABLE decisions", "ALTER TABLE chunks RENAME COLUMN states TO statuses"):
        change(book(shell), statement)
        done = clean(shell.run("ledger", "check", *shell.ledger, "--json"))
        document = json.loads(done.stdout)
        assert (done.exit_code, document["exit"], bool(document["flaws"])) == (1, 1, True)


def test_nobody_is_asked_about_a_ledger_that_is_not_older(shell: Shell) -> None:
    """`accept-older` says that it is not older, or never was there, with exit 2, before it asks anything."""
    shell.push("A")
    for path, said in ((book(shell), "is not an older copy"), (shell.folder / "none.db", "there is no record")):
        done = clean(shell.run("ledger", "accept-older", "--ledger", path, stdin=""))
        assert (done.exit_code, said in done.stderr, "really" in done.stderr) == (2, True, False)


def test_a_ledger_that_is_gone_is_said_to_be(shell: Shell) -> None:
    """Where the file beside knows of a ledger, no command says that there is none."""
    shell.push("A")
    book(shell).unlink()
    for words in (("runs",), ("ledger", "check"), ("status", "RUN"), ("ledger", "backup", "copy.db")):
        done = clean(shell.run(*words, *shell.ledger))
        assert (done.exit_code, "is gone" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://db/gotsurge", "mysql is not supported: give the path of a file, or postgresql://USER@HOST/NAME"),
        ("sqlite://", "name a file"),
        ("postgresql://me:p@ss@db/gotsurge", "this URL cannot be read"),
        ("postgresql://db/gotsurge?no_such_setting=1", "this URL cannot be read"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    """By the option and by the variable, without its password, and it makes no folder with an odd name."""
    monkeypatch.chdir(shell.folder)
    write_orders(shell.folder / "orders.csv", ["A"])
    for words in (("push", "orders.csv", "--simulate"), ("runs",), ("resume", "RUN", "--env", "local")):
        for done, name in (
            (shell.run(*words, "--ledger", url), "--ledger"),
            (shell.run(*words, GOTSURGE_LEDGER=url), "GOTSURGE_LEDGER"),
        ):
            assert (done.exit_code, f"{name}: " in done.stderr, said in done.stderr) == (2, True, True), done.output
            assert "p@ss" not in done.output
    assert [path.name for path in shell.folder.iterdir()] == ["orders.csv"]


def test_a_url_may_name_a_file(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """``sqlite:///PATH`` is the ledger at that path."""
    monkeypatch.chdir(shell.folder)
    write_orders(shell.folder / "orders.csv", ["A"])
    pushed = clean(shell.run("push", "orders.csv", "--simulate", "--ledger", "sqlite:///here.db", "--quiet"))
    assert (pushed.exit_code, (shell.folder / "here.db").exists()) == (0, True), pushed.output
    (run,) = json.loads(shell.run("runs", "--ledger", shell.folder / "here.db", "--json").stdout)
    assert run["created"] == 1


def test_a_driver_that_is_not_there_is_named(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without psycopg the extra is named that brings it, before anything is read or sent."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    where = [*shell.place, "--ledger", "postgresql://me@db/books"]
    done = clean(shell.run("push", shell.folder / "none.csv", *where))
    assert (done.exit_code, 'pip install "gotsurge-async[postgresql]"' in done.stderr) == (2, True)


def test_a_backup_is_made_while_a_push_counts_on(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The register counts what was admitted after the copy was made: that is no fault of the copy."""
    shell.push("A")
    copy_to = databases.copy_to

    def copy_and_push(copy: Path, source: Any) -> None:
        copy_to(copy, source)
        shell.push("B")

    monkeypatch.setattr(databases, "copy_to", copy_and_push)
    done = clean(shell.run("ledger", "backup", shell.folder / "copy.db", *shell.ledger, "--json"))
    assert (done.exit_code, json.loads(done.stdout)["orders"]) == (0, 1), done.output
