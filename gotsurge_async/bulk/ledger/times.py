"""Times in the ledger: whole microseconds since 1970, UTC. They sort, and they come back exactly as they went in."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Gives the present time, aware of its zone."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


def to_microseconds(moment: datetime) -> int:
    """An aware datetime as the ledger stores it."""
    if moment.tzinfo is None:
        raise ValueError(f"the clock gave {moment.isoformat()}, which names no zone; give aware datetimes")
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(stored: int) -> datetime:
    """A stored time as an aware UTC datetime."""
    return _EPOCH + stored * _MICROSECOND
