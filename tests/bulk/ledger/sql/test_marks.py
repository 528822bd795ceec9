"""The writes that move orders from state to state, and what they refuse."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import pytest
from attrs import evolve

from gotsurge_async.bulk.ledger import (
    Counts,
    IllegalTransition,
    Ledger,
    NoSuchRun,
    OrderOutcome,
    OrderState,
    Remark,
    Run,
    RunLost,
    RunState,
    TaskTaken,
)
from gotsurge_async.bulk.ledger.sql import marks
from gotsurge_async.bulk.ledger.sql.chunks import Chunk, by_chunk, load
from gotsurge_async.bulk.ledger.sql.runs import Held, LatestTasks
from tests.bulk.ledger.kit import START, TurnedClock, bring, ids, loaded, only, order, orders, states


async def test_an_order_goes_from_pending_to_created(ledger: Ledger, clock: TurnedClock) -> None:
    """A claim and a record move an order on, each with its time, and the last state carries what the service said."""
    run = await loaded(ledger, [order(1)])
    await run.start()
    clock.turn(5)
    (claimed,) = await run.claim(await ids(run))
    row = await only(run)
    assert (row.state, row.claimed_at) == (OrderState.SENDING, clock.now)
    clock.turn(5)
    await run.record([OrderOutcome(claimed, OrderState.CREATED, "task-1", "broadcasting")])
    row = await only(run)
    assert (row.state, row.task_id, row.status, row.error) == (OrderState.CREATED, "task-1", "broadcasting", None)
    assert (row.updated_at - START).total_seconds() == 10
    assert await run.finish() is RunState.DONE
    info = await ledger.run(run.id)
    assert (info.state, info.finished_at) == (RunState.DONE, clock.now)
    await run.close()


async def test_two_phases_keep_the_draft(ledger: Ledger) -> None:
    """In two-phase mode a claim drafts, the draft's id is kept through the broadcast, and both can be released."""
    run = await loaded(ledger, orders(2), mode="two-phase")
    one, two = await run.claim(await ids(run))
    assert await states(ledger, run) == {"TRK-1": "drafting", "TRK-2": "drafting"}
    await run.release_claim([two])
    await run.record([OrderOutcome(one, OrderState.DRAFTED, "task-1", "draft")])
    assert await run.claim_broadcast([one, two]) == [one]
    await run.release_claim([one])
    assert await states(ledger, run) == {"TRK-1": "drafted", "TRK-2": "pending"}
    assert await run.claim_broadcast([one]) == [one]
    await run.record([OrderOutcome(one, OrderState.CREATED)])
    row = await only(run, OrderState.CREATED)
    assert (row.task_id, row.status) == ("task-1", "draft")
    await run.close()


async def test_an_order_is_claimed_once(ledger: Ledger) -> None:
    """However many ask at the same time for the same orders, each order is given to exactly one of them."""
    run = await loaded(ledger, orders(60))
    everything = await ids(run)
    asked = [everything[at : at + 20] for at in (0, 10, 20, 30, 40)] * 3
    given = await asyncio.gather(*(run.claim(some) for some in asked))
    for some, got in zip(asked, given, strict=True):
        assert got == [order_id for order_id in some if order_id in got]
    assert sorted(order_id for got in given for order_id in got) == everything
    assert await run.claim(everything) == []
    await run.close()


async def test_a_claim_gives_what_is_left(ledger: Ledger) -> None:
    """A claim of orders of which some are taken, unknown, or another run's returns the others, in the order asked."""
    other, run = await loaded(ledger, [order(9)]), await loaded(ledger, orders(3))
    one, two, three = await ids(run)
    await run.claim([two])
    assert await run.claim([three, three + 1, 12345, two, *(await ids(other)), one]) == [three, one]
    assert await states(ledger, other) == {"TRK-9": "pending"}
    assert await run.claim([]) == []
    await run.close()
    await other.close()


async def test_a_released_order_waits_again(ledger: Ledger) -> None:
    """An order that was certainly not sent is pending again, and can be claimed again."""
    run = await loaded(ledger, orders(2))
    one, two = await run.claim(await ids(run))
    await run.release_claim([one])
    row = await only(run, OrderState.PENDING)
    assert (row.id, row.claimed_at) == (one, None)
    assert await run.claim([one, two]) == [one]
    await run.close()


async def test_a_created_order_keeps_its_time_when_the_last_claim_is_given_back(
    ledger: Ledger, clock: TurnedClock
) -> None:
    """When an order was claimed is told of it also after the other orders of its chunk were released."""
    run = await loaded(ledger, orders(2))
    one, two = await run.claim(await ids(run))
    await run.record([OrderOutcome(one, OrderState.CREATED, "task-1")])
    await run.release_claim([two])
    assert [row.claimed_at async for row in run.rows()] == [clock.now, None]
    await run.close()


@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.CREATED, OrderState.REFUSED, OrderState.IN_DOUBT])
async def test_only_a_claim_is_released(ledger: Ledger, state: OrderState) -> None:
    """Releasing an order that is not claimed is an error that names it, and releases no other."""
    run = await loaded(ledger, orders(2))
    claimed, other = await run.claim(await ids(run))
    await run.release_claim([other])
    await bring(run, state)
    with pytest.raises(IllegalTransition, match=rf"TRK-2 \(line 2\) of run .* is {state.word} and cannot be released"):
        await run.release_claim([claimed, other])
    with pytest.raises(IllegalTransition, match="does not exist"):
        await run.release_claim([claimed, 12345])
    assert await states(ledger, run) == {"TRK-1": "sending", "TRK-2": state.word}
    await run.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OrderState.PENDING, OrderState.CREATED),
        (OrderState.PENDING, OrderState.REFUSED),
        (OrderState.SENDING, OrderState.DRAFTED),
        (OrderState.CREATED, OrderState.REFUSED),
        (OrderState.REFUSED, OrderState.CREATED),
    ],
)
async def test_a_record_that_is_against_the_rules_records_nothing(
    ledger: Ledger, before: OrderState, after: OrderState
) -> None:
    """An outcome that cannot follow is an error that names the order, and no outcome of the call is recorded."""
    run = await loaded(ledger, [order(1)])
    await bring(run, before)
    good = await loaded(ledger, [order(2)])
    (wrong,), (claimed,) = await ids(run), await good.claim(await ids(good))
    forbidden = rf"TRK-1 \(line 1\) .* is {before.word} and cannot become {after.word}"
    with pytest.raises(IllegalTransition, match=forbidden):
        await run.record([OrderOutcome(wrong, after, "task-1")])
    with pytest.raises(IllegalTransition):
        await good.record(
            [OrderOutcome(claimed, OrderState.CREATED, "task-2"), OrderOutcome(wrong, OrderState.CREATED)]
        )
    assert await states(ledger, run) == {"TRK-1": before.word}
    assert await states(ledger, good) == {"TRK-2": "sending"}
    await run.close()
    await good.close()


async def test_an_outcome_is_recorded_once(ledger: Ledger) -> None:
    """Naming an order twice in one record, or recording it again, is an error."""
    run = await loaded(ledger, [order(1)])
    (claimed,) = await run.claim(await ids(run))
    outcome = OrderOutcome(claimed, OrderState.CREATED, "task-1")
    with pytest.raises(IllegalTransition, match="named twice"):
        await run.record([outcome, outcome])
    await run.record([outcome])
    with pytest.raises(IllegalTransition):
        await run.record([outcome])
    with pytest.raises(ValueError, match="an outcome is one of"):
        await run.record([OrderOutcome(claimed, OrderState.PENDING)])
    await run.close()


async def test_one_wrong_record_spoils_no_other(ledger: Ledger) -> None:
    """Of many records at the same time, one that is against the rules fails alone."""
    run = await loaded(ledger, orders(100))
    claimed = await run.claim((await ids(run))[:90])
    chunks = [claimed[at : at + 10] for at in range(0, 90, 10)]
    unclaimed = (await ids(run, OrderState.PENDING))[0]
    chunks[4] = [*chunks[4], unclaimed]
    ended = await asyncio.gather(
        *(run.record([OrderOutcome(each, OrderState.CREATED) for each in chunk]) for chunk in chunks),
        return_exceptions=True,
    )
    assert [type(error).__name__ for error in ended if error] == ["IllegalTransition"]
    assert isinstance(ended[4], IllegalTransition)
    counts = await run.counts()
    assert (counts.created, counts.sending, counts.pending) == (80, 10, 10)
    await run.close()


async def test_garbage_in_an_answer_does_not_lose_its_outcome(ledger: Ledger) -> None:
    """What no database takes in an error text is replaced; the outcome is recorded all the same."""
    run = await loaded(ledger, [order(1)])
    (claimed,) = await run.claim(await ids(run))
    await run.record([OrderOutcome(claimed, OrderState.REFUSED, status="nö", error="bad \x00 byte \ud800")])
    row = await only(run)
    assert (row.status, row.error) == ("nö", "bad � byte ?")
    await run.close()


async def test_a_crash_is_settled(ledger: Ledger) -> None:
    """After a crash what was being sent is in doubt, what was being drafted waits, a broadcast stays to be read."""
    sent = await loaded(ledger, orders(2))
    await sent.claim((await ids(sent))[:1])
    assert (await sent.recover()).sending == 1  # its own claims are its own business
    await sent.start()
    counts = await sent.recover()
    assert (counts.in_doubt, counts.pending) == (1, 1)
    assert "process ended" in str((await only(sent, OrderState.IN_DOUBT)).error)
    await sent.close()
    phased = await loaded(ledger, [order(line) for line in range(11, 15)], mode="two-phase")
    first, second, third, _ = await phased.claim(await ids(phased))
    await phased.record([OrderOutcome(each, OrderState.DRAFTED, f"task-{each}") for each in (first, second)])
    await phased.claim_broadcast([first])
    await phased.start()
    counts = await phased.recover()
    assert await phased.lost_drafts() == ["TRK-13", "TRK-14"]
    assert counts == Counts(broadcasting=1, drafted=1, pending=2)
    assert await phased.claim([third]) == [third]
    await phased.close()


async def test_a_crash_is_settled_beside_what_is_being_sent(ledger: Ledger) -> None:
    """What an earlier holder was sending is in doubt, also where this one is sending a chunk that comes before it."""
    run = await loaded(ledger, orders(40))
    everything = await ids(run)
    await run.claim(everything[20:])
    await run.start()
    await run.claim(everything[:20])
    assert await run.recover() == Counts(sending=20, in_doubt=20)
    assert await ids(run, OrderState.IN_DOUBT) == everything[20:]
    await run.close()


async def test_a_crash_adds_to_the_drafts_that_were_lost(ledger: Ledger) -> None:
    """The draft that a crash lost is counted beside those that were lost before it: one that is found is not all."""
    run = await loaded(ledger, orders(1), mode="two-phase")
    claimed = await run.claim(await ids(run))
    await run.lose_drafts(claimed)
    await run.start()
    await run.recover()
    await run.note_unused([("TRK-1", "draft-1")])
    assert await run.lost_drafts() == ["TRK-1"]
    await run.note_unused([("TRK-1", "draft-2")])
    assert await run.lost_drafts() == []
    await run.close()


async def test_what_was_in_doubt_is_found_out(ledger: Ledger) -> None:
    """An order in doubt can be recorded as created, refused, or as one whose draft is to be broadcast again."""
    run = await loaded(ledger, orders(3))
    await bring(run, OrderState.IN_DOUBT)
    one, two, three = await ids(run)
    await run.record(
        [
            OrderOutcome(one, OrderState.CREATED, "task-1"),
            OrderOutcome(two, OrderState.REFUSED, error="looked twice, not there"),
            OrderOutcome(three, OrderState.BROADCASTING, "task-3"),
        ]
    )
    assert await states(ledger, run) == {"TRK-1": "created", "TRK-2": "refused", "TRK-3": "broadcasting"}
    await run.close()


async def test_a_task_id_that_was_recorded_is_never_replaced(ledger: Ledger) -> None:
    """Neither a second draft nor another outcome puts another task in the place of a recorded one."""
    run = await loaded(ledger, orders(1), mode="two-phase")
    (one,) = await run.claim(await ids(run))
    await run.record([OrderOutcome(one, OrderState.DRAFTED, "task-1")])
    with pytest.raises(IllegalTransition):
        await run.record([OrderOutcome(one, OrderState.DRAFTED, "task-2")])
    await run.claim_broadcast([one])
    with pytest.raises(IllegalTransition):
        await run.record([OrderOutcome(one, OrderState.DRAFTED, "task-2")])
    with pytest.raises(IllegalTransition):
        await run.record([OrderOutcome(one, OrderState.CREATED, "task-2")])
    await run.record([OrderOutcome(one, OrderState.CREATED, status="broadcasting")])
    assert (await only(run)).task_id == "task-1"
    await run.close()


async def test_a_claim_is_renewed_while_it_is_held(ledger: Ledger, clock: TurnedClock) -> None:
    """Renewing makes a claim young; what is no longer claimed is not renewed."""
    run = await loaded(ledger, orders(2))
    claimed = await run.claim(await ids(run))
    clock.turn(40)
    await run.renew_claim(claimed)
    assert {row.claimed_at async for row in run.rows()} == {clock.now}
    await run.release_claim(claimed[:1])
    with pytest.raises(IllegalTransition):
        await run.renew_claim(claimed)
    await run.close()


async def test_remarks_change_what_is_said_and_no_state(ledger: Ledger) -> None:
    """A remark notes status and error of an order in the state that it names, and leaves any other alone."""
    run = await loaded(ledger, orders(2))
    await bring(run, OrderState.IN_DOUBT)
    first, second = await ids(run)
    await run.remark(
        [
            Remark(first, OrderState.IN_DOUBT, error="two tasks: A\0B"),
            Remark(second, OrderState.CREATED, status="cancelled", error="no"),
        ]
    )
    rows = [row async for row in run.rows()]
    assert [(row.state, row.status, row.error) for row in rows] == [
        (OrderState.IN_DOUBT, "broadcasting", "two tasks: A\ufffdB"),
        (OrderState.IN_DOUBT, "broadcasting", None),
    ]
    await run.remark([Remark(first, OrderState.IN_DOUBT, status="accepted")])
    row, _ = [row async for row in run.rows()]
    assert (row.status, row.error) == ("accepted", "two tasks: A\ufffdB")
    await run.remark([])
    await run.close()


async def test_who_goes_on_with_a_broadcast_owns_its_claim(ledger: Ledger) -> None:
    """A row that was left broadcasting is claimed anew before it is read, and its claim can be renewed."""
    run = await loaded(ledger, orders(2), mode="two-phase")
    await bring(run, OrderState.BROADCASTING)
    await run.close()
    other = await ledger.hold(run.id)
    await other.start()
    rows = await ids(other)
    with pytest.raises(IllegalTransition):
        await other.renew_claim(rows)
    assert await other.claim_to_read(rows) == rows
    await other.renew_claim(rows)
    await other.close()


async def test_only_an_order_with_a_task_is_claimed_to_be_read(ledger: Ledger) -> None:
    """Of orders in doubt those with a recorded task are claimed for a read; of the others there is nothing to read."""
    run = await loaded(ledger, orders(2), mode="two-phase")
    one, two = await run.claim(await ids(run))
    await run.record([OrderOutcome(one, OrderState.DRAFTED, "task-1")], broadcast=True)
    await run.record([OrderOutcome(one, OrderState.IN_DOUBT)])
    await run._store.write(_change(run, "ii", epoch=0))
    assert await run.claim_to_read([one, two]) == [one]
    assert await states(ledger, run) == {"TRK-1": "broadcasting", "TRK-2": "in_doubt"}
    await run.close()


# --- claims are fenced ------------------------------------------------------------------------------------------------


def another(run: Run) -> Held:
    """The same run in other hands, under the same epoch: as a process has it that woke up with an older claim."""
    return evolve(run._held, claims=dict(run._held.claims), seen=deepcopy(run._held.seen), tasks=LatestTasks())


async def mark(ledger: Ledger, held: Held, do: Callable[..., Any], *arguments: Any) -> Any:
    """Have the writer make a mark for a holder."""
    return await ledger._store.write(lambda db: do(db, held, *arguments, 0))


async def recorded(ledger: Ledger, held: Held, *outcomes: OrderOutcome) -> None:
    """Have the writer record what a holder says."""
    await ledger._store.request(marks.record, marks.Results(held, outcomes, 0))


async def epoch_of(ledger: Ledger, order_id: int) -> int:
    """The epoch of an order's chunk."""
    (number,) = by_chunk([order_id])
    return (await ledger._store.read(load, [number]))[number].epoch


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
    await run.close()


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
    await run.close()


async def test_what_was_given_back_and_claimed_by_another_is_not_the_first_ones(ledger: Ledger) -> None:
    """A claim that was taken up again by others in the same state is theirs alone."""
    run = await loaded(ledger, orders(1))
    (one,) = await run.claim(await ids(run))
    sleeper = another(run)
    await run.release_claim([one])
    assert await run.claim([one]) == [one]
    with pytest.raises(IllegalTransition):
        await recorded(ledger, sleeper, OrderOutcome(one, OrderState.CREATED, "task-1"))
    await run.record([OrderOutcome(one, OrderState.CREATED, "task-2")])
    assert (await only(run)).task_id == "task-2"
    await run.close()


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
        *(ledger._store.request(marks.claim, wish) for wish in wishes), return_exceptions=True
    )
    assert isinstance(lost, RunLost)
    assert claimed == {two}
    outcomes = [
        marks.Results(held, [OrderOutcome(two, OrderState.CREATED, "task-2")], 0) for held in (older, run._held)
    ]
    ended = await asyncio.gather(
        *(ledger._store.request(marks.record, each) for each in outcomes), return_exceptions=True
    )
    assert [type(end) for end in ended] == [RunLost, type(None)]
    assert await states(ledger, run) == {"TRK-1": "pending", "TRK-2": "created"}
    await run.close()


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
    await run.close()


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
    for each in (run, other):
        await each.close()


async def test_a_task_is_of_whoever_lives_with_it(ledger: Ledger) -> None:
    """A task that a cancelled order has is that one's, until a live order has it as well."""
    for state in (OrderState.CANCELLED, OrderState.CREATED):
        run = await loaded(ledger, [order(1)])
        await bring(run, OrderState.CREATED)
        row = await only(run)
        if state is OrderState.CANCELLED:
            await run.record([OrderOutcome(row.id, state)])
        await run.close()
        assert await ledger._store.read(marks.recorded, "simulator", ["task-1", "task-2"]) == {"task-1": [row.id]}


def test_the_latest_tasks_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task is known with its order for as many tasks as are kept, at least; then it is forgotten."""
    monkeypatch.setattr(LatestTasks, "MOST", 10)
    tasks = LatestTasks()
    for order_id in range(1, 16):
        assert not tasks.others({f"task-{order_id}": order_id})
        tasks.keep({f"task-{order_id}": order_id})
    assert tasks.others({"task-1": 2})
    assert not tasks.others({"task-1": 1, "task-15": 15})
    assert tasks.others({"task-1": 1, "task-15": 1})
    for order_id in range(16, 40):
        tasks.keep({f"task-{order_id}": order_id})
    assert not tasks.others({"task-1": 2})
    assert tasks.others({"task-39": 2, "task-30": 30})


async def test_a_word_is_taken_of_a_key_that_went_on_to_another_run(ledger: Ledger) -> None:
    """An order is found by its key in its own run, also where the key leads to another run's order by now."""
    first = await loaded(ledger, orders(25))
    await bring(first, OrderState.IN_DOUBT)
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
    for run in (first, second):
        await run.close()


def _change(run: Run, states_: str, *, epoch: int) -> Callable[[Any], None]:
    """The job of another writer that changes the first chunk of a run."""

    def job(db: Any) -> None:
        (number,) = db.rows("span_of_run", run=run._held.number)[0][:1]
        chunk = load(db, [number])[number]
        chunk.states, chunk.epoch = list(states_), chunk.epoch + epoch
        chunk.save(db, 0)

    return job


@pytest.mark.parametrize("epoch", [0, 1])
async def test_a_claim_is_of_what_is_free_now(ledger: Ledger, epoch: int) -> None:
    """Orders that were taken over after they were read are not claimed; the others of their chunk are."""
    run = await loaded(ledger, orders(3))
    await run.start()
    waiting = [order.id async for page in run.pending() for order in page]
    await run._store.write(_change(run, "pup", epoch=epoch))
    assert await run.claim(waiting) == [waiting[0], waiting[2]]
    assert await states(ledger, run) == {"TRK-1": "sending", "TRK-2": "superseded", "TRK-3": "sending"}
    await run.record([OrderOutcome(each, OrderState.CREATED, f"task-{each}") for each in (waiting[0], waiting[2])])
    assert (await run.counts()).created == 2
    await run.close()


async def test_an_outcome_is_recorded_whatever_became_of_the_others(ledger: Ledger) -> None:
    """A chunk in which another writer moved another order since the claim is read again, and recorded as it is now."""
    run = await loaded(ledger, orders(3))
    await run.start()
    waiting = [order.id async for page in run.pending() for order in page]
    assert await run.claim(waiting[:2]) == waiting[:2]
    await run._store.write(_change(run, "ssu", epoch=0))
    await run.record([OrderOutcome(each, OrderState.CREATED, f"task-{each}") for each in waiting[:2]])
    assert await states(ledger, run) == {"TRK-1": "created", "TRK-2": "created", "TRK-3": "superseded"}
    await run.close()


async def test_a_claim_that_is_lost_records_nothing(ledger: Ledger) -> None:
    """What was claimed, and was claimed by another one since, is not recorded, whatever is remembered of it."""
    run = await loaded(ledger, orders(2))
    await run.start()
    waiting = [order.id async for page in run.pending() for order in page]
    assert await run.claim(waiting) == waiting
    await run._store.write(_change(run, "ss", epoch=1))
    with pytest.raises(IllegalTransition):
        await run.record([OrderOutcome(each, OrderState.CREATED, f"task-{each}") for each in waiting])
    assert set((await states(ledger, run)).values()) == {"sending"}
    await run.close()


async def test_what_was_noted_of_claimed_orders_stays(ledger: Ledger) -> None:
    """A lost draft that was noted between the claim and the record is still counted after it."""
    run = await loaded(ledger, orders(2), mode="two-phase")
    await run.start()
    waiting = [order.id async for page in run.pending() for order in page]
    await run.claim(waiting)
    await run.lose_drafts(waiting[:1])
    await run.record([OrderOutcome(waiting[0], OrderState.REFUSED, error="no")])
    assert await run.lost_drafts() == ["TRK-1"]
    await run.close()


async def test_what_is_noted_beside_a_record_stays(ledger: Ledger) -> None:
    """A lost draft that is noted in the transaction in which its chunk is recorded is still counted after the next."""
    run = await loaded(ledger, orders(3), mode="two-phase")
    await run.start()
    one, two, three = [order.id async for page in run.pending() for order in page]
    await run.claim([one, two, three])
    await asyncio.gather(run.record([OrderOutcome(one, OrderState.DRAFTED, "task-1")]), run.lose_drafts([two]))
    await run.record([OrderOutcome(two, OrderState.REFUSED, error="no")])
    assert await run.lost_drafts() == ["TRK-2"]
    await run.close()


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
    await run.close()


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
    await run.close()


async def test_a_new_sending_remembers_nothing(ledger: Ledger) -> None:
    """What was remembered before the sending began is forgotten with the claims."""
    run = await loaded(ledger, orders(1))
    assert [order.id async for page in run.pending() for order in page]
    assert run._held.seen
    await run.start()
    assert not run._held.seen
    await run.close()
