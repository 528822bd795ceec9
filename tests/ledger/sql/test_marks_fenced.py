"""Marks of a claim that is no longer that one are refused, and a mark changes nothing but what it is about."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import attrs
import pytest
from msgspec import structs

from gotsurge_async.config import SETTLE
from gotsurge_async.ledger import (
    IllegalTransition,
    Ledger,
    NoSuchRun,
    OrderOutcome,
    OrderState,
    Run,
    RunLost,
    Taken,
    TaskTaken,
)
from gotsurge_async.ledger.sql import marks
from gotsurge_async.ledger.sql.chunks import Chunk
from gotsurge_async.ledger.sql.recorded import RecordedTasks
from gotsurge_async.ledger.sql.recorded import recorded as recorded_tasks
from gotsurge_async.ledger.sql.runs import Held
from gotsurge_async.models.tasks import Receipt, TaskStatus
from tests.ledger.kit import TurnedClock, bring, epoch_of, ids, loaded, moved_behind, only, order, orders, states


def another(run: Run) -> Held:
    """The same run in other hands, under the same epoch: as a process has it that woke up with an older claim."""
    return structs.replace(
        run._held, claims=dict(run._held.claims), seen=deepcopy(run._held.seen), tasks=RecordedTasks()
    )


async def mark(ledger: Ledger, held: Held, do: Callable[..., Any], *arguments: Any) -> Any:
    """Have the writer make a mark for a holder."""
    return await ledger.write(lambda db: do(db, held, *arguments, 0))


async def recorded(ledger: Ledger, held: Held, *outcomes: OrderOutcome) -> None:
    """Have the writer record what a holder says."""
    await ledger.request(marks.record, marks.Results(held, outcomes, 0))


async def test_every_claim_raises_the_epoch(ledger: Ledger) -> None:
    """A claim is under a new epoch each time, whatever of the chunk was free; where nothing was, all stays as it is."""
    run = await loaded(ledger, orders(3))
    one, two, three = await ids(run)
    assert await epoch_of(ledger, one) == 0
    await run.claim([one])
    await run.claim([two, three])
    assert await epoch_of(ledger, one) == 2
    assert await run.claim([one, two]) == []
    assert await epoch_of(ledger, one) == 2
    await run.record([OrderOutcome(one, OrderState.CREATED, "task-1")])
    await run.release_claim([two])
    assert await epoch_of(ledger, one) == 2
    await run.record([OrderOutcome(three, OrderState.CREATED, "task-3")])


async def test_a_mark_under_an_older_claim_is_refused(ledger: Ledger) -> None:
    """Who claimed, slept, and was overtaken by another claim neither records, releases nor renews: nothing changes."""
    run = await loaded(ledger, orders(2))
    one, two = await ids(run)
    await run.claim([one])
    sleeper = another(run)
    await run.claim([two])
    outcome = OrderOutcome(one, OrderState.CREATED, "task-of-the-sleeper")
    named = r"TRK-1 \(line 1\)"
    with pytest.raises(IllegalTransition, match=named):
        await recorded(ledger, sleeper, outcome)
    for do in (marks.release, marks.renew):
        with pytest.raises(IllegalTransition, match=named):
            await mark(ledger, sleeper, do, [one])
    assert await states(ledger, run) == {"TRK-1": "sending", "TRK-2": "sending"}
    await run.record([OrderOutcome(each, OrderState.CREATED, f"task-{each}") for each in (one, two)])
    assert [row.task_id async for row in run.rows()] == [f"task-{one}", f"task-{two}"]


async def test_an_older_holder_is_refused_beside_the_present_one(ledger: Ledger) -> None:
    """Also where both ask in one transaction, only who has the run claims and records."""
    run = await loaded(ledger, orders(2))
    one, two = await ids(run)
    older = run._held
    await run.start()
    wishes = [
        marks.Claim(held, [each], OrderState.PENDING, OrderState.SENDING, 0, 0)
        for held, each in ((older, one), (run._held, two))
    ]
    lost, claimed = await asyncio.gather(
        *(ledger.request(marks.claim, wish) for wish in wishes), return_exceptions=True
    )
    assert isinstance(lost, RunLost)
    assert claimed == [two]
    outcomes = [
        marks.Results(held, [OrderOutcome(two, OrderState.CREATED, "task-2")], 0) for held in (older, run._held)
    ]
    ended = await asyncio.gather(*(ledger.request(marks.record, each) for each in outcomes), return_exceptions=True)
    assert [type(end) for end in ended] == [RunLost, type(None)]
    assert await states(ledger, run) == {"TRK-1": "pending", "TRK-2": "created"}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("mode", ["direct", "two-phase"])
@pytest.mark.parametrize("odd", ["", "status", "text", "part"])
async def test_columns_are_recorded_as_single_outcomes_are(ledger: Ledger, mode: str, odd: str, turned: bool) -> None:
    """Each order gets its own task and status, whether its whole chunk is recorded in one step or not."""
    run = await loaded(ledger, orders(3), mode=mode)
    await run.start()
    claimed = await run.claim(await ids(run))
    of = {order: Receipt(id=f"task-{order}", current_status=TaskStatus("draft")) for order in claimed}
    if odd == "status":
        of[claimed[1]] = attrs.evolve(of[claimed[1]], current_status=TaskStatus("other"))
    if odd == "text":
        of[claimed[1]] = attrs.evolve(of[claimed[1]], id="t\u00e4sk")
    some = (claimed[::-1] if turned else claimed)[: 2 if odd == "part" else 3]
    state = OrderState.DRAFTED if mode == "two-phase" else OrderState.CREATED
    await run.record(Taken(some, state, [of[order] for order in some]), broadcast=mode == "two-phase")
    shown = OrderState.BROADCASTING if mode == "two-phase" else state
    recorded = {row.id: (row.state, row.task_id, row.status) async for row in run.rows((shown,))}
    assert recorded == {order: (shown, of[order].id, of[order].current_status) for order in some}


async def test_columns_with_a_task_of_another_order_are_refused(ledger: Ledger) -> None:
    """A task that is recorded, or that two answers name at one moment, is not recorded for another order."""
    run = await loaded(ledger, orders(40))
    await run.start()
    claimed = await run.claim(await ids(run))
    first, second = claimed[:20], claimed[20:]
    tasks = [Receipt(id=f"task-{order}") for order in first]
    ended = await asyncio.gather(
        *(run.record(Taken(part, OrderState.CREATED, tasks)) for part in (first, second)), return_exceptions=True
    )
    assert sorted(type(end).__name__ for end in ended) == ["NoneType", "TaskTaken"]
    with pytest.raises(TaskTaken):
        await run.record(Taken(second if ended[0] is None else first, OrderState.CREATED, tasks))
    assert (await run.counts()).created == 20


async def test_drafts_and_the_intent_to_broadcast_are_one_write(ledger: Ledger) -> None:
    """Recorded to be broadcast, drafts are broadcasting with their ids by the same write; what was refused is that."""
    run = await loaded(ledger, orders(3), mode="two-phase")
    one, two, three = await run.claim(await ids(run))
    outcomes = [OrderOutcome(each, OrderState.DRAFTED, f"task-{each}", "draft") for each in (one, two)]
    await run.record([*outcomes, OrderOutcome(three, OrderState.REFUSED, error="no")], broadcast=True)
    rows = [(row.state, row.task_id, row.status, row.error) async for row in run.rows()]
    assert rows == [
        (OrderState.BROADCASTING, f"task-{one}", "draft", None),
        (OrderState.BROADCASTING, f"task-{two}", "draft", None),
        (OrderState.REFUSED, None, None, "no"),
    ]
    await run.renew_claim([one, two])
    await run.release_claim([two])
    await run.record([OrderOutcome(one, OrderState.CREATED, status="broadcasting")])
    assert await states(ledger, run) == {"TRK-1": "created", "TRK-2": "drafted", "TRK-3": "refused"}


async def test_one_task_is_not_of_two_orders(ledger: Ledger) -> None:
    """An answer that gives two orders one task, or one that another answer gave, is refused whole; so is a word."""
    run = await loaded(ledger, orders(4))
    one, two, three, four = await run.claim(await ids(run))
    twice = [OrderOutcome(each, OrderState.CREATED, "task-1") for each in (one, two)]
    with pytest.raises(TaskTaken):
        await run.record(twice)
    assert set((await states(ledger, run)).values()) == {"sending"}
    # What was refused was not recorded: whose the task is may be found out later.
    await run.record([twice[1]])
    with pytest.raises(TaskTaken):
        await run.record([twice[0]])
    await run.record([OrderOutcome(each, OrderState.IN_DOUBT) for each in (one, three, four)])
    other = await loaded(ledger, [order(9)])
    await bring(other, OrderState.IN_DOUBT)
    for word in ({"TRK-1": "task-1"}, {"TRK-3": "new", "TRK-4": "new"}, {"TRK-3": "task-9"}):
        with pytest.raises(TaskTaken):
            await ledger.resolve(run.id, word, by="mei")
    with pytest.raises(TaskTaken):
        await recorded(ledger, another(run), OrderOutcome(three, OrderState.CREATED, "task-9"))
    assert await ledger.decisions(run.id) == []
    assert (await run.counts()).in_doubt == 3


async def test_a_task_is_of_whoever_lives_with_it(ledger: Ledger) -> None:
    """A task that a cancelled order has is that one's, until a live order has it as well."""
    for state in (OrderState.CANCELLED, OrderState.CREATED):
        run = await loaded(ledger, [order(1)])
        await bring(run, OrderState.CREATED)
        row = await only(run)
        if state is OrderState.CANCELLED:
            await run.record([OrderOutcome(row.id, state)])
        await run.close()
        assert await ledger.read(recorded_tasks, "simulator", ["task-1", "task-2"]) == {"task-1": [row.id]}


async def test_a_word_is_taken_of_a_key_that_went_on_to_another_run(ledger: Ledger, clock: TurnedClock) -> None:
    """An order is found by its key in its own run, also where the key leads to another run's order by now."""
    first = await loaded(ledger, orders(25))
    await bring(first, OrderState.IN_DOUBT)
    clock.turn(SETTLE)
    await ledger.resolve(first.id, {"TRK-21": None, "TRK-19": "task-19"}, by="mei")
    assert (await only(first, OrderState.REFUSED)).error == "not created, says mei"
    assert (await only(first, OrderState.CREATED)).error is None
    second = await loaded(ledger, [order(21)])
    with pytest.raises(IllegalTransition, match=r"TRK-21 of run .* is refused, not in doubt"):
        await ledger.resolve(first.id, {"TRK-21": "task-21"}, by="mei")
    with pytest.raises(NoSuchRun, match="no order TRK-22"):
        await ledger.resolve(second.id, {"TRK-22": None}, by="mei")
    await ledger.resolve(first.id, {"TRK-20": "task-20"}, by="mei")
    assert await states(ledger, second) == {"TRK-21": "pending"}


@pytest.mark.parametrize("epoch", [0, 1])
async def test_a_claim_is_of_what_is_free_now(ledger: Ledger, epoch: int) -> None:
    """Orders that were taken over after they were read are not claimed; the others of their chunk are."""
    run = await loaded(ledger, orders(3))
    await run.start()
    waiting = [order.id async for page in run.pending() for order in page]
    await run._store.write(moved_behind(run, "pup", epoch=epoch))
    assert await run.claim(waiting) == [waiting[0], waiting[2]]
    assert await states(ledger, run) == {"TRK-1": "sending", "TRK-2": "superseded", "TRK-3": "sending"}
    await run.record([OrderOutcome(each, OrderState.CREATED, f"task-{each}") for each in (waiting[0], waiting[2])])
    assert (await run.counts()).created == 2


async def test_an_outcome_is_recorded_whatever_became_of_the_others(ledger: Ledger) -> None:
    """A chunk in which another writer moved another order since the claim is read again, and recorded as it is now."""
    run = await loaded(ledger, orders(3))
    await run.start()
    waiting = [order.id async for page in run.pending() for order in page]
    assert await run.claim(waiting[:2]) == waiting[:2]
    await run._store.write(moved_behind(run, "ssu", epoch=0))
    await run.record([OrderOutcome(each, OrderState.CREATED, f"task-{each}") for each in waiting[:2]])
    assert await states(ledger, run) == {"TRK-1": "created", "TRK-2": "created", "TRK-3": "superseded"}


async def test_a_claim_that_is_lost_records_nothing(ledger: Ledger) -> None:
    """What was claimed, and was claimed by another one since, is not recorded, whatever is remembered of it."""
    run = await loaded(ledger, orders(2))
    await run.start()
    waiting = [order.id async for page in run.pending() for order in page]
    assert await run.claim(waiting) == waiting
    await run._store.write(moved_behind(run, "ss", epoch=1))
    with pytest.raises(IllegalTransition):
        await run.record([OrderOutcome(each, OrderState.CREATED, f"task-{each}") for each in waiting])
    assert set((await states(ledger, run)).values()) == {"sending"}


async def test_what_was_noted_of_claimed_orders_stays(ledger: Ledger) -> None:
    """A lost draft that was noted between the claim and the record is still counted after it."""
    run = await loaded(ledger, orders(2), mode="two-phase")
    await run.start()
    waiting = [order.id async for page in run.pending() for order in page]
    await run.claim(waiting)
    await run.lose_drafts(waiting[:1])
    await run.record([OrderOutcome(waiting[0], OrderState.REFUSED, error="no")])
    assert await run.lost_drafts() == ["TRK-1"]


async def test_what_is_noted_beside_a_record_stays(ledger: Ledger) -> None:
    """A lost draft that is noted in the transaction in which its chunk is recorded is still counted after the next."""
    run = await loaded(ledger, orders(3), mode="two-phase")
    await run.start()
    one, two, three = [order.id async for page in run.pending() for order in page]
    await run.claim([one, two, three])
    await asyncio.gather(run.record([OrderOutcome(one, OrderState.DRAFTED, "task-1")]), run.lose_drafts([two]))
    await run.record([OrderOutcome(two, OrderState.REFUSED, error="no")])
    assert await run.lost_drafts() == ["TRK-2"]


async def test_what_is_noted_while_a_page_is_read_stays(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was read before something was noted, and is remembered after it, takes nothing of that back."""
    run = await loaded(ledger, orders(2), mode="two-phase")
    await run.start()
    one, two = await ids(run)
    await run.claim([one])
    is_read, go_on, see = threading.Event(), threading.Event(), Held.see

    def later(held: Held, chunks: Iterable[Chunk]) -> None:
        kept = list(chunks)
        is_read.set()
        assert go_on.wait(10)
        see(held, kept)

    async def waiting() -> list[int]:
        return [order.id async for page in run.pending() for order in page]

    monkeypatch.setattr(Held, "see", later)
    reading = asyncio.create_task(waiting())
    await asyncio.to_thread(is_read.wait, 10)
    await run.lose_drafts([one])
    go_on.set()
    assert await reading == [two]
    assert await run.claim([two]) == [two]
    await run.record([OrderOutcome(one, OrderState.REFUSED, error="no")])
    assert await run.lost_drafts() == ["TRK-1"]


async def test_a_claim_of_an_older_epoch_is_not_remembered(ledger: Ledger) -> None:
    """Where a claim was made anew, what is remembered of the older one serves no record: the chunk is read."""
    run = await loaded(ledger, orders(1))
    await run.start()
    (one,) = [order.id async for page in run.pending() for order in page]
    await run.claim([one])
    older = {number: chunk.bare() for number, chunk in run._held.seen.items()}
    await run.release_claim([one])
    await run.claim([one])
    run._held.seen.update(older)
    await run.record([OrderOutcome(one, OrderState.CREATED, "task-1")])
    assert (await run.counts()).created == 1


async def test_a_new_sending_remembers_nothing(ledger: Ledger) -> None:
    """What was remembered before the sending began is forgotten with the claims."""
    run = await loaded(ledger, orders(1))
    assert [order.id async for page in run.pending() for order in page]
    assert run._held.seen
    await run.start()
    assert not run._held.seen
