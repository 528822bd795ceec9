"""A source of orders: good orders as rows, and a report of every fault with its place."""

import abc
import copy
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, tzinfo
from hashlib import blake2b
from operator import attrgetter
from types import TracebackType
from typing import Any, BinaryIO, Self

from msgspec import Struct

from gotsurge_async import codec
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.places import Address, TimeWindow
from gotsurge_async.models.rules import Columns, Finding, are_good, check_order
from gotsurge_async.models.tasks import Order
from gotsurge_async.starting import pattern
from gotsurge_async.tables.cells import Misread, encode, shortened_by_spreadsheet
from gotsurge_async.tables.checks.faults import SourceReport
from gotsurge_async.tables.fields import candidate_of, required_of
from gotsurge_async.tables.formats.lines import Form
from gotsurge_async.tables.options import SourceOptions

INVOICE = "invoice_number"
"""The field by which a task without a tracking id is matched to its order, so that its digits matter as a key's do."""
IN_DOUBT = "in_doubt"
"""The ``gs_status`` of an order that may exist already."""

MAY_EXIST = (
    "this order may already exist: before you push it again, settle it with gotsurge reconcile or gotsurge resolve"
)
NOT_MENDED = "gs_error describes this row's fault: correct the row, then clear this cell"
SHORTENED = (
    "a spreadsheet has shortened this number and others to the same value: format the column as text, and export again"
)
UNSEEN = "contains an invisible character, such as a line break or a zero-width space: write the key without it"
"""A rule for keys: two keys that look the same but differ would send one order twice."""
NOT_NORMAL = "is not in the normal form of Unicode (NFC), so another key may look the same: write it in this form"
"""Another rule for keys, with the same reason: an accent may be a part of its letter, or a character of its own."""

_UNSEEN = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))
"""Categories of Unicode: controls, formats, spaces and separators."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Joiners, fillers and other letters or signs that look like a space, or like nothing."""
_VARIANT = pattern("[\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180d\u180f]")
"""Characters that only choose a variant of the sign before them."""


def check_look(key: str) -> None:
    """Check that no other key looks like this one; the ValueError names the rule that it breaks."""
    if key.isascii() and key.isprintable():
        return
    letters = {*key} - {" "}
    if letters & _BLANK or _VARIANT.search(key) or not _UNSEEN.isdisjoint(map(unicodedata.category, letters)):
        raise Misread(UNSEEN, "E229")
    if not unicodedata.is_normalized("NFC", key):
        raise Misread(NOT_NORMAL, "E229")


def check_key(key: str) -> None:
    """Check that a key is whole, and that no other key looks like it; the ValueError names the rule that it breaks."""
    if shortened_by_spreadsheet(key):
        raise Misread(SHORTENED, "E607")
    check_look(key)


# --- rows ------------------------------------------------------------------------------------------------------------

_SAME_TRIP = ("from_address", "to_address", "from_time_window", "to_time_window", "invoice_number")
_same_trip = attrgetter(*_SAME_TRIP)


def fingerprint_of(order: Any) -> bytes:
    """16 bytes that are the same for the same pickup, delivery, windows and invoice; of a candidate or a dict."""
    trip = tuple(map(order.get, _SAME_TRIP)) if isinstance(order, dict) else _same_trip(order)
    return blake2b(encode(trip), digest_size=16).digest()


class SourceRow(Struct, frozen=True, gc=False):
    """One good order of a file."""

    line: int
    """The physical line on which it starts, from 1."""
    key: str
    """The value that distinguishes it from every other order."""
    payload: bytes
    """The order as JSON text, in the form of a create (`gotsurge_async.codec.encode_batch`)."""
    original: bytes
    """A CSV row as a JSON list of its cells, in the order of `Source.columns`; a JSON line as it came."""
    fingerprint: bytes
    """See `fingerprint_of`; it helps to find one order under two keys."""

    @property
    def order(self) -> Order:
        """The order, read from ``payload`` each time."""
        return codec.parse(self.payload, Order)


class Left(Struct, frozen=True, kw_only=True):
    """The rows of a file that were left out because they have faults.

    ``file`` and ``format`` are those to which they were written; None if they were not.
    """

    rows: int
    report: SourceReport
    file: str | None = None
    format: str | None = None

    def remembered(self) -> dict[str, Any]:
        """The data about these rows that a run records, as JSON."""
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
"""A correct value for each required field, so that an order without it can be checked for other faults."""


@contextmanager
def waiting_aside() -> Iterator[None]:
    """Translate the errors of a block that fills a temporary database of SQLite.

    Raises ConfigError if the folder of temporary files is full, or cannot be written.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        why = f"the folder of temporary files has no space for the rows: free some space, or set TMPDIR ({error})"
        raise ConfigError(why, "E109") from None


class Source(abc.ABC):
    """A file of orders, read once from start to end, in constant memory. It blocks: use it in a worker thread.

    Use it as a context manager, and read all of `rows`: a file may be sent only when it was read to its end and
    ``report.ok`` holds, because a fault in the last line refuses the whole file.

    Attributes:
        name: the file's name, as faults show it.
        report: the faults so far.
        columns: the header of a table, without the columns that an earlier push added; None for JSON Lines, and
            before the first row.
        items_columns: the header of the items file, from the first row on.
        not_read: the columns of a table that are not read, from the first row on.
        form: how the file is written, from the first row on.
        key_path: the field, or the column, that has the keys.
        kept: other values of the file that a run stores, by name, from the first row on.
        faulty: called with the line and the key of each row that has faults, if its key can be read. A caller that
            sets it leaves these rows out, so then an order whose items have faults is faulty, too.
        line: the line of the last row that was read; 0 before the first.
        left: the rows that were left out, after the last row; None if there are none.
        sha256: the SHA-256 of the file's bytes, in hex; None until the whole file was read.
        items_sha256: the same of the items file; None if there is no such file, or until it was read.
        map_sha256: the same of the map; None without one.
    """

    def __init__(self, name: str, options: SourceOptions, report: SourceReport) -> None:
        self.faulty: Callable[[int, str], None] | None = None
        self.line: int = 0
        self.left: Left | None = None
        self.name = name
        self.report = report
        self.columns: tuple[str, ...] | None = None
        self.items_columns: tuple[str, ...] = ()
        self.not_read: tuple[str, ...] = ()
        self.form: Form = Form()
        self.kept: Mapping[str, Any] = {}
        self.key_path: str = options.key
        self._now = options.now
        self._max_price = options.max_price
        self._any_date = options.any_date
        self._zone: tzinfo | None = options.zone()
        self._required = required_of(Order)
        self.sha256: str | None = None
        self.items_sha256: str | None = None
        self.map_sha256: str | None = options.file_map.sha256
        self._at_end = ExitStack()

    def close_at_end(self, stream: BinaryIO) -> None:
        """Close a stream with the source."""
        self._at_end.callback(stream.close)

    @abc.abstractmethod
    def rows(self) -> Iterator[SourceRow]:
        """The good orders in the order of the file, once; faults and warnings go to ``report``.

        Raises:
            OSError: the file cannot be read any further.
        """

    def close(self) -> None:
        """Close the files that the source has opened. A stream that was passed in stays open."""
        self._at_end.close()

    def _check(self, candidate: Any) -> tuple[list[str], list[Finding]]:
        """The required fields that an order lacks, and the faults of the others."""
        missing = [name for name in self._required if getattr(candidate, name) is None]
        if missing:
            candidate = copy.copy(candidate)
            for name in missing:
                setattr(candidate, name, STAND_INS[name])
        findings = self._findings(candidate)
        return missing, [finding for finding in findings if finding.path.partition(".")[0] not in missing]

    def _findings(self, order: Any) -> list[Finding]:
        now, most, zone, any_date = self._now, self._max_price, self._zone, self._any_date
        return check_order(order, now=now, max_price=most, zone=zone, any_date=any_date)

    def _are_good(self, columns: Columns) -> bool:
        return are_good(columns, now=self._now, max_price=self._max_price, any_date=self._any_date)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Around(Source):
    """Reads another source, and has its attributes, except those that it sets itself; only its rows may differ."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def close(self) -> None:
        """Close both sources, see `Source.close`."""
        self._source.close()
