"""One order: what may happen to it next, when it is due, what it says, and all that has been heard of it."""

import json
from collections.abc import Callable, Iterable, Mapping
from math import ceil, floor, inf
from typing import Any
from urllib.parse import urlencode

from gotsurge_async.simulator.board.lists import broken, due, status
from gotsurge_async.simulator.board.markup import Html, fill, joined, safe, short
from gotsurge_async.simulator.board.orders import STAGE_OF, Facts, due_of, local, moment
from gotsurge_async.simulator.board.traffic import call_lines, event_lines
from gotsurge_async.simulator.operations.views import task_view
from gotsurge_async.simulator.state.partners import ACCOUNTS
from gotsurge_async.simulator.state.requests import MOST_REQUESTS
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.tasks import BROADCASTING, TRANSITIONS, TaskRecord

HOUR = 3600.0
WAY = (
    "pending_broadcast",
    "broadcasting",
    "accepted",
    "pending_pickup",
    "pickup_arriving",
    "pending_delivery",
    "delivery_arriving",
    "complete",
)
"""The way of an order on which all goes well."""
ASIDE: Mapping[str, tuple[str, ...]] = {
    "broadcasting": ("cancelled", "expired"),
    "pickup_arriving": ("unsuccessful_pickup",),
    "delivery_arriving": ("unsuccessful_delivery",),
}
"""The ends that stand below a status of the way."""
DOES = {
    "broadcasting": "Broadcast",
    "accepted": "Accept",
    "pending_pickup": "Set off",
    "pickup_arriving": "Arrive",
    "pending_delivery": "Picked up",
    "delivery_arriving": "Arrive",
    "complete": "Delivered",
    "cancelled": "Cancel",
    "expired": "Expire",
    "unsuccessful_pickup": "Fail pickup",
    "unsuccessful_delivery": "Fail delivery",
}
MOST_LINES = 20
MOST_TEXT = 200_000
"""So many characters of an order's JSON are shown."""


def order(service: Service, record: TaskRecord, facts: Facts, api_base: str) -> Html:
    """All of an order."""
    now = service.clock.now()
    view = task_view(service, record, ACCOUNTS[record.owner], service.instant(now))
    calls = [call for call in service.requests.latest(MOST_REQUESTS) if call.task_id == record.id][:MOST_LINES]
    events = list(reversed(service.events.of(record.id)))[:MOST_LINES]
    name = short(record.tracking_id, 200) or record.id
    curl = f'curl "{api_base}/tasks/{record.id}" -H "Authorization: Bearer $GOTSURGE_BEARER_TOKEN"'
    notes = record.course.notes if record.course is not None else {}
    following = sorted(TRANSITIONS[record.status])
    may = (
        f"From {record.status} an order goes to {' or '.join(following)}."
        if following
        else f"{record.status} is an end: nothing follows."
    )
    return fill(
        "order-content",
        crumb=" / ".join(("", *(part for part in (short(facts.group), name) if part))),
        name=name,
        id=record.id,
        curl=curl,
        status=status(record.status),
        due=due(due_of(record, facts, now)),
        route=joined(_step(record, name, place, now) for place in WAY),
        may=may + (" Each step is told to the webhook." if service.webhook_urls[record.owner] else ""),
        windows=_windows(record, facts, now),
        items=_items(view),
        history=joined(
            fill(
                "history",
                place=place,
                time=_precise(at, now),
                status=status(entered),
                note=short(notes.get(place, ""), 1000),
            )
            for place, (entered, at) in reversed(list(enumerate(record.history)))
        ),
        events=event_lines(events, now) or Html('<p class="mut">None.</p>'),
        calls=call_lines(calls) or Html('<p class="mut">None that names it.</p>'),
        sides=_sides(view, record, facts, now),
        json=short(json.dumps(view, indent=2, ensure_ascii=False).encode("utf-8", "replace").decode(), MOST_TEXT),
    )


def _precise(at: float, now: float) -> str:
    text = moment(at, now)
    return text if local(at).date() != local(now).date() else f"{local(at):%H:%M:%S}"


def _step(record: TaskRecord, name: str, place: str, now: float) -> Html:
    """A status of the way, with the buttons that lead to it, and to the ends below it."""
    entered = dict(record.history)
    ends = ASIDE.get(place, ())
    is_here = record.status == place or (record.status in ends)
    state = "is" if is_here else "was" if place in entered else ""
    at = entered.get(record.status if record.status in ends else place)
    buttons = [_move(record, name, to) for to in (*((place,) if place in DOES else ()), *ends)]
    return fill(
        "step",
        status=place,
        state=state,
        current=Html(' aria-current="step"' if is_here else ""),
        glyph="complete" if state == "was" else record.status if is_here else place,
        broken=broken(record.status if is_here else place),
        at="" if at is None else moment(at, now),
        buttons=joined(buttons),
    )


def _move(record: TaskRecord, name: str, to: str) -> Html:
    may = to in TRANSITIONS[record.status]
    bad = STAGE_OF[to] == "stop"
    return fill(
        "move",
        to=to,
        id=record.id,
        name=name,
        label=DOES[to],
        **{"class": "bad" if bad else "pri" if may else ""},
        off=Html("" if may else " disabled"),
    )


def _windows(record: TaskRecord, facts: Facts, now: float) -> Html:
    """Both windows, what has happened, and the present, on one axis of whole hours."""
    moments = [*facts.pickup, *(facts.delivery or ()), *(at for _, at in record.history)]
    first, last = min(moments), max(moments)
    if first - 6 * HOUR < now < last + 6 * HOUR:
        first, last = min(first, now), max(last, now)
    first, last = floor(first / HOUR) * HOUR, ceil(last / HOUR) * HOUR
    last = max(last, first + HOUR)

    def x(at: float) -> str:
        return f"{min(max((at - first) / (last - first), 0.0), 1.0):.2%}"

    def bar(name: str, window: tuple[float, float], y: int) -> Html:
        width = max((window[1] - window[0]) / (last - first), 0.004)
        return Html(f'<rect class="{name}" x="{x(window[0])}" y="{y}" width="{width:.2%}" height="15" rx="3"/>')

    def words(window: tuple[float, float] | None) -> str:
        return "at any time" if window is None else f"{moment(window[0], now)}–{moment(window[1], now)}"

    present = ""
    if first <= now <= last:
        anchor = "end" if (now - first) / (last - first) > 0.85 else "start"
        present = (
            f'<line class="present" x1="{x(now)}" x2="{x(now)}" y1="14" y2="126"/>'
            f'<text class="presently" x="{x(now)}" y="11" text-anchor="{anchor}">clock {local(now):%H:%M}</text>'
        )
    return fill(
        "windows",
        stage=STAGE_OF[record.status],
        words=f"Pickup {words(facts.pickup)}, delivery {words(facts.delivery)}, clock {local(now):%H:%M}",
        grid=_grid(first, last, x),
        pickup=words(facts.pickup),
        delivery=words(facts.delivery),
        pickup_bar=bar("w1", facts.pickup, 26),
        delivery_bar=bar("w2", facts.delivery, 58) if facts.delivery else "",
        expiry=_expiry(record, first, last, x),
        events=joined(fill("dot", x=x(at), text=f"{moment(at, now)} {entered}") for entered, at in record.history),
        now=Html(present),
    )


def _grid(first: float, last: float, x: Callable[[float], str]) -> Html:
    """Lines at whole hours, as many as can be told apart."""
    hours = (last - first) / HOUR
    step = next((each for each in (1, 2, 3, 6, 12, 24) if hours / each <= 10), ceil(hours / 10 / 24) * 24)
    lines = []
    for number in range(int(hours / step) + 1):
        at = first + number * step * HOUR
        name = f"{local(at):%H}" if step < 24 else f"{local(at).day}"
        anchor = "start" if number == 0 else "end" if at == last else "middle"
        lines.append(f'<line class="tick" x1="{x(at)}" x2="{x(at)}" y1="0" y2="126"/>')
        lines.append(f'<text x="{x(at)}" y="144" text-anchor="{anchor}">{name}</text>')
    return Html("".join(lines))


def _expiry(record: TaskRecord, first: float, last: float, x: Callable[[float], str]) -> Html:
    ends = record.ends_at if record.status == BROADCASTING else inf
    if not first <= ends <= last:
        return Html("")
    return Html(
        f'<line class="expiry" x1="{x(ends)}" x2="{x(ends)}" y1="14" y2="126"/>'
        f'<text class="expires" x="{x(ends)}" y="11" text-anchor="end" dx="-4">expires {local(ends):%H:%M}</text>'
    )


def _items(view: dict[str, Any]) -> Html:
    items = [item for item in view.get("items") or [] if isinstance(item, dict)]
    if not items:
        return Html("")
    rows = joined(
        fill(
            "item",
            name=_brief(item.get("name", "")),
            description=_brief(item.get("description", "")),
            quantity=_number(item.get("quantity")),
            weight=" ".join(
                part for part in (_number(item.get("weight")), _brief(item.get("weight_unit", ""))) if part
            ),
        )
        for item in items[:100]
    )
    return fill("items", count=f"{len(items)} line{'s' if len(items) > 1 else ''}", rows=rows)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else ""


def _sides(view: dict[str, Any], record: TaskRecord, facts: Facts, now: float) -> Html:
    contact = view.get("to_contact") or {}
    driver = view.get("driver") or {}
    currency = view.get("currency", "")
    course = record.course
    written = record.content().get("price", 0)
    price = view.get("price") or 0
    epod = view.get("epod") or {}
    people = (
        ("Vessel", facts.vessel),
        ("IMO", _imo(facts.imo)),
        ("Berth", contact.get("berth_no")),
        ("Lighter", contact.get("lighter_boat_name")),
        ("Deliver to", facts.deliver_to),
        ("Contact", contact.get("name")),
        ("Pick up at", facts.pick_up_at),
        ("Driver", ", ".join(str(driver[part]) for part in ("name", "vehicle_name") if part in driver)),
    )
    prices = (
        ("As sent", f"{price:,}".replace(",", " ") + " × 1/1000 cent"),
        ("Ordered at", _money(written, currency) if course is not None and course.price is not None else None),
        ("At most", _money(view.get("max_price"), currency)),
        ("Step", _money(view.get("increment"), currency)),
    )
    how = (
        ("Account", record.owner),
        ("Broadcast", f"to {record.preference}"),
        ("Vehicle", view.get("vehicle_preference")),
        (
            "Group",
            fill("group-link", query=urlencode({"q": facts.group}), group=short(facts.group)) if facts.group else None,
        ),
        ("Invoice", view.get("invoice_number")),
        ("Distance", f"{record.distance / 1000:.1f} km" if record.distance else None),
        ("Changed", _precise(record.updated_at, now)),
        ("version_rev", record.version_rev),
    )
    proof = ((str(name).replace("_", " "), value) for name, value in epod.items())
    lead = Html(f'<p class="price num">{safe(_money(price, currency) or "no price")}</p>')
    sides = [
        _side("people", "Vessel and people", people),
        _side("price", "Price", prices, lead),
        *([_side("epod", "Proof of delivery", list(proof)[:10])] if isinstance(epod, dict) and epod else []),
        _side("how", "Order", how),
    ]
    return joined(sides)


def _brief(value: Any) -> str:
    return short(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 200)


def _side(key: str, heading: str, pairs: Iterable[tuple[str, Any]], lead: object = "") -> Html:
    rows = joined(
        fill("pair", name=short(name), value=_brief(value)) for name, value in pairs if value not in (None, "")
    )
    return fill("side", key=key, heading=heading, lead=lead, rows=rows)


def _imo(text: str) -> str:
    """An IMO number, and whether its check digit is the right one."""
    if len(text) != 7 or not text.isdigit():
        return text
    check = sum(int(digit) * factor for digit, factor in zip(text, range(7, 1, -1), strict=False)) % 10
    return f"{text} (check digit {'right' if check == int(text[6]) else 'wrong'})"


def _money(amount: Any, currency: str) -> str | None:
    """Thousandths of a cent as an amount."""
    if not isinstance(amount, int) or not currency:
        return None
    return f"{currency} {amount // 100_000:,}.{amount % 100_000 // 1000:02d}"
