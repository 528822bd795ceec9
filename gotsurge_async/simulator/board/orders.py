"""An order as a person sees it: its ship, its due time, and whether it needs attention; and the page of one order."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil, floor, inf
from typing import Any, Literal
from weakref import WeakKeyDictionary

from attrs import field, frozen

from gotsurge_async.models.tasks import late_windows
from gotsurge_async.simulator.operations.views import task_view
from gotsurge_async.simulator.state.accounts import ACCOUNTS
from gotsurge_async.simulator.state.clock import SINGAPORE
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.tasks import BROADCASTING, PENDING_BROADCAST, TRANSITIONS, TaskRecord

HOUR = 3600.0
SOON = HOUR
"""A broadcast that ends within this many seconds needs attention."""

STAGES = (
    ("find", "Finding a driver", (PENDING_BROADCAST, BROADCASTING)),
    ("pick", "Pickup", ("accepted", "pending_pickup", "pickup_arriving")),
    ("go", "Delivery", ("pending_delivery", "delivery_arriving")),
    ("done", "Done", ("complete",)),
    ("stop", "Stopped", ("cancelled", "expired", "unsuccessful_pickup", "unsuccessful_delivery")),
)
"""The statuses in the order in which a person thinks of them: short name, heading, statuses."""
STAGE_OF = {status: name for name, _, statuses in STAGES for status in statuses}

Kind = Literal["late", "soon", "open", "over"]
GROUPS: tuple[tuple[str, tuple[Kind, ...]], ...] = (
    ("Needs attention", ("late", "soon")),
    ("Under way", ("open",)),
    ("Finished", ("over",)),
)
PAGE_SIZE = 100
"""The rows of a page: a browser's memory must not grow with the number of orders."""


@frozen
class Facts:
    """The values of an order as it was last written. Windows are pairs of seconds since the epoch."""

    vessel: str
    imo: str
    pick_up_at: str
    deliver_to: str
    group: str
    pickup: tuple[float, float]
    delivery: tuple[float, float] | None
    text: str = field(repr=False)


@frozen
class Due:
    """The time of the next event that an order needs, and whether it needs attention."""

    kind: Kind
    at: float
    what: str
    now: float

    @property
    def text(self) -> str:
        """The time as a sentence, made only for the few orders that are shown."""
        if self.kind == "over":
            return f"{self.what} {moment(-self.at, self.now)}"
        if self.at == inf:
            return self.what
        if self.kind == "open":
            return f"{self.what} {moment(self.at, self.now)}"
        return f"{self.what} {span(abs(self.at - self.now))}"


@frozen
class Line:
    """An order on the board."""

    record: TaskRecord
    facts: Facts
    due: Due


@frozen(kw_only=True)
class Filter:
    """A selection of orders, and how to show them."""

    statuses: frozenset[str] = frozenset()
    kind: str = ""
    text: str = ""
    sort: str = "due"
    view: str = "table"
    page: int = 1

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Filter":
        """The filter in the query of an address, without invalid values."""
        statuses = frozenset(status for status in query.get("status", "").split(",") if status in STAGE_OF)
        kind, sort, view, page = (query.get(name, "") for name in ("kind", "sort", "view", "page"))
        return cls(
            statuses=statuses,
            kind=kind if kind in ("late", "soon") else "",
            text=query.get("q", "")[:200],
            sort=sort if sort in _SORTS else "due",
            view=view if view in ("table", "columns") else "table",
            page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
        )

    @property
    def narrows(self) -> bool:
        """Whether the filter excludes any order."""
        return bool(self.statuses or self.kind or self.text)


class Survey:
    """All orders at one moment, and their count."""

    def __init__(self, lines: Sequence[Line], now: float) -> None:
        self.lines = lines
        self.now = now
        self.by_status: Counter[str] = Counter(line.record.status for line in lines)
        self.by_kind: Counter[str] = Counter(line.due.kind for line in lines)

    def find(self, wanted: Filter) -> list[Line]:
        """The orders that a filter selects, in its sort order."""
        words = wanted.text.lower().split()
        lines = [
            line
            for line in self.lines
            if (not wanted.statuses or line.record.status in wanted.statuses)
            and (not wanted.kind or line.due.kind == wanted.kind)
            and all(word in line.facts.text or word in line.record.status for word in words)
        ]
        return sorted(lines, key=_SORTS[wanted.sort])


_ORDER = {status: place for place, status in enumerate(STAGE_OF)}
_GROUP_OF = {kind: place for place, (_, kinds) in enumerate(GROUPS) for kind in kinds}
_SORTS: Mapping[str, Callable[[Line], Any]] = {
    "due": lambda line: (_GROUP_OF[line.due.kind], line.due.at),
    "order": lambda line: line.record.tracking_id,
    "status": lambda line: _ORDER[line.record.status],
    "vessel": lambda line: line.facts.vessel,
}


@frozen
class Rows:
    """One page of orders in their groups: key, heading, the rows of the page, and the number of rows on all pages."""

    page: int
    pages: int
    first: int
    count: int
    groups: Sequence[tuple[str, str, Sequence[Line], int]]


def rows_of(lines: Sequence[Line], wanted: Filter) -> Rows:
    """The page of the selected orders that a filter asks for, or the last page."""
    pages = (len(lines) - 1) // PAGE_SIZE + 1
    page = min(wanted.page, pages)
    first = (page - 1) * PAGE_SIZE
    shown = lines[first : first + PAGE_SIZE]
    groups: list[tuple[str, str, Sequence[Line], int]] = [("all", "Orders", shown, len(lines))]
    if wanted.sort == "due":
        count_of = Counter(line.due.kind for line in lines)
        groups = [
            (
                kinds[0],
                heading,
                [line for line in shown if line.due.kind in kinds],
                sum(count_of[kind] for kind in kinds),
            )
            for heading, kinds in GROUPS
        ]
    return Rows(page, pages, first, len(lines), groups)


class Orders:
    """Reads orders for the board; an order is decoded again only after it was written anew."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[TaskRecord, tuple[tuple[object, str], Facts]] = WeakKeyDictionary()

    def survey(self, records: Collection[TaskRecord], now: float) -> Survey:
        """All orders in their present state."""
        lines = []
        for record in records:
            facts = self.facts(record)
            lines.append(Line(record, facts, due_of(record, facts, now)))
        return Survey(lines, now)

    def facts(self, record: TaskRecord) -> Facts:
        """The values of an order for the board."""
        written = (record.source, record.tracking_id)
        known = self._known.get(record)
        if known is None or known[0] != written:
            known = (written, _read(record))
            self._known[record] = known
        return known[1]


def _read(record: TaskRecord) -> Facts:
    written = record.written()
    contact = written.to_contact
    vessel = contact.vessel_name or contact.name or ""
    imo = str(contact.vessel_imo or "")
    places = [
        " ".join(part for part in (place.building_name, place.street_address) if part)
        for place in (written.from_address, written.to_address)
    ]
    deliver_to = " ".join(part for part in (places[1], contact.berth_no) if part)
    group = written.group_tag or ""
    names = (record.tracking_id, written.invoice_number or "", group, record.id)
    return Facts(
        vessel=vessel,
        imo=imo,
        pick_up_at=places[0],
        deliver_to=deliver_to,
        group=group,
        pickup=written.from_time_window.edges,
        delivery=written.to_time_window.edges if written.to_time_window else None,
        text="\n".join((*names, vessel, imo, places[0], deliver_to)).lower(),
    )


def due_of(record: TaskRecord, facts: Facts, now: float) -> Due:
    """The time of the next event that an order needs."""
    status, since = record.history[-1]
    if not TRANSITIONS[status]:
        return Due("over", -since, "done" if status == "complete" else "ended", now)
    windows = late_windows(status, facts.pickup[1], facts.delivery and facts.delivery[1], now)
    late = [at for at in windows if at is not None]
    if late:
        return Due("late", late[0], "late by", now)
    if status == PENDING_BROADCAST:
        return Due("open", facts.pickup[1], "draft, pickup", now)
    if status == BROADCASTING:
        ends = record.ends_at
        if ends - now <= SOON:
            return Due("soon", max(ends, now), "expires in", now)
        return Due("open", ends, "never expires" if ends == inf else "expires", now)
    if STAGE_OF[status] == "pick":
        return Due("open", facts.pickup[1], "pickup", now)
    if facts.delivery is None:
        return Due("open", inf, "deliver at any time", now)
    return Due("open", facts.delivery[1], "deliver", now)


@frozen
class Axis:
    """A period of time as the width of a drawing, in seconds since the epoch."""

    first: float
    last: float

    @classmethod
    def around(cls, now: float) -> "Axis":
        """The axis of the list of orders: eight hours before the present, and ten after it."""
        return cls(now - 8 * HOUR, now + 10 * HOUR)

    def shows(self, window: tuple[float, float]) -> bool:
        """Whether any part of a window is on the axis."""
        return window[0] < self.last and window[1] > self.first

    def x(self, at: float) -> str:
        """The position of a moment on the axis, or of the nearer end."""
        return f"{min(max((at - self.first) / (self.last - self.first), 0.0), 1.0):.2%}"

    def width(self, window: tuple[float, float]) -> str:
        """The width of a window, at least wide enough to be visible."""
        left, right = (min(max(edge, self.first), self.last) for edge in window)
        return f"{max((right - left) / (self.last - self.first), 0.006):.2%}"

    def thirds(self) -> Iterator[float]:
        """Every third hour of the day in Singapore on the axis."""
        # Singapore is eight hours ahead, so its third hours come one hour after those of UTC.
        at = self.first // (3 * HOUR) * 3 * HOUR + HOUR
        while at < self.last:
            if at > self.first:
                yield at
            at += 3 * HOUR

    def grid(self) -> Iterator[tuple[float, str]]:
        """Whole hours or days on the axis, as many as can be distinguished, with their names."""
        hours = (self.last - self.first) / HOUR
        step = next((step for step in (1, 2, 3, 6, 12, 24) if hours / step <= 10), ceil(hours / 10 / 24) * 24)
        for number in range(int(hours / step) + 1):
            at = self.first + number * step * HOUR
            day = str(local(at).day) if hours < 28 * 24 else f"{local(at).day} {local(at):%b}"
            yield at, f"{local(at):%H}" if step < 24 else day if hours < 365 * 24 else f"{local(at):%b %Y}"


def local(seconds: float) -> datetime:
    """Seconds since the epoch as a time in Singapore."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(SINGAPORE)


def moment(seconds: float, now: float) -> str:
    """A time in Singapore, with its day unless that is today."""
    at = local(seconds)
    return f"{at:%H:%M}" if at.date() == local(now).date() else f"{at.day} {at:%b %H:%M}"


def span(seconds: float) -> str:
    """A length of time in minutes, hours or days."""
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 1440:
        return f"{minutes // 60} h {minutes % 60:02d}"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


# --- the page of one order -------------------------------------------------------------------------------------------

ENDS_OF: Mapping[str, tuple[str, ...]] = {
    "pending_broadcast": (),
    "broadcasting": ("cancelled", "expired"),
    "accepted": (),
    "pending_pickup": (),
    "pickup_arriving": ("unsuccessful_pickup",),
    "pending_delivery": (),
    "delivery_arriving": ("unsuccessful_delivery",),
    "complete": (),
}
"""The statuses of an order without problems, each with the ends that may come instead of the next status."""
ACTIONS = {
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
"""The label of the button that takes an order to a status."""
MOST_LINES = 20
"""The most events, and calls, that are listed."""
MOST_TEXT = 200_000
"""The most characters of an order's JSON that are shown."""


@frozen
class Step:
    """A status on an order's way: whether the order was or is in it, the status to show there, and its buttons."""

    status: str
    state: str
    shown: str
    at: float | None
    buttons: tuple[str, ...]


def order_page(service: Service, record: TaskRecord, facts: Facts, api_base: str) -> dict[str, Any]:
    """The values of the macro ``order``: everything about an order, at this moment."""
    now = service.clock.now()
    view = task_view(service, record, ACCOUNTS[record.owner], service.instant(now))
    return {
        "record": record,
        "facts": facts,
        "now": now,
        "view": view,
        "name": short(record.tracking_id, 200) or record.id,
        "curl": f'curl "{api_base}/tasks/{record.id}" -H "Authorization: Bearer $GOTSURGE_BEARER_TOKEN"',
        "due": due_of(record, facts, now),
        "steps": list(_steps(record)),
        "following": sorted(TRANSITIONS[record.status]),
        "has_webhook": bool(service.webhook_urls[record.owner]),
        "axis": _axis(record, facts, now),
        "lines": [item for item in view.get("items") or () if isinstance(item, dict)],
        "events": service.events.about(record.id)[:MOST_LINES],
        "calls": service.requests.about(record.id)[:MOST_LINES],
        "json": short(json.dumps(view, indent=2, ensure_ascii=False).encode("utf-8", "replace").decode(), MOST_TEXT),
    }


def _steps(record: TaskRecord) -> Iterator[Step]:
    entered = dict(record.history)
    for status, ends in ENDS_OF.items():
        is_here = record.status == status or record.status in ends
        shown = record.status if is_here else status
        state = "is" if is_here else "was" if status in entered else ""
        yield Step(status, state, shown, entered.get(shown), (*((status,) if status in ACTIONS else ()), *ends))


def _axis(record: TaskRecord, facts: Facts, now: float) -> Axis:
    """Whole hours around both windows, the history, and the present unless the order ended long ago."""
    moments = [*facts.pickup, *(facts.delivery or ()), *(at for _, at in record.history)]
    first, last = min(moments), max(moments)
    if TRANSITIONS[record.status] or first - 6 * HOUR < now < last + 6 * HOUR:
        first, last = min(first, now), max(last, now)
    first, last = floor(first / HOUR) * HOUR, ceil(last / HOUR) * HOUR
    return Axis(first, max(last, first + HOUR))


def short(text: str, most: int = 80) -> str:
    """A text cut to a number of characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def brief(value: Any) -> str:
    """A JSON value on one line: text unchanged, nothing for None, anything else as JSON."""
    if value is None:
        return ""
    return short(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 200)


def plain_number(value: Any) -> str:
    """A number without trailing zeros; empty for anything else."""
    return f"{value:g}" if isinstance(value, int | float) else ""


def precise(at: float, now: float) -> str:
    """A time in Singapore with its seconds, or with its day if that is not today."""
    return f"{local(at):%H:%M:%S}" if local(at).date() == local(now).date() else moment(at, now)


def imo(text: str) -> str:
    """An IMO number, and whether its check digit is right."""
    if len(text) != 7 or not text.isdigit():
        return text
    check = sum(int(digit) * factor for digit, factor in zip(text, range(7, 1, -1), strict=False)) % 10
    return f"{text} (check digit {'right' if check == int(text[6]) else 'wrong'})"


def money(amount: Any, currency: str) -> str:
    """Thousandths of a cent as an amount; empty without a currency."""
    if not isinstance(amount, int) or not currency:
        return ""
    return f"{currency} {amount // 100_000:,}.{amount % 100_000 // 1000:02d}"
