"""`gotsurge_async.cli.fleet.workers`: a run that others send, live."""

import asyncio
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from gotsurge_async.cli.fleet.workers import show
from gotsurge_async.cli.shared.progress import LINE_EVERY, Progress
from gotsurge_async.ledger import Counts
from gotsurge_async.ledger.segments import Worker
from gotsurge_async.testing import START
from gotsurge_async.version import __version__
from tests.support.commands import Shell, finish, start
from tests.support.workers import Fleet


def worker(name: str, *, silent: float = 0.5, segments: int = 3, trouble: str | None = None) -> Worker:
    """One that sends."""
    return Worker(
        id=name,
        host="quay",
        pid=7,
        version=__version__,
        environment="local",
        started_at=START,
        beat_at=START,
        state="working",
        segments=segments,
        orders=500,
        orders_per_minute=6000,
        trouble=trouble,
        silent=silent,
    )


def counts(created: int, *, refused: int = 0, pending: int = 0) -> Counts:
    """How a run stands."""
    return Counts(created=created, refused=refused, pending=pending)


Look = tuple[float, Counts, list[Worker]]


def shown(terminal: bool, looks: list[Look]) -> str:
    """The output for some moments."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, highlight=False, markup=False, color_system=None)
    progress = Progress(console, "run R-1", transient=True)
    with progress.shown():
        for now, run, workers in looks:
            show(progress, run, workers, now=now)
    return out.getvalue()


def test_a_line_now_and_then_tells_of_run_and_workers() -> None:
    """Where there is no terminal: how far it is, how fast, how long it takes, and how many send."""
    two = [worker("quay-7-aa"), worker("quay-8-bb", silent=60.0)]
    looks: list[Look] = [
        (0.0, counts(0, pending=1000), two),
        (1.0, counts(50, pending=950), two),
        (LINE_EVERY, counts(190, refused=10, pending=800), []),
    ]
    assert shown(False, looks).splitlines() == [
        "0 of 1,000 orders; 1 worker, 1 silent, 6 segments in hand",
        "200 of 1,000 orders, 10 refused, 40.0 orders/s, 20 s left; 0 workers",
    ]


def test_the_speed_is_that_of_late() -> None:
    """What was sent before the watching began, or long ago, says nothing of how long the rest takes."""
    looks: list[Look] = [(float(second), counts(9000 + second, pending=1000 - second), []) for second in range(40)]
    assert shown(False, looks).splitlines()[-1].startswith("9,035 of 10,000 orders, 1.0 orders/s, 16 min left")


def test_a_terminal_shows_each_worker() -> None:
    """With its name, what it has in hand, when it was heard of, and what troubles it."""
    two = [worker("quay-7-aa"), worker("quay-8-bb", silent=60.0, trouble="HTTP 429")]
    text = shown(True, [(0.0, counts(1, pending=9), two)])
    for words in (
        "run R-1",
        "1 of 10 orders",
        "WORKER",
        "quay-7-aa",
        "working",
        "quay-8-bb",
        "silent",
        "60 s ago",
        "HTTP 429",
    ):
        assert words in text


def test_a_run_that_is_over_is_reported_at_once(shell: Shell) -> None:
    """With --watch as without, also of a ledger in a file."""
    _, summary = shell.push("A", "B")
    watched, plain = (shell.on_ledger("status", summary["run"], *words, "--json") for words in (("--watch",), ()))
    assert (watched.exit_code, watched.stderr) == (0, "")
    assert shell.document(watched) == shell.document(plain)
    assert shell.on_ledger("status", "no-such-run", "--watch").exit_code == 2


def test_workers_are_those_of_postgresql(shell: Shell) -> None:
    """A ledger in a file has none, and the message says what to give instead."""
    done = shell.on_ledger("workers")
    assert done.exit_code == 2
    assert "postgresql://USER@HOST/NAME" in done.stderr


# --- real ones -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_run_is_watched_to_its_end(fleet: Fleet, tmp_path: Path) -> None:
    """While two workers send it, lines tell how far it is; the end is that of every status. The workers are listed."""
    assert (await fleet.run("workers", "--json")).document == []
    run = await fleet.put_up(range(400), "--batch-size", "1", "--mode", "direct")
    async with fleet.workers(2, "--rate", "40"):
        watching = await start("status", run, "--watch", "--json", cwd=tmp_path, env=fleet.env)
        await fleet.until_created(100)
        listed = (await fleet.run("workers", "--json")).document
        table = await fleet.run("workers", "--env", "local")
        other = await fleet.run("workers", "--env", "production")
        async with asyncio.timeout(60):
            done = await finish(watching)
    assert done.code == 0, done.err
    assert json.loads(done.out)["created"] == 400
    lines = done.err.splitlines()
    assert len(lines) >= 2
    assert all(" of 400 orders" in line for line in lines)
    assert any("; 2 workers, " in line and " orders/s" in line for line in lines)
    assert [(each["state"], each["version"], each["environment"]) for each in listed] == [
        ("working", __version__, "local")
    ] * 2
    assert sum(each["segments"] for each in listed) >= 1
    assert all(each["silent_seconds"] < 10 for each in listed)
    assert [line.split("\t")[0] for line in table.out.splitlines()] == ["WORKER", *(each["worker"] for each in listed)]
    assert other.out.splitlines() == [table.out.splitlines()[0]]
    assert "nobody sends: gotsurge worker --env" in other.err
    assert (await fleet.run("workers", "--json")).document == []  # they have left
