"""What ``gotsurge push`` does: check, sign in, load, send, and tell."""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import click
from rich.console import Console

from gotsurge_async.bulk import (
    Brakes,
    Ledger,
    LedgerError,
    Mode,
    Push,
    Run,
    Sent,
    Source,
    SourceOptions,
    Summary,
    UnusableSource,
    open_source,
    write_results,
)
from gotsurge_async.bulk.ledger import Admission
from gotsurge_async.cli.connect import Target, connected
from gotsurge_async.cli.exits import Exit, exit_code_of
from gotsurge_async.cli.interrupts import Interrupts
from gotsurge_async.cli.progress import PushProgress
from gotsurge_async.clock import SystemClock
from gotsurge_async.config import Limits
from gotsurge_async.creates import stops_all
from gotsurge_async.endpoints import TASKS_CREATE

SHOWN_WARNINGS = 10


@attrs.frozen(kw_only=True)
class PushOptions:
    """What the user said."""

    file: str
    source: SourceOptions
    target: Target
    limits: Limits
    batch_size: int
    mode: str = "auto"
    on_refused_chunk: str | None = None
    brakes: Brakes = Brakes()
    ledger: Path
    out: Path
    as_json: bool
    quiet: bool

    def remembered(self) -> Mapping[str, Any]:
        """What the ledger keeps with the run, so that its result files can be written again."""
        delimiter = self.source.delimiter
        return {
            "delimiter": "\t" if delimiter in ("tab", "\\t") else delimiter,
            "batch_size": self.batch_size,
            "concurrency": self.limits.concurrency,
            "rate": self.limits.rate,
            "on_refused_chunk": self.on_refused_chunk,
        }


class PushJob:
    """One push of one file."""

    def __init__(self, options: PushOptions) -> None:
        self._options = options
        self._clock = SystemClock()
        self._console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

    async def run(self) -> Exit:
        """Push, and tell how it went; the exit code is returned."""
        interrupts = Interrupts(self._say)
        with interrupts.caught():
            try:
                return await self._run(interrupts)
            except UnusableSource as error:
                return self._tell_faults(error)
            except asyncio.CancelledError:
                if interrupts.code is None:
                    raise
                self._say("interrupted: nothing was sent")
                return interrupts.code

    async def dry_run(self) -> Exit:
        """Read and check the file in a ledger of its own, which is thrown away."""
        with TemporaryDirectory(prefix="gotsurge-") as folder:
            async with (
                await Ledger.open(Path(folder) / "ledger.db", clock=self._clock.now) as ledger,
                connected(Target(simulate=True)) as gs,
            ):
                try:
                    run, admission = await self._load(Push(gs, ledger))
                except UnusableSource as error:
                    return self._tell_faults(error)
                await run.close()
        if self._options.as_json:
            click.echo(json.dumps({"orders": admission.pending, "faults": []}, indent=2))
        else:
            click.echo(f"{admission.pending:,} orders, no faults; nothing was sent")
        return Exit.CREATED

    async def _run(self, interrupts: Interrupts) -> Exit:
        options = self._options
        progress = PushProgress(self._console, quiet=options.quiet)
        async with (
            connected(options.target, options.limits) as gs,
            await Ledger.open(options.ledger, clock=self._clock.now) as ledger,
        ):
            gs.session.resolve(TASKS_CREATE)  # before the file is read, not after
            gs.hooks.add(progress)
            push = Push(
                gs,
                ledger,
                chunk=options.batch_size,
                environment=options.target.books,
                on_refused_chunk=options.on_refused_chunk,
                brakes=options.brakes,
            )
            await self._choose_mode(push)
            run, admission = await self._load(push)
            if not options.quiet:
                means = "exactly once" if push.mode is Mode.TWO_PHASE else "at most once"
                self._say(f"{admission.pending:,} orders to send, in {push.mode} mode: {means}")
            async with run:
                interrupts.on_stop = push.stop
                started = time.monotonic()
                with progress.of(admission.pending):
                    sent = await self._send(push, run, interrupts)
                seconds = time.monotonic() - started if admission.pending else 0.0
                if sent is None:
                    return Exit.IN_DOUBT
                summary = await write_results(ledger, run.info, options.out, seconds=seconds)
        self._tell(summary, sent)
        return _exit_code(summary, sent, interrupts)

    async def _choose_mode(self, push: Push) -> None:
        if self._options.mode != "auto":
            push.mode = Mode(self._options.mode)
            return
        await push.choose_mode()

    async def _load(self, push: Push) -> tuple[Run, Admission]:
        with open_source(self._options.file, options=self._options.source) as source:
            run, admission = await push.load_source(source, options=self._options.remembered())
            self._tell_warnings(source)
        return run, admission

    async def _send(self, push: Push, run: Run, interrupts: Interrupts) -> Sent | None:
        try:
            return await push.send(run)
        except asyncio.CancelledError:
            if interrupts.code is None:
                raise
            return Sent(interrupted=True)
        except LedgerError as error:
            self._say(f"{error}\nstopped at once: what was in flight is in doubt, the rest was not sent (run {run.id})")
            return None

    # --- telling ----------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._console.print(text)

    def _tell_warnings(self, source: Source) -> None:
        for warning in source.report.warnings[:SHOWN_WARNINGS]:
            self._say(f"warning: {warning}")
        more = source.report.warning_count - SHOWN_WARNINGS
        if more > 0:
            self._say(f"… and {more:,} more warnings")

    def _tell_faults(self, error: UnusableSource) -> Exit:
        for fault in error.faults:
            self._say(str(fault))
        if error.count > len(error.faults):
            self._say(f"… and {error.count - len(error.faults):,} more")
        self._say(f"{error.count:,} {'fault' if error.count == 1 else 'faults'}: nothing was sent")
        if self._options.as_json:
            faults = [attrs.asdict(fault) for fault in error.faults]
            click.echo(json.dumps({"faults": faults, "count": error.count}, indent=2))
        return Exit.USAGE

    def _tell(self, summary: Summary, sent: Sent) -> None:
        if sent.stopped_by is not None:
            self._say(f"stopped: {sent.stopped_by}")
        if self._options.as_json:
            click.echo(json.dumps(attrs.asdict(summary), indent=2))
            return
        click.echo(f"run {summary.run}, {summary.orders:,} orders in {summary.seconds:.1f} s, result files:")
        for name, path in summary.files.items():
            count = getattr(summary, _COUNTED.get(name, ""), None)
            click.echo(f"  {path}{'' if count is None else f'  ({count:,})'}")
        told = {
            "already pushed": summary.already_pushed,
            "refused": summary.refused,
            "in doubt": summary.in_doubt,
            "unprocessed": summary.unprocessed,
        }
        click.echo(", ".join([f"{summary.created:,} created", *(f"{n:,} {word}" for word, n in told.items() if n)]))


_COUNTED = {"failed": "refused", "unprocessed": "unprocessed", "in_doubt": "in_doubt"}


def _exit_code(summary: Summary, sent: Sent, interrupts: Interrupts) -> Exit:
    """The worst that happened: an interrupt, then doubt, then what a person must mend, then refusals."""
    if interrupts.code is not None:
        return interrupts.code
    if summary.in_doubt:
        return Exit.IN_DOUBT
    if sent.stopped_by is not None:
        return exit_code_of(sent.stopped_by) if stops_all(sent.stopped_by) else Exit.STOPPED
    if summary.unprocessed:
        return Exit.STOPPED
    return Exit.REFUSED if summary.refused else Exit.CREATED
