from typing import Any

import pytest

from gotsurge_async.simulator.board.orders import Axis, Filter, Orders, Survey, moment, order_page, span
from gotsurge_async.simulator.board.pages import templates

from ..kit import START, Client, order

HOUR = 3600.0
PICKUP_END, DELIVERY_END = START + 28 * HOUR, START + 31 * HOUR


async def surveyed(client: Client, at: float, *moves: str, **changes: Any) -> Survey:
    """An order that was moved so, seen at a moment."""
    task_id = (await client.create(order(**{"tracking_id": "A", **changes}))).json["tasks"][0]["id"]
    for status in moves:
        client.simulator.move(task_id, status, force=True)
    return Orders().survey(client.simulator._service.tasks.all(), at)


@pytest.mark.parametrize(
    ("moves", "at", "preference", "kind", "text"),
    [
        ((), START, "all", "open", "expires 2 Jan 12:00"),
        ((), PICKUP_END - 2 * HOUR, "all", "open", "expires 12:00"),
        ((), PICKUP_END - HOUR, "all", "soon", "expires in 1 h 00"),
        ((), PICKUP_END - HOUR, "squad", "soon", "expires in 30 min"),
        ((), PICKUP_END - HOUR, "marine", "open", "never expires"),
        (("accepted",), PICKUP_END, "all", "open", "pickup 12:00"),
        (("accepted",), PICKUP_END + 60, "all", "late", "late by 1 min"),
        (("pending_broadcast",), PICKUP_END, "all", "open", "draft, pickup 12:00"),
        (("pending_broadcast",), PICKUP_END + 60, "all", "late", "late by 1 min"),
        ((), PICKUP_END + 60, "marine", "late", "late by 1 min"),
        (("pickup_arriving",), PICKUP_END + 90 * 60, "all", "late", "late by 1 h 30"),
        (("pending_delivery",), PICKUP_END + 60, "all", "open", "deliver 15:00"),
        (("delivery_arriving",), DELIVERY_END + 25 * HOUR, "all", "late", "late by 1 d 1 h"),
        (("complete",), START + 60, "all", "over", "done 08:00"),
        (("expired",), START + 30 * HOUR, "all", "over", "ended 1 Jan 08:00"),
    ],
)
async def test_when_an_order_is_due(
    plain: Client, moves: tuple[str, ...], at: float, preference: str, kind: str, text: str
) -> None:
    """What has to happen next, by when, and whether somebody should look, follows from status and windows."""
    (line,) = (await surveyed(plain, at, *moves, broadcast_preference=preference)).lines
    assert (line.due.kind, line.due.text) == (kind, text)


async def test_an_order_may_say_little(plain: Client) -> None:
    """An order without a tracking id, a contact, a delivery window and coordinates is shown, too."""
    bare = dict.fromkeys(("to_contact", "from_contact", "to_time_window", "tracking_id", "invoice_number"), ...)
    survey = await surveyed(plain, START, "pending_delivery", **bare)
    (line,) = survey.lines
    assert (line.facts.vessel, line.facts.imo, line.due.text) == ("", "", "deliver at any time")
    orders: Any = getattr(templates().get_template("parts.html").module, "orders")  # noqa: B009 - a macro
    assert line.record.id[:8] in orders(survey, Filter())


async def test_orders_are_found_by_what_they_say(plain: Client) -> None:
    """Words of tracking id, vessel, IMO, berth, group, invoice and status find an order, in any case, all together."""
    contact = {"vessel_name": "MV Dunlin", "vessel_imo": 9074729, "berth_no": "P27"}
    survey = await surveyed(plain, START, to_contact=contact, group_tag="NOV-A")
    for text in ("a", "dunlin", "9074729", "p27 MARINA", "nov-a", "inv-1", "broadcast", "pioneer"):
        assert len(survey.find(Filter(text=text))) == 1, text
    for text in ("heron", "dunlin heron", "complete"):
        assert survey.find(Filter(text=text)) == []
    assert len(survey.find(Filter(statuses=frozenset({"broadcasting"})))) == 1
    assert survey.find(Filter(statuses=frozenset({"accepted"}))) == []
    assert survey.find(Filter(kind="late")) == []


async def test_a_changed_order_is_read_again(platform: Client) -> None:
    """What an order says is read once, and again when it was updated or got another tracking id."""
    (task,) = (await platform.create(order("A"))).json["tasks"]
    orders, records = Orders(), platform.simulator._service.tasks.all()
    first = orders.survey(records, START).lines[0].facts
    assert orders.survey(records, START).lines[0].facts is first
    body = {"version_rev": task["version_rev"], "to_contact": {"vessel_name": "MV Other"}}
    assert (await platform.call("PATCH", f"/platform/tasks/{task['id']}", body)).status == 200
    assert orders.survey(records, START).lines[0].facts.vessel == "MV Other"
    await platform.call("PATCH", "/platform/tasks/tracking-ids", {"tasks": [{"id": task["id"], "tracking_id": "B"}]})
    assert "b\n" in orders.survey(records, START).lines[0].facts.text


@pytest.mark.parametrize(
    "query",
    [
        {"status": "nothing,<b>"},
        {"kind": "open"},
        {"sort": "price", "view": "map", "page": "-1"},
        {"page": "9" * 400},
        {"page": "²"},
    ],
)
def test_an_address_that_makes_no_sense_is_that_of_the_board(query: dict[str, str]) -> None:
    """Unknown statuses, marks, sorts, views and pages are left out."""
    assert Filter.from_query(query) == Filter()


def test_times_are_those_of_singapore() -> None:
    """A moment shows its day only where it is not today's, and a span what is worth knowing of it."""
    assert moment(START, START) == "08:00"
    assert moment(START + 16 * HOUR, START) == "2 Jan 00:00"
    assert [span(seconds) for seconds in (0, 59 * 60, 3600, 26 * HOUR)] == ["0 min", "59 min", "1 h 00", "1 d 2 h"]


@pytest.mark.parametrize(
    ("window", "is_shown", "x", "width"),
    [
        ((-8, -7), True, "0.00%", "5.56%"),
        ((0, 2), True, "44.44%", "11.11%"),
        ((-20, 20), True, "0.00%", "100.00%"),
        ((9, 12), True, "94.44%", "5.56%"),
        ((3, 3), True, "61.11%", "0.60%"),
        ((-20, -8), False, "0.00%", "0.60%"),
        ((10, 12), False, "100.00%", "0.60%"),
    ],
)
def test_a_window_has_its_place_on_the_axis(window: tuple[float, float], is_shown: bool, x: str, width: str) -> None:
    """From eight hours before the present to ten after it; what lies outside is cut off, or not shown at all."""
    axis = Axis.around(START)
    edges = (START + window[0] * HOUR, START + window[1] * HOUR)
    assert (axis.shows(edges), axis.x(edges[0]), axis.width(edges)) == (is_shown, x, width)


def test_an_axis_has_names_of_hours() -> None:
    """In the list each third hour of Singapore; on an order's page as many as there is room for, or days."""
    assert [moment(at, START)[-5:] for at in Axis.around(START).thirds()] == [
        "03:00", "06:00", "09:00", "12:00", "15:00",
    ]  # fmt: skip
    for hours, names in ((2, ["08", "09", "10"]), (24, ["08", "11", "14", "17", "20", "23", "02", "05", "08"])):
        assert [name for _, name in Axis(START, START + hours * HOUR).grid()] == names
    assert [name for _, name in Axis(START, START + 240 * HOUR).grid()] == [str(day) for day in range(1, 12)]
    for days, first, last in ((100, "1 Jan", "11 Apr"), (1600, "Jan 2026", "May 2030")):
        names = [name for _, name in Axis(START, START + days * 24 * HOUR).grid()]
        assert (names[0], names[-1], len(set(names)) == len(names)) == (first, last, True)


@pytest.mark.parametrize(
    ("status", "days", "is_covered"),
    [("accepted", 0, True), ("accepted", 30, True), ("complete", 0, True), ("complete", 30, False)],
)
async def test_the_time_axis_covers_now(plain: Client, status: str, days: int, is_covered: bool) -> None:
    """As long as anything may happen to the order; afterwards only where the present is near."""
    (task,) = (await plain.create(order("A"))).json["tasks"]
    plain.simulator.move(task["id"], status, through=True)
    plain.simulator.advance(days * 24 * HOUR)
    service = plain.simulator._service
    (record,) = service.tasks.all()
    axis = order_page(service, record, Orders().facts(record), "")["axis"]
    assert (axis.first <= service.clock.now() <= axis.last) is is_covered
