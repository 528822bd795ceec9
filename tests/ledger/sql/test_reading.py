"""What is asked of the ledger: the orders of a run, page after page, and single questions."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from gotsurge_async.ledger import (
    Counts,
    Ledger,
    NewOrder,
    OrderOutcome,
    OrderState,
    Rival,
    Size,
    Taken,
    TaskCancelling,
    UnusedDraft,
)
from gotsurge_async.ledger.sql import notes
from gotsurge_async.ledger.upkeep.check import check
from gotsurge_async.models.tasks import Receipt
from tests.ledger.kit import START, TurnedClock, added, begun, bring, ids, loaded, only, order, orders


async def test_results_say_what_became_of_each_order(ledger: Ledger) -> None:
    """Results come as the orders were put in, in pages, with the row of the source, or the payload where none is."""
    run = await ledger.begin(environment="simulator", mode="direct", source="orders.csv", chunk=2)
    await run.add([order(2), NewOrder(3, "k", b"{}", None), order(1)])
    await run.admit()
    (first, *_) = await ids(run)
    await run.claim([first])
    await run.record([OrderOutcome(first, OrderState.CREATED, "task-1", "broadcasting")])
    pages = [page async for page in ledger.results(run.id, batch=2)]
    assert [len(page) for page in pages] == [2, 1]
    actual = [(row.line, row.state, row.task_id, row.status, row.error, row.source) for page in pages for row in page]
    assert actual == [
        (2, "created", "task-1", "broadcasting", None, order(2).source_row),
        (3, "pending", None, None, None, b"{}"),
        (1, "pending", None, None, None, order(1).source_row),
    ]


async def test_large_orders_come_in_small_pages(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page holds fewer chunks where they are large, and at least one, and no order is left out."""
    monkeypatch.setattr("gotsurge_async.ledger.sql.pages.FIRST_PAGE", 2)
    monkeypatch.setattr("gotsurge_async.ledger.sql.pages.PAGE_BYTES", 10_000)
    sizes = [10] * 15 + [2_000] * 15 + [20_000] * 6
    run = await ledger.begin(environment="simulator", mode="direct", source="orders.csv", chunk=1)
    await run.add([NewOrder(line, f"k{line}", b"x" * size, None) for line, size in enumerate(sizes, 1)])
    await run.admit()
    pages = [[(each.line, len(each.payload)) for each in page] async for page in run.pending(200)]
    assert [each for page in pages for each in page] == list(enumerate(sizes, 1))
    assert [len(page) for page in pages] == [2, 10, 10, 7, 5, 1, 1]


@pytest.mark.parametrize("compact", [False, True])
async def test_rows_come_as_they_were_put_in(ledger: Ledger, compact: bool) -> None:
    """Rows come in the order in which they were put in, however they are paged, and only in the states asked for."""
    lines = [5, 3, 9, 1, 7, 3]
    run = await ledger.begin(environment="simulator", mode="direct", source="s", chunk=2, compact=compact)
    await run.add([order(line, f"k{n}") for n, line in enumerate(lines[:3])])
    await run.add([order(line, f"k{n}") for n, line in enumerate(lines[3:], 3)])
    assert [row.key async for row in run.rows({OrderState.LOADING})] == ["k0", "k1", "k2", "k3", "k4", "k5"]
    assert [row.key async for row in run.rows({OrderState.PENDING})] == []
    assert [page async for page in run.pending()] == []
    await run.admit()
    for batch in (1, 20, 40, 60, 1000):
        rows = [row async for row in run.rows(batch=batch)]
        assert [(row.line, row.key) for row in rows] == list(
            zip(lines, ["k0", "k1", "k2", "k3", "k4", "k5"], strict=True)
        )
        assert [(row.payload, row.source_row) for row in rows] == [(o.payload, o.source_row) for o in map(order, lines)]
        assert sorted(row.id for row in rows) == [row.id for row in rows]
    assert [len(page) async for page in run.pending(20)] == [2, 1, 2, 1]
    assert [len(page) async for page in run.pending(40)] == [3, 3]
    await run.claim((await ids(run))[1:3])
    assert [row.key async for row in run.rows({OrderState.SENDING, OrderState.CREATED})] == ["k1", "k2"]
    assert [row.key async for row in run.rows([])] == []
    assert [row.key async for row in run.rows({OrderState.LOADING})] == []
    with pytest.raises(ValueError, match="at least 1"):
        await anext(run.pending(0))


async def test_pending_passes_over_what_was_claimed(ledger: Ledger) -> None:
    """Orders claimed while the pages are read are not given again, released ones come in the next iteration."""
    run = await loaded(ledger, orders(100))
    seen = []
    async for page in run.pending(40):
        seen += [each.line for each in page]
        claimed = await run.claim([each.id for each in page])
        if len(seen) == 40:
            await run.release_claim(claimed[:1])
    assert seen == list(range(1, 101))
    assert [[each.line for each in page] async for page in run.pending()] == [[1]]


async def test_times_are_of_the_claim_and_of_the_last_word(ledger: Ledger, clock: TurnedClock) -> None:
    """A row says when it was claimed, if it was, and when something was last said of its chunk."""
    run = await loaded(ledger, orders(2))
    clock.turn(5)
    await run.claim((await ids(run))[:1])
    actual = [(row.claimed_at, row.updated_at) async for row in run.rows()]
    moment = START + timedelta(seconds=5)
    assert actual == [(moment, moment), (None, moment)]


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
    for environment, task, of_run in (
        ("simulator", "task-2", run.id),
        ("simulator", "task-9", run.id),
        ("simulator", "none", None),
        ("sandbox", "task-9", None),
    ):
        info = await ledger.draft_or_archived(environment, task)
        assert (None if info is None else info.id) == of_run
    await run.claim([third])
    await run.record([OrderOutcome(third, OrderState.REFUSED, error="before there was a draft")])
    await run.unused_cancelled(["task-9"])
    assert [draft.cancelled for draft in await ledger.unused_drafts(run.id)] == [True, False]


async def test_similar_orders_are_shown(ledger: Ledger) -> None:
    """Waiting orders are listed, each once, with live orders of their fingerprint and another key, in any run."""
    first = await loaded(ledger, [order(1, "a", b"\x01"), order(2, "b", b"\x02"), order(3, "c")])
    second = await begun(ledger)
    await second.add([order(1, "d", b"\x01"), order(2, "e", b"\x01"), order(3, "f", b"\x03"), order(4, "g")])
    assert {(pair.key, pair.other_key) for pair in await second.similar()} == {("d", "a"), ("e", "a")}
    await second.admit()
    alike = await second.similar()
    assert [(each.key, each.other_key, each.others) for each in alike] == [("d", "a", 1), ("e", "a", 2)]
    one = alike[0]
    assert (one.line, one.other_line, one.other_run, one.other_state) == (1, 1, first.id, OrderState.PENDING)
    elsewhere = await loaded(ledger, [order(1, "x", b"\x01")], environment="sandbox")
    assert await elsewhere.similar() == []


@pytest.mark.parametrize("few", [0, 10_000])
async def test_few_of_many_similar_orders_are_shown(ledger: Ledger, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many others are alike, and whatever became of them, a waiting order is paired with one that lives."""
    monkeypatch.setattr(notes, "SIMILAR_LIMIT", 1)
    monkeypatch.setattr(notes, "FEW_CHUNKS", few)
    standing = await loaded(ledger, [order(n, fingerprint=b"the same") for n in range(1, 61)])
    await bring(standing, OrderState.CREATED)
    refused = await loaded(ledger, [order(n, fingerprint=b"refused%d" % (n % 10)) for n in range(61, 71)])
    await bring(refused, OrderState.REFUSED)
    last = await loaded(ledger, [order(71, fingerprint=b"refused1")])
    await bring(last, OrderState.CREATED)
    again = await loaded(ledger, [order(n, fingerprint=b"refused%d" % (n % 10)) for n in range(161, 172)])
    assert {pair.other_key for pair in await again.similar()} <= {"TRK-71", "TRK-161"}
    assert len(await again.similar()) == 1
    day = await loaded(ledger, [order(200, fingerprint=b"the same")])
    (pair,) = await day.similar()
    assert (pair.key, pair.other_run) == ("TRK-200", standing.id)
    await bring(day, OrderState.CREATED)
    assert await day.similar() == []


async def test_only_a_draft_that_can_be_nobody_elses_is_adopted(ledger: Ledger) -> None:
    """A draft found by its name is an order's own, unless its key had another text, or the draft is known."""
    for text in (b"old", b"new"):
        run = await added(ledger, [order(1), replace(order(2), payload=text), order(3), order(4)], mode="two-phase")
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


async def test_the_draft_of_a_withdrawn_order_may_become_that_of_its_key(ledger: Ledger) -> None:
    """It is recorded and noted, but was never broadcast. The time at which the order was made may differ, no more."""
    texts = [b'{"client_time_utc": "2030-01-01", "price": 1}', b'{"price": 1, "client_time_utc": "2030-01-02"}']
    first = await added(ledger, [replace(order(n), payload=texts[0]) for n in (1, 2, 3)], mode="two-phase")
    await first.admit()
    await first.start()
    claimed = await first.claim(await ids(first))
    await first.record([OrderOutcome(each, OrderState.DRAFTED, f"draft-{each}") for each in claimed])
    await first.withdraw(claimed[:2], "not sent")
    await first.close()
    contents = [texts[1], texts[1].replace(b"1,", b"2,"), texts[0], texts[1]]
    second = await added(
        ledger, [replace(order(n), payload=text) for n, text in enumerate(contents, 1)], mode="two-phase"
    )
    await second.admit()
    numbers = [row.id async for row in second.rows()]
    assert await second.lost_of(numbers) == {"TRK-1", "TRK-2"}
    drafts = {f"TRK-{n}": f"draft-{each}" for n, each in enumerate(claimed, 1)}
    assert await second.adoptable(drafts) == {"TRK-1": drafts["TRK-1"]}
    assert await second.adoptable({"TRK-4": drafts["TRK-1"]}) == {}  # another key's
    assert await ledger.begin_cancel("simulator", [*drafts.values()]) == {drafts["TRK-3"]: second.id}
    assert await second.adoptable(drafts) == {}  # its cancel may act
    assert not any(draft.cancelled for draft in await ledger.unused_drafts(first.id))


async def test_a_task_that_no_order_has_is_noted_while_a_person_cancels_it(ledger: Ledger, clock: TurnedClock) -> None:
    """No answer makes it the task of an order. A draft that is noted as unused later is being cancelled still."""
    run = await loaded(ledger, orders(2), mode="two-phase")
    first, second = await run.claim(await ids(run))
    until = clock() + timedelta(minutes=10)
    assert await ledger.begin_cancel("simulator", ["draft-1", "draft-2"], until=until, by=1) == {}
    assert await run.adoptable({"TRK-1": "draft-1"}) == {}
    for outcomes in (
        Taken([first, second], OrderState.DRAFTED, [Receipt(id="draft-3"), Receipt(id="draft-1")]),
        [OrderOutcome(second, OrderState.DRAFTED, "draft-1")],
    ):
        with pytest.raises(TaskCancelling, match="task draft-1 is being or was cancelled"):
            await run.record(outcomes, broadcast=True)
    await ledger.forget_cancels(["draft-2"], by=1)
    assert await run.adoptable({"TRK-2": "draft-2"}) == {"TRK-2": "draft-2"}
    await run.note_unused([("TRK-1", "draft-1")])
    assert [draft.task_id for draft in await ledger.unused_drafts(run.id)] == ["draft-1"]
    assert await run.adoptable({"TRK-1": "draft-1"}) == {}
    await run.record([OrderOutcome(first, OrderState.DRAFTED, "draft-2")])
    assert await ledger.begin_cancel("simulator", ["draft-2", "draft-4"], until=until) == {"draft-2": run.id}
    assert await ledger.owners("simulator", ["draft-1", "draft-4"]) == {"draft-1": 0}
    await run.release_claim([second])
    flaws = (await asyncio.to_thread(check, ledger.place)).flaws
    assert {flaw.table for flaw in flaws} <= {"bodies"}  # the orders are no JSON here


async def test_a_cancel_in_another_environment_does_not_matter(ledger: Ledger, clock: TurnedClock) -> None:
    """Two of one id, which are in two, hold up the orders of both; the oldest notes are removed."""
    run = await loaded(ledger, orders(1))
    (mine,) = await run.claim(await ids(run))
    until = clock() + timedelta(minutes=10)
    outcome = [OrderOutcome(mine, OrderState.CREATED, "task-1")]
    await ledger.begin_cancel("production", ["task-1"], until=until)
    await ledger.begin_cancel("simulator", ["task-1"], until=until)
    with pytest.raises(TaskCancelling):
        await run.record(outcome)
    clock.turn(31 * 86_400)
    await ledger.begin_cancel("production", ["task-1"], until=clock() + timedelta(minutes=10))
    await run.record(outcome)


@pytest.mark.parametrize("inherits", [True, False])
async def test_an_inherited_draft_of_a_withdrawn_order_may_become_that_of_its_key(
    ledger: Ledger, inherits: bool
) -> None:
    """The superseded order has it, too. One that its successor did not inherit may be being cancelled."""
    first = await loaded(ledger, [order(1)], mode="two-phase")
    await bring(first, OrderState.DRAFTED)
    await first.close()
    second = await loaded(ledger, [order(1)], mode="two-phase" if inherits else "direct")
    (here,) = [row.id async for row in second.rows()]
    assert await second.adoptable({"TRK-1": "task-1"}) == {}
    assert await second.withdraw([here], "not sent") == {here}
    third = await loaded(ledger, [order(1)], mode="two-phase")
    assert await third.adoptable({"TRK-1": "task-1"}) == ({"TRK-1": "task-1"} if inherits else {})


async def test_a_noted_draft_that_an_order_goes_on_with_is_not_unused(ledger: Ledger) -> None:
    """Whoever cancelled it would cancel the order; nor is it listed when that is cancelled, but if it is withdrawn."""
    first = await loaded(ledger, orders(2), mode="two-phase")
    claimed = await first.claim(await ids(first))
    await first.record([OrderOutcome(each, OrderState.DRAFTED, f"draft-{each}") for each in claimed])
    await first.withdraw(claimed, "not sent")
    second = await loaded(ledger, orders(2), mode="two-phase")
    here = await second.claim(await ids(second))
    drafts = [f"draft-{each}" for each in claimed]
    pairs = zip(here, drafts, strict=True)
    await second.record([OrderOutcome(each, OrderState.DRAFTED, draft) for each, draft in pairs])
    assert await ledger.unused_drafts(first.id) == []
    await second.withdraw(here[1:], "not sent")
    assert [draft.task_id for draft in await ledger.unused_drafts(first.id)] == drafts[1:]
    await second.claim_broadcast(here[:1])
    await second.record([OrderOutcome(here[0], OrderState.CREATED, drafts[0])])
    await second.record([OrderOutcome(here[0], OrderState.CANCELLED, drafts[0])])
    assert [draft.task_id for draft in await ledger.unused_drafts(first.id)] == drafts[1:]


async def test_tasks_of_orders_that_others_own_are_not_named_twice(ledger: Ledger) -> None:
    """A task that went over to another run goes by the order there alone."""
    first = await loaded(ledger, orders(2), mode="two-phase")
    await bring(first, OrderState.DRAFTED)
    await first.close()
    second = await loaded(ledger, [order(1)], mode="two-phase")
    here = await only(second)
    one, two = [row.id async for row in ledger.rows(first.id)]
    assert await ledger.recorded("simulator", ["task-1", "task-2", "task-3"]) == {"task-1": here.id, "task-2": two}
    assert here.id != one


async def test_what_a_key_was_pushed_with_is_reported(ledger: Ledger) -> None:
    """Of keys that a live order has: its run, its state there and its text; of loading and refused orders nothing."""
    first = await loaded(ledger, orders(2))
    await bring(first, OrderState.CREATED)
    refused = await loaded(ledger, [order(3)])
    await bring(refused, OrderState.REFUSED)
    await added(ledger, [order(3), order(4)])
    known = await ledger.known("simulator", ["TRK-1", "TRK-2", "TRK-3", "TRK-4", "TRK-5"])
    actual = {key: (each.run.id, each.row.state, each.row.payload) for key, each in known.items()}
    assert actual == {f"TRK-{n}": (first.id, OrderState.CREATED, order(n).payload) for n in (1, 2)}
    assert await ledger.known("sandbox", ["TRK-1"]) == {}


async def test_rivals_are_orders_that_say_something_else(ledger: Ledger) -> None:
    """Of orders whose keys are pushed, those are named whose text differs, each once, whatever page they stand on."""
    first = await loaded(ledger, orders(50))
    await bring(first, OrderState.CREATED)
    second = await loaded(ledger, [replace(o, payload=b"other") if o.line % 10 == 0 else o for o in orders(50)])
    found: list[Rival] = []
    while some := await second.rivals({OrderState.CHANGED, OrderState.ALREADY_PUSHED}, found[-1].id if found else 0):
        found += some
    assert [rival.line for rival in found] == [10, 20, 30, 40, 50]
    assert {(rival.other_run, rival.other_state, rival.payload) for rival in found} == {
        (first.id, OrderState.CREATED, b"other")
    }
    assert [(rival.task_id, rival.other_payload) for rival in found] == [
        (f"task-{n}", order(n).payload) for n in (10, 20, 30, 40, 50)
    ]
    assert [rival.line for rival in await second.rivals({OrderState.CHANGED}, found[2].id)] == [40, 50]


async def test_a_rival_is_found_behind_pages_without_one(ledger: Ledger) -> None:
    """An order that differs is a rival, however many chunks before it are as they were pushed."""
    first = await loaded(ledger, orders(30))
    await bring(first, OrderState.CREATED)
    second = await ledger.begin(environment="simulator", mode="direct", source="orders.csv", chunk=1)
    await second.add([*orders(29), replace(order(30), payload=b"other")])
    await second.admit()
    assert [rival.line for rival in await second.rivals({OrderState.CHANGED, OrderState.ALREADY_PUSHED}, 0)] == [30]


def test_a_size_is_reported_for_each_order() -> None:
    """Bytes are divided among orders, if there are any."""
    assert Size(bytes=10, orders=4).per_order == 2.5
    assert Size(bytes=4096, orders=0).per_order is None
