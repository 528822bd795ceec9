"""Standard output and standard error that break: the exit code stays the truth, and nothing stops."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import click
import pytest

from gotsurge_async.bulk import Ledger, Mode
from gotsurge_async.cli.app import READING, gotsurge
from gotsurge_async.cli.streams import LossyStream
from gotsurge_async.simulator import Fault, Simulator
from tests.support import commands
from tests.support.commands import environment, local, write_orders

FULL = Path("/dev/full")
HOWS = ["closed", *(["full"] if FULL.exists() else [])]


@contextmanager
def broken(how: str) -> Iterator[int]:
    """A file descriptor that takes nothing."""
    if how == "full":
        descriptor = os.open(FULL, os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def push(
    simulator: Simulator, folder: Path, stream: str, how: str, words: Sequence[str]
) -> tuple[int, bytes, bytes]:
    """Push the orders of the folder with one stream broken; the code, and what was said on both streams."""
    with broken(how) as descriptor:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gotsurge_async", "push", "orders.csv", *local(simulator), *words),
            cwd=folder,
            env=environment(),
            stdout=descriptor if stream == "stdout" else asyncio.subprocess.PIPE,
            stderr=descriptor if stream == "stderr" else asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out or b"", err or b""


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True], ids=["created", "in doubt"])
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_broken_stream_does_not_change_what_a_push_ends_with(
    tmp_path: Path, stream: str, how: str, lost: bool
) -> None:
    """Exit 0 where all is created and 3 where it is in doubt, no traceback, and every order sent once."""
    write_orders(tmp_path / "orders.csv", range(3))
    async with Simulator() as simulator:
        if lost:
            simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset"))
        code, out, err = await push(simulator, tmp_path, stream, how, ["--json"] if how == "full" else [])
        assert simulator.audit()["tasks"] == 3
    assert code == (3 if lost else 0), err
    assert b"Traceback" not in out + err
    assert err.count(b"the output was not written") == ((stream, how) == ("stdout", "full"))  # who left wants no more
    assert list((tmp_path / "gotsurge-results").glob("*-summary.json"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    ["columns", "explain --json", "runs", "runs --json", "ledger export -", "topics exit-codes"],
)
async def test_what_only_prints_ends_quietly_when_its_reader_leaves(tmp_path: Path, words: str) -> None:
    """With the exit code of SIGPIPE, as other commands in a pipe; nothing is reported."""
    write_orders(tmp_path / "orders.csv", range(3))
    ledger = () if words.split()[0] in ("columns", "explain", "topics") else ("--ledger", "ledger.db")
    async with Simulator() as simulator:
        code, *_ = await push(simulator, tmp_path, "stderr", "full", ["--ledger", "ledger.db"])
        assert code == 0
    with broken("closed") as descriptor:
        done = await commands.gotsurge(*words.split(), *ledger, cwd=tmp_path, stdout=descriptor)
    assert (done.code, done.err) == (141, "")


@pytest.mark.parametrize(("words", "code"), [("explain", 2), ("schema", 2), ("topics none", 2), ("--version", 0)])
def test_what_only_prints_fails_where_its_output_is_lost(tmp_path: Path, words: str, code: int) -> None:
    """A text of which a part is missing is no success; a command that does more ends as it would."""
    how = HOWS[-1]
    with broken(how) as descriptor:
        done = subprocess.run(
            [sys.executable, "-m", "gotsurge_async", *words.split()],
            cwd=tmp_path,
            env=environment(),
            stdout=descriptor,
            stderr=subprocess.PIPE,
            check=False,
        )
    left = how == "closed" and code == 2 and "none" not in words
    assert (done.returncode, b"Traceback" in done.stderr) == (141 if left else code, False)


async def test_what_only_reads_the_ledger_fails_where_its_output_is_lost(tmp_path: Path) -> None:
    """A run that nobody was told of, and a check that nobody reads, are no success; a reader may leave."""
    async with await Ledger.open(tmp_path / "ledger.db") as ledger, Simulator() as simulator:
        run = await ledger.begin(environment="local", mode=Mode.DIRECT, source="orders.csv")
        async with run:
            await run.admit()
        for words in (f"status {run.id}", "ledger check", "audit", "audit --repair --yes"):
            reach = local(simulator) if words.startswith("audit") else ()
            more = (*words.split(), *reach, "--ledger", "ledger.db")
            for how in HOWS:
                with broken(how) as descriptor:
                    done = await commands.gotsurge(*more, cwd=tmp_path, stdout=descriptor)
                fails = how == "full" and "--repair" not in words
                assert (done.code, "Traceback" in done.err) == (2 if fails else 0, False), (words, how, done.err)


@pytest.mark.slow
async def test_an_error_is_reported_also_where_nobody_reads_its_document(tmp_path: Path) -> None:
    """The exit code is that of the error, and it stands on standard error."""
    with broken("closed") as descriptor:
        done = await commands.gotsurge("runs", "--json", "--ledger", "none.db", cwd=tmp_path, stdout=descriptor)
    assert (done.code, "none.db" in done.err, "Traceback" in done.err) == (2, True, False)


def test_a_reader_that_is_too_slow_loses_output() -> None:
    """A pipe that does not block and is full takes nothing: a command that only prints has failed then, too."""
    raw = Mock(spec=io.RawIOBase, write=Mock(return_value=None))
    stream = LossyStream(raw, lambda: True, lambda: True)
    assert stream.write(b"text") == 4
    assert (stream.trouble is None, stream.left, stream.was_all) == (False, False, True)


def test_what_only_reads_is_a_command() -> None:
    """Each name leads to one, which is no group."""
    for name in READING:
        command: click.Command = gotsurge
        for word in name.split():
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), word) or gotsurge
        assert not isinstance(command, click.Group), name


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
async def test_a_sign_that_the_terminal_does_not_have_is_no_error(tmp_path: Path, encoding: str) -> None:
    """A name that standard output cannot show is shown by its number."""
    write_orders(tmp_path / "orders-\u4e2d.csv", range(1))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gotsurge_async", "plan", "orders-\u4e2d.csv"),
        cwd=tmp_path,
        env=environment(PYTHONIOENCODING=encoding, PYTHONUTF8="0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, b"Traceback" in err) == (0, False), err
    assert b"orders\t1" in out.replace(b"\r", b"")


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
async def test_what_is_said_is_read_at_once(tmp_path: Path, unbuffered: str) -> None:
    """A line on standard error does not wait for the next one, with a buffer and without."""
    write_orders(tmp_path / "orders.csv", range(3))
    async with Simulator() as simulator:
        simulator.order_fault(Fault(operation="tasks.create", when="before", kind="delay", seconds=30))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gotsurge_async", "push", "orders.csv", *local(simulator)),
            cwd=tmp_path,
            env=environment(PYTHONUNBUFFERED=unbuffered),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        assert b"3 orders to send" in await asyncio.wait_for(process.stderr.readline(), 60)
        process.kill()
        await process.communicate()
