"""``--out``: tried before anything is sent, and the report when it fails afterwards all the same."""

import errno
import os
from pathlib import Path

import pytest

from gotsurge_async.after.results import try_folder
from gotsurge_async.errors import ConfigError
from gotsurge_async.simulator import Fault, Simulator
from tests.support.commands import Shell, finish, local, start, write_orders


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    """Nothing stays behind of the try."""
    try_folder(tmp_path / "a" / "b", 1_000_000)
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("call", ["posix_fallocate", "fsync", "write"])
def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Room that is not there is reported, and the file of the try is removed."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(ConfigError, match="No space left"):
        try_folder(tmp_path, 1_000_000)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_reserve_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To reserve room is a courtesy, not a condition."""

    def unable(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unable)
    try_folder(tmp_path, 1_000_000)


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/results"])
def test_a_push_that_could_not_tell_sends_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """A file in the folder's place, or a folder that cannot be made: exit 2, nothing is sent, nothing is loaded."""
    monkeypatch.chdir(shell.folder)
    Path("file").touch()
    file = write_orders(shell.folder / "orders.csv", ["A"])
    done = shell.run("push", file, *shell.place, *shell.ledger, "--out", place, "--json")
    document = shell.document(done)
    assert (done.exit_code, "result files" in document["error"], document["run"]) == (2, True, None)
    assert "nothing was sent: name another folder with --out" in done.stderr
    assert shell.simulator.audit()["tasks"] == 0
    assert not (shell.folder / "ledger.db").exists()


@pytest.mark.parametrize("command", ["resume", "retry", "results"])
def test_what_goes_on_with_a_run_tries_it_too(shell: Shell, command: str) -> None:
    """Exit 2 with the run, and nothing is sent."""
    shell.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=422, times=1))
    _, summary = shell.push("A", "B", words=("--batch-size", "1", "--concurrency", "1", "--max-errors", "0"))
    assert (summary["refused"], summary["unprocessed"]) == (1, 1)
    call = shell.on_ledger if command == "results" else shell.call
    done = call(command, summary["run"], "--out", shell.folder / "orders.csv", "--json")
    document = shell.document(done)
    assert (done.exit_code, document["run"]) == (2, summary["run"])
    assert "orders.csv" in document["error"]
    assert shell.simulator.audit()["tasks"] == 0
    assert len(shell.document(shell.on_ledger("runs", "--json"))) == 1


@pytest.mark.parametrize(
    ("status", "words", "price", "code"),
    [
        (None, (), "48.50", 9),
        (422, (), "48.50", 1),
        (403, (), "48.50", 4),
        (None, ("--max-spend", "SGD 50", "--batch-size", "1"), "48.50", 5),
        (None, (), "77.00", 7),
    ],
)
def test_lost_result_files_hide_no_order_that_was_not_sent(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, status: int | None, words: tuple[str, ...], price: str, code: int
) -> None:
    """Exit 9 says that everything was sent; else the code is that of the orders, and the error has both."""
    shell.push("OLD")
    if status is not None:
        shell.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=status))

    async def full(*_: object, **__: object) -> None:
        raise ConfigError("cannot write the result files in the folder out (No space left on device)", "E109")

    monkeypatch.setattr("gotsurge_async.cli.shared.sending.write_results", full)
    file = write_orders(shell.folder / "orders.csv", ["OLD", "A", "B"])
    header, old, *rest = file.read_text().splitlines()
    file.write_text("\n".join([header, old.replace("48.50", price), *rest]))
    options = [*shell.place, *shell.ledger, "--out", shell.folder / "out", *words]
    done = shell.run("push", file, *options, "--json", "--quiet")
    document = shell.document(done)
    assert (done.exit_code, document["exit"]) == (code, code), done.output
    assert (document["created"] == 2) == (code in (7, 9))
    assert "cannot write the result files" in document["error"]
    assert "cannot write the result files" in done.stderr
    assert document["next"][0].startswith(f"gotsurge results {document['run']} ")


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True])
async def test_a_folder_that_fails_after_sending_is_reported(tmp_path: Path, lost: bool) -> None:
    """Exit 9 with the run and the command that writes the files; with an order in doubt it stays 3, and tells both."""
    write_orders(tmp_path / "orders.csv", range(3))
    async with Simulator() as simulator:
        simulator.order_fault(Fault(operation="tasks.create", when="before", kind="delay", seconds=0.5))
        if lost:
            simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset"))
        words = ["push", "orders.csv", *local(simulator), "--ledger", "ledger.db", "--out", "out", "--quiet", "--json"]
        process = await start(*words, cwd=tmp_path)
        await simulator.called("tasks.create")
        (tmp_path / "out").rmdir()
        (tmp_path / "out").touch()
        done = await finish(process)
        assert simulator.audit()["tasks"] == 3
    document = done.document
    assert (done.code, document["exit"]) == ((3, 3) if lost else (9, 9))
    assert (document["created"], document["in_doubt"]) == ((0, 3) if lost else (3, 0))
    assert "cannot write the result files in the folder out" in document["error"]
    assert "cannot write the result files in the folder out" in done.err
    assert document["files"] == {}
    ledger = tmp_path / "ledger.db"
    assert document["next"][0] == f"gotsurge results {document['run']} --env local --ledger {ledger} --out FOLDER"
    assert len(document["next"]) == (3 if lost else 1)
