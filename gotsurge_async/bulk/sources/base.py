"""What every source of orders offers, and the last step that all have in common: checked, encoded, named."""

import abc
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from hashlib import blake2b, sha256
from operator import attrgetter
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import msgspec

from gotsurge_async import codec
from gotsurge_async.bulk.checks.rules import Finding, check_plain
from gotsurge_async.bulk.sources.options import SourceOptions
from gotsurge_async.bulk.sources.report import SourceReport
from gotsurge_async.models.places import Address, TimeWindow
from gotsurge_async.models.tasks import BroadcastPreference, Order, ServiceType, VehiclePreference

IN_DOUBT = "in_doubt"
"""The ``gs_status`` of an order that may exist already."""

MAY_EXIST = "this order may exist already: resolve it first (gotsurge reconcile, gotsurge resolve), then push again"
SHORTENED = "a spreadsheet has shortened this number, and others to the same: make the column text, and export again"

encode_plain: Callable[[Any], bytes] = msgspec.json.Encoder().encode
"""JSON text of text, finite numbers, times, and lists and structs of them: `codec.encode` without its questions."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

STAND_INS: Mapping[str, Any] = {
    "from_address": Address(street_address="-"),
    # Before everything else, so that no other time seems to be too early.
    "from_time_window": TimeWindow(start_time_utc=_LONG_AGO, end_time_utc=_LONG_AGO),
    "to_address": Address(street_address="-"),
    "broadcast_preference": BroadcastPreference.ALL,
    "vehicle_preference": VehiclePreference.CAR,
    "service_type": ServiceType.FTL,
    "client_time_utc": _LONG_AGO,
}
"""A right value for each field that an order cannot be made without, for checking what else is wrong with it."""

_TELLING = ("from_address", "to_address", "from_time_window", "to_time_window", "invoice_number")
_telling = attrgetter(*_TELLING)


def fingerprint_of(order: Any) -> bytes:
    """What is the same for the same pickup, delivery, windows and invoice; of an order as a struct or plain values."""
    telling = [order.get(name) for name in _TELLING] if isinstance(order, dict) else _telling(order)
    return blake2b(encode_plain(telling), digest_size=16).digest()


class SourceRow(NamedTuple):
    """One good order of a file."""

    line: int
    """The physical line on which it starts, from 1."""
    key: str
    """What tells it from every other order."""
    payload: bytes
    """The order as JSON text, as a create sends it (`gotsurge_async.codec.encode_batch`)."""
    original: bytes
    """A CSV row as a JSON list of its cells, in the order of `Source.columns`; a JSON line as it came."""
    fingerprint: bytes
    """16 bytes, the same for the same pickup, delivery, windows and invoice: for finding one order under two keys."""

    @property
    def order(self) -> Order:
        """The order, read from ``payload`` each time."""
        return codec.decode(self.payload, Order)


class Source(abc.ABC):
    """A file of orders, read once from its start to its end, in flat memory. Synchronous: for a worker thread.

    Use it as a context manager, and read all of `rows`: a file may be sent only when it was read to its end and
    ``report.ok`` holds, because a fault in the last line refuses the whole file.

    Attributes:
        name: the file's name, as faults show it.
        report: what was found wrong so far.
        columns: the CSV header as it stands in the file, without the columns that an earlier push added; None for
            JSON Lines, and before the first row was asked for.
    """

    def __init__(
        self, name: str, stream: BinaryIO, options: SourceOptions, report: SourceReport, *, owned: bool
    ) -> None:
        self.name = name
        self.report = report
        self.columns: tuple[str, ...] | None = None
        self._stream = stream
        self._owned = owned
        self._now = options.now
        self._max_price = options.max_price
        self._zone: tzinfo = options.zone() or UTC
        self._digest = sha256()
        self._exhausted = False

    @abc.abstractmethod
    def rows(self) -> Iterator[SourceRow]:
        """The good orders, as they come. Faults and warnings go to ``report``. Can be run through once.

        Raises:
            OSError: the file cannot be read on.
        """

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the file's bytes, in hex; None until all of it was read."""
        return self._digest.hexdigest() if self._exhausted else None

    @property
    def items_sha256(self) -> str | None:
        """The same for the items file; None if there is none."""
        return None

    def close(self) -> None:
        """Give back what the source holds. The stream stays open if it was given open."""
        if self._owned:
            self._stream.close()

    def _check(self, order: Any) -> list[Finding]:
        return check_plain(order, self._now, self._max_price, self._zone)

    def _check_the_rest(self, values: Mapping[str, Any]) -> list[Finding]:
        """What is wrong with an order of which something required is missing, apart from that."""
        missing = STAND_INS.keys() - values.keys()
        findings = self._check(Order(**{**STAND_INS, **values}))
        return [finding for finding in findings if finding.path.partition(".")[0] not in missing]

    @staticmethod
    def _row(line: int, key: str, order: Order, original: bytes) -> SourceRow:
        plain = codec.unstructure(order)
        return SourceRow(line, key, codec.encode(plain), original, fingerprint_of(plain))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
