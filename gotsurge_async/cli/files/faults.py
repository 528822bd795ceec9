"""What is wrong in a file of orders: told in groups, written with its rows (``--faults``), mended (``--fix``)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from gotsurge_async.bulk import Source, SourceOptions, SourceReport, UnusableSource, open_source
from gotsurge_async.bulk.checks.faults import Fault, FaultGroup, Original, quoted
from gotsurge_async.bulk.checks.words import number_of, verb
from gotsurge_async.bulk.mend import FaultFile, Fixes, mend_table
from gotsurge_async.bulk.sources import STDIN, Form
from gotsurge_async.bulk.sources.leaving import Leaving
from gotsurge_async.bulk.sources.source import Left
from gotsurge_async.cli.shared.exits import Exit, Failure, explained_too
from gotsurge_async.cli.shared.options import PATH, THE_FILE, Decorator, gathered, in_group
from gotsurge_async.cli.shared.output import SHOWN, at_a_terminal, say
from gotsurge_async.system import loops

T = TypeVar("T")

FEW = 10
"""Up to so many faults are told one by one; of more, what is wrong with how many."""

_file = in_group(THE_FILE)


@attrs.frozen(kw_only=True)
class Mending:
    """What is to be done about the faults of a file.

    Attributes:
        faults: where its faulty rows are to be written; None for nowhere.
        leave: whether the rows without faults are taken all the same.
        fix: whether the values that faults propose are to be put in; ``yes`` without being asked.
    """

    faults: Path | None = None
    leave: bool = False
    fix: bool = False
    yes: bool = False

    async def read(
        self,
        file: str,
        options: SourceOptions,
        work: Callable[[Source], Awaitable[T]],
        *,
        only_look: bool = False,
        sends: bool = False,
    ) -> T:
        """Open a file of orders, and do something with it that reads it to its end.

        Args:
            only_look: show what ``--fix`` would put in, and change nothing.
            sends: whether the orders are sent after that: what is left out then must be kept.

        Raises:
            Failure: it has faults, which are told; or its mending was declined.
        """
        if self.fix and file == STDIN:
            raise click.UsageError("--fix mends a file, not standard input")
        if self.fix and self.leave:
            raise click.UsageError("--fix and --leave-faulty go one after the other: push with --fix first")
        if self.leave and sends and self.faults is None:
            raise click.UsageError("--leave-faulty needs --faults FILE.csv: the rows that are not sent are kept there")
        if self.faults is not None and str(self.faults) == STDIN:
            raise click.UsageError("--faults names a file, not standard output: it is mended, and pushed")
        if self.faults is not None and await asyncio.to_thread(self.faults.exists):
            raise click.UsageError(f"--faults: {self.faults} is there already: name another file, or remove it")
        with ExitStack() as at_end:
            fixes = at_end.enter_context(Fixes(file))
            try:
                return await self._read(file, options, work, fixes if self.fix else None)
            except _Faulty as faulty:
                if not self.fix or not fixes.count or not _is_plain(faulty.form):
                    raise self._told(file, faulty, fixes.count) from None
                _tell_fixes(file, fixes)
                if only_look:
                    raise self._told(file, faulty, 0) from None
                kept = await self._mend(Path(file), fixes, faulty.form)
                if self.faults is not None:  # it was written by this command, of the file as it was
                    await asyncio.to_thread(self.faults.unlink, missing_ok=True)
            say(f"{file} is mended; as it was it is kept in {kept}")
        try:
            return await self._read(file, options, work, None)
        except _Faulty as faulty:
            raise self._told(file, faulty, 0) from None

    async def _read(
        self, file: str, options: SourceOptions, work: Callable[[Source], Awaitable[T]], fixes: Fixes | None
    ) -> T:
        with ExitStack() as at_end:
            listeners: list[Callable[[Fault, Original | None], None]] = [] if fixes is None else [fixes]
            written = None
            if self.faults is not None:
                written = FaultFile(self.faults, ruled=options.file_map.orders.has_rules)
                at_end.callback(written.close)
                listeners.append(written)

            def told(fault: Fault, original: Original | None) -> None:
                for listener in listeners:
                    listener(fault, original)

            report = SourceReport(told=told if listeners else None)
            source = at_end.enter_context(open_source(file, options=options, report=report))
            if written is not None:
                written.source = source
            if self.leave:
                keep = (lambda rows: Left(rows=rows, report=report)) if written is None else written.keep
                source = at_end.enter_context(Leaving(source, keep))
            try:
                done = await work(source)
            except UnusableSource as error:
                rows = await asyncio.to_thread(written.finish) if written is not None else 0
                raise _Faulty(error, source.form, rows) from None
            if source.left is not None:
                _tell_left(source.left)
            return done

    async def _mend(self, path: Path, fixes: Fixes, form: Form) -> Path:
        if not self.yes:
            if not at_a_terminal():
                raise Failure("nothing was changed: nobody can be asked here, say --yes", Exit.USAGE)
            question = f"Put {number_of(fixes.count, 'value')} into {path}? As it is it will be kept beside it."
            with loops.standing_still():
                wanted = click.confirm(question, err=True)
            if not wanted:
                raise Failure("nothing was changed, and nothing was sent", Exit.USAGE)
        return await asyncio.to_thread(mend_table, path, fixes, form)

    def _told(self, file: str, faulty: "_Faulty", proposals: int) -> Failure:
        failure = told_faults(faulty.error, "nothing was sent")
        if self.faults is not None and faulty.rows:
            rows = number_of(faulty.rows, "row")
            say(f"{rows} with faults, and what is wrong: {self.faults}")
            where = "where the rows come from" if file == STDIN else f"in {file}"
            say(f"mend {verb(faulty.rows, 'it', 'them')} {where}, and push that whole; none is sent twice")
            if not faulty.error.whole and not self.leave:
                say("--leave-faulty, with another name for --faults, sends the other rows now")
            say(f"{self.faults} has only {verb(faulty.rows, 'this row', 'these rows')}: pushed alone it sends no other")
        elif self.faults is not None:
            say(f"{self.faults} was not written: no fault is one of a row")
        elif faulty.error.count > FEW:
            more = "" if self.leave or faulty.error.whole else "; with --leave-faulty the others are sent"
            say(f"--faults FILE.csv writes the rows that have faults, with what is wrong in each{more}")
        if self.leave:
            why = "a fault is of the whole file" if faulty.error.whole else "no row is without a fault"
            say(f"--leave-faulty does not help here: {why}")
        proposals = proposals or sum(group.proposals for group in faulty.error.groups)
        if not self.fix and proposals and _is_plain(faulty.form):
            say(f"--fix puts {number_of(proposals, 'value')} in that are proposed, when you have seen them")
        return failure


class _Faulty(Exception):
    """A file has faults; ``rows`` of it were written."""

    def __init__(self, error: UnusableSource, form: Form, rows: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.form = form
        self.rows = rows


takes_mending: Decorator[Any] = gathered(
    "mending",
    Mending,
    _file("--faults", type=PATH, metavar="FILE.csv", help="Write the rows that have faults there, with what is wrong."),
    _file("--leave-faulty", "leave", is_flag=True, help="Leave these rows out, and go on with the others."),
    _file("--fix", is_flag=True, help="Put in the values that faults propose, after showing them and asking."),
    _file("--yes", is_flag=True, help="With --fix: do not ask."),
)
"""The options that say what to do about faults; the command gets them as its argument ``mending``."""


def _is_plain(form: Form) -> bool:
    """Whether values can be put into such a file."""
    return form.format == "csv" and not form.packed


def _tell_fixes(file: str, fixes: Fixes) -> None:
    """Show what will be put in: the first values of each column, as a diff."""
    for column, (count, first) in fixes.first.items():
        say(f"{file}: {column}: {number_of(count, 'value')}")
        for fix in first:
            say(f"  line {fix.line}: {_coloured(fix.old, 'red')} → {_coloured(fix.new, 'green')}")
        if count > len(first):
            say(f"  … and {count - len(first):,} more")


def _coloured(value: str, colour: str) -> str:
    return click.style(quoted(value), fg=colour)  # click leaves the colour out where nobody sees it


def _tell_left(left: Left) -> None:
    """Tell what is wrong with the rows that are left out, and how many go on without them."""
    report = left.report
    groups = list(report.groups)
    _tell_faults(report.faults, report.fault_count, groups)
    rows, are = number_of(left.rows, "row"), verb(left.rows, "is", "are")
    where = "" if left.file is None else f", and {are} in {left.file}"
    say(f"{number_of(report.fault_count, 'fault')}: {rows} {are} left out{where}")
    explained_too([group.first.rule for group in groups])


def _tell_faults(faults: Sequence[Fault], count: int, groups: Sequence[FaultGroup]) -> None:
    if count <= FEW:
        for fault in faults:
            say(fault)
        return
    for group in groups[:SHOWN]:
        say(group)
    if (more := len(groups) - SHOWN) > 0:
        say(f"… and {number_of(more, 'more kind')} of faults")


def told_faults(error: UnusableSource, so: str) -> Failure:
    """Tell what is wrong with a file; the failure that is to be raised says how many faults there are.

    Args:
        so: what follows from it.
    """
    _tell_faults(error.faults, error.count, error.groups)
    text = f"{number_of(error.count, 'fault')}: {so}"
    say(text)
    groups = [
        {
            "file": group.first.file,
            "column": group.first.column,
            "field": group.first.field,
            "rule": group.first.rule,
            "count": group.count,
            "proposals": group.proposals,
            "lines": group.lines,
        }
        for group in error.groups
    ]
    faults = [attrs.asdict(fault) for fault in error.faults]
    return Failure(text, Exit.USAGE, more={"faults": faults, "count": error.count, "groups": groups}, told=True)
