"""A check of a file before a push: the number of orders, their cost, and windows that leave drivers no time.

`make_plan` makes a `Plan`; `check_plan` refuses a later push of any other file.
"""

import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from gotsurge_async.errors import Coded, ConfigError
from gotsurge_async.ledger import Ledger, Mode, Run
from gotsurge_async.models.times import written
from gotsurge_async.push.changes import ChangedRow, Known
from gotsurge_async.push.load import Loader
from gotsurge_async.push.preview import Preview, Previewing, decimal
from gotsurge_async.tables import Fault, Source
from gotsurge_async.tables.checks.windows import broken_rules, planned
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.tables.source import Around, SourceRow
from gotsurge_async.tables.writing import WholeFile

VERSION = 2
KEPT = 1000
"""The most findings of a kind that a plan lists; all are counted."""
SHOWN = 10
"""The findings of a kind that are shown to people."""


class Tight(Struct, frozen=True, kw_only=True):
    """An order whose windows are too narrow: its line, its key, and the reason."""

    line: int
    key: str
    rule: str


class Plan(Struct, frozen=True, kw_only=True):
    """A summary of what a push of a file would do; `save` writes it as JSON.

    Attributes:
        made_at: when the plan was made, UTC.
        file, sha256: the file, and the SHA-256 of its bytes in hex.
        items_sha256, map_sha256: those of the items file and of the map; None without one.
        sheet: the name of the sheet that was read; None if the file is no workbook, or any sheet may be pushed.
        left_out: the number of rows with faults, which are not among the orders (``--leave-faulty``).
        spend: the sum of the prices by currency, as decimals: ``{"SGD": "24250.00"}``.
        most: the sum of what the orders may cost at most, by currency: an order's greatest price, with its admin_fee.
        without_most: the number of orders that may cost more: without a price, or with an increment and no max_price.
        tight: windows that leave drivers no time, and ``tight_count`` their number.
        similar: orders that resemble another one of the file, each once, and their number.
        already_pushed: the number of orders whose keys the ledger has, created or in doubt; ``in_doubt`` of them are in
            doubt.
        changed: those of them that differ from the order that was sent, and ``changed_count`` their number.
    """

    version: int = VERSION
    made_at: datetime
    file: str
    sha256: str
    items_sha256: str | None = None
    map_sha256: str | None = None
    sheet: str | None = None
    orders: int
    left_out: int = 0
    spend: dict[str, str]
    without_price: int
    most: dict[str, str] = {}
    without_most: int = 0
    tight: tuple[Tight, ...] = ()
    tight_count: int = 0
    similar: tuple[str, ...] = ()
    similar_count: int = 0
    warnings: tuple[str, ...] = ()
    warning_count: int = 0
    already_pushed: int = 0
    in_doubt: int = 0
    changed: tuple[ChangedRow, ...] = ()
    changed_count: int = 0
    preview: Preview | None = None

    def facts(self) -> dict[str, str]:
        """The plan's numbers and sums for people, by name, without those that are empty."""
        numbers = {"already pushed": self.already_pushed - self.in_doubt, "in doubt": self.in_doubt}
        unpriced = self.without_price
        return {
            "orders": f"{self.orders:,}",
            **({"rows left out": f"{self.left_out:,}"} if self.left_out else {}),
            "spend": amounts(self.spend) or ("no prices" if unpriced else "nothing"),
            **({"at most": amounts(self.most)} if self.most != self.spend else {}),
            **{name: f"{number:,}" for name, number in numbers.items() if number},
            **({"without a price": f"{unpriced:,}: GotSurge sets it"} if unpriced else {}),
        }

    def findings(self, tail: str = "") -> Iterator[str]:
        """Lines about probable mistakes: each kind with its number and the first ones; ``tail`` ends the last line."""
        tight = [f"{self.file}:{window.line}: {window.key}: {window.rule}" for window in self.tight]
        for lines, count, one, several in (
            (tight, self.tight_count, "time window that is too narrow", "time windows that are too narrow"),
            (
                self.similar,
                self.similar_count,
                "order that looks like another one",
                "orders that look like another one",
            ),
            (self.warnings, self.warning_count, "other warning", "other warnings"),
            (
                *(self.changed, self.changed_count),
                *("order that was pushed before, and differs now", "orders that were pushed before, and differ now"),
            ),
        ):
            if count:
                yield f"{number_of(count, one, several)}:"
                yield from (f"  {line}" for line in lines[:SHOWN])
                if count > SHOWN:
                    yield f"  … and {count - SHOWN:,} more{tail}"

    def to_json(self) -> bytes:
        """The plan as JSON text."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def save(self, path: Path) -> None:
        """Write the plan to a file, whole, for its owner alone, since it holds amounts; ConfigError if it cannot be."""
        try:
            with ExitStack() as at_end:
                file = WholeFile(path, at_end)
                file.stream.write(self.to_json())
                file.put_in_place()
        except OSError as error:
            raise ConfigError(f"cannot write the plan {path}: {error.strerror or error}", "E109") from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a plan; ConfigError if the file cannot be read, or is not a plan of this version."""
        try:
            plan = msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise ConfigError(f"cannot read the plan {path}: {error.strerror or error}", "E234") from None
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{path} is not a plan written by `gotsurge plan`: {error}", "E234") from None
        if plan.version != VERSION:
            raise ConfigError(f"{path} was made by another version: make a new plan", "E234")
        return plan


async def make_plan(
    source: Source,
    *,
    now: datetime,
    zone: tzinfo | None = None,
    known: Callable[[Run], Awaitable[Known]] | None = None,
) -> Plan:
    """Read a source to its end, as a push would, and sum it up. Nothing is sent.

    ``zone`` is that of the days of the preview, by default the system's. ``known`` returns what a ledger knows of the
    orders; without it the plan does not cover earlier pushes. Raises UnusableSource with every fault, and every key
    that is there twice.
    """
    with tempfile.TemporaryDirectory(prefix="gotsurge-") as folder:
        # In a ledger, which finds keys that stand twice and orders that look alike, and keeps memory flat.
        async with await Ledger.open(Path(folder) / "ledger.db", clock=lambda: now) as ledger:
            run, _ = await Loader(ledger, "plan", Mode.DIRECT).source(source)
            async with run:
                found = Known() if known is None else await known(run)
                return await _sum_up(run, source, now, found, Previewing(zone))


async def _sum_up(run: Run, source: Source, now: datetime, known: Known, previewing: Previewing) -> Plan:
    spend: Counter[str] = Counter()
    most: Counter[str] = Counter()
    unpriced = unknown = tight_count = orders = 0
    tight: list[Tight] = []
    async for row in run.rows():
        order = planned(row.payload)
        previewing.add(row.payload)
        orders += 1
        if order.price is None:
            unpriced += 1
        else:
            spend[order.currency or ""] += order.price
        if order.most:
            most[order.currency or ""] += order.most
        unknown += order.has_no_end
        for rule in broken_rules(order):
            tight_count += 1
            if len(tight) < KEPT:
                tight.append(Tight(line=row.line, key=row.key, rule=rule))
    similar = await run.similar()
    return Plan(
        made_at=now,
        file=source.name,
        sha256=source.sha256 or "",
        items_sha256=source.items_sha256,
        map_sha256=source.map_sha256,
        sheet=source.form.sheet,
        orders=orders,
        left_out=0 if source.left is None else source.left.rows,
        spend=decimals(spend),
        without_price=unpriced,
        most=decimals(most),
        without_most=unknown,
        tight=tuple(tight),
        tight_count=tight_count,
        similar=tuple(
            f"order {each.key} (line {each.line}) has the same {each.alike_in} as order {each.other_key} "
            f"(line {each.other_line}){each.and_more}"
            for each in similar
        ),
        similar_count=len(similar),
        warnings=tuple(map(str, source.report.warnings)),
        warning_count=source.report.warning_count,
        already_pushed=known.already_pushed,
        in_doubt=known.in_doubt,
        changed=known.changed,
        changed_count=known.changed_count,
        preview=previewing.done(source.not_read, known.differs),
    )


def amounts(sums: Mapping[str, str]) -> str:
    """Sums by currency for people, such as ``SGD 97.00, USD 12.00``; empty without any."""
    return ", ".join(f"{currency} {amount}".strip() for currency, amount in sums.items())


def decimals(sums: Mapping[str, int]) -> dict[str, str]:
    """Sums by currency in thousandths of a cent, as decimals."""
    return {name: decimal(millicents) for name, millicents in sorted(sums.items())}


# --- a push of the file that was planned -----------------------------------------------------------------------------


def check_plan(path: Path, source: Source) -> Source:
    """The same source, with a fault if it is not the file of a plan; ConfigError if the plan cannot be read.

    Another file is refused as a file with faults is: after it was read, and before anything is sent.
    """
    return held_to(Plan.load(path), source, str(path))


def held_to(plan: Plan, source: Source, name: str | None = None) -> Source:
    """The same source, with a fault if it is not the file of a plan; without a name, of the plan just shown."""
    return _PlannedSource(source, plan, name)


class _PlannedSource(Around):
    """Reads another source, and compares it with a plan at its end."""

    def __init__(self, source: Source, plan: Plan, name: str | None) -> None:
        super().__init__(source)
        self._plan = plan
        self._name = name

    def rows(self) -> Iterator[SourceRow]:
        """Yield the rows, see `Source.rows`."""
        yield from self._source.rows()
        if self.sha256 is None and not self.report.ok:
            return  # it was not read to its end, and is refused as it is
        if self._name is None:
            read, seen = ((each.sha256, each.items_sha256, each.map_sha256) for each in (self, self._plan))
            if read != seen:
                changed = Coded("has changed since it was shown: push it again, and check the new preview", "E234")
                self.report.add(Fault(file=self.name, rule=changed))
            return
        made = f"{self._name} (made from {self._plan.file} at {written(self._plan.made_at)})"
        if self.sha256 != self._plan.sha256:
            rule = f"differs from the file of the plan {made}: make a new plan, or push the planned file"
            self.report.add(Fault(file=self.name, rule=Coded(rule, "E234")))
        self._compare(made, "--items", "items file", self.items_sha256, self._plan.items_sha256)
        self._compare(made, "--map", "map", self.map_sha256, self._plan.map_sha256)
        if self._plan.sheet is not None:
            self._compare(made, "--sheet", "sheet", self.form.sheet, self._plan.sheet)

    def _compare(self, made: str, option: str, what: str, digest: str | None, planned: str | None) -> None:
        """Add a fault if what an option names is not that of the plan."""
        if digest == planned:
            return
        if digest is None:
            rule = f"the plan {made} includes {'an' if what[0] in 'aeiou' else 'a'} {what}: pass it with {option}"
        elif planned is None:
            rule = f"the plan {made} has no {what}: leave out {option}, or make a new plan"
        else:
            rule = f"the plan {made} has a different {what} than {option}: pass the planned {what}, or make a new plan"
        self.report.add(Fault(file=self.name, rule=Coded(rule, "E234")))
