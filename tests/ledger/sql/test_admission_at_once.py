"""Keys that move from run to run while runs are loaded."""

import pytest

from gotsurge_async.database import Database
from gotsurge_async.ledger import (
    Admission,
    Counts,
    Doubled,
    Ledger,
    NewOrder,
    OrderOutcome,
    OrderState,
    RunHeld,
)
from gotsurge_async.ledger.sql.chunks import by_chunk
from tests.ledger.kit import added, begun, bring, brought, ids, loaded, only, order, orders, states


async def test_a_key_that_became_free_since_it_was_loaded_is_taken(ledger: Ledger) -> None:
    """A key that another order had when it was put in, and gave up before the admission, is this run's."""
    first = await brought(ledger, OrderState.SENDING)
    second = await added(ledger, orders(2))
    await first.record([OrderOutcome((await only(first)).id, OrderState.REFUSED)])
    assert await second.admit() == Admission(pending=2)
    third = await added(ledger, [order(1)])
    with pytest.raises(RunHeld) as caught:
        await third.admit()
    assert caught.value.run_id == second.id


async def test_of_two_that_load_the_same_keys_the_first_admitted_has_them(ledger: Ledger) -> None:
    """The run that is admitted first gets the key, whichever inserted it first; the other one finds it taken."""
    first, second = await begun(ledger), await begun(ledger)
    await first.add(orders(3))
    await second.add(orders(2))
    assert await second.admit() == Admission(pending=2)
    with pytest.raises(RunHeld) as caught:
        await first.admit()
    assert caught.value.run_id == second.id
    await bring(second, OrderState.CREATED)
    assert await first.admit() == Admission(pending=1, already_pushed=2)
    assert await states(ledger, first) == {"TRK-1": "already_pushed", "TRK-2": "already_pushed", "TRK-3": "pending"}


async def test_a_key_that_a_loading_run_lost_and_that_is_free_again_is_its_own(ledger: Ledger) -> None:
    """What another's admission took from a loading run comes back to it, if it was refused there meanwhile."""
    first, second = await begun(ledger), await begun(ledger)
    await first.add(orders(1))
    await second.add(orders(1))
    await second.admit()
    await bring(second, OrderState.REFUSED)
    assert await first.admit() == Admission(pending=1)
    assert (await ledger.counts(second.id)).superseded == 1  # its key waits in the first run


async def test_a_key_twice_is_found_across_blocks_and_chunks(ledger: Ledger) -> None:
    """However far apart a key's two lines were put in, also where another run has it, both are named."""
    live = await brought(ledger, OrderState.CREATED)
    run = await added(ledger, [order(line) for line in range(1, 46)])
    await run.add([order(101, "TRK-44"), order(102, "TRK-1"), order(103, "TRK-1")])
    doubled = (await run.admit()).doubled
    assert doubled == (Doubled("TRK-44", 44, 101), Doubled("TRK-1", 1, 102), Doubled("TRK-1", 1, 103))
    await run.discard()
    assert await states(ledger, live) == {"TRK-1": "created"}


async def test_a_key_twice_is_found_where_another_run_took_it_meanwhile(ledger: Ledger) -> None:
    """A key that stands twice in a loading run is reported, also when another's admission took it from there."""
    first, second = await begun(ledger), await begun(ledger)
    await first.add([order(1, "a"), order(2, "b"), order(3, "a")])
    await second.add([order(1, "a")])
    assert await second.admit() == Admission(pending=1)
    assert (await first.admit()).doubled == (Doubled("a", 1, 3),)
    await first.discard()


async def test_a_discarded_run_frees_its_keys_and_no_others(ledger: Ledger) -> None:
    """The keys of a run that was never admitted are free; those that were another's all along, or by now, stay its."""
    await brought(ledger, OrderState.CREATED)
    first, second = await begun(ledger), await begun(ledger)
    await first.add(orders(4))
    await second.add([order(2)])
    await second.admit()
    await first.discard()
    left = await ledger.read(lambda db: db.rows("keys", environment="simulator", keys=db.listed(["TRK-3", "TRK-4"])))
    assert left == []
    third = await added(ledger, orders(4))
    with pytest.raises(RunHeld) as caught:
        await third.admit()
    assert caught.value.run_id == second.id
    await bring(second, OrderState.CREATED)
    assert await third.admit() == Admission(pending=2, already_pushed=2)


async def test_who_waited_for_a_key_of_a_run_that_was_discarded_has_it(ledger: Ledger) -> None:
    """A key that was another loading run's, which is gone, is whose run is admitted next: only once."""
    gone, second, third = await begun(ledger), await begun(ledger), await begun(ledger)
    await gone.add([order(1)])
    await second.add([order(1)])
    await gone.discard()
    await third.add([order(1)])  # by now the key is its own
    assert await second.admit() == Admission(pending=1)
    with pytest.raises(RunHeld) as caught:
        await third.admit()
    assert caught.value.run_id == second.id


async def test_tracking_ids_that_another_loading_run_has_as_keys_are_noticed(ledger: Ledger) -> None:
    """A loading run returns its order while another loading run has the key, and after that run was discarded."""
    rows = [NewOrder(line, f"TRK-{line}", b'{"tracking_id":"TRK-%d"}' % line) for line in (1, 2)]
    other, run = await begun(ledger), await begun(ledger)
    await other.add(rows[1:])
    await run.add(rows)
    assert await run.keys_of({"trk-2"}, are_keys=True) == ["TRK-2"]
    await other.discard()
    assert await ledger.read(lambda db: db.rows("keys", environment="simulator", keys=db.listed(["TRK-2"]))) == []
    assert await run.keys_of({"trk-2"}, are_keys=True) == ["TRK-2"]


async def test_a_key_is_taken_only_from_whom_it_was_found_with(ledger: Ledger) -> None:
    """A key that leads elsewhere than was read is not taken, and the admission that read it is done again."""
    run = await loaded(ledger, [order(1)])
    values = {"environment": "simulator", "key": "TRK-1", "chunk": 99, "place": 0, "fingerprint": None}

    def take(db: Database, number: int, place: int) -> int:
        return db.change("take_key", **values, from_chunk=number, from_place=place)

    ((number, (place,)),) = by_chunk(await ids(run)).items()
    for elsewhere in ((0, 0), (number, place + 1), (number + 1, place)):
        assert await ledger.write(lambda db, at=elsewhere: take(db, *at)) == 0  # type: ignore[misc]
    assert await ledger.write(lambda db: take(db, number, place)) == 1


async def test_orders_that_come_over_from_many_runs_keep_their_chunks_apart(ledger: Ledger) -> None:
    """One chunk of new orders meets chunks of several dead runs in several states, more than one look can hold."""
    for start, state in ((1, OrderState.DRAFTED), (301, OrderState.BROADCASTING), (601, OrderState.PENDING)):
        dead = await loaded(ledger, [order(line) for line in range(start, start + 300)], mode="two-phase")
        await bring(dead, state)
        await dead.close()
    rows = orders(900)
    run = await added(ledger, rows[::3] + rows[1::3] + rows[2::3], mode="two-phase")
    assert await run.admit() == Admission(pending=900, superseded=900)
    assert await run.counts() == Counts(drafted=300, broadcasting=300, pending=300)
    async for row in run.rows():
        assert row.task_id == (f"task-{row.line}" if row.line <= 600 else None)
