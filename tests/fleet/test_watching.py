"""A push that only watches workers: what its signals do, what it says, and what it leaves."""

import asyncio
import json
import signal

import pytest

from gotsurge_async.bulk import Ledger, Mode, RunHeld
from tests.fleet.kit import Fleet
from tests.support.threads import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200), pytest.mark.parametrize("mode", [Mode.DIRECT])]

ORDERS = 3000


async def said(push: asyncio.subprocess.Process, word: str) -> str:
    """What the push says until a word comes."""
    assert push.stderr is not None
    text = ""
    async with asyncio.timeout(60):
        while word not in text:
            line = await push.stderr.readline()
            assert line, text
            text += line.decode()
    return text


async def test_it_says_that_nobody_works(fleet: Fleet) -> None:
    """Once, with the command that starts a worker, and without the password; then it goes on as soon as one comes.

    A worker of another account says once that it leaves the run.
    """
    fleet.url = fleet.url.replace("gotsurge@", "gotsurge:secret@")
    other = await fleet.worker("--account", "platform")
    push = await fleet.push(40)
    text = await said(push, f"--api-base {fleet.simulator.api_base} --account plain --ledger postgresql://gotsurge@")
    assert "gotsurge worker --env local" in text
    assert "40 orders wait for a worker" in text
    assert "secret" not in text
    await fleet.worker()
    done = await fleet.pushed(push)
    assert (done.code, done.document["created"]) == (0, 40), done
    run = done.document["run"]
    why = f"run {run} was made with the account plain, not with platform: leave out --account"
    assert other.said.count(f"a run is left to other workers: {why}\n") == other.said.count(run) == 1, other.said


async def test_ctrl_c_stops_the_workers(fleet: Fleet) -> None:
    """What is in flight they bring to its end; the rest is unprocessed, nothing in doubt, and the workers wait on."""
    fleet.slow(0.1)
    worker = await fleet.worker()
    push = await fleet.push(ORDERS)
    await fleet.created(100)
    push.send_signal(signal.SIGINT)
    done = await fleet.pushed(push)
    summary = done.document
    assert (done.code, "stopping the workers" in done.err) == (130, True), done
    assert summary["created"] + summary["unprocessed"] == ORDERS
    assert 0 < summary["created"] == len(fleet.shown) < ORDERS
    assert any("resume" in command and "--distributed" in command for command in summary["next"])
    assert worker.process.returncode is None
    fleet.simulator.clear_faults()
    again = await fleet.command("resume", str(summary["run"]), *fleet.place, "--distributed", "--json", "--out", "out")
    assert (again.code, json.loads(again.out)["created"]) == (0, ORDERS)
    assert set(fleet.shown.values()) == {1}


async def test_stopped_workers_that_die_are_not_waited_for(fleet: Fleet) -> None:
    """When their lease is over the push ends, though nobody is left who says so; a watch ends, too."""
    fleet.slow(0.5)
    worker = await fleet.worker("--lease", "3")
    push = await fleet.push(ORDERS)
    await fleet.created(40)
    worker.send(signal.SIGSTOP)
    push.send_signal(signal.SIGINT)
    await said(push, "stopping the workers")
    worker.send(signal.SIGKILL)
    ((run,),) = await fleet.rows("SELECT id FROM runs")
    watched = await fleet.command("status", run, "--ledger", fleet.url, "--watch", "--json")
    done = await fleet.pushed(push)
    summary = done.document
    assert done.code == 130, done
    assert summary["created"] + summary["in_doubt"] + summary["unprocessed"] == ORDERS
    assert summary["created"] + summary["in_doubt"] >= len(fleet.shown)
    for document in (summary, watched.document):  # the watch may end while the push still has the run
        resumes = any(f"resume {run}" in command for command in document["next"])
        assert resumes or document.get("held"), document


async def test_a_run_that_was_stopped_elsewhere_is_reported(fleet: Fleet) -> None:
    """The push says why it ended; while the workers drain, whoever wants the run is told that they do."""
    fleet.slow(3)
    worker = await fleet.worker()
    push = await fleet.push(ORDERS)

    async def sending() -> bool:
        return bool(fleet.simulator.audit()["calls"].get(fleet.creates))

    await eventually(sending)
    worker.send(signal.SIGSTOP)  # it has its segments for as long as its lease lasts
    ((run,),) = await fleet.rows("SELECT id FROM runs")
    assert (await fleet.command("stop", run, "--ledger", fleet.url)).code == 0
    held = await fleet.command("resume", run, *fleet.place)
    worker.send(signal.SIGCONT)
    assert (held.code, "repeat the command in a moment" in held.err) == (6, True), held
    done = await fleet.pushed(push)
    assert (done.code, done.document["error"]) == (5, "stopped: the workers were asked to stop"), done
    assert {each["reason"] for each in done.document["reasons"]} == {"the workers were asked to stop"}


async def test_a_run_that_another_process_goes_on_with_is_left_to_it(fleet: Fleet) -> None:
    """The push that watched it says nothing of orders that are on their way there: exit 6, and where to look."""
    fleet.slow(0.5)
    await fleet.worker()
    push = await fleet.push(ORDERS)
    await fleet.created(100)
    ((run,),) = await fleet.rows("SELECT id FROM runs")
    await fleet.command("stop", run, "--ledger", fleet.url)
    async with await Ledger.open(fleet.url) as ledger:
        while True:
            try:
                taken = await ledger.hold(run)
            except RunHeld:
                await asyncio.sleep(0.02)
            else:
                break
        async with taken:
            await taken.start()
            done = await fleet.pushed(push)
            await taken.finish()
    assert (done.code, f"gotsurge status {run} --ledger" in done.document["error"]) == (6, True), done


async def test_sigterm_leaves_the_workers_to_it(fleet: Fleet) -> None:
    """A machine that is shut down takes its push with it, not the run; the result files may be written later."""
    fleet.slow(0.1)
    await fleet.worker()
    push = await fleet.push(ORDERS)
    await fleet.created(100)
    push.send_signal(signal.SIGTERM)
    done = await fleet.pushed(push)
    assert (done.code, "goes on: gotsurge status" in done.err) == (143, True), done

    async def over() -> bool:
        return await fleet.rows("SELECT state FROM runs") == [("done",)]

    await eventually(over)
    ((run,),) = await fleet.rows("SELECT id FROM runs")
    files = await fleet.command("results", str(run), "--ledger", fleet.url, "--json", "--out", "out")
    assert json.loads(files.out)["created"] == ORDERS == len(fleet.shown)


async def test_a_second_ctrl_c_leaves_at_once(fleet: Fleet) -> None:
    """Who does not want to wait for the workers need not; they end what they began."""
    fleet.slow(3)
    await fleet.worker()
    push = await fleet.push(ORDERS)

    async def sending() -> bool:
        return bool(fleet.simulator.audit()["calls"].get(fleet.creates))

    await eventually(sending)
    push.send_signal(signal.SIGINT)
    await said(push, "stopping the workers")
    push.send_signal(signal.SIGINT)
    done = await fleet.pushed(push)
    assert (done.code, "stopped waiting: the workers will complete the calls" in done.err) == (130, True), done

    async def over() -> bool:
        return await fleet.rows("SELECT state FROM runs") == [("stopped",)]

    await eventually(over)
    assert await fleet.rows("SELECT count(*) FROM chunks WHERE states ~ '[si]'") == [(0,)]
