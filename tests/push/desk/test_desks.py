"""The orders of a client that has a ledger: one object for a service."""

import asyncio
import gc
import sqlite3
import threading
import warnings
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import ConfigError, Created, GotSurge, InDoubt, Money, Order, Unprocessed, UsageError
from gotsurge_async.bulk import Changed, DeskStream, Ledger, LedgerError, OrderState
from gotsurge_async.database import place_of
from gotsurge_async.errors import ClientClosed, WrongLoop
from gotsurge_async.ledger import LedgerClosed, RunState
from gotsurge_async.ledger.sql import marks
from gotsurge_async.push.desk.desks import Desks
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import NothingSent
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.clients import make, others
from tests.support.desks import Gate, Service, client, fail_once, once_so
from tests.support.orders import order, orders
from tests.support.threads import Threads, until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The ledger."""
    return tmp_path / "orders.db"


async def test_an_order_is_remembered_by_the_next_client(file: Path) -> None:
    """Created once, and replayed by a client of the same ledger; when a client is closed, all of it is."""
    service = Service()
    for replayed in (False, True):
        async with client(service, ledger=str(file)) as gs:
            outcome = await gs.orders.create(order("T-1"))
            assert isinstance(outcome, Created)
            assert outcome.replayed == replayed
        assert not others()
        assert not [thread for thread in threading.enumerate() if "ledger" in thread.name]
        with pytest.raises(ClientClosed):
            _ = gs.orders
    assert service.sent == ["T-1"]


async def test_what_was_submitted_is_sent_when_a_client_is_opened(file: Path) -> None:
    """Nobody has to ask for it: a service that is started again finishes what it has promised."""
    offline = Service(lambda _: (_ for _ in ()).throw(NothingSent("no connection")))
    async with client(offline, ledger=file, clock=(clock := ManualClock())) as gs:
        await gs.orders.submit(order("T-1"))
    service = Service()
    async with client(service, ledger=file, clock=clock):
        await once_so(clock, lambda: service.sent)
    assert service.sent == ["T-1"]


async def test_orders_belong_to_the_loop_of_their_client(file: Path) -> None:
    """Another event loop is refused before anything is recorded or closed; a thread hands its orders to the loop."""
    service = Service()
    async with client(service, ledger=file) as gs:
        await gs.orders.create(order("T-1"))
        acts: list[Any] = [
            lambda: gs.orders.create(order("T-2")),
            lambda: gs.orders.submit(order("T-2")),
            lambda: gs.orders.outcome("T-1"),
            lambda: gs.orders.close(),
            lambda: gs.close(),
        ]
        for act in acts:
            with pytest.raises(WrongLoop, match="one client belongs to one loop"):
                await asyncio.to_thread(lambda act=act: asyncio.run(act()))
        assert service.sent == ["T-1"]
        loop = asyncio.get_running_loop()
        threaded = await asyncio.to_thread(
            lambda: asyncio.run_coroutine_threadsafe(gs.orders.create(order("T-2")), loop)
        )
        assert isinstance(await asyncio.wrap_future(threaded), Created)


async def test_without_a_ledger_there_are_no_orders() -> None:
    """The error says what to write."""
    async with client(Service()) as gs:
        with pytest.raises(UsageError, match=r"""GotSurge\(\.\.\., ledger="orders\.db"\)""") as caught:
            _ = gs.orders
        assert caught.value.explain_code == "E912"


async def test_orders_are_refused_before_the_client_is_open(file: Path) -> None:
    """Neither the client nor another kind of its calls has them."""
    gs = make(MemoryTransport(Service()), ledger=file)
    for use in (lambda: gs.orders, lambda: gs.with_options(timeout=5).orders, lambda: gs.push([order()])):
        with pytest.raises(ClientClosed):
            use()
    await gs.close()
    assert not file.exists()


@pytest.mark.parametrize("ledger", [5, b"orders.db", object(), "mysql://localhost/orders", ""])
def test_what_is_no_ledger_is_refused_when_the_client_is_made(ledger: Any) -> None:
    """As any other setting that cannot be right."""
    with pytest.raises(ConfigError):
        make(ledger=ledger)


@pytest.mark.parametrize("what", ["a folder", "another file", "locked"])
async def test_a_ledger_that_cannot_be_used_leaves_nothing_open(
    file: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A service does not start without it; the transport is closed."""
    monkeypatch.setattr("gotsurge_async.ledger.sql.databases.BUSY_SECONDS", 0.05)
    with ExitStack() as held:
        if what == "a folder":
            file.mkdir()
        elif what == "another file":
            file.write_text("no ledger")
        else:
            other = held.enter_context(closing(sqlite3.connect(file, isolation_level=None)))
            other.execute("BEGIN EXCLUSIVE")
        transport = MemoryTransport(Service())
        gs = make(transport, ledger=file)
        with pytest.raises(LedgerError):
            await gs.open()
    assert transport.closed
    assert not others()
    await gs.close()
    with pytest.raises(ClientClosed):
        _ = gs.orders


async def test_a_ledger_of_its_owner_s_stays_open(file: Path) -> None:
    """Whoever opened it closes it."""
    async with await Ledger.open(file) as ledger:
        async with client(Service(), ledger=ledger) as gs:
            await gs.orders.create(order())
            assert gs.orders.ledger is ledger
        assert len(await ledger.runs()) == 1


async def test_a_client_that_is_closed_while_it_opens_its_ledger_closes_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening ends with an error, and nothing is left, also of a ledger that was opened after the closing."""
    opened: list[Ledger] = []
    arrived, go_on, whole = asyncio.Event(), asyncio.Event(), Ledger.open

    async def slow(*arguments: Any, **options: Any) -> Ledger:
        arrived.set()
        await go_on.wait()
        opened.append(await whole(*arguments, **options))
        return opened[0]

    monkeypatch.setattr(Ledger, "open", slow)
    transport = MemoryTransport(Service())
    gs = make(transport, ledger=file)
    opening = asyncio.create_task(gs.open())
    await arrived.wait()
    await gs.close()
    go_on.set()
    with pytest.raises(ClientClosed):
        await opening
    with pytest.raises(LedgerClosed):
        await opened[0].runs()
    assert transport.closed
    assert not others()


# --- closing ----------------------------------------------------------------------------------------------------------


async def test_orders_under_way_are_waited_for(file: Path) -> None:
    """What was asked for before the closing has its outcome; a second closing waits for the same."""
    service = Gate()
    gs = await make(MemoryTransport(service), ledger=file, limits=1).open()
    asking = [asyncio.create_task(gs.orders.create(each)) for each in orders(25)]
    await service.came.wait()
    ending = [asyncio.create_task(gs.close()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ClientClosed):
        _ = gs.orders
    service.open.set()
    await asyncio.gather(*ending)
    assert Counter(type(each) for each in await asyncio.gather(*asking)) == {Created: 25}
    assert not others()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_orders_are_cut_when_the_time_of_closing_is_over(file: Path, cancelled: bool) -> None:
    """One in a call is in doubt, one that was not begun unprocessed; also if whoever closes it is cancelled."""
    service, clock = Gate(), ManualClock()
    transport = MemoryTransport(service)
    gs = await make(transport, ledger=file, clock=clock).open()
    first = asyncio.create_task(gs.orders.create(order("T-1")))
    await service.came.wait()
    second = asyncio.create_task(gs.orders.create(order("T-2")))
    ending = asyncio.create_task(gs.close(timeout=3))
    await clock.settle()
    if cancelled:
        ending.cancel()
        await asyncio.wait([ending])
        ending = asyncio.create_task(gs.close())
    await clock.advance(3)
    await ending
    assert (type(await first), type(await second)) == (InDoubt, Unprocessed)
    assert transport.closed
    assert not others()
    async with await Ledger.look(file) as ledger:
        (info,) = await ledger.runs()
        assert info.state is RunState.DONE
        assert [row.state async for row in ledger.rows(info.id)] == [OrderState.IN_DOUBT]


async def test_a_call_that_hangs_has_no_more_time_than_the_orders(file: Path) -> None:
    """The time of closing is one for all: when it is over, calls that are not of orders are cut, too."""
    service, clock, threads = Gate(), ManualClock(), Threads()
    gs = await make(MemoryTransport(service), ledger=file, clock=clock).open()
    asking = asyncio.create_task(gs.tasks.create([order("T-1")]))
    await service.came.wait()
    await threads.pass_time(clock, gs.close(timeout=3), step=1)
    assert 3 <= clock.monotonic() <= 5
    assert "the client was closed" in str((await asyncio.gather(asking, return_exceptions=True))[0])


async def test_a_locked_ledger_delays_no_closing(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another process has locked it: the transport is closed in time, and what waits is written when it is free."""
    clock, transport = ManualClock(), MemoryTransport(Service())
    gs = await make(transport, ledger=file, clock=clock).open()
    await gs.orders.create(order("T-1"))
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ending = asyncio.create_task(gs.close(timeout=3))
        await clock.advance(7)
        assert ending.done()
        assert transport.closed
        assert "could not be written in time" in caplog.text
        assert others()
    await asyncio.wait(others())
    async with await Ledger.look(file) as ledger:
        assert [info.state for info in await ledger.runs()] == [RunState.DONE]


async def test_an_answer_that_a_hanging_ledger_does_not_take_is_in_doubt(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller waits for it no longer than the closing; when the ledger goes on, it has the answer, and is closed."""
    loop, came, go_on, whole = asyncio.get_running_loop(), asyncio.Event(), threading.Event(), marks.record

    def hang(*words: Any) -> Any:
        loop.call_soon_threadsafe(came.set)
        go_on.wait(60)
        return whole(*words)

    clock, transport = ManualClock(), MemoryTransport(Service())
    gs = await make(transport, ledger=file, clock=clock).open()
    monkeypatch.setattr(marks, "record", hang)
    asking = asyncio.create_task(gs.orders.create(order("T-1")))
    await came.wait()
    ending = asyncio.create_task(gs.close(timeout=3))
    try:
        await clock.advance(7)
        assert ending.done()
        assert transport.closed
        assert isinstance(await asking, InDoubt)
    finally:
        go_on.set()
        await asyncio.wait(others())
    async with await Ledger.look(file) as ledger:
        (info,) = await ledger.runs()
        assert info.state is RunState.DONE
        assert [row.state async for row in ledger.rows(info.id)] == [OrderState.CREATED]


def test_a_loop_that_ends_before_the_ledger_goes_on_has_no_task_left(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The program ends after a closing that the ledger held up: no task is begun then that nothing awaits."""
    go_on = threading.Event()

    async def main() -> None:
        gs = await make(MemoryTransport(service := Gate()), ledger=file, clock=(clock := ManualClock())).open()
        asking = asyncio.create_task(gs.orders.create(order("T-1")))
        await service.came.wait()
        monkeypatch.setattr(marks, "record", lambda *_: go_on.wait(60))
        service.open.set()
        ending = asyncio.create_task(gs.close(timeout=1))
        await clock.advance(7)
        await asyncio.gather(ending, asking)

    def is_gone() -> bool:
        gc.collect()
        return not [thread for thread in threading.enumerate() if "ledger" in thread.name]

    asyncio.run(main())
    gc.collect()
    go_on.set()
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # of connections that nobody could close
        asyncio.run(until(is_gone))
    assert "could not be written in time" in caplog.text
    assert "destroyed" not in caplog.text


# --- accounts ---------------------------------------------------------------------------------------------------------


async def two_accounts(gs: GotSurge) -> GotSurge:
    """Another account of a client, signed in."""
    other = gs.as_account("acme")
    await other.tokens.adopt(await gs.tokens.current() or pytest.fail("there are no tokens"))
    return other


async def test_accounts_share_the_ledger_and_its_keys(file: Path) -> None:
    """Each has a desk of its own, whatever the options of its calls; a key belongs to one order of all."""
    service = Service()
    async with client(service, ledger=file) as gs:
        acme = await two_accounts(gs)
        assert acme.orders is acme.with_options(timeout=5).orders is gs.with_options(account="acme").orders
        assert acme.orders is not gs.orders
        assert isinstance(await gs.orders.create(order("T-1")), Created)
        assert isinstance(await acme.orders.create(order("T-2")), Created)
        again = await acme.orders.create(order("T-1"))
        assert isinstance(again, Created)
        assert again.replayed
        runs = await gs.orders.ledger.runs()
        assert {info.options.get("account") for info in runs} == {None, "acme"}
        assert acme.orders.ledger is gs.orders.ledger
    assert service.sent == ["T-1", "T-2"]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
async def test_a_desk_that_could_not_start_starts_at_its_next_use(file: Path) -> None:
    """A thread that has no event loop cannot start the desk of another account."""
    async with client(Service(), ledger=file) as gs:
        other = await two_accounts(gs)
        with pytest.raises(WrongLoop, match="one client belongs to one loop"):
            await asyncio.to_thread(lambda: other.orders)
        assert isinstance(await other.orders.create(order("T-1")), Created)


async def test_the_first_use_of_a_desk_in_another_loop_starts_nothing(file: Path) -> None:
    """The desk of another account is not left in a loop that ends: it starts in the client's loop, which closes it."""
    async with client(service := Service(), ledger=file) as gs:
        other = await two_accounts(gs)
        for _ in range(2):
            with pytest.raises(WrongLoop, match="one client belongs to one loop"):
                await asyncio.to_thread(lambda: asyncio.run(other.orders.create(order("T-1"))))
        assert service.sent == []
        assert isinstance(await other.orders.create(order("T-1")), Created)
    assert service.sent == ["T-1"]


async def test_the_orders_of_an_account_that_is_released_end(file: Path) -> None:
    """They are waited for, and the ledger stays open for the others; the name begins again."""
    service = Gate()
    async with client(service, ledger=file) as gs:
        acme = await two_accounts(gs)
        asking = asyncio.create_task(acme.orders.create(order("T-1")))
        await service.came.wait()
        releasing = asyncio.create_task(gs.release("acme"))
        await asyncio.sleep(0)
        with pytest.raises(ClientClosed):
            _ = acme.orders
        service.open.set()
        await releasing
        assert isinstance(await asking, Created)
        await two_accounts(gs)
        assert isinstance(await gs.as_account("acme").orders.create(order("T-3")), Created)
        assert isinstance(await gs.orders.create(order("T-2")), Created)


async def test_a_client_that_closes_waits_no_longer_for_an_account_that_is_released(file: Path) -> None:
    """The release had ten seconds, the closing has one."""
    service, clock = Gate(), ManualClock()
    gs = await make(MemoryTransport(service), ledger=file, clock=clock).open()
    asking = asyncio.create_task((await two_accounts(gs)).orders.create(order("T-1")))
    await service.came.wait()
    releasing = asyncio.create_task(gs.release("acme"))
    await clock.settle()
    ending = asyncio.create_task(gs.close(timeout=1))
    await Threads().pass_time(clock, ending, step=0.5)
    assert clock.monotonic() < 4
    assert isinstance(await asking, InDoubt)
    await releasing
    assert not others()


async def test_an_account_whose_orders_cannot_end_is_released_all_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calls are refused and its tokens are not renewed any more; the error is raised."""

    async def fail(*_: Any) -> None:
        raise OSError("too many open files")

    async with client(Service(), ledger=file) as gs:
        acme = await two_accounts(gs)
        with monkeypatch.context() as failing:
            failing.setattr(Desks, "release", fail)
            with pytest.raises(OSError, match="too many"):
                await gs.release("acme")
        with pytest.raises(ClientClosed):
            await acme.tasks.get("id-1")
        assert gs.as_account("acme") is not acme


async def test_a_ledger_that_failed_is_opened_again_once_for_all(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account that meets the failure opens it; the next order of the other one uses that."""
    service = Service()
    async with client(service, ledger=file) as gs:
        acme = await two_accounts(gs)
        for number, each in enumerate((gs, acme)):
            await each.orders.create(order(f"T-{number}"))
        failed = gs.orders.ledger
        fail_once(monkeypatch)
        assert isinstance(await gs.orders.create(order("T-2")), Created)
        assert isinstance(await acme.orders.outcome("T-1"), Created)
        assert isinstance(await acme.orders.create(order("T-3")), Created)
        assert acme.orders.ledger is gs.orders.ledger is not failed
    assert service.sent == ["T-0", "T-1", "T-2", "T-3"]


# --- any number -------------------------------------------------------------------------------------------------------


async def test_a_push_with_a_ledger_is_remembered(file: Path) -> None:
    """Pushed again, nothing is sent, and other content under a key is told; a function may give the keys."""
    service = Service()
    async with client(service, ledger=place_of(file)) as gs:
        stream = gs.push(orders(45), concurrency=2)
        assert isinstance(stream, DeskStream)
        assert Counter([type(each) async for each in stream]) == {Created: 45}
    async with client(service, ledger=file) as gs:
        again = [each async for each in gs.push(orders(45), validate=True)]
        assert Counter(isinstance(each, Created) and each.replayed for each in again) == {True: 45}
        assert [type(each) async for each in gs.push([order("T-0", price=Money.of("9.00", "SGD"))])] == [Changed]
        keyed = gs.push([order("T-99")], key=lambda each: f"K-{each.tracking_id}" if isinstance(each, Order) else None)
        assert [type(each) async for each in keyed] == [Created]
        assert isinstance(await gs.orders.outcome("K-T-99"), Created)
    assert len(service.sent) == 46


async def test_a_push_without_a_ledger_remembers_nothing() -> None:
    """The same orders are sent again."""
    service = Service()
    async with client(service) as gs:
        for _ in range(2):
            assert [type(each) async for each in gs.push(orders(3))] == [Created] * 3
    assert len(service.sent) == 6


async def test_arguments_of_the_other_kind_of_push_are_refused(file: Path) -> None:
    """Chunks and limits of a price are for the push without a ledger, keys for the one with it."""
    async with client(Service()) as gs:
        with pytest.raises(UsageError, match="the argument key works only with a ledger"):
            gs.push([], key=lambda _: "K-1")
    async with client(Service(), ledger=file) as gs:
        for options in ({"chunk": 5}, {"validate": True, "max_price": Money.of(5, "SGD")}):
            with pytest.raises(UsageError, match="chunk and max_price cannot be used here with a ledger"):
                gs.push([], **options)  # type: ignore[arg-type]
