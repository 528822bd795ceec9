"""What is wrong in a file of orders: told in groups, written with its rows (``--faults``), mended (``--fix``)."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from gotsurge_async.bulk import Source, SourceOptions, SourceReport, UnusableSource, open_source
from gotsurge_async.bulk.checks.faults import Fault, Original, quoted
from gotsurge_async.bulk.mend import FaultFile, Fixes, mend_table
from gotsurge_async.bulk.sources import STDIN, Form
from gotsurge_async.cli.shared.exits import Exit, Failure
from gotsurge_async.cli.shared.options import PATH, THE_FILE, Decorator, gathered, in_group
from gotsurge_async.cli.shared.output import SHOWN, at_a_terminal, say

T = TypeVar("T")

FEW = 10
"""Up to so many faults are told one by one; of more, what is wrong with how many."""

_file = in_group(THE_FILE)


@attrs.frozen(kw_only=True)
class Mending:
    """What is to be done about the faults of a file.

    Attributes:
        faults: where its faulty rows are to be written; None for nowhere.
        fix: whether the values that faults propose are to be put in; ``yes`` without being asked.
    """

    faults: Path | None = None
    fix: bool = False
    yes: bool = False

    async def read(
        self,
        file: str,
        options: SourceOptions,
        work: Callable[[Source], Awaitable[T]],
        *,
        only_look: bool = False,
    ) -> T:
        """Open a file of orders, and do something with it that reads it to its end.

        Args:
            only_look: show what ``--fix`` would put in, and change nothing.

        Raises:
            Failure: it has faults, which are told; or its mending was declined.
        """
        if self.fix and file == STDIN:
            raise click.UsageError("--fix mends a file, not standard input")
        if self.faults is not None and await asyncio.to_thread(self.faults.exists):
            raise click.UsageError(f"--faults: {self.faults} is there already: name another file, or remove it")
        with ExitStack() as at_end:
            fixes = at_end.enter_context(Fixes(file))
            try:
                return await self._read(file, options, work, fixes if self.fix else None)
            except _Faulty as faulty:
                if not self.fix or not fixes.count or not _is_plain(faulty.form):
                    raise self._told(faulty, fixes.count) from None
                _tell_fixes(file, fixes)
                if only_look:
                    raise self._told(faulty, 0) from None
                kept = await self._mend(Path(file), fixes, faulty.form)
            say(f"{file} is mended; as it was it is kept in {kept}")
        try:
            return await self._read(file, options, work, None)
        except _Faulty as faulty:
            raise self._told(faulty, 0) from None

    async def _read(
        self, file: str, options: SourceOptions, work: Callable[[Source], Awaitable[T]], fixes: Fixes | None
    ) -> T:
        with ExitStack() as at_end:
            listeners: list[Callable[[Fault, Original | None], None]] = [] if fixes is None else [fixes]
            written = None
            if self.faults is not None:
                written = FaultFile(self.faults)
                at_end.callback(written.close)
                listeners.append(written)

            def told(fault: Fault, original: Original | None) -> None:
                for listener in listeners:
                    listener(fault, original)

            report = SourceReport(told=told if listeners else None)
            source = at_end.enter_context(open_source(file, options=options, report=report))
            if written is not None:
                written.source = source
            try:
                return await work(source)
            except UnusableSource as error:
                rows = await asyncio.to_thread(written.finish) if written is not None else 0
                raise _Faulty(error, source.form, rows) from None

    async def _mend(self, path: Path, fixes: Fixes, form: Form) -> Path:
        if not self.yes:
            if not at_a_terminal():
                raise Failure("nothing was changed: nobody can be asked here, say --yes", Exit.USAGE)
            question = f"Put {_values(fixes.count)} into {path}? As it is it will be kept beside it."
            if not await asyncio.to_thread(click.confirm, question, err=True):
                raise Failure("nothing was changed, and nothing was sent", Exit.USAGE)
        return await asyncio.to_thread(mend_table, path, fixes, form)

    def _told(self, faulty: "_Faulty", proposals: int) -> Failure:
        failure = told_faults(faulty.error, "nothing was sent")
        if self.faults is not None and faulty.rows:
            say(f"the {faulty.rows:,} rows with faults: {self.faults}; mend them there, and push that file")
            say("the other rows can be pushed once those are out of their file, or mended there; none is sent twice")
        elif self.faults is not None:
            say(f"{self.faults} was not written: no fault is one of a row")
        elif faulty.error.count > FEW:
            say("--faults FILE.csv writes the rows that have faults, with what is wrong in each")
        proposals = proposals or sum(group.proposals for group in faulty.error.groups)
        if not self.fix and proposals and _is_plain(faulty.form):
            say(f"--fix puts {_values(proposals)} in that are proposed, when you have seen them")
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
    _file("--fix", is_flag=True, help="Put in the values that faults propose, after showing them and asking."),
    _file("--yes", is_flag=True, help="With --fix: do not ask."),
)
"""The options that say what to do about faults; the command gets them as its argument ``mending``."""


def _is_plain(form: Form) -> bool:
    """Whether values can be put into such a file."""
    return form.format == "csv" and not form.packed


def _values(count: int) -> str:
    return "1 value" if count == 1 else f"{count:,} values"


def _tell_fixes(file: str, fixes: Fixes) -> None:
    """Show what will be put in: the first values of each column, as a diff."""
    for column, (count, first) in fixes.first.items():
        say(f"{file}: {column}: {_values(count)}")
        for fix in first:
            say(f"  line {fix.line}: {_coloured(fix.old, 'red')} → {_coloured(fix.new, 'green')}")
        if count > len(first):
            say(f"  … and {count - len(first):,} more")


def _coloured(value: str, colour: str) -> str:
    return click.style(quoted(value), fg=colour)  # click leaves the colour out where nobody sees it


def told_faults(error: UnusableSource, so: str) -> Failure:
    """Tell what is wrong with a file; the failure that is to be raised says how many faults there are.

    Args:
        so: what follows from it.
    """
    if error.count <= FEW:
        for fault in error.faults:
            say(fault)
    else:
        for group in error.groups[:SHOWN]:
            say(group)
        if (more := len(error.groups) - SHOWN) > 0:
            say(f"… and {more:,} more kinds of faults")
    text = f"{error.count:,} {'fault' if error.count == 1 else 'faults'}: {so}"
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
