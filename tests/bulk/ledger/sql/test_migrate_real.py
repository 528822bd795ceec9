"""A ledger that real pushes of version 2 made is brought over: what is said of it, and what it is gone on with."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.simulator import Simulator
from tests.bulk.ledger.sql.old_ledgers import GOLDEN
from tests.support.commands import Desk, Runner
from tests.support.running import running_simulator


@pytest.fixture(scope="module")
def served() -> Iterator[Simulator]:
    """A simulator for all of this module."""
    with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def desk(tmp_path: Path, served: Simulator, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk with the ledger that was made by version 2, and a simulator that knows nothing of it."""
    served.reset()
    monkeypatch.setattr("random.Random.random", lambda _: 0.0)
    monkeypatch.setattr("gotsurge_async.bulk.send.two_phase.backoff", lambda *_: 0.0)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as old:
        text = (GOLDEN / "ledger.sql").read_text(encoding="utf-8")
        old.executescript(text.replace("/home/mei", str(tmp_path)).replace("http://simulator", base(served)))
        old.execute("PRAGMA journal_mode = WAL")
    return Desk(Runner(tmp_path), served, tmp_path)


def base(simulator: Simulator) -> str:
    """A simulator's address."""
    return simulator.api_base.partition("/api")[0]


SAID: dict[str, Any] = json.loads((GOLDEN / "said.json").read_text(encoding="utf-8"))


def plain(desk: Desk, said: Any) -> Any:
    """What was said, with the places of the golden one."""
    text = json.dumps(said, ensure_ascii=False)
    return json.loads(text.replace(str(desk.folder), "/home/mei").replace(base(desk.simulator), "http://simulator"))


def test_what_is_said_of_a_real_ledger_is_the_same(desk: Desk) -> None:
    """Runs, standing, summaries and result files are, word for word, those of the program that made it."""
    runs = desk.document(desk.on_ledger("runs", "--json"))
    assert [run["run"] for run in runs] == [run["run"] for run in SAID["said"]["runs"]]
    for run, then in zip(plain(desk, runs), SAID["said"]["runs"], strict=True):
        assert as_then(run, then) == as_then(then, then)
        known = SAID["said"][run["run"]]
        status = desk.document(desk.on_ledger("status", run["run"], "--json"))
        assert as_then(plain(desk, status), known["status"]) == as_then(known["status"], known["status"])
        out = desk.folder / "files" / run["run"]
        done = desk.on_ledger("results", run["run"], "--out", out, "--json")
        if run["state"] == "loading":  # of which nothing is known, and unprocessed was said
            assert done.exit_code == 2
            continue
        assert as_then(plain(desk, desk.document(done)), known["results"]) == as_then(
            known["results"], known["results"]
        )
        files = {each.name: each.read_text() for each in sorted(out.glob("*.csv"))}
        assert plain(desk, files) == known["files"]


def as_then(said: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """What was said, without fields that came later, and what to do next: that depends on which files there are."""
    return {name: value for name, value in said.items() if name in then and name != "next"}


VOLATILE = re.compile(r"20\d{6}T\d{6}-\w{4}|[0-9a-f]{8}-0000-4000-8000-[0-9a-f]{12}|20\d\d-\d\d-\d\dT[\d:.]+Z")
"""What differs from one push to the next: names of runs, ids of tasks, times."""


def lasting(desk: Desk, said: Any) -> Any:
    """What was said, without what differs from one push to the next."""
    return json.loads(VOLATILE.sub("*", json.dumps(plain(desk, said), ensure_ascii=False)))


@pytest.mark.parametrize("what", list(SAID["follow"]))
def test_a_real_ledger_is_gone_on_with_as_before(desk: Desk, what: str) -> None:
    """To resume each run, and to push all files again, ends as with the program that made it, task by task."""
    known = SAID["follow"][what]
    if what.startswith("resume"):
        run_id = SAID["said"]["runs"][int(what.split()[1])]["run"]
        done = desk.call("resume", run_id, "--out", desk.folder / "out", "--json", "--quiet")
    elif what == "push again":
        done, _ = desk.push(*"ABCDEFGHJKO")
    else:
        done, _ = Desk(desk.run, desk.simulator, desk.folder, "platform").push(*"ALMNPQRSTUVWX")
    audit = desk.simulator.audit()
    assert (done.exit_code, audit["by_tracking_id"], audit["doubled"]) == (known["exit"], known["tasks"], {})
    if known["exit"] != 2:
        document, then = (lasting(desk, each) for each in (desk.document(done), known["document"]))
        for name in ("seconds", "orders_per_second", "files", "ledger_counter"):
            then.pop(name, None)
        assert as_then(document, then) == as_then(then, then)
