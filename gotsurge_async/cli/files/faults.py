"""The faults of a file of orders: reported in groups, and written with their rows (``--faults``)."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct, structs

from gotsurge_async.cli.shared.exits import Exit, Failure, WrongUse, explained_too
from gotsurge_async.cli.shared.options import PATH, THE_FILE, Decorator, gathered, in_group
from gotsurge_async.cli.shared.output import SHOWN, say
from gotsurge_async.errors import code_of
from gotsurge_async.push.load import UnusableSource
from gotsurge_async.push.map_use import MapNotAccepted
from gotsurge_async.tables import STDIN, Source, SourceOptions, SourceReport, open_source
from gotsurge_async.tables.checks.fault_file import FaultFile
from gotsurge_async.tables.checks.faults import Fault, FaultGroup
from gotsurge_async.tables.checks.leaving import Leaving
from gotsurge_async.tables.checks.words import number_of, verb
from gotsurge_async.tables.source import Left

T = TypeVar("T")

FEW = 10
"""The most faults that are reported one by one; more are reported in groups."""

_ENDINGS = {".xlsx": ".xlsx", ".xls": ".xlsx", ".ods": ".xlsx", ".jsonl": ".jsonl", ".tsv": ".tsv"}
"""The ending of a file of faults by that of the file of orders; for any other it is a CSV."""

_OF_AN_ITEM = "an item of this order has faults"
"""The beginning of the rule for an order that is left out because of its items."""

_file = in_group(THE_FILE)


class Mending(Struct, frozen=True, kw_only=True):
    """The options for a file with faults.

    Attributes:
        faults: the file for its faulty rows, or a folder in which each command makes its own file; None for none.
        leave: whether the rows without faults are accepted nevertheless.
    """

    faults: Path | None = None
    leave: bool = False

    async def read(
        self,
        file: str,
        options: SourceOptions,
        work: Callable[[Source], Awaitable[T]],
        *,
        sends: bool = False,
    ) -> T:
        """Open a file of orders, and run ``work``, which reads it to its end.

        If they are then sent (``sends``), rows that are left out must be stored.
        """
        if self.leave and sends and self.faults is None:
            raise WrongUse("--leave-faulty needs --faults FILE.csv, a file for the rows that are not sent")
        if self.faults is not None and str(self.faults) == STDIN:
            raise WrongUse("--faults needs a file that you can correct and push, not standard output")
        faults = await asyncio.to_thread(self._free, file, options.now)
        with ExitStack() as at_end:
            written = None
            if faults is not None:
                written = FaultFile(faults, ruled=options.file_map.orders.has_rules)
                at_end.callback(written.close)
            report = SourceReport(on_fault=written)
            source = at_end.enter_context(open_source(file, options=options, report=report))
            if written is not None:
                written.source = source
            if self.leave:
                keep = (lambda rows: Left(rows=rows, report=report)) if written is None else written.keep
                source = at_end.enter_context(Leaving(source, keep))
            try:
                result = await work(source)
            except MapNotAccepted:
                if faults is not None:  # nothing was there before, and the next try needs the name
                    faults.unlink(missing_ok=True)
                raise
            except UnusableSource as error:
                rows = await asyncio.to_thread(written.finish) if written is not None else 0
                raise self._refusal(file, options.items, error, rows, faults) from None
            if source.left is not None:
                _report_left(source.left)
            return result

    @contextmanager
    def look(self, file: str, options: SourceOptions) -> Iterator[Source]:
        """Open a file of orders as `read` does, without writing or printing anything."""
        report = SourceReport()
        with ExitStack() as at_end:
            source = at_end.enter_context(open_source(file, options=options, report=report))
            if self.leave:
                source = at_end.enter_context(Leaving(source, lambda rows: Left(rows=rows, report=report)))
            yield source

    def _free(self, file: str, now: datetime) -> Path | None:
        """The path to write, at which no file exists yet."""
        if self.faults is None or not self.faults.exists():
            return self.faults
        if not self.faults.is_dir():
            why = f"--faults: {self.faults} already exists: remove it, or name another file or a folder"
            raise WrongUse(why, "E110")
        ending = _ENDINGS.get(Path(file).suffix.lower(), ".csv")
        names = (f"faults-{now:%Y%m%d-%H%M%S}-{number}{ending}" for number in itertools.count(1))
        return next(path for name in names if not (path := self.faults / name).exists())

    def _refusal(self, file: str, items: Path | None, error: UnusableSource, rows: int, faults: Path | None) -> Failure:
        """Report the faults of a file, and what to do about them; ``rows`` is the number that was written."""
        failure = report_faults(error, "nothing was sent")
        if faults is not None and rows:
            are = number_of(rows, "row with faults is", "rows with faults are")
            say(f"{are} in {faults}, which also describes the faults")
            where = _where_to_correct(file, items, error.groups)
            say(
                f"correct {verb(rows, 'the row', 'the rows')} {where}, then push all rows again: no order is sent twice"
            )
            if not error.whole and not self.leave:
                say("to send the other rows now, add --leave-faulty, and pass another file to --faults")
            if error.whole or not self.leave:
                faulty = verb(rows, "the faulty row", "the faulty rows")
                say(f"{faults} contains only {faulty}: if you push it, no other row is sent")
        elif faults is not None:
            say(f"{faults} was not written: these faults are not in single rows")
        elif error.count > FEW:
            more = "" if self.leave or error.whole else "; with --leave-faulty the others are sent"
            say(f"--faults FILE.csv writes the rows that have faults, and describes the faults{more}")
        if self.leave:
            why = "the whole file has a fault" if error.whole else "every row has a fault"
            say(f"--leave-faulty does not help here: {why}")
        return failure


takes_mending: Decorator[Any] = gathered(
    "mending",
    Mending,
    _file(
        "--faults FILE.csv",
        "Write the rows that have faults there, with a description of the faults; in a folder, each time a new file.",
        type=PATH,
    ),
    _file("--leave-faulty", "Leave these rows out, and go on with the others.", name="leave"),
)
"""The options for faults; the command gets them as its argument ``mending``."""


def _where_to_correct(file: str, items: Path | None, groups: Sequence[FaultGroup]) -> str:
    """The files with the faults: those of orders, of their items, or of both."""
    where = "where the rows come from" if file == STDIN else f"in {file}"
    in_items = [group for group in groups if items is not None and group.first.file == str(items)]
    if not in_items:
        return where
    others = (group for group in groups if group not in in_items)
    all_there = all(group.first.rule.startswith(_OF_AN_ITEM) for group in others)
    return f"in {items}" if all_there else f"{where} and in {items}"


def _report_left(left: Left) -> None:
    """Report the faults of the rows that are left out, and their number."""
    report = left.report
    groups = list(report.groups)
    _list_faults(report.faults, report.fault_count, groups)
    rows, are = number_of(left.rows, "row"), verb(left.rows, "is", "are")
    where = "" if left.file is None else f", and {are} in {left.file}"
    say(f"{number_of(report.fault_count, 'fault')}: {rows} {are} left out{where}")
    explained_too(code_of(group.first.rule) for group in groups)


def _list_faults(faults: Sequence[Fault], count: int, groups: Sequence[FaultGroup]) -> None:
    for line in faults if count <= FEW else groups[:SHOWN]:
        say(line)
    if count > FEW and (more := len(groups) - SHOWN) > 0:
        say(f"… and {number_of(more, 'more kind')} of faults")


def as_plain(fault: Fault) -> dict[str, Any]:
    """A fault in the form of a ``--json`` document."""
    return {**structs.asdict(fault), "rule": str(fault.rule)}


def report_faults(error: UnusableSource, consequence: str) -> Failure:
    """Report the faults of a file; returns the failure to raise, with the number of faults and the ``consequence``."""
    _list_faults(error.faults, error.count, error.groups)
    text = f"{number_of(error.count, 'fault')}: {consequence}"
    say(text)
    groups = [
        {
            "file": group.first.file,
            "column": group.first.column,
            "field": group.first.field,
            "rule": str(group.first.rule),
            "count": group.count,
            "proposals": group.proposals,
            "lines": group.lines,
        }
        for group in error.groups
    ]
    codes = [code_of(group.first.rule) for group in error.groups]
    more = {"faults": [*map(as_plain, error.faults)], "count": error.count, "groups": groups, "explain": codes}
    return Failure(text, Exit.USAGE, more=more, printed=True)
