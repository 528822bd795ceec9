from typing import Any

import pytest

from gotsurge_async.simulator.board import lists
from gotsurge_async.simulator.board.orders import Orders, Survey, Wanted, moment, span

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
    assert line.record.id[:8] in lists.orders(survey, Wanted())


async def test_orders_are_found_by_what_they_say(plain: Client) -> None:
    """Words of tracking id, vessel, IMO, berth, group, invoice and status find an order, in any case, all together."""
    contact = {"vessel_name": "MV Dunlin", "vessel_imo": 9074729, "berth_no": "P27"}
    survey = await surveyed(plain, START, to_contact=contact, group_tag="NOV-A")
    for text in ("a", "dunlin", "9074729", "p27 MARINA", "nov-a", "inv-1", "broadcast", "pioneer"):
        assert len(survey.find(Wanted(text=text))) == 1, text
    for text in ("heron", "dunlin heron", "complete"):
        assert survey.find(Wanted(text=text)) == []
    assert len(survey.find(Wanted(statuses=frozenset({"broadcasting"})))) == 1
    assert survey.find(Wanted(statuses=frozenset({"accepted"}))) == []
    assert survey.find(Wanted(kind="late")) == []


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
    assert lists.wanted_from(query) == Wanted()


def test_times_are_those_of_singapore() -> None:
    """A moment shows its day only where it is not today's, and a span what is worth knowing of it."""
    assert moment(START, START) == "08:00"
    assert moment(START + 16 * HOUR, START) == "2 Jan 00:00"
    assert [span(seconds) for seconds in (0, 59 * 60, 3600, 26 * HOUR)] == ["0 min", "59 min", "1 h 00", "1 d 2 h"]
