"""What workers share: one rate, one pace, one token; by real processes and PostgreSQL, counted by a simulator."""

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import attrs
import pytest

from gotsurge_async import Credentials, Environment, GotSurge, codec
from gotsurge_async.auth.sealing import KEYS_VARIABLE, Sealer, new_key
from gotsurge_async.auth.sql import SqlStore
from gotsurge_async.cli.shared.credentials import account_name
from gotsurge_async.ledger import WAITING, Ledger
from gotsurge_async.ledger.submitted import SubmittedOrders
from gotsurge_async.simulator import Fault, Simulator
from tests.support.commands import local
from tests.support.order_forms import good_order
from tests.support.workers import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ACCOUNT = "plain"
PULSE = 0.01
HELD_UP = 0.05
"""Seconds that a process may be late on a machine that has nothing else to do."""


def times(simulator: Simulator) -> list[float]:
    """When each task was created, by the simulator's clock."""
    return sorted(task["history"][0][1] for task in simulator.tasks())


def most_in_a_second(moments: list[float], since: float) -> int:
    """The most that lie in any window of one second that begins later."""
    return max(bisect_left(moments, at + 1.0) - place for place, at in enumerate(moments) if at >= since)


@asynccontextmanager
async def lateness() -> AsyncIterator[list[float]]:
    """How many seconds later than it should this process went on, each time, inside the block."""
    late: list[float] = []

    async def watch() -> None:
        while True:
            due = time.monotonic() + PULSE
            await asyncio.sleep(PULSE)
            late.append(time.monotonic() - due)

    watching = asyncio.create_task(watch())
    try:
        yield late
    finally:
        watching.cancel()
        await asyncio.wait([watching])


# --- rate and pace ---------------------------------------------------------------------------------------------------


async def test_four_workers_keep_one_rate(fleet: Fleet) -> None:
    """With --rate 200 four workers begin 200 calls a second together, never more than 210 in any second."""
    run = await fleet.put_up(range(1600), "--batch-size", "1")
    async with lateness() as late, fleet.workers(4, "--rate", "200"):
        await fleet.until_over(run)
    moments = times(fleet.simulator)
    assert len(moments) == 1600
    most = most_in_a_second(moments, moments[0] + 1.0)
    mean = (len(moments) - 1) / (moments[-1] - moments[0])
    print(f"at --rate 200 with 4 workers: {mean:.1f}/s on average, {most} in the fullest second after the first")
    # A machine that is busy with other things may not fill each second, and what it held up comes with what is due.
    assert 170 <= most <= 210 + 200 * max(0.0, max(late) - HELD_UP)


async def test_the_rate_of_a_push_is_that_of_all_workers(fleet: Fleet) -> None:
    """What push --distributed says holds for all workers together, whatever more each of them may do."""
    run = await fleet.put_up(range(120), "--batch-size", "1", "--rate", "20")
    async with fleet.workers(2, "--rate", "1000"):
        await fleet.until_over(run)
    moments = times(fleet.simulator)
    assert len(moments) == 120
    assert most_in_a_second(moments, moments[0]) <= 22


async def test_when_to_ask_again_is_felt_by_all(fleet: Fleet) -> None:
    """One 429 with Retry-After to one worker has all of them wait so long."""
    run = await fleet.put_up(range(600), "--batch-size", "1")
    async with fleet.workers(3, "--rate", "100"):
        await fleet.until_created(150)
        fault = Fault(operation="tasks.create", kind="status", status=429, times=1, headers={"Retry-After": "4"})
        fleet.simulator.order_fault(fault)
        status = await fleet.until_over(run)
    moments = times(fleet.simulator)
    pauses = [(later - earlier, earlier) for earlier, later in pairwise(moments)]
    longest, began = max(pauses)
    assert (status["created"], len(moments)) == (600, 600)
    assert longest >= 3.0
    # Those that were on their way, or had their turn, when it was said.
    assert bisect_left(moments, began + 1e-9) - 150 <= 150


async def test_what_waits_for_its_turn_is_given_back_at_once(fleet: Fleet) -> None:
    """A worker that is stopped while its calls wait for minutes ends in seconds, and nothing of them is in doubt."""
    run = await fleet.put_up(range(100), "--batch-size", "1", "--mode", "direct")
    async with fleet.workers(1, "--rate", "0.02") as (worker,):
        await fleet.until_created(1)
        worker.terminate()
        async with asyncio.timeout(30):
            await worker.wait()
    status = (await fleet.run("status", run, "--json")).document
    assert (status["created"], status["unprocessed"], status["in_doubt"]) == (1, 99, 0)
    assert fleet.simulator.audit()["tasks"] == 1


# --- one token -------------------------------------------------------------------------------------------------------


async def signed_in(fleet: Fleet, **changes: datetime) -> Fleet:
    """A fleet whose tokens are in its PostgreSQL, as a person's sign-in has left them."""
    simulator, key = fleet.simulator, new_key()
    known = simulator.accounts[ACCOUNT]
    environment = Environment.named("local", api_base=simulator.api_base)
    credentials = Credentials(client_key=known.client_key, secret_key=known.secret_key)
    async with GotSurge(environment, credentials=credentials) as gs:
        tokens = await gs.oauth.exchange(simulator.new_code(ACCOUNT))
    store = SqlStore(fleet.url, Sealer([key]))
    await store.save(account_name(environment, None), attrs.evolve(tokens, **changes))
    await store.close()
    variables = {
        "GOTSURGE_TOKEN_STORE": fleet.url,
        KEYS_VARIABLE: key,
        "GOTSURGE_CLIENT_KEY": known.client_key,
        "GOTSURGE_SECRET_KEY": known.secret_key,
    }
    return attrs.evolve(fleet, variables=variables)


def refreshes(simulator: Simulator) -> int:
    """How many refreshes the simulator counted."""
    counted: int = simulator.audit()["calls"].get("auth.refresh", 0)
    return counted


def all_once(simulator: Simulator, number: int) -> bool:
    """Whether drivers were shown so many orders, each once."""
    audit = simulator.audit()
    return bool(audit["tasks"] == number and not audit["doubled"])


async def test_the_end_of_the_token_costs_one_refresh(fleet: Fleet) -> None:
    """Three workers that push while their token comes to its end renew it once, before it has ended."""
    run = await fleet.put_up(range(1500), "--batch-size", "1", "--mode", "direct")
    now = datetime.now(UTC)
    # The last fifth of its life begins within ten seconds; that is more than a minute before its end.
    fleet = await signed_in(fleet, issued_at=now - timedelta(seconds=310), expires_at=now + timedelta(seconds=90))
    async with fleet.workers(3, "--rate", "100"):
        status = await fleet.until_over(run)
    assert (status["state"], all_once(fleet.simulator, 1500)) == ("done", True)
    assert refreshes(fleet.simulator) == 1


@pytest.mark.parametrize("how", ["it ended", "it is refused"])
async def test_a_storm_of_401s_costs_one_refresh(fleet: Fleet, how: str) -> None:
    """When the service takes their token no more, three workers in the middle of a push get one new one, and go on."""
    simulator = fleet.simulator
    run = await fleet.put_up(range(750), "--batch-size", "1", "--mode", "direct")
    fleet = await signed_in(fleet)
    # So that many calls are in flight at once, and many meet a 401.
    simulator.order_fault(Fault(operation="tasks.create", kind="delay", seconds=0.2))
    async with fleet.workers(3, "--rate", "100"):
        await fleet.until_created(300)
        assert refreshes(simulator) == 0
        if how == "it ended":
            simulator.advance(timedelta(days=31).total_seconds())
        else:
            simulator._service.sign_in._bearers.clear()
        status = await fleet.until_over(run)
    assert (status["state"], all_once(simulator, 750)) == ("done", True)
    assert refreshes(simulator) == 1
    assert simulator.audit()["calls"]["tasks.create"] - 750 >= 3  # each worker met one


# --- one account -----------------------------------------------------------------------------------------------------


async def test_a_worker_for_one_account_leaves_the_runs_of_others(fleet: Fleet) -> None:
    """Also those of the usual account, which has no name: a worker without --account sends them, as that account."""
    run = await fleet.put_up(range(100), "--batch-size", "1", "--mode", "direct")
    async with fleet.workers(1, "--account", "platform"):
        await asyncio.sleep(3)
        assert fleet.simulator.tasks() == []
        async with fleet.workers(1):
            status = await fleet.until_over(run)
    assert (status["created"], all_once(fleet.simulator, 100)) == (100, True)
    done = await fleet.run("undo", run, "--yes", "--json", *local(fleet.simulator))
    assert (done.code, len(done.document["cancelled"])) == (0, 100)


# --- what services submit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["plain", "platform"])
async def test_workers_send_what_services_submit(fleet: Fleet, account: str) -> None:
    """Two workers of one account send each submitted order once, in both modes."""
    words = ("--submitted", "--account", account)
    fleet.simulator.order_fault(Fault(operation="*", kind="delay", seconds=0.2))
    async with await Ledger.open(fleet.url) as ledger:
        submitted = ledger.submitted("local")
        for number in range(300):
            payload, _ = codec.encode_order(good_order(tracking_id=f"S-{number}"))
            await submitted.add(account, f"S-{number}", payload)
        async with fleet.workers(2, "--rate", "20", *words), asyncio.timeout(240):
            states: Counter[str] = Counter()
            while states["created"] < 300:
                await asyncio.sleep(0.5)  # what is read is in another process
                states = Counter([await state(submitted, f"S-{number}") for number in range(300)])
    audit = fleet.simulator.audit()
    assert (audit["tasks"], bool(audit["doubled"])) == (300, False)


async def state(submitted: SubmittedOrders, key: str) -> str:
    """The state of an order under a key, "waits" while nobody has taken it."""
    waiting, recorded = await submitted.standing(key)
    if recorded is None:
        return "waits"
    return "waits" if waiting is not None and recorded.row.state in WAITING else str(recorded.row.state)
