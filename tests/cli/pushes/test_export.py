"""`gotsurge ledger export`: every order of the ledger, for other programs."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Shell, gotsurge


def exported(text: str) -> list[dict[str, Any]]:
    """The orders of an export."""
    return [json.loads(line) for line in text.splitlines()]


def test_every_order_is_written_as_an_object(shell: Shell) -> None:
    """The oldest run first, with what became of each; what is in doubt, refused or pushed before too."""
    _, first = shell.push("A", "B")
    lost = shell.push_lost("C")
    done, again = shell.push("A", "D")
    assert done.exit_code == 0
    done = shell.run("ledger", "export", "-", *shell.ledger)
    assert (done.exit_code, done.stderr) == (0, "5 orders of 3 runs\n")
    found = exported(done.stdout)
    assert [(each["run"], each["line"], each["key"], each["state"]) for each in found] == [
        (first["run"], 2, "A", "created"),
        (first["run"], 3, "B", "created"),
        (lost, 2, "C", "in_doubt"),
        (again["run"], 2, "A", "already_pushed"),
        (again["run"], 3, "D", "created"),
    ]
    assert found[0]["payload"]["tracking_id"] == "A"
    assert found[0]["task_id"] == found[3]["task_id"] is not None
    assert (found[2]["task_id"], found[2]["error"] is not None, found[0]["environment"]) == (None, True, "local")
    assert found[0]["claimed_at"] <= found[0]["updated_at"]
    assert found[0]["updated_at"].endswith("Z")


def test_a_file_is_whole_and_for_its_owner(shell: Shell, tmp_path: Path) -> None:
    """Mode 0600; one that is there stays unless --force, and nothing but a file is ever replaced."""
    shell.push("A")
    file = tmp_path / "orders.jsonl"
    assert shell.run("ledger", "export", file, *shell.ledger).exit_code == 0
    assert (stat.S_IMODE(file.stat().st_mode), len(exported(file.read_text()))) == (0o600, 1)
    shell.push("B")
    kept = shell.run("ledger", "export", file, *shell.ledger)
    assert (kept.exit_code, "--force" in kept.stderr, len(exported(file.read_text()))) == (2, True, 1)
    assert shell.run("ledger", "export", file, "--force", *shell.ledger).exit_code == 0
    assert len(exported(file.read_text())) == 2
    ledger = (shell.folder / "ledger.db").read_bytes()
    for path, said in ((tmp_path, "is not a file"), (shell.folder / "ledger.db", "is the ledger itself")):
        done = shell.run("ledger", "export", path, "--force", *shell.ledger)
        assert (done.exit_code, said in done.stderr) == (2, True), done.output
    assert (shell.folder / "ledger.db").read_bytes() == ledger
    assert shell.run("ledger", "export", tmp_path / "none" / "x", *shell.ledger).exit_code == 2


def test_a_damaged_order_leaves_no_half_file(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where an order cannot be read, it is named, and the file is not there."""
    shell.push("A")
    monkeypatch.setattr("gotsurge_async.ledger.upkeep.archive._object", json.loads)
    monkeypatch.setattr("gotsurge_async.ledger.sql.chunks.Chunk.orders", _damaged)
    done = shell.run("ledger", "export", tmp_path / "orders.jsonl", *shell.ledger)
    assert (done.exit_code, "line 2, key A" in done.stderr) == (2, True), done.output
    assert not list(tmp_path.glob("*orders.jsonl*"))


def _damaged(chunk: Any) -> Any:
    for place, meta in enumerate(chunk.metas):
        yield place, meta, b"{]", None


def test_output_that_is_lost_is_reported(shell: Shell) -> None:
    """A disk that is full is exit code 2: half of the orders are none."""
    shell.push("A")
    with Path("/dev/full").open("wb") as full:  # only opened: nothing here may put a file in its place
        words = ("ledger", "export", "-", *shell.ledger)
        done = asyncio.run(gotsurge(*words, cwd=shell.folder, stdout=full.fileno()))
    assert (done.code, "cannot write all of the output to standard output" in done.err) == (2, True), done.err
