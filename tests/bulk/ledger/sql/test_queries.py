"""Single questions to the ledger."""

import attrs

from gotsurge_async.bulk.ledger import (
    Counts,
    Ledger,
    OrderOutcome,
    OrderState,
    UnusedDraft,
)
from tests.bulk.ledger.kit import begun, ids, loaded, order, orders


async def test_counts_tell_every_state(ledger: Ledger) -> None:
    """The counts of a run name each state, and their sum is the number of its orders."""
    run = await loaded(ledger, orders(5))
    one, two, *_ = await run.claim((await ids(run))[:3])
    await run.record([OrderOutcome(one, OrderState.CREATED), OrderOutcome(two, OrderState.REFUSED)])
    counts = await run.counts()
    assert counts == Counts(pending=2, sending=1, created=1, refused=1)
    assert counts.total == 5
    assert counts[OrderState.SENDING] == 1
    assert await ledger.counts(run.id) == counts
    await run.close()


async def test_lost_and_unused_drafts_are_remembered(ledger: Ledger) -> None:
    """A draft whose answer was lost is counted until it is found; one that is found or refused is listed."""
    run = await loaded(ledger, orders(3), mode="two-phase")
    first, second, third = await run.claim(await ids(run))
    await run.lose_drafts([first])
    await run.release_claim([first, third])
    assert await run.lost_drafts() == ["TRK-1"]
    await run.note_unused([("TRK-1", "task-9"), ("TRK-1", "task-9")])
    await run.note_unused([("TRK-1", "task-9")])
    assert await run.lost_drafts() == []
    await run.record([OrderOutcome(second, OrderState.DRAFTED, "task-2")])
    await run.claim_broadcast([second])
    await run.record([OrderOutcome(second, OrderState.REFUSED)])
    assert await ledger.unused_drafts(run.id) == [
        UnusedDraft("TRK-1", "task-9", cancelled=False),
        UnusedDraft("TRK-2", "task-2", cancelled=False),
    ]
    await run.unused_cancelled(["task-9"])
    assert [draft.cancelled for draft in await ledger.unused_drafts(run.id)] == [True, False]
    await run.close()


async def test_similar_orders_are_shown(ledger: Ledger) -> None:
    """Waiting orders are paired with live orders of the same fingerprint and another key, of this run and of others."""
    first = await loaded(ledger, [order(1, "a", b"\x01"), order(2, "b", b"\x02"), order(3, "c")])
    second = await begun(ledger)
    await second.add([order(1, "d", b"\x01"), order(2, "e", b"\x01"), order(3, "f", b"\x03"), order(4, "g")])
    assert {(pair.key, pair.other_key) for pair in await second.similar()} == {("d", "a"), ("e", "a")}
    await second.admit()
    pairs = await second.similar()
    assert {(pair.key, pair.other_key) for pair in pairs} == {("d", "a"), ("e", "a"), ("e", "d")}
    one = next(pair for pair in pairs if pair.key == "d")
    assert (one.line, one.other_line, one.other_run, one.other_state) == (1, 1, first.id, OrderState.PENDING)
    elsewhere = await loaded(ledger, [order(1, "x", b"\x01")], environment="sandbox")
    assert await elsewhere.similar() == []
    for run in (first, second, elsewhere):
        await run.close()


async def test_only_a_draft_that_can_be_nobody_elses_is_adopted(ledger: Ledger) -> None:
    """A draft found by its name is an order's own, unless its key had another text, or the draft is known."""
    for text in (b"old", b"new"):
        run = await begun(ledger, mode="two-phase")
        await run.add([order(1), attrs.evolve(order(2), payload=text), order(3), order(4)])
        await run.admit()
        if text == b"old":
            await run.claim(await ids(run))
            await run.close()
    third, fourth = (await run.claim(await ids(run)))[2:]
    await run.record([OrderOutcome(third, OrderState.DRAFTED, "recorded")])
    await run.note_unused([("TRK-4", "noted")])
    drafts = {"TRK-1": "found", "TRK-2": "of-the-old-text", "TRK-3": "recorded", "TRK-4": "noted", "TRK-9": "x"}
    assert await run.adoptable(drafts) == {"TRK-1": "found"}
    await run.release_claim([fourth])
    await run.close()
