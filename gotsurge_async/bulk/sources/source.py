"""What every source of orders offers: good orders as rows, and a report of everything that is wrong, at its place."""

import abc
import copy
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, tzinfo
from hashlib import blake2b, sha256
from importlib.util import find_spec
from operator import attrgetter
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import attrs
import msgspec

from gotsurge_async import codec
from gotsurge_async.bulk.checks.faults import SourceReport
from gotsurge_async.bulk.sources.fields import candidate_of, required_of
from gotsurge_async.bulk.sources.options import SourceOptions
from gotsurge_async.models.places import Address, TimeWindow
from gotsurge_async.models.rules import Finding, check_order
from gotsurge_async.models.tasks import Order

IN_DOUBT = "in_doubt"
"""The ``gs_status`` of an order that may exist already."""

MAY_EXIST = "this order may exist already: resolve it first (gotsurge reconcile, gotsurge resolve), then push again"
NOT_MENDED = "what is wrong with this row is not seen in its cells, but in its gs_error: mend it, then empty this cell"
SHORTENED = "a spreadsheet has shortened this number, and others to the same: make the column text, and export again"
UNSEEN = "holds a character that cannot be seen, such as a line break or a zero-width space: write the key without it"
"""Of a key: it would be another one than the key that looks the same, and its order would be sent twice."""


_UNSEEN = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))
"""Categories of Unicode: controls, formats, spaces and separators."""


def unseen_in(key: str) -> bool:
    """Whether a key holds what nobody sees, or a space that is none of the keyboard's."""
    if key.isascii():
        return not key.isprintable()
    return any(unicodedata.category(each) in _UNSEEN and each != " " for each in key)


def _plain(value: Any) -> str:
    """A text of a class of its own as text."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} is nothing that stands in JSON")


encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=_plain).encode
"""JSON text of candidates and plain values."""

# --- rows ------------------------------------------------------------------------------------------------------------

_SAME_TRIP = ("from_address", "to_address", "from_time_window", "to_time_window", "invoice_number")
_same_trip = attrgetter(*_SAME_TRIP)


def fingerprint_of(order: Any) -> bytes:
    """16 bytes, the same for the same pickup, delivery, windows and invoice.

    Args:
        order: a candidate, or the dict of plain values that stands in JSON.
    """
    trip = tuple(map(order.get, _SAME_TRIP)) if isinstance(order, dict) else _same_trip(order)
    return blake2b(encode(trip), digest_size=16).digest()


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
    """See `fingerprint_of`: for finding one order under two keys."""

    @property
    def order(self) -> Order:
        """The order, read from ``payload`` each time."""
        return codec.parse(self.payload, Order)


MOST_ROWS = 1_000_000
"""Rows that are written into a workbook's sheet; it has room for a few more."""


@attrs.frozen(kw_only=True)
class Form:
    """How a file is written, for what is written beside it to be alike.

    Attributes:
        format: csv, jsonl, xlsx, xls, ods, parquet or sql.
        delimiter: what stands between two cells of a CSV.
        encoding: of a text, as Python names it.
        bom: whether a text starts with a byte order mark.
        packed: whether a text is packed by gzip.
        sheet: the name of a workbook's sheet.
    """

    format: str = "csv"
    delimiter: str = ","
    encoding: str = "utf-8"
    bom: bool = False
    packed: bool = False
    sheet: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether all its values are text: a number of another table is written as one only in a workbook."""
        return self.format in ("csv", "jsonl")

    @staticmethod
    def of_types(rows: int, sheet: str | None = None) -> "Form":
        """How a table with types is written: as a workbook, or where that cannot be, as a CSV in UTF-8."""
        fits = find_spec("xlsxwriter") is not None and rows <= MOST_ROWS
        return Form(format="xlsx", sheet=sheet) if fits else Form()


@attrs.frozen(kw_only=True)
class Left:
    """Rows of a file that have faults, and were left out when the others were taken.

    Attributes:
        rows: how many.
        report: what is wrong with them.
        file, format: where they were written to, and how; None where they were not.
    """

    rows: int
    report: SourceReport
    file: str | None = None
    format: str | None = None

    def remembered(self) -> dict[str, Any]:
        """What a run remembers of them, as JSON."""
        return {"rows": self.rows, "file": self.file, "format": self.format}


_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_ADDRESS = candidate_of(Address)(street_address="-")

STAND_INS: Mapping[str, Any] = {
    "from_address": _ADDRESS,
    # Before everything else, so that no other time seems to be too early.
    "from_time_window": candidate_of(TimeWindow)(start_time_utc=_LONG_AGO, end_time_utc=_LONG_AGO),
    "to_address": _ADDRESS,
    "broadcast_preference": "all",
    "vehicle_preference": "car",
    "service_type": "ftl",
    "client_time_utc": _LONG_AGO,
}
"""A right value for each field that an order must have, for checking what else is wrong with an order that lacks it."""


class Source(abc.ABC):
    """A file of orders, read once from its start to its end, in flat memory. Synchronous: for a worker thread.

    Use it as a context manager, and read all of `rows`: a file may be sent only when it was read to its end and
    ``report.ok`` holds, because a fault in the last line refuses the whole file.

    Attributes:
        name: the file's name, as faults show it.
        report: what was found wrong so far.
        columns: the CSV header as it stands in the file, without the columns that an earlier push added; None for
            JSON Lines, and before the first row was asked for.
        form: how the file is written, once the first row was asked for.
        faulty: told line and key of each row that has faults, if its key can be read. Who sets it leaves these rows
            out; so an order whose items have faults is at fault itself then.
        left: the rows that were left out, once all rows were given; None where none were.
    """

    faulty: Callable[[int, str], None] | None = None
    left: Left | None = None

    def __init__(self, name: str, options: SourceOptions, report: SourceReport) -> None:
        self.name = name
        self.report = report
        self.columns: tuple[str, ...] | None = None
        self.form: Form = Form()
        self._now = options.now
        self._max_price = options.max_price
        self._zone: tzinfo = options.zone() or UTC
        self._required = required_of(Order)
        self._digest = sha256()
        self._exhausted = False
        self._at_end = ExitStack()

    def close_at_end(self, *streams: BinaryIO) -> None:
        """Close these with the source."""
        for stream in streams:
            self._at_end.callback(stream.close)

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
        """Give back what the source holds. A stream stays open if it was given open."""
        self._at_end.close()

    def _check(self, candidate: Any) -> tuple[list[str], list[Finding]]:
        """The required fields that an order lacks, and what is wrong with the others."""
        missing = [name for name in self._required if getattr(candidate, name) is None]
        if missing:
            candidate = copy.copy(candidate)
            for name in missing:
                setattr(candidate, name, STAND_INS[name])
        found = check_order(candidate, now=self._now, max_price=self._max_price, zone=self._zone)
        return missing, [finding for finding in found if finding.path.partition(".")[0] not in missing]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Around(Source):
    """Reads another source, and is what that is but for its rows."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._follow()

    def _follow(self) -> None:
        """Have what the other source has: some of it is known only with the first row, or at the end."""
        source = self._source
        self.name: str = source.name
        self.report: SourceReport = source.report
        self.columns: tuple[str, ...] | None = source.columns
        self.form: Form = source.form
        self.left: Left | None = source.left

    @property
    def sha256(self) -> str | None:
        """See `Source.sha256`."""
        return self._source.sha256

    @property
    def items_sha256(self) -> str | None:
        """See `Source.items_sha256`."""
        return self._source.items_sha256

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()
