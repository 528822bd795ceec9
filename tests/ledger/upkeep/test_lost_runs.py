"""Runs that an older copy does not know, put into it; and orders that are new to it, which it holds back."""

from datetime import UTC, datetime

import pytest
from msgspec import structs

from gotsurge_async.ledger import (
    Counts,
    Ledger,
    Mode,
    NewOrder,
    OrderOutcome,
    OrderState,
    RunInfo,
    RunState,
)
from gotsurge_async.ledger.sql.admission import HELD_BACK, LOST, Evidence
from gotsurge_async.ledger.upkeep.check import check
from gotsurge_async.ledger.upkeep.older_copy import LostOrder, accept_older, import_run
from tests.ledger.kit import TidyLedger, added, bring, loaded, states
from tests.ledger.upkeep.test_check import json_orders

LOST_RUN = RunInfo(
    id="20261124T120000-abcd",
    created_at=datetime(2026, 11, 24, 12, tzinfo=UTC),
    state=RunState.DONE,
    environment="simulator",
    mode=Mode.DIRECT,
    source="b.csv",
    source_sha256=None,
    columns=("tracking_id",),
    options={},
    holder=None,
    finished_at=None,
)


async def older(where: str) -> None:
    """A ledger in which TRK-1 to TRK-3 are created, refused and waiting, and which was accepted as an older copy."""
    async with await Ledger.open(where) as ledger:
        for line, state in enumerate((OrderState.CREATED, OrderState.REFUSED, OrderState.PENDING), start=1):
            run = await loaded(ledger, json_orders(line, line))
            if state is not OrderState.PENDING:
                await bring(run, state)
            await run.close()
    await accept_older(where, newest=99)


def lost(line: int, task_id: str | None = None) -> LostOrder:
    """An order of the lost run."""
    (order,) = json_orders(line, line)
    return LostOrder(order, task_id, "" if task_id else "no answer")


async def test_a_lost_run_is_put_in(where: str) -> None:
    """Free keys are its own; what was in doubt and created is its own; what is created stays; it is put in once."""
    await older(where)
    async with await TidyLedger.open(where) as ledger:
        orders = [lost(1, "new-1"), lost(2, "new-2"), lost(3, "new-3"), lost(4), lost(5, "task-1"), lost(6, "new-6")]
        assert await import_run(ledger, LOST_RUN, orders) == 5
        assert await import_run(ledger, LOST_RUN, orders) is None
        rows = {row.key: (row.state, row.task_id) async for row in ledger.rows(LOST_RUN.id)}
        assert rows == {
            "TRK-1": (OrderState.ALREADY_PUSHED, "task-1"),
            "TRK-2": (OrderState.IN_DOUBT, "new-2"),
            "TRK-3": (OrderState.IN_DOUBT, "new-3"),
            "TRK-4": (OrderState.IN_DOUBT, None),
            "TRK-5": (OrderState.IN_DOUBT, None),
            "TRK-6": (OrderState.IN_DOUBT, "new-6"),
        }
        errors = {row.key: row.error async for row in ledger.rows(LOST_RUN.id, (OrderState.IN_DOUBT,))}
        assert errors == {
            **dict.fromkeys(("TRK-2", "TRK-3", "TRK-6"), LOST),
            "TRK-4": f"{LOST}; no answer",
            "TRK-5": f"{LOST}; task task-1 is recorded for another order",
        }
        assert (await ledger.run(LOST_RUN.id)).state is RunState.DONE
        columns = ("tracking_id", "price")
        again = await ledger.begin(environment="simulator", mode=Mode.DIRECT, source="orders.csv", columns=columns)
        changed = NewOrder(6, "TRK-6", b'{"tracking_id":"TRK-6","price":1}', b'["TRK-6","1"]')
        await again.add([*json_orders(1, 5), changed])
        admission = await again.admit()
        assert (admission.already_pushed, admission.in_doubt, admission.held_back) == (6, 5, 0)
        # What was sent is known by its row only: one that differs from it has changed.
        assert await again.counts() == Counts(already_pushed=5, changed=1)
        (why,) = [row.error or "" async for row in again.rows((OrderState.CHANGED,))]
        assert f"pushed by run {LOST_RUN.id}, and differs from the row in that run's result file: price; " in why
    assert check(where).flaws == ()


async def test_the_last_run_that_created_an_order_has_it(where: str) -> None:
    """Its key was free then, so what an earlier run created was taken back: in the copy, or in another lost run."""
    await older(where)
    async with await Ledger.open(where) as ledger:
        second = structs.replace(LOST_RUN, id="20300101T000000-aaaa", created_at=datetime(2030, 1, 1, tzinfo=UTC))
        third = structs.replace(
            LOST_RUN, id="20300101T000001-bbbb", created_at=datetime(2030, 1, 1, 0, 0, 1, tzinfo=UTC)
        )
        await import_run(ledger, second, [lost(1, "second-1"), lost(7, "second-7")])
        await import_run(ledger, third, [lost(1, "third-1"), lost(7, "third-7")])
        await import_run(ledger, LOST_RUN, [lost(1, "first-1"), lost(7, "first-7")])  # read in last, and the oldest
        for run, state in ((second, "superseded"), (third, "in_doubt"), (LOST_RUN, "already_pushed")):
            assert {row.key: row.state.value async for row in ledger.rows(run.id)} == {"TRK-1": state, "TRK-7": state}
        assert {row.task_id async for row in ledger.rows(third.id)} == {"third-1", "third-7"}
        copied = (await ledger.runs())[-1]
        assert [row.state async for row in ledger.rows(copied.id)] == [OrderState.CANCELLED]
    assert check(where).flaws == ()


async def test_of_two_runs_of_one_second_none_is_taken_for_the_last(where: str) -> None:
    """The order stays in doubt without a task: reading one of the two would not tell what became of the other."""
    await older(where)
    async with await Ledger.open(where) as ledger:
        await import_run(ledger, LOST_RUN, [lost(7, "one")])
        await import_run(ledger, structs.replace(LOST_RUN, id="20261124T120000-zzzz"), [lost(7, "two")])
        (row,) = [row async for row in ledger.rows(LOST_RUN.id)]
        assert (row.state, row.task_id) == (OrderState.IN_DOUBT, None)
    assert check(where).flaws == ()


async def test_a_lost_run_with_a_key_twice_is_refused(where: str) -> None:
    """Nothing of it is put in."""
    await older(where)
    async with await Ledger.open(where) as ledger:
        before = await ledger.size()
        with pytest.raises(ValueError, match="has the key TRK-7 twice"):
            await import_run(ledger, LOST_RUN, [lost(7, "new-7"), lost(7, "new-8")])
        with pytest.raises(ValueError, match="cannot be a key"):
            await import_run(ledger, LOST_RUN, [LostOrder(NewOrder(1, "", b"{}"), "new-7")])
        assert await ledger.size() == before


async def test_new_orders_are_held_back_unless_something_shows_that_they_are_new(where: str) -> None:
    """In the transaction that admits them: what the evidence names is what it says, all else is in doubt."""
    await older(where)
    async with await Ledger.open(where) as ledger:
        run = await added(ledger, json_orders(1, 8))
        rows = {row.key: row.id async for row in run.rows()}
        assert await ledger.first_pushed(run) == {rows[f"TRK-{line}"] for line in (2, 4, 5, 6, 7, 8)}
        outcomes = {
            rows["TRK-4"]: OrderOutcome(rows["TRK-4"], OrderState.CREATED, "new-4", "broadcasting"),
            rows["TRK-5"]: OrderOutcome(rows["TRK-5"], OrderState.PENDING),
            rows["TRK-6"]: OrderOutcome(rows["TRK-6"], OrderState.IN_DOUBT, error="seen"),
            rows["TRK-7"]: OrderOutcome(rows["TRK-7"], OrderState.CREATED, "task-1"),
        }
        admission = await run.admit(evidence=Evidence(outcomes=outcomes))
        assert (admission.pending, admission.created, admission.held_back) == (1, 1, 4)
        assert admission.already_pushed == 2
        found = {row.key: (row.state, row.error) async for row in run.rows()}
        assert {key: state for key, (state, _) in found.items()} == {
            "TRK-1": OrderState.ALREADY_PUSHED,
            "TRK-2": OrderState.IN_DOUBT,
            "TRK-3": OrderState.ALREADY_PUSHED,
            "TRK-4": OrderState.CREATED,
            "TRK-5": OrderState.PENDING,
            "TRK-6": OrderState.IN_DOUBT,
            "TRK-7": OrderState.IN_DOUBT,
            "TRK-8": OrderState.IN_DOUBT,
        }
        assert [found[key][1] for key in ("TRK-2", "TRK-6", "TRK-8")] == [HELD_BACK, "seen", HELD_BACK]
        await run.close()
        new = await added(ledger, json_orders(6, 9))
        admission = await new.admit(evidence=Evidence(not_sent_before=True))
        assert (admission.pending, admission.superseded, admission.in_doubt) == (3, 2, 1)
        await new.close()
        await ledger.all_known()
        assert (await (await loaded(ledger, json_orders(10, 10))).counts()) == Counts(pending=1)
        assert (await states(ledger, run))["TRK-8"] == "superseded"
    assert check(where).flaws == ()


async def test_what_was_decided_since_is_not_held_back_again(where: str) -> None:
    """A key that was held back, and that a person called not created, is sent when it is pushed again."""
    await older(where)
    async with await TidyLedger.open(where) as ledger:
        run = await loaded(ledger, json_orders(4, 5))
        await ledger.resolve(run.id, {"TRK-4": None, "TRK-5": "new-5"}, by="mei")
        await run.close()
        again = await loaded(ledger, json_orders(4, 5))
        assert await again.counts() == Counts(pending=1, already_pushed=1)
