"""How a task lives: which status follows which, and when nobody took it in time (section "Order Statuses")."""

from collections.abc import Mapping
from types import MappingProxyType

PENDING_BROADCAST = "pending_broadcast"
BROADCASTING = "broadcasting"
CANCELLED = "cancelled"
EXPIRED = "expired"

TRANSITIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        PENDING_BROADCAST: frozenset({BROADCASTING, CANCELLED}),
        BROADCASTING: frozenset({"accepted", CANCELLED, EXPIRED}),
        "accepted": frozenset({"pending_pickup"}),
        "pending_pickup": frozenset({"pickup_arriving"}),
        "pickup_arriving": frozenset({"pending_delivery", "unsuccessful_pickup"}),
        "pending_delivery": frozenset({"delivery_arriving"}),
        "delivery_arriving": frozenset({"complete", "unsuccessful_delivery"}),
        "complete": frozenset(),
        CANCELLED: frozenset(),
        EXPIRED: frozenset(),
        "unsuccessful_pickup": frozenset(),
        "unsuccessful_delivery": frozenset(),
    }
)
"""What may follow each status."""

CANCELLABLE = frozenset(status for status, following in TRANSITIONS.items() if CANCELLED in following)
WITH_DRIVER = frozenset(TRANSITIONS) - {PENDING_BROADCAST, BROADCASTING, CANCELLED, EXPIRED}

SQUAD_MARGIN = 30 * 60.0
"""A task for the squad expires so many seconds before its pickup window ends."""
LONGEST_BROADCAST = 14 * 86400.0
"""A standard task is broadcast for so many seconds at most. The document names no figure."""
LATE_BROADCAST = 30 * 60.0
"""A task broadcast when it was already too late stays for so many seconds: it would never be seen broadcasting."""


def expires_at(preference: str, pickup_end: float, broadcast_at: float) -> float:
    """When a broadcast ends by itself: seconds since the epoch, infinity for never."""
    if preference == "marine":
        return float("inf")
    standard = min(pickup_end, broadcast_at + LONGEST_BROADCAST)
    end = pickup_end - SQUAD_MARGIN if preference == "squad" else standard
    return end if end > broadcast_at else broadcast_at + LATE_BROADCAST
