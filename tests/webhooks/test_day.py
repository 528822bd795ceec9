"""A simulated day of 2,500 orders: its alerts and its report are those of a plain model of the rules."""

import asyncio
import random
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gotsurge_async import codec
from gotsurge_async.bulk import Ledger, Mode, Push
from gotsurge_async.models.tasks import Order
from gotsurge_async.simulator import Life, Simulator, SimulatorOptions
from gotsurge_async.testing import simulated
from gotsurge_async.webhooks.alerts import alerts_in
from gotsurge_async.webhooks.book import Book, Only
from gotsurge_async.webhooks.report import day_of
from gotsurge_async.webhooks.report.day import bounds
from tests.simulator.kit import FakeTime, order
from tests.webhooks.book.kit import written

ORDERS = 2500
SINGAPORE = ZoneInfo("Asia/Singapore")
DAY = date(2026, 1, 2)
MIDNIGHT = datetime(2026, 1, 2, tzinfo=SINGAPORE).timestamp()
HOUR, MINUTE = 3600.0, 60.0
STEP = 1.75 * HOUR
LOOKS = 18
FAILED = ("expired", "unsuccessful_pickup", "unsuccessful_delivery")
BEFORE_PICKUP = ("broadcasting", "accepted", "pending_pickup", "pickup_arriving")


class BookTime:
    """The simulator's time, for the book and the ledger."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def now(self) -> datetime:
        """The present."""
        return datetime.fromtimestamp(self._simulator.now(), UTC)

    def monotonic(self) -> float:
        """Seconds."""
        return self._simulator.now()

    async def sleep(self, seconds: float) -> None:
        """Nobody sleeps here."""
        raise AssertionError


def a_day(number: int, draw: random.Random) -> dict[str, Any]:
    """An order of the day: windows in the day or near it, any preference, some without vessel or second window."""
    start = MIDNIGHT + draw.randrange(-2 * 60, 22 * 60, 15) * MINUTE
    end = start + draw.choice((30, 60, 120)) * MINUTE
    then = end + draw.choice((0, 30, 90)) * MINUTE
    over = then + draw.choice((60, 120)) * MINUTE
    changes: dict[str, Any] = {
        "from_time_window": _window(start, end),
        "to_time_window": _window(then, over) if number % 17 else ...,
        "broadcast_preference": draw.choice(("squad", "all", "marine")),
        "to_contact": ... if number % 23 == 0 else _vessel(number % 40),
        "price": draw.randrange(200, 900) * 1000,
    }
    if number % 3 == 0:
        changes |= {"max_price": 1_200_000, "increment": 10_000}
    return order(f"DAY-{number:05}", **changes)


def _window(start: float, end: float) -> dict[str, str]:
    return {
        f"{edge}_time_utc": written(datetime.fromtimestamp(at, UTC)) for edge, at in (("start", start), ("end", end))
    }


def _vessel(number: int) -> dict[str, Any]:
    return {"vessel_name": f"MV {number:02}", "vessel_imo": 9_000_000 + number, "berth_no": f"B{number % 7}"}


def seconds(text: str) -> float:
    """A time of an order."""
    return datetime.fromisoformat(text).timestamp()


def expected(given: dict[str, Any], history: list[list[Any]], now: float) -> set[str]:
    """The rules once more, from what was ordered and what happened."""
    status, since = history[-1]
    start, end = (seconds(given["from_time_window"][edge]) for edge in ("start_time_utc", "end_time_utc"))
    found = set()
    if status == "broadcasting":
        margin = {"squad": 30 * MINUTE, "all": 0.0, "marine": None}[given["broadcast_preference"]]
        if margin is not None and now >= end - margin - 30 * MINUTE:
            found.add("expiring")
        if now >= start - 60 * MINUTE:
            found.add("not_accepted")
    if status in BEFORE_PICKUP and now > end:
        found.add("late_pickup")
    over = given.get("to_time_window")
    is_open = status not in (*FAILED, "complete", "cancelled")
    if is_open and over and now > seconds(over["end_time_utc"]):
        found.add("late_delivery")
    if status in FAILED and now < since + 24 * HOUR:
        found.add("failed")
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_day_of_orders(tmp_path: Path) -> None:
    """Alerts are at any hour the model's, no more and no fewer; the report's sums are the simulator's."""
    draw = random.Random(20261126)
    given = {each["tracking_id"]: each for each in (a_day(number, draw) for number in range(ORDERS))}
    clock = FakeTime()
    clock.seconds = MIDNIGHT - 4 * HOUR
    options = SimulatorOptions(life=Life(late=0.15, failing=0.06, accepting=0.9, cancelling=0.03), dates="fraction")
    async with Simulator(options=options, clock=clock) as simulator, simulated("platform", simulator=simulator) as gs:
        time = BookTime(simulator)
        async with (
            await Ledger.open(tmp_path / "ledger.db", clock=time.now) as ledger,
            Book.open(tmp_path / "book.db", clock=time) as book,
        ):
            push = Push(gs, ledger, mode=Mode.DIRECT)
            run, _ = await push.load_orders(codec.structure(each, Order) for each in given.values())
            async with run:
                await push.send(run)
            await book.take_in(ledger, account_of=lambda _: "local/platform")
            kinds: Counter[str] = Counter()
            for look in range(LOOKS):
                # Not after the last one: the simulator's timer, which waits in real time, would go on by an hour.
                clock.seconds += HOUR if look else 0
                tasks = [task async for task in gs.platform.tasks.list(per_page=1000)]
                await asyncio.gather(*(book.observe("local/platform", task) for task in tasks))
                found: dict[str, set[str]] = {}
                async for alert in alerts_in(book, time.now()):
                    found.setdefault(alert.tracking_id or "", set()).add(alert.kind)
                    kinds[alert.kind] += 1
                now = simulator.now()
                model = {
                    each["tracking_id"]: expected(given[each["tracking_id"]], each["history"], now)
                    for each in simulator.tasks()
                }
                assert found == {name: some for name, some in model.items() if some}
            assert set(kinds) == {"expiring", "not_accepted", "late_pickup", "late_delivery", "failed"}
            assert min(kinds.values()) > 10
            since, until = bounds(DAY, SINGAPORE)
            report = await day_of(book.orders(Only(since=since, until=until)), DAY, SINGAPORE, time.now())
        truth: dict[str, Counter[str]] = {}
        for record in simulator._service.tasks.all():
            one = given[record.tracking_id]
            due = seconds(one.get("to_time_window", one["from_time_window"])["end_time_utc"])
            if not since.timestamp() <= due < until.timestamp():
                continue
            vessel = (one.get("to_contact") or {}).get("vessel_name", "(no vessel)")
            count(truth.setdefault(vessel, Counter()), record, one, simulator.now())
    assert {vessel.name: sums_of(vessel.sums) for vessel in report.vessels} == truth
    assert report.sums.ordered > 1500
    assert report.sums.late > 50
    assert report.sums.difference("SGD").millicents > 0


def count(counts: Counter[str], record: Any, one: dict[str, Any], now: float) -> None:
    """Count a task of the simulator in."""
    status, since = record.history[-1]
    outcome = {"complete": "delivered", "cancelled": "cancelled"}.get(status, "failed" if status in FAILED else "open")
    counts["ordered"] += 1
    counts[outcome] += 1
    counts["planned"] += one["price"]
    over = one.get("to_time_window")
    late = over is not None and {"delivered": since, "open": now}.get(outcome, 0) > seconds(over["end_time_utc"])
    waits = status in BEFORE_PICKUP and now > seconds(one["from_time_window"]["end_time_utc"])
    counts["late"] += late or waits
    if outcome == "delivered":
        price = record.course.price if record.course is not None else None
        counts["planned_delivered"] += one["price"]
        counts["final"] += one["price"] if price is None else price


def sums_of(sums: Any) -> Counter[str]:
    """The report's sums in the same words."""
    counted = Counter(
        {name: getattr(sums, name) for name in ("ordered", "delivered", "late", "failed", "cancelled", "open")}
    )
    for name in ("planned", "planned_delivered", "final"):
        amounts = getattr(sums, name)
        assert set(amounts) <= {"SGD"}
        counted[name] = amounts["SGD"].millicents if amounts else 0
    return counted
