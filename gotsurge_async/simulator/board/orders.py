"""What an order is to a person: whose ship it is for, when it is due, and whether somebody should look at it."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta, timezone
from math import inf
from typing import Literal
from weakref import WeakKeyDictionary

import msgspec
from attrs import field, frozen

from gotsurge_async.simulator.state.tasks import (
    BROADCASTING,
    PENDING_BROADCAST,
    TRANSITIONS,
    TaskRecord,
)

SINGAPORE = timezone(timedelta(hours=8))
SOON = 3600.0
"""A broadcast that ends within so many seconds is to be looked at."""

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


class _Address(msgspec.Struct):
    street_address: str = ""
    building_name: str = ""


class _Contact(msgspec.Struct):
    name: str = ""
    vessel_name: str = ""
    vessel_imo: int | None = None
    berth_no: str = ""


class _Window(msgspec.Struct):
    start_time_utc: datetime
    end_time_utc: datetime

    @property
    def edges(self) -> tuple[float, float]:
        return self.start_time_utc.timestamp(), self.end_time_utc.timestamp()


class _Source(msgspec.Struct):
    from_address: _Address
    to_address: _Address
    from_time_window: _Window
    to_time_window: _Window | None = None
    to_contact: _Contact | None = None
    invoice_number: str = ""
    group_tag: str = ""


_SOURCE = msgspec.json.Decoder(_Source)


@frozen
class Facts:
    """What an order says of itself, as it was last written."""

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
    """When something has to happen next, and whether a person should look."""

    kind: Kind
    at: float
    what: str
    now: float

    @property
    def text(self) -> str:
        """It as a sentence. Only a hundred of ten thousand are ever shown."""
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
class Wanted:
    """Which orders are to be shown, and how."""

    statuses: frozenset[str] = frozenset()
    kind: str = ""
    text: str = ""
    sort: str = "due"
    view: str = "table"
    page: int = 1

    @property
    def narrows(self) -> bool:
        """Whether not all orders are wanted."""
        return bool(self.statuses or self.kind or self.text)


class Survey:
    """All orders at one moment, and their count."""

    def __init__(self, lines: Sequence[Line], now: float) -> None:
        self.lines = lines
        self.now = now
        self.by_status: Counter[str] = Counter(line.record.status for line in lines)
        self.by_kind: Counter[str] = Counter(line.due.kind for line in lines)

    def find(self, wanted: Wanted) -> list[Line]:
        """Those that are wanted, in the order in which they are."""
        words = wanted.text.lower().split()
        found = [
            line
            for line in self.lines
            if (not wanted.statuses or line.record.status in wanted.statuses)
            and (not wanted.kind or line.due.kind == wanted.kind)
            and all(word in line.facts.text or word in line.record.status for word in words)
        ]
        if wanted.sort == "order":
            found.sort(key=lambda line: line.record.tracking_id)
        elif wanted.sort == "status":
            found.sort(key=lambda line: _ORDER[line.record.status])
        elif wanted.sort == "vessel":
            found.sort(key=lambda line: line.facts.vessel)
        else:
            found.sort(key=lambda line: (_GROUP_OF[line.due.kind], line.due.at))
        return found


_ORDER = {status: place for place, status in enumerate(STAGE_OF)}
_GROUP_OF = {kind: place for place, (_, kinds) in enumerate(GROUPS) for kind in kinds}


class Orders:
    """Reads orders for the board; what an order says of itself is read again only when it was written anew."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[TaskRecord, tuple[tuple[bytes | msgspec.Raw, str], Facts]] = WeakKeyDictionary()

    def survey(self, records: Collection[TaskRecord], now: float) -> Survey:
        """All orders as they stand now."""
        lines = []
        for record in records:
            facts = self.facts(record)
            lines.append(Line(record, facts, due_of(record, facts, now)))
        return Survey(lines, now)

    def facts(self, record: TaskRecord) -> Facts:
        """What an order says of itself."""
        written = (record.source, record.tracking_id)
        known = self._known.get(record)
        if known is None or known[0] != written:
            known = (written, _read(record))
            self._known[record] = known
        return known[1]


def _read(record: TaskRecord) -> Facts:
    source = _SOURCE.decode(record.source)
    contact = source.to_contact or _Contact()
    vessel = contact.vessel_name or contact.name
    imo = "" if contact.vessel_imo is None else str(contact.vessel_imo)
    places = [
        " ".join(part for part in (place.building_name, place.street_address) if part)
        for place in (source.from_address, source.to_address)
    ]
    deliver_to = " ".join(part for part in (places[1], contact.berth_no) if part)
    names = (record.tracking_id, source.invoice_number, source.group_tag, record.id)
    return Facts(
        vessel=vessel,
        imo=imo,
        pick_up_at=places[0],
        deliver_to=deliver_to,
        group=source.group_tag,
        pickup=source.from_time_window.edges,
        delivery=source.to_time_window.edges if source.to_time_window else None,
        text="\n".join((*names, vessel, imo, places[0], deliver_to)).lower(),
    )


def due_of(record: TaskRecord, facts: Facts, now: float) -> Due:
    """When something has to happen next to an order."""
    status, since = record.history[-1]
    if not TRANSITIONS[status]:
        return Due("over", -since, "done" if status == "complete" else "ended", now)
    if status == PENDING_BROADCAST:
        return Due("open", facts.pickup[1], "draft, pickup", now)
    if status == BROADCASTING:
        ends = record.ends_at
        if ends == inf:
            return Due("open", inf, "never expires", now)
        return (
            Due("soon", max(ends, now), "expires in", now) if ends - now <= SOON else Due("open", ends, "expires", now)
        )
    what, at = ("pickup", facts.pickup[1]) if STAGE_OF[status] == "pick" else ("deliver", (facts.delivery or _ANY)[1])
    if at == inf:
        return Due("open", at, "deliver at any time", now)
    return Due("late", at, "late by", now) if now > at else Due("open", at, what, now)


_ANY = (0.0, inf)


def local(seconds: float) -> datetime:
    """Seconds since the epoch as a time of Singapore."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(SINGAPORE)


def moment(seconds: float, now: float) -> str:
    """A time of Singapore, with its day where that is not today."""
    at = local(seconds)
    return f"{at:%H:%M}" if at.date() == local(now).date() else f"{at.day} {at:%b %H:%M}"


def span(seconds: float) -> str:
    """A time that has passed, or will."""
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 1440:
        return f"{minutes // 60} h {minutes % 60:02d}"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
