"""Which order of which run owns a key."""

import asyncio

import pytest
from msgspec.structs import replace

from gotsurge_async.ledger import (
    LIVE,
    Admission,
    Counts,
    Doubled,
    IllegalTransition,
    Ledger,
    OrderOutcome,
    OrderState,
    Run,
    RunHeld,
    RunLost,
    RunState,
)
from gotsurge_async.ledger.sql import runs
from tests.ledger.kit import added, bring, brought, epoch_of, ids, loaded, only, order, orders, states

S = OrderState
UNDECIDED = [S.PENDING, S.SENDING, S.DRAFTING, S.DRAFTED, S.BROADCASTING]
DOUBT, TAKEN = Admission(pending=1, already_pushed=1, in_doubt=1), Admission(pending=2, superseded=1)
CHANGED = replace(order(1), payload=b'{"tracking_id": "TRK-1", "changed": true}')


async def test_a_first_run_is_admitted_whole(ledger: Ledger) -> None:
    """Where no key is taken, every order becomes pending and the run ready."""
    run = await added(ledger, orders(3))
    await run.add([order(9)])
    assert await run.admit() == Admission(pending=4)
    assert await run.counts() == Counts(pending=4)
    assert (await ledger.run(run.id)).state is RunState.READY


async def test_a_key_doubled_in_the_run_admits_nothing(ledger: Ledger) -> None:
    """Keys that stand twice are listed by line, each with its first line, and no order is admitted."""
    run = await added(
        ledger, [order(1, "a"), order(2, "b"), order(3, "a"), order(4, "c"), order(5, "a"), order(6, "b")]
    )
    admission = await run.admit()
    assert admission == Admission(doubled=(Doubled("a", 1, 3), Doubled("a", 1, 5), Doubled("b", 2, 6)))
    assert await run.counts() == Counts(loading=6)
    assert (await ledger.run(run.id)).state is RunState.LOADING
    await run.discard()


async def test_the_list_of_doubled_keys_is_bounded(ledger: Ledger) -> None:
    """A file that repeats itself lists the first 1000 repeated keys."""
    run = await added(ledger, [*orders(1100), *(order(2000 + line, f"TRK-{line}") for line in range(1, 1101))])
    doubled = (await run.admit()).doubled
    assert len(doubled) == 1000
    assert doubled[-1] == Doubled("TRK-1000", 1000, 3000)
    await run.discard()


@pytest.mark.parametrize(
    ("state", "held", "admitted", "there", "why"),
    [
        (S.CREATED, True, Admission(pending=1, already_pushed=1), S.CREATED, "created by run {first}"),
        (S.CREATED, False, Admission(pending=1, already_pushed=1), S.CREATED, "created by run {first}"),
        (S.IN_DOUBT, True, DOUBT, S.IN_DOUBT, "in doubt in run {first}"),
        (S.SENDING, False, DOUBT, S.IN_DOUBT, "in doubt in run {first}"),
        (S.BROADCASTING, False, DOUBT, S.BROADCASTING, "in doubt in run {first}"),
        *((state, False, TAKEN, S.SUPERSEDED, None) for state in (S.PENDING, S.DRAFTING, S.DRAFTED)),
    ],
)
async def test_a_key_of_another_run_is_admitted_as_it_stands_there(
    ledger: Ledger, state: OrderState, held: bool, admitted: Admission, there: OrderState, why: str | None
) -> None:
    """What was sent is already pushed, or in doubt; what never acted, in a run that nobody holds, is taken over."""
    first = await brought(ledger, state)
    before = await only(first)
    if not held:
        await first.close()
    second = await added(ledger, orders(2))
    assert await second.admit() == admitted
    row, other = [row async for row in second.rows()]
    assert (row.key, row.error) == ("TRK-1", why and why.format(first=first.id))
    assert (row.state, other.state) == (S.ALREADY_PUSHED if why else S.PENDING, S.PENDING)
    if state is S.CREATED:
        assert (row.task_id, row.status) == ("task-1", "broadcasting")
    assert (await ledger.counts(second.id)).in_doubt == admitted.in_doubt
    (left,) = [row async for row in ledger.rows(first.id)]
    assert (left.state, left.task_id) == (there, None if there is S.SUPERSEDED else before.task_id)
    if there is S.SUPERSEDED:
        resumed = await ledger.hold(first.id)
        assert left.error == f"taken over by run {second.id}"
        assert await resumed.claim([before.id]) == await resumed.claim_broadcast([before.id]) == []


@pytest.mark.parametrize("state", UNDECIDED)
async def test_a_living_run_keeps_its_orders(ledger: Ledger, state: OrderState) -> None:
    """A key on its way in a held run refuses the whole admission with the holder's name, and changes nothing."""
    first = await brought(ledger, state)
    second = await added(ledger, orders(3))
    with pytest.raises(RunHeld) as caught:
        await second.admit()
    assert caught.value.run_id == first.id
    assert await states(ledger, first) == {"TRK-1": state.value}
    assert await second.counts() == Counts(loading=3)
    await first.close()
    assert not (await second.admit()).doubled


async def test_a_refused_order_may_be_pushed_again(ledger: Ledger) -> None:
    """A key that was refused, superseded or already pushed is free: only the live row of a key counts."""
    first = await brought(ledger, OrderState.REFUSED)
    await first.close()
    for _ in range(2):
        run = await added(ledger, [order(1)])
        assert (await run.admit()).pending == 1
        await run.close()
    await run_to_created(ledger)
    last = await added(ledger, [order(1)])
    assert await last.admit() == Admission(already_pushed=1)


async def run_to_created(ledger: Ledger) -> None:
    """Push TRK-1."""
    run = await loaded(ledger, [order(1)])
    await bring(run, OrderState.CREATED)
    await run.close()


async def test_environments_do_not_meet(ledger: Ledger) -> None:
    """The same key in another environment is another order."""
    first = await loaded(ledger, [order(1)], environment="sandbox")
    second = await loaded(ledger, [order(1)], environment="production")
    assert await states(ledger, first) == await states(ledger, second) == {"TRK-1": "pending"}


async def test_rules_meet_in_one_admission(ledger: Ledger) -> None:
    """Keys of many runs in many states are distinguished in one admission, and no key is live twice."""
    for line, state in enumerate((OrderState.CREATED, OrderState.IN_DOUBT, OrderState.SENDING, OrderState.PENDING), 1):
        run = await loaded(ledger, [order(line)])
        await bring(run, state)
        await run.close()
    run = await added(ledger, orders(6))
    assert await run.admit() == Admission(pending=3, already_pushed=3, in_doubt=2, superseded=1)
    live = [row.key for info in await ledger.runs() for row in [r async for r in ledger.rows(info.id, LIVE)]]
    assert sorted(live) == [f"TRK-{line}" for line in range(1, 7)]


async def test_an_admission_is_not_disturbed_by_another_write(ledger: Ledger) -> None:
    """An admission that is undone because a write beside it failed is tried again, and locks the same runs again."""
    dead, other = await loaded(ledger, [order(1)]), await loaded(ledger, [order(2)])
    await dead.close()
    run = await added(ledger, [order(1)])
    admission, failed = await asyncio.gather(
        run.admit(), other.record([OrderOutcome(1, OrderState.CREATED)]), return_exceptions=True
    )
    assert admission == Admission(pending=1, superseded=1)
    assert isinstance(failed, IllegalTransition)


async def test_an_admission_frees_the_runs_it_looked_at(ledger: Ledger) -> None:
    """After an admission, granted or refused, every run that was locked for it can be taken up again."""
    dead, alive = await loaded(ledger, [order(1)]), await loaded(ledger, [order(2)])
    await dead.close()
    run = await added(ledger, orders(2))
    for refused in (True, False):
        if refused:
            with pytest.raises(RunHeld):
                await run.admit()
        else:
            await alive.close()
            await run.admit()
        again = await ledger.hold(dead.id)
        assert len(await ids(again, OrderState.PENDING)) == int(refused)
        await again.close()


@pytest.mark.parametrize(
    ("state", "here"),
    [
        (OrderState.DRAFTED, OrderState.DRAFTED),
        (OrderState.BROADCASTING, OrderState.BROADCASTING),
        (OrderState.IN_DOUBT, OrderState.BROADCASTING),
    ],
)
async def test_the_same_order_comes_with_its_draft(ledger: Ledger, state: OrderState, here: OrderState) -> None:
    """A recorded draft of a dead run goes on in the new one, to be broadcast or read by its id, and nowhere else."""
    first = await loaded(ledger, [order(1)], mode="two-phase")
    await bring(first, state)
    theirs = await only(first)
    task_id = theirs.task_id
    await first.close()
    second = await added(ledger, orders(2), mode="two-phase")
    assert await second.doubtful_rivals() == []
    epoch = await epoch_of(ledger, theirs.id)
    assert await second.admit() == Admission(pending=2, superseded=1)
    assert await epoch_of(ledger, theirs.id) > epoch  # whoever has claimed it changes nothing more
    row = await only(second, here)
    assert (row.key, row.task_id) == ("TRK-1", task_id)
    assert await states(ledger, first) == {"TRK-1": "superseded"}
    with pytest.raises(RunLost):
        await go_on(ledger, first)


async def go_on(ledger: Ledger, run: Run) -> None:
    """What a process does that was frozen while its run was taken over: it goes on."""
    await ledger.write(lambda db: runs.fence(db, run._held))


@pytest.mark.parametrize("state", [OrderState.BROADCASTING, OrderState.IN_DOUBT])
async def test_a_changed_order_does_not_take_a_draft_that_may_be_out(ledger: Ledger, state: OrderState) -> None:
    """An order that differs from the one in doubt is not sent, and the run that must be read for it is named."""
    first = await loaded(ledger, [order(1)], mode="two-phase")
    await bring(first, state)
    await first.close()
    second = await added(ledger, [CHANGED], mode="two-phase")
    assert await second.doubtful_rivals() == [first.id]
    assert await second.admit() == Admission(already_pushed=1, in_doubt=1)
    assert await states(ledger, first) == {"TRK-1": state.value}


async def test_a_changed_order_leaves_a_draft_unused_that_was_never_broadcast(ledger: Ledger) -> None:
    """An order that changed while only its draft existed is drafted anew; the other draft is listed as unused."""
    first = await loaded(ledger, [order(1)], mode="two-phase")
    await bring(first, OrderState.DRAFTED)
    task_id = (await only(first)).task_id
    await first.close()
    second = await added(ledger, [CHANGED], mode="two-phase")
    assert await second.admit() == Admission(pending=1, superseded=1)
    assert [draft.task_id for draft in await ledger.unused_drafts(second.id)] == [task_id]
    assert (await only(second)).task_id is None


@pytest.mark.parametrize("state", [OrderState.DRAFTED, OrderState.BROADCASTING, OrderState.IN_DOUBT])
async def test_a_draft_stays_with_its_account(ledger: Ledger, state: OrderState) -> None:
    """Another account drafts the same order anew; one whose draft may be out stays in doubt in its own run."""
    first = await loaded(ledger, [order(1)], mode="two-phase", account="acme")
    await bring(first, state)
    task_id = (await only(first)).task_id
    await first.close()
    second = await added(ledger, [order(1)], mode="two-phase")
    if state is not OrderState.DRAFTED:
        assert await second.admit() == Admission(already_pushed=1, in_doubt=1)
        assert await states(ledger, first) == {"TRK-1": state.value}
        return
    assert await second.admit() == Admission(pending=1, superseded=1)
    assert (await only(second)).task_id is None
    assert await second.lost_drafts() == []
    assert [draft.task_id for draft in await ledger.unused_drafts(first.id)] == [task_id]
    assert await ledger.unused_drafts(second.id) == []


@pytest.mark.parametrize("mode", ["two-phase", "direct"])
@pytest.mark.parametrize("account", ["acme", ""])
async def test_a_lost_draft_stays_with_a_run_that_cannot_use_it(ledger: Ledger, account: str, mode: str) -> None:
    """Only a two-phase run of the same account takes it over; in any other run it could never be cancelled."""
    first = await loaded(ledger, [order(1)], mode="two-phase", account="acme")
    (claimed,) = await first.claim(await ids(first))
    await first.lose_drafts([claimed])
    await first.record([OrderOutcome(claimed, OrderState.REFUSED, error="no")])
    second = await added(ledger, [order(1)], mode=mode, account=account)
    await second.admit()
    is_usable = account == "acme" and mode == "two-phase"
    assert await second.lost_drafts() == ["TRK-1"] * is_usable
    assert await first.lost_drafts() == ["TRK-1"]


@pytest.mark.parametrize("state", [OrderState.REFUSED, OrderState.CANCELLED])
async def test_a_free_order_that_was_pushed_again_is_reported_by_its_new_run(ledger: Ledger, state: OrderState) -> None:
    """What was refused or cancelled and pushed again is no longer certainly not there: the new run says what it is."""
    first = await brought(ledger, OrderState.CREATED if state is OrderState.CANCELLED else state)
    if state is OrderState.CANCELLED:
        await first.record([OrderOutcome((await only(first)).id, state)])
    await first.close()
    second = await loaded(ledger, [order(1)])
    assert (await ledger.counts(first.id)).superseded == 1
    await bring(second, OrderState.CREATED)
    (page,) = [page async for page in ledger.results(first.id)]
    assert (page[0].state, page[0].error) == ("already_pushed", f"pushed again by run {second.id}")
    await second.record([OrderOutcome((await only(second)).id, OrderState.CANCELLED)])
    assert (await ledger.counts(first.id))[state] == 1


async def test_what_was_already_pushed_and_taken_back_says_so(ledger: Ledger) -> None:
    """An order whose owner was cancelled since is unprocessed, and its reason does not say that it is there."""
    first = await brought(ledger, OrderState.CREATED)
    second = await loaded(ledger, [order(1)])
    await first.record([OrderOutcome((await only(first)).id, OrderState.CANCELLED)])
    (page,) = [page async for page in ledger.results(second.id)]
    assert page[0].state == "superseded"
    assert page[0].error == f"the key is free again, and may be pushed; the order was created by run {first.id}"


async def test_an_order_is_reported_by_whoever_owns_its_key(ledger: Ledger) -> None:
    """The results and counts of a run follow an order to the run that took it over, and say what became of it there."""
    first = await brought(ledger, OrderState.PENDING)
    await first.close()
    second = await loaded(ledger, [order(1)])
    assert (await ledger.counts(first.id)).superseded == 1
    for state, expected in ((OrderState.IN_DOUBT, "in_doubt"), (OrderState.CREATED, "already_pushed")):
        if state is OrderState.IN_DOUBT:
            await bring(second, state)
        else:
            await second.record([OrderOutcome((await only(second)).id, state, status="accepted")])
        (page,) = [page async for page in ledger.results(first.id)]
        assert (page[0].state, page[0].task_id) == (expected, (await only(second)).task_id)
        assert (await ledger.counts(first.id))[OrderState(expected)] == 1
    await second.record([OrderOutcome((await only(second)).id, OrderState.CANCELLED)])
    assert (await ledger.counts(first.id)).superseded == 1


@pytest.mark.parametrize(("lost", "expected"), [(1, []), (2, ["TRK-1"])])
@pytest.mark.parametrize("state", [OrderState.PENDING, OrderState.DRAFTED])
async def test_only_drafts_that_nobody_knows_are_lost_to_the_next_run(
    ledger: Ledger, state: OrderState, lost: int, expected: list[str]
) -> None:
    """What was found of lost drafts, and noted, is not lost again when another run takes the order over."""
    first = await loaded(ledger, orders(1), mode="two-phase")
    for _ in range(lost):
        await first.lose_drafts(await ids(first))
    await first.note_unused([("TRK-1", "draft-1")])
    await bring(first, state)
    assert await first.lost_drafts() == expected
    await first.close()
    second = await loaded(ledger, orders(1), mode="two-phase")
    assert await second.lost_drafts() == expected


async def test_what_was_being_drafted_may_have_a_draft_in_the_next_run(ledger: Ledger) -> None:
    """An order that is taken over while it was being drafted may have a draft that nobody knows, and says so."""
    first = await brought(ledger, OrderState.DRAFTING)
    await first.close()
    second = await loaded(ledger, orders(2), mode="two-phase")
    assert await second.lost_drafts() == ["TRK-1"]
