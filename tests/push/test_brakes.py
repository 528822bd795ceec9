"""What stops a push before its end."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest
from msgspec import structs

from gotsurge_async import Money
from gotsurge_async.bulk import LimitReached, Mode, OrderState, Push
from gotsurge_async.calls.create import Created, InDoubt, OrderResult, Refused
from gotsurge_async.errors import BadRequest, OutcomeUnknown
from gotsurge_async.ledger import LedgerUnusable, PendingOrder
from gotsurge_async.ledger.segments import Tally
from gotsurge_async.models.tasks import Receipt
from gotsurge_async.push.brakes import Brakes, BrakeWatch
from gotsurge_async.simulator import Fault
from tests.push.test_two_phase import pushing, states
from tests.support.orders import order, orders
from tests.support.pushes import place

ORDER = PendingOrder(1, 1, "T-1", b"{}")
CREATED: OrderResult[PendingOrder] = Created(order=ORDER, receipt=Receipt(id="task"))
LOST: OrderResult[PendingOrder] = InDoubt(order=ORDER, error=OutcomeUnknown("lost"))
REFUSED: OrderResult[PendingOrder] = Refused(order=ORDER, error=BadRequest("no"))


def stopped(watch: BrakeWatch, chunks: Sequence[Sequence[OrderResult[PendingOrder]]], ending: Sequence[int]) -> str:
    """Begin chunks in their order, and end them in another; what stops the push, or ""."""
    places = [watch.enter([ORDER]) for _ in chunks]
    told = [watch.leave(places[index], chunks[index]) for index in ending]
    return next((str(each) for each in told if each), "")


@pytest.mark.parametrize(
    ("result", "most", "words"),
    [(LOST, 5, "5 chunks in a row are in doubt"), (REFUSED, 10, "10 chunks in a row are refused")],
)
def test_so_many_in_a_row_stop_it(result: OrderResult[PendingOrder], most: int, words: str) -> None:
    """One chunk less does not, nor as many with a good one, or one of which something is known, between them."""
    for chunks, says in (
        ([[result]] * most, words),
        ([[result]] * (most - 1), ""),
        ([[result]] * (most - 1) + [[CREATED]] + [[result]] * (most - 1), ""),
        ([[result]] * (most - 1) + [[result, CREATED]] + [[result]] * (most - 1), ""),
        ([[result]] * (most - 1) + [[]] + [[result]], words),
    ):
        assert stopped(BrakeWatch(Brakes()), chunks, range(len(chunks))).startswith(says)
        assert bool(stopped(BrakeWatch(Brakes()), chunks, range(len(chunks)))) is bool(says)


def test_a_row_is_of_those_begun_not_of_those_ended() -> None:
    """Lost answers, which are the quickest to end, are not in a row when good ones were begun between them."""
    chunks = [[LOST], [CREATED]] * 20
    lost_first = sorted(range(len(chunks)), key=lambda index: index % 2)
    assert not stopped(BrakeWatch(Brakes()), chunks, lost_first)
    shuffled = list(range(9))
    Random(1).shuffle(shuffled)
    assert stopped(BrakeWatch(Brakes()), [[CREATED], *[[LOST]] * 8], shuffled)


def test_a_chunk_that_hangs_does_not_hold_the_brakes_off() -> None:
    """Those begun after a chunk that has no end yet are counted without it: a service that is down may do both."""
    watch = BrakeWatch(Brakes())
    chunks = [[CREATED], *[[LOST]] * 5]
    assert stopped(watch, chunks, range(1, 6)).startswith("5 chunks in a row are in doubt")
    # Its end joins those on both sides of it.
    assert not stopped(BrakeWatch(Brakes()), [[LOST]] * 5, (0, 1, 3, 4))
    assert stopped(BrakeWatch(Brakes()), [[LOST]] * 5, (0, 1, 3, 4, 2))


def test_what_was_counted_is_forgotten() -> None:
    """A push of any length keeps no more of its chunks than the limits look back."""
    watch = BrakeWatch(Brakes())
    stopped(watch, [[CREATED]] * 500, range(500))
    assert len(watch._ended) <= 10


def test_a_price_that_cannot_be_read_is_reported_as_damage() -> None:
    """An order of the ledger whose price is no number is named, and not sent."""
    watch = BrakeWatch(Brakes(max_spend=Money.of(60, "SGD")))
    with pytest.raises(LedgerUnusable, match="key T-1"):
        watch.enter([PendingOrder(1, 1, "T-1", b'{"price":"much"}')])


def test_the_limits_can_be_lifted() -> None:
    """None never stops."""
    brakes = Brakes(doubts_in_a_row=None, refusals_in_a_row=None)
    assert not stopped(BrakeWatch(brakes), [[LOST]] * 50 + [[REFUSED]] * 50, range(100))


@pytest.mark.parametrize("mode", list(Mode))
async def test_the_spend_stays_under_its_limit(tmp_path: Path, mode: Mode) -> None:
    """Orders of SGD 5.00 with a limit of SGD 60 stop after twelve, also when the run is taken up again."""
    brakes = Brakes(max_spend=Money.of(60, "SGD"))
    async with pushing(tmp_path, mode=mode, brakes=brakes, chunk=4) as (push, simulator):
        run, _ = await push.load_orders(orders(50))
        async with run:
            for _ in range(2):
                sent = await push.send(run)
                assert isinstance(sent.stopped_by, LimitReached)
                assert simulator.audit()["tasks"] == 12


async def test_too_many_refusals_stop_the_push(tmp_path: Path) -> None:
    """With max_errors the push stops soon after it is passed; the rest was not sent."""
    wrong = [order(f"B-{number}", vehicle_preference="hovercraft") for number in range(100)]
    async with pushing(tmp_path, mode=Mode.DIRECT, chunk=1, concurrency=1, brakes=Brakes(max_errors=5)) as (
        push,
        simulator,
    ):
        async with (await push.load_orders(wrong))[0] as run:
            sent = await push.send(run)
            assert await states(run) == {OrderState.REFUSED: 6, OrderState.PENDING: 94}
        assert isinstance(sent.stopped_by, LimitReached)
        assert simulator.audit()["tasks"] == 0


async def test_too_many_doubts_stop_the_push(tmp_path: Path) -> None:
    """With max_in_doubt=0 the first lost answer stops the push."""
    async with pushing(tmp_path, mode=Mode.DIRECT, chunk=5, concurrency=1, brakes=Brakes(max_in_doubt=0)) as (
        push,
        simulator,
    ):
        simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset"))
        async with (await push.load_orders(orders(50)))[0] as run:
            sent = await push.send(run)
            assert await states(run) == {OrderState.IN_DOUBT: 5, OrderState.PENDING: 45}
        assert isinstance(sent.stopped_by, LimitReached)
        assert simulator.audit()["tasks"] == 5


async def test_a_doubt_that_a_resume_does_not_settle_is_counted_once(tmp_path: Path) -> None:
    """One order in doubt, whose draft cannot be read again, does not pass a limit of one."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="reset", when="before"))
        here.simulator.order_fault(Fault(operation="platform.tasks.get", kind="status", status=404))
        run_id = await here.push(orders(1), mode=Mode.TWO_PHASE)
        assert await here.states(run_id) == {"T-0": OrderState.IN_DOUBT}
        push = Push(here.gs, here.ledger, brakes=Brakes(max_in_doubt=1))
        async with await here.ledger.hold(run_id) as run:
            sent = await push.send(run)
        assert sent.stopped_by is None
        assert await here.states(run_id) == {"T-0": OrderState.IN_DOUBT}


async def test_doubts_in_a_row_stop_the_push(tmp_path: Path) -> None:
    """A service that is down does not put a whole file in doubt: after five chunks in a row the rest is not sent."""
    async with pushing(tmp_path, mode=Mode.DIRECT, chunk=1, concurrency=1) as (push, simulator):
        simulator.order_fault(Fault(operation="tasks.create", kind="status", status=503))
        async with (await push.load_orders(orders(50)))[0] as run:
            sent = await push.send(run)
            assert await states(run) == {OrderState.IN_DOUBT: 5, OrderState.PENDING: 45}
        assert "5 chunks in a row are in doubt" in str(sent.stopped_by)


async def test_refusals_in_a_row_stop_the_push_unless_they_may_not(tmp_path: Path) -> None:
    """Ten chunks that were refused whole, one after the other, stop the push; without that limit all are tried."""
    wrong = [order(f"B-{number}", vehicle_preference="hovercraft") for number in range(20)]
    for limit, refused in ((10, 10), (None, 20)):
        brakes = Brakes(refusals_in_a_row=limit)
        folder = tmp_path / str(limit)
        async with pushing(folder, mode=Mode.DIRECT, chunk=1, concurrency=1, brakes=brakes) as (push, _):
            async with (await push.load_orders(wrong))[0] as run:
                sent = await push.send(run)
                assert (await run.counts()).refused == refused
            assert (sent.stopped_by is None) is (limit is None)


@pytest.mark.parametrize(
    "brakes",
    [
        Brakes(),
        Brakes(max_errors=0, max_in_doubt=2, doubts_in_a_row=None, max_spend=Money.of("10.50", "SGD"), canary=3),
    ],
)
def test_workers_keep_the_same_limits(brakes: Brakes) -> None:
    """Through JSON they are what they were, but for the canary, which goes before the workers."""
    told = msgspec.json.decode(msgspec.json.encode(brakes.for_workers()))
    elsewhere = Tally(1, 2, 3)
    assert Brakes.of_worker(told, elsewhere) == structs.replace(brakes, canary=0, elsewhere=elsewhere)
