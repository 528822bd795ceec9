"""Tests of the alerts: when each begins and ends, and that they are those of a plain model of the rules."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.ledger import OrderRow, OrderState
from gotsurge_async.models.answers import Task
from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks.alerts import Alert, AlertKind, Lasting, Limits, alerts, alerts_in, doubt
from gotsurge_async.webhooks.book import Book
from tests.webhooks.book.kit import task, written

DAY = datetime(2026, 1, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)
STATUSES = (
    "draft", "pending_broadcast", "broadcasting", "accepted", "pending_pickup", "pickup_arriving", "pending_delivery",
    "delivery_arriving", "complete", "cancelled", "expired", "unsuccessful_pickup", "unsuccessful_delivery", "moored",
)  # fmt: skip


def hour(hours: float) -> datetime:
    """A time of the day."""
    return DAY + timedelta(hours=hours)


def window(start: datetime, end: datetime) -> dict[str, str]:
    """A window as the service writes it."""
    return {"start_time_utc": written(start), "end_time_utc": written(end)}


def at(status: str | None, preference: str | None = "squad", **more: Any) -> Task:
    """A task that is picked up from 10 to 12, and delivered from 13 to 15."""
    windows = {"from_time_window": window(hour(10), hour(12)), "to_time_window": window(hour(13), hour(15))}
    statuses = more.pop("statuses", None)
    return task("T-1", statuses, status, broadcast_preference=preference, **{**windows, **more})


def kinds(given: Task, now: datetime, limits: Limits | None = None) -> set[str]:
    """The kinds of alerts."""
    return {alert.kind for alert in alerts(given, now, limits)}


@pytest.mark.parametrize(("preference", "ends"), [("squad", 11.5), ("all", 12.0), (None, 12.0), ("marine", None)])
def test_a_broadcast_that_ends_soon_is_told(preference: str | None, ends: float | None) -> None:
    """Half an hour before it ends: the squad's half an hour before the pickup window does, marine never."""
    given = at("broadcasting", preference)
    if ends is None:
        assert "expiring" not in kinds(given, hour(20))
        return
    begins = hour(ends - 0.5)
    assert "expiring" not in kinds(given, begins - SECOND)
    assert "expiring" in kinds(given, begins)
    assert "expiring" not in kinds(at("accepted", preference), begins)
    (found,) = [alert for alert in alerts(given, begins) if alert.kind == "expiring"]
    assert found.at == hour(ends)
    assert "ends in 30 min (2026-01-02" in found.text(begins)
    assert "should have ended" in found.text(hour(13))


def test_nobody_has_accepted_before_the_pickup() -> None:
    """From an hour before it begins on, drafts too, until a driver has it."""
    for status in ("draft", "pending_broadcast", "broadcasting"):
        assert "not_accepted" not in kinds(at(status), hour(9) - SECOND)
        assert "not_accepted" in kinds(at(status), hour(9))
        assert "not_accepted" in kinds(at(status), hour(8), Limits(not_accepted=timedelta(hours=2)))
    for status in ("accepted", "cancelled", "expired", "complete"):
        assert "not_accepted" not in kinds(at(status), hour(11))


def test_late_is_told_until_it_is_done() -> None:
    """A pickup until the driver has the goods, a delivery until the order is at its end, however it ended."""
    assert "late_pickup" not in kinds(at("pending_pickup"), hour(12))
    assert "late_pickup" in kinds(at("pending_pickup"), hour(12) + SECOND)
    assert "late_pickup" not in kinds(at("pending_pickup"), hour(12.2), Limits(late=timedelta(minutes=15)))
    assert kinds(at("pending_delivery"), hour(14)) == set()
    assert kinds(at("pending_delivery"), hour(15) + SECOND) == {"late_delivery"}
    assert kinds(at("complete"), hour(30)) == set()
    assert kinds(at("moored"), hour(16)) == {"late_delivery"}


def test_a_failure_is_told_for_a_day() -> None:
    """By the time in its history, or else of the last change; always, where no time says when."""
    entry = {"status": "unsuccessful_delivery", "updated_at": written(hour(14))}
    failed = at("unsuccessful_delivery", statuses=[entry])
    assert kinds(failed, hour(14)) == kinds(failed, hour(37)) == {"failed"}
    assert kinds(failed, hour(38)) == set()
    assert kinds(at("expired", updated_at=written(hour(1))), hour(26)) == set()
    assert kinds(at("expired"), hour(999)) == {"failed"}
    assert kinds(at("cancelled"), hour(20)) == set()


def test_an_order_without_windows_is_only_told_to_have_failed() -> None:
    """No rule can be applied to what has no time."""
    for status in STATUSES:
        bare = at(status, from_time_window=None, to_time_window=None)
        assert kinds(bare, hour(20)) == ({"failed"} if status in STATUSES[10:13] else set())


def test_an_alert_names_whom_it_is_for() -> None:
    """Order, vessel, IMO and berth stand in its text, and for programs beside it."""
    given = at(
        "accepted",
        tracking_id="TRK-7",
        to_contact={"vessel_name": "MV Example", "vessel_imo": 9074729, "berth_no": "B12"},
    )
    (found,) = alerts(given, hour(12.5), account="local/plain")
    told = "TRK-7 for MV Example (IMO 9074729), berth B12: Accepted, and the pickup window ended 30 min ago"
    assert found.text(hour(12.5)) == f"{told} (2026-01-02 12:00Z)"
    assert found.text(hour(12.5), ZoneInfo("Asia/Singapore")) == f"{told} (2026-01-02 20:00+08:00)"
    document = found.document(hour(12.5))
    assert document["text"].startswith(told)
    later = found.text(hour(12) + timedelta(days=3650))
    assert later.endswith("the pickup window ended 3650 days ago (2026-01-02 12:00Z)")
    assert found.text(hour(12.5) + timedelta(days=3650)).endswith("the pickup window ended on 2026-01-02 12:00Z")
    never = attrs.evolve(found, at=datetime(1, 1, 1, tzinfo=UTC))
    assert never.text(hour(12.5), ZoneInfo("Asia/Singapore")).endswith("the pickup window ended on 0001-01-01")
    assert (document["kind"], document["order"], document["imo"]) == ("late_pickup", "T-1", 9074729)


def test_an_order_in_doubt_is_told_when_it_is_old() -> None:
    """Ten minutes after it was sent."""
    row = OrderRow(1, 2, "TRK-7", OrderState.IN_DOUBT, b"{}", None, None, None, None, hour(10), hour(11))
    assert doubt(row, "RUN", hour(10) + timedelta(minutes=9)) == []
    (found,) = doubt(row, "RUN", hour(10.5))
    assert (found.kind, found.name, found.at) == ("in_doubt", "RUN/TRK-7", hour(10))
    assert "TRK-7: in doubt, sent 30 min ago" in found.text(hour(10.5))


def test_each_alert_is_news_once_while_it_lasts() -> None:
    """One that went away, and comes again, is news again; another kind of the same order is another alert."""
    lasting = Lasting()
    late, failed = (Alert(kind=kind, name="T-1", at=hour(1)) for kind in (AlertKind.LATE_PICKUP, AlertKind.FAILED))
    assert lasting.news([late]) == [late]
    assert lasting.news([late, failed]) == [failed]
    assert lasting.news([failed]) == []
    assert lasting.news([late, failed]) == [late]


def model(given: dict[str, Any], now: float, limits: dict[str, float]) -> set[str]:
    """The rules once more, in numbers: hours of the day."""
    status, found = given["status"], set()
    order = {name: place for place, name in enumerate(STATUSES)}
    pickup, delivery = given["pickup"], given["delivery"]
    if pickup is not None:
        start, end = pickup
        if status == "broadcasting" and given["preference"] != "marine":
            over = end - 0.5 if given["preference"] == "squad" else end
            if over - now <= limits["expiring"]:
                found.add("expiring")
        if status in STATUSES[:3] and start - now <= limits["not_accepted"]:
            found.add("not_accepted")
        if order[status] < order["pending_delivery"] and now - end > limits["late"]:
            found.add("late_pickup")
    if delivery is not None and not 8 <= order[status] <= 12 and now - delivery[1] > limits["late"]:
        found.add("late_delivery")
    failed = given["failed"]
    if 10 <= order[status] <= 12 and (failed is None or now - failed < limits["failed_for"]):
        found.add("failed")
    return found


quarters = st.integers(0, 200).map(lambda quarter: quarter / 4)
windows = st.none() | st.tuples(quarters, quarters).map(lambda pair: (min(pair), max(pair)))


@given(
    order=st.fixed_dictionaries(
        {
            "status": st.sampled_from(STATUSES),
            "preference": st.sampled_from(["squad", "all", "marine", "fleet", None]),
            "pickup": windows,
            "delivery": windows,
            "failed": st.none() | quarters,
        }
    ),
    now=quarters,
    limits=st.fixed_dictionaries(dict.fromkeys(("expiring", "not_accepted", "late", "failed_for"), quarters)),
)
def test_alerts_are_those_of_a_plain_model(order: dict[str, Any], now: float, limits: dict[str, float]) -> None:
    """No more and no fewer, for any status, windows, preference and limits, at any time."""
    shown = {
        name: None if each is None else window(hour(each[0]), hour(each[1]))
        for name, each in (("from_time_window", order["pickup"]), ("to_time_window", order["delivery"]))
    }
    failed = None if order["failed"] is None else written(hour(order["failed"]))
    given = at(order["status"], order["preference"], updated_at=failed, **shown)
    spans = Limits(**{name: timedelta(hours=hours) for name, hours in limits.items()})
    assert kinds(given, hour(now), spans) == model(order, now, limits)


GO_ZERO = "0001-01-01T00:00:00Z"
ODD = st.one_of(
    st.sampled_from(
        (GO_ZERO, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-12:00", "", None, 7)
    ),
    st.datetimes(timezones=st.sampled_from((UTC, ZoneInfo("Asia/Singapore")))).map(datetime.isoformat),
)


@given(
    times=st.tuples(ODD, ODD, ODD, ODD, ODD),
    status=st.sampled_from((*STATUSES, None)),
    preference=st.sampled_from(("squad", "all", "marine", None)),
    now=st.datetimes(timezones=st.just(UTC)),
    limits=st.builds(Limits, **dict.fromkeys(("expiring", "not_accepted", "late", "failed_for"), st.timedeltas())),
    zone=st.sampled_from(("America/Los_Angeles", "Asia/Singapore")),
)
def test_no_odd_time_ends_the_alerts(
    times: tuple[Any, ...], status: str | None, preference: str | None, now: datetime, limits: Limits, zone: str
) -> None:
    """Whatever time stands in a task, at any present, with any limits: what there is to tell is told in any zone."""
    one, two, three, four, updated = times
    windows = {
        "from_time_window": {"start_time_utc": one, "end_time_utc": two},
        "to_time_window": {"start_time_utc": three, "end_time_utc": four},
    }
    entry = [{"status": status or "", "updated_at": updated}]
    for alert in alerts(at(status, preference, statuses=entry, updated_at=updated, **windows), now, limits):
        assert alert.text(now, ZoneInfo(zone))


async def test_one_order_that_cannot_be_judged_is_told_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has an alert of its own, whatever is wrong with it, and every other order has those that it has."""

    def judge(given: Task, *more: Any, **named: Any) -> list[Alert]:
        if given.id == "T-2":
            raise OverflowError
        return alerts(given, *more, **named)

    monkeypatch.setattr("gotsurge_async.webhooks.alerts.alerts", judge)
    zero = {"start_time_utc": GO_ZERO, "end_time_utc": GO_ZERO}
    async with Book.open(tmp_path / "book.db", clock=ManualClock(DAY)) as book:
        for number in (1, 2, 3):
            windows = {"from_time_window": zero, "to_time_window": zero}
            await book.observe("local/plain", task(f"T-{number}", None, "pending_delivery", **windows))
        found = [alert async for alert in alerts_in(book, DAY)]
    assert [(alert.name, alert.kind) for alert in found] == [
        ("T-1", "late_delivery"),
        ("T-2", "unjudged"),
        ("T-3", "late_delivery"),
    ]
    assert "could not be checked for alerts" in found[1].text(DAY)


async def test_a_failure_that_is_discovered_late_is_told_for_a_day(tmp_path: Path) -> None:
    """By when the book learnt of it: after a long weekend without a receiver, nobody was told before."""
    entries = [{"status": "broadcasting", "updated_at": written(hour(0))}]
    async with Book.open(tmp_path / "book.db", clock=(clock := ManualClock(DAY))) as book:
        await book.observe("local/plain", task("T-1", entries, "broadcasting"))
        await clock.advance(timedelta(hours=60).total_seconds())
        entries.append({"status": "expired", "updated_at": written(hour(1))})
        await book.observe("local/plain", task("T-1", entries, "expired"))
        (alert,) = [alert async for alert in alerts_in(book, hour(83))]
        assert (alert.kind, alert.at) == ("failed", hour(1))
        assert [alert async for alert in alerts_in(book, hour(85))] == []
        brief = Limits(failed_for=timedelta(hours=1))
        assert [alert async for alert in alerts_in(book, hour(62), brief)] == []


async def test_a_failure_is_told_once(tmp_path: Path) -> None:
    """Neither an earlier step that is found later nor a clock that was a year ahead makes its alert come again."""
    expired = [{"status": each, "updated_at": written(hour(n))} for n, each in enumerate(("broadcasting", "expired"))]
    earlier = {"status": "pending_broadcast", "updated_at": written(hour(-1))}
    async with Book.open(tmp_path / "book.db", clock=(clock := ManualClock(hour(2)))) as book:
        await book.observe("local/plain", task("T-1", expired, "expired"))
        assert [alert.kind async for alert in alerts_in(book, hour(3))] == ["failed"]
        await clock.advance(timedelta(days=9).total_seconds())
        assert await book.observe("local/plain", task("T-1", [earlier, *expired], "expired"))
        assert [alert async for alert in alerts_in(book, clock.now())] == []
    async with Book.open(tmp_path / "ahead.db", clock=ManualClock(hour(365 * 24))) as book:
        await book.observe("local/plain", task("T-2", expired, "expired"))
        assert [alert.kind async for alert in alerts_in(book, hour(3))] == ["failed"]
        assert [alert async for alert in alerts_in(book, hour(50))] == []
