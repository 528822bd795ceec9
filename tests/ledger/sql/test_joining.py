"""Single orders that join a run which is being sent."""

import asyncio
import sqlite3
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.database import Database
from gotsurge_async.ledger import (
    Counts,
    IllegalTransition,
    Ledger,
    LedgerUnusable,
    Mode,
    OrderOutcome,
    OrderState,
    Recorded,
    Run,
    RunLost,
    RunState,
)
from gotsurge_async.ledger.sql import joining
from gotsurge_async.ledger.sql.admission import HELD_BACK, SPARE, add
from gotsurge_async.ledger.sql.marks import CRASHED
from gotsurge_async.ledger.sql.pages import Owner, owners_of_keys
from gotsurge_async.ledger.upkeep.check import check
from gotsurge_async.ledger.upkeep.older_copy import accept_older
from tests.ledger.kit import TidyLedger, added, begun, bring, brought, leases_end, lose_locks, order, orders, states
from tests.ledger.upkeep.test_check import json_orders


async def sending(ledger: Ledger, mode: Mode = Mode.DIRECT) -> Run:
    """An empty run that is being sent."""
    run = await begun(ledger, mode=mode)
    await run.admit()
    await run.start()
    return run


async def left(ledger: Ledger, where: str, state: OrderState) -> Run:
    """A run that nobody has, whose one order, TRK-1, is in a state."""
    run = await brought(ledger, state)
    await run.close()
    leases_end(where)
    return run


def assert_sound(where: str) -> None:
    """States and keys belong together; the texts of these orders are no text."""
    assert [flaw for flaw in check(where).flaws if flaw.table != "bodies"] == []


def recorded(answer: int | Recorded | None) -> Recorded:
    """The order that has the key."""
    assert isinstance(answer, Recorded)
    return answer


@pytest.mark.parametrize(("mode", "state"), [(Mode.DIRECT, OrderState.SENDING), (Mode.TWO_PHASE, OrderState.DRAFTING)])
async def test_what_joins_is_claimed(ledger: Ledger, mode: Mode, state: OrderState) -> None:
    """Orders with free keys are a chunk of the run, which may be sent at once, and whose outcomes can be recorded."""
    run = await sending(ledger, mode)
    ids = await run.join(orders(3))
    assert await states(ledger, run) == {f"TRK-{line}": state.value for line in (1, 2, 3)}
    may_act = [row.is_open(ledger.now()) async for row in run.rows()]
    assert may_act == [mode is Mode.DIRECT] * 3  # a draft that acts late calls no driver
    outcomes = [OrderOutcome(number, OrderState.REFUSED) for number in ids if isinstance(number, int)]
    await run.record(outcomes)
    assert (await run.counts()).refused == 3


async def test_orders_join_by_statements_of_few_values(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one statement cannot have the values of all, several insert them, and none is lost."""
    run = await sending(ledger)
    monkeypatch.setattr(type(await ledger.write(lambda db: db)), "_at_once", 10)
    ids = await run.join(orders(5))
    await run.record([OrderOutcome(number, OrderState.REFUSED) for number in ids if isinstance(number, int)])
    assert await states(ledger, run) == {f"TRK-{line}": "refused" for line in range(1, 6)}


async def test_those_who_join_together_share_their_statements(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten who join at the same moment take no more statements than one; each gets what belongs to its keys."""
    run = await sending(ledger)
    (first,) = await run.join([order(1)])
    assert isinstance(first, int)
    await run.record([OrderOutcome(first, OrderState.CREATED, "task-1")])
    kind = type(await ledger.write(lambda db: db))
    execute, statements = kind._execute, list[str]()

    def counted(db: Any, text: str, values: Any) -> Any:
        statements.append(text)
        return execute(db, text, values)

    monkeypatch.setattr(kind, "_execute", counted)
    await run.join([order(line) for line in (10, 11)])
    alone = len(statements)
    wishes = [[order(line) for line in (line, line + 1)] for line in range(20, 40, 2)]
    answers = await asyncio.gather(*map(run.join, wishes))
    assert len(statements) <= 2 * alone
    ids = [answer for part in answers for answer in part if isinstance(answer, int)]
    assert len(set(ids)) == 20
    mixed = await asyncio.gather(run.join([order(1)]), run.join([order(1), order(50)]), run.join([order(51)]))
    assert recorded(mixed[0][0]).row.task_id == recorded(mixed[1][0]).row.task_id == "task-1"
    known = await asyncio.gather(run.join([order(1)]), run.join([order(50), order(20)]), run.join([order(52)]))
    assert recorded(known[0][0]).row.task_id == "task-1"
    assert [recorded(answer).row.id for answer in known[1]] == [mixed[1][1], ids[0]]
    sent = await states(ledger, run)
    assert {sent[f"TRK-{line}"] for line in (10, 20, 39, 50, 51, 52)} == {"sending"}


async def test_chunks_of_several_programs_have_different_numbers(ledger: Ledger, where: str) -> None:
    """Each program allots numbers for claims to come; those of a run ascend, also after a transaction was undone."""
    async with await Ledger.open(where) as other:
        mine, theirs = await sending(ledger), await sending(other)

        def undone(db: Database) -> None:
            add(db, mine._held, [[order(999)]], 0, compact=False, claimed=OrderState.SENDING)
            raise KeyError

        of_runs: dict[str, list[int]] = {mine.id: [], theirs.id: []}
        for line in range(3 * SPARE):
            if line in (1, SPARE):
                with pytest.raises(KeyError):
                    await ledger.write(undone)
            for run, row in ((mine, 2 * line), (theirs, 2 * line + 1)):
                (number,) = await run.join([order(row)])
                assert isinstance(number, int)
                of_runs[run.id].append(number)
        assert len({*of_runs[mine.id], *of_runs[theirs.id]}) == 6 * SPARE
        assert all(numbers == sorted(numbers) for numbers in of_runs.values())
        await theirs.close()
    assert_sound(where)


async def test_claims_of_one_transaction_are_followed_by_greater_numbers(ledger: Ledger) -> None:
    """Each of two claims one after the other allots numbers for later claims; only those of the second are used."""
    run = await sending(ledger)

    def both(db: Database) -> list[int]:
        parts = [[order(line)] for line in (1, 2)]
        chunks = [add(db, run._held, [part], 0, compact=False, claimed=OrderState.SENDING)[0] for part in parts]
        return [number for chunk in chunks for number in chunk.numbers]

    numbers = await ledger.write(both)
    for line in range(3, 3 + 2 * SPARE):
        (number,) = await run.join([order(line)])
        assert isinstance(number, int)
        numbers.append(number)
    assert numbers == sorted(numbers)


async def test_a_run_that_is_not_sent_is_not_joined(ledger: Ledger) -> None:
    """Of one that was taken over by another process nothing changes."""
    run = await sending(ledger)
    await ledger.write(lambda db: db.change("raise_run_epochs", by=1))
    with pytest.raises(RunLost):
        await run.join([order(1)])
    assert await run.counts() == Counts()


@pytest.mark.parametrize("state", [OrderState.CREATED, OrderState.IN_DOUBT, OrderState.SENDING])
async def test_a_key_that_was_sent_is_answered(ledger: Ledger, where: str, state: OrderState) -> None:
    """The new order gets no row; what was being sent by a process that ended is in doubt from now on."""
    earlier = await left(ledger, where, state)
    run = await sending(ledger)
    (answer,) = await run.join([order(1)])
    found = recorded(answer)
    assert (found.run.id, found.row.key, found.row.payload, found.held) == (
        earlier.id,
        "TRK-1",
        order(1).payload,
        False,
    )
    is_sent = state is OrderState.SENDING
    assert found.row.state is (OrderState.IN_DOUBT if is_sent else state)
    assert found.row.error == (CRASHED if is_sent else None)
    assert (await ledger.known("simulator", ["TRK-1"]))["TRK-1"].row.state is found.row.state
    assert await run.counts() == Counts()


@pytest.mark.parametrize("state", [OrderState.REFUSED, OrderState.CANCELLED])
async def test_a_free_key_is_taken(ledger: Ledger, where: str, state: OrderState) -> None:
    """Nothing is there of the order that had it."""
    if state is OrderState.CANCELLED:
        earlier = await left(ledger, where, OrderState.CREATED)
        async with await ledger.hold(earlier.id) as again:
            (row,) = [row async for row in again.rows()]
            await again.record([OrderOutcome(row.id, OrderState.CANCELLED)])
    else:
        await left(ledger, where, state)
    run = await sending(ledger)
    assert all(isinstance(number, int) for number in await run.join([order(1)]))
    assert await ledger.known("simulator", ["TRK-2"]) == {}


@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.DRAFTING, OrderState.DRAFTED])
async def test_what_waits_in_a_dead_run_is_taken_over(ledger: Ledger, where: str, state: OrderState) -> None:
    """A recorded draft of the same order comes along; of the others a new order is claimed."""
    mode = Mode.DIRECT if state is OrderState.PENDING else Mode.TWO_PHASE
    earlier = await left(ledger, where, state)
    run = await sending(ledger, mode)
    (answer,) = await run.join([order(1)])
    assert await states(ledger, earlier) == {"TRK-1": "superseded"}
    if state is OrderState.DRAFTED:
        found = recorded(answer)
        assert (found.run.id, found.row.state, found.row.task_id) == (run.id, OrderState.DRAFTED, "task-1")
    else:
        assert isinstance(answer, int)
    await run.close()
    assert_sound(where)


@pytest.mark.parametrize("state", [OrderState.DRAFTED, OrderState.IN_DOUBT])
async def test_a_draft_of_another_account_is_not_taken_over(ledger: Ledger, where: str, state: OrderState) -> None:
    """The same order is claimed anew if the other account's draft was never broadcast, and else answered."""
    earlier = await brought(ledger, OrderState.DRAFTED, account="acme")
    if state is OrderState.IN_DOUBT:
        (number,) = [row.id async for row in earlier.rows()]
        await earlier.claim_broadcast([number])
        await earlier.record([OrderOutcome(number, OrderState.IN_DOUBT)])
    await earlier.close()
    leases_end(where)
    run = await sending(ledger, Mode.TWO_PHASE)
    (answer,) = await run.join([order(1)])
    unused = [draft.task_id for draft in await ledger.unused_drafts(earlier.id)]
    if state is OrderState.DRAFTED:
        assert (isinstance(answer, int), unused) == (True, ["task-1"])
    else:
        assert (recorded(answer).run.id, unused) == (earlier.id, [])
    await run.close()
    assert_sound(where)


async def test_what_a_living_process_has_is_answered_as_held(ledger: Ledger) -> None:
    """Nothing of it is touched."""
    other = await brought(ledger, OrderState.SENDING)
    run = await sending(ledger)
    (answer,) = await run.join([order(1)])
    assert (recorded(answer).held, recorded(answer).row.state) == (True, OrderState.SENDING)
    assert (await ledger.known("simulator", ["TRK-1"]))["TRK-1"].held
    assert await states(ledger, other) == {"TRK-1": "sending"}


async def test_a_run_that_is_being_loaded_loses_the_key(ledger: Ledger) -> None:
    """It was not admitted yet: its order is already pushed when it is."""
    loading = await added(ledger, [order(1)])
    run = await sending(ledger)
    (number,) = await run.join([order(1)])
    assert isinstance(number, int)
    await run.record([OrderOutcome(number, OrderState.CREATED, "task-9")])
    assert (await loading.admit()).already_pushed == 1


async def test_of_two_who_join_with_one_key_one_gets_it(where: str) -> None:
    """Through two openings of the ledger, at the same moment."""
    async with await TidyLedger.open(where) as first, await TidyLedger.open(where) as second:
        runs = [await sending(first), await sending(second)]
        for line in range(20):
            answers = await asyncio.gather(*(run.join([order(line)]) for run in runs))
            assert sorted(isinstance(answer, int) for (answer,) in answers) == [False, True]


@pytest.mark.parametrize("state", [OrderState.SENDING, OrderState.CREATED])
async def test_a_key_that_another_desk_claims_meanwhile_is_answered(
    where: str, state: OrderState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is touched of an order that a living process claims after its key was looked up, and found free."""
    loop, claims = asyncio.get_running_loop(), list[Future[int | Recorded | None]]()
    async with await TidyLedger.open(where) as first, await TidyLedger.open(where) as second:
        mine, theirs = await sending(first), await sending(second)
        (refused,) = await mine.join([order(1)])
        assert isinstance(refused, int)
        await mine.record([OrderOutcome(refused, OrderState.REFUSED)])

        async def claim() -> int | Recorded | None:
            (answer,) = await theirs.join([order(2)])
            if state is OrderState.CREATED and isinstance(answer, int):
                await theirs.record([OrderOutcome(answer, state, "task-2")])
            return answer

        def found(*args: Any, **options: Any) -> dict[str, Owner]:
            owners = owners_of_keys(*args, **options)
            if not claims:
                claims.append(asyncio.run_coroutine_threadsafe(claim(), loop))
                with suppress(TimeoutError):  # a file has one writer: their claim comes after mine
                    claims[0].result(10 if "://" in where else 0.1)
            return owners

        monkeypatch.setattr(joining, "owners_of_keys", found)
        new, my_answer = await mine.join(orders(2))
        assert isinstance(new, int)
        their_answer = await asyncio.wrap_future(claims[0])
        if isinstance(their_answer, int):
            owner, answer, expected = theirs, recorded(my_answer), state
        else:
            owner, answer, expected = mine, recorded(their_answer), OrderState.SENDING
        is_sent = expected is OrderState.SENDING
        assert (answer.run.id, answer.row.state, answer.held) == (owner.id, expected, is_sent)
        if is_sent:
            await owner.record([OrderOutcome(answer.row.id, OrderState.REFUSED)])
    assert_sound(where)


async def test_what_was_not_sent_is_withdrawn(ledger: Ledger, where: str) -> None:
    """Its key is free, the run is done without it, and the ledger is sound; what was sent stays as it is."""
    run = await sending(ledger)
    first, second = await run.join(orders(2))
    assert isinstance(first, int)
    assert isinstance(second, int)
    await run.release_claim([first])
    assert await run.withdraw([first, second], "no connection") == {first}
    assert await states(ledger, run) == {"TRK-1": "withdrawn", "TRK-2": "sending"}
    assert list(await ledger.known("simulator", ["TRK-1", "TRK-2"])) == ["TRK-2"]
    await run.record([OrderOutcome(second, OrderState.CREATED, "task-2")])
    with pytest.raises(IllegalTransition):
        await run.record([OrderOutcome(first, OrderState.CREATED, "task-1")])
    assert await run.finish() is RunState.DONE
    await run.close()
    assert_sound(where)
    rows = [row async for page in ledger.results(run.id) for row in page]
    assert [(row.key, row.state.value, row.error) for row in rows] == [
        ("TRK-1", "withdrawn", "no connection"),
        ("TRK-2", "created", None),
    ]


async def test_a_withdrawn_draft_is_unused(ledger: Ledger) -> None:
    """It can be listed and cancelled; nothing broadcasts it."""
    run = await sending(ledger, Mode.TWO_PHASE)
    (number,) = await run.join([order(1)])
    assert isinstance(number, int)
    await run.record([OrderOutcome(number, OrderState.DRAFTED, "draft-1")])
    assert await run.withdraw([number], "too many requests") == {number}
    assert [(draft.key, draft.task_id) for draft in await ledger.unused_drafts(run.id)] == [("TRK-1", "draft-1")]
    assert isinstance((await run.join([order(1)]))[0], int)


async def test_after_an_older_copy_new_orders_are_held_back(where: str) -> None:
    """Nothing shows whether they were sent since, also of one that was refused before: they are in doubt."""
    async with await TidyLedger.open(where) as ledger:
        refused = await added(ledger, json_orders(1, 1))
        await refused.admit()
        await bring(refused, OrderState.REFUSED)
    await accept_older(where, newest=99)
    async with await TidyLedger.open(where) as ledger:
        run = await sending(ledger)
        known, new = await run.join([*json_orders(1, 1), *json_orders(2, 2)])
        assert recorded(new).row.state is recorded(known).row.state is OrderState.IN_DOUBT
        assert recorded(new).row.error == HELD_BACK


async def test_a_lost_lock_takes_nothing_from_what_was_joined(ledger: Ledger, where: str) -> None:
    """Another process that takes the run over puts what was being sent in doubt, and the first one records nothing."""
    run = await sending(ledger)
    (number,) = await run.join([order(1)])
    assert isinstance(number, int)
    lose_locks(where)
    async with await ledger.hold(run.id) as other:
        await other.recover()
        with pytest.raises(RunLost):
            await run.record([OrderOutcome(number, OrderState.CREATED, "task-1")])
    assert await states(ledger, run) == {"TRK-1": "in_doubt"}


@pytest.mark.parametrize("table", ["chunks", "runs"])
async def test_a_key_that_leads_nowhere_is_not_free(tmp_path: Path, table: str) -> None:
    """The ledger is damaged, and says where: its order may have been sent. A new order beside it is refused, too."""
    path = tmp_path / "orders.db"
    async with await Ledger.open(path) as ledger:
        run, again = await sending(ledger), await sending(ledger)
        await run.join([order(1)])
        await run.close()
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("DELETE FROM chunks" if table == "chunks" else "DELETE FROM runs WHERE number = 1")
        what = "keys, .*key 'TRK-1': its chunk" if table == "chunks" else "chunks, chunk 1: its run"
        for ask in (
            lambda: ledger.known(again.info.environment, ["TRK-1"]),
            lambda: again.join([order(1)]),
            lambda: again.join([order(1), order(2)]),
        ):
            with pytest.raises(LedgerUnusable, match=f"is damaged .table {what} is missing"):
                await ask()
