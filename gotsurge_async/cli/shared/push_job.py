"""What ``gotsurge push`` does: check, sign in, load, send, and tell."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import click

from gotsurge_async.api.endpoints import TASKS_CREATE
from gotsurge_async.bulk import (
    Brakes,
    Ledger,
    Mode,
    Push,
    Run,
    Source,
    SourceOptions,
    UnusableSource,
    check_plan,
    open_source,
)
from gotsurge_async.bulk.after.replace import replace_changed
from gotsurge_async.bulk.after.results import refuse_older
from gotsurge_async.bulk.ledger import Admission, OrderState, Similar
from gotsurge_async.bulk.ledger.states import in_words
from gotsurge_async.bulk.sources import STDIN
from gotsurge_async.cli.shared.books import document_of, ending_of, known_to
from gotsurge_async.cli.shared.connect import Target, connected, server_of
from gotsurge_async.cli.shared.exits import Exit, Failure, Told, print_document
from gotsurge_async.cli.shared.interrupts import Interrupts
from gotsurge_async.cli.shared.run_job import RunJob, SendOptions
from gotsurge_async.client import GotSurge
from gotsurge_async.config import Limits
from gotsurge_async.errors import UsageError

SHOWN_WARNINGS = 10
LOOKED_BACK = 1_000
"""How many earlier runs are asked where they went."""


@attrs.frozen(kw_only=True)
class PushOptions(SendOptions):
    """What the user said about a push."""

    file: str
    source: SourceOptions
    target: Target
    limits: Limits
    batch_size: int
    mode: str = "auto"
    on_refused_chunk: str | None = None
    brakes: Brakes = Brakes()
    plan: Path | None = None
    replace_changed: bool = False
    reading: Sequence[str] = ()
    """The words of the options that say how to read the file."""

    def remembered(self, api_base: str) -> Mapping[str, Any]:
        """What the ledger keeps with the run, so that it can be gone on with, and its result files written again."""
        delimiter = self.source.delimiter
        return {
            "delimiter": "\t" if delimiter in ("tab", "\\t") else delimiter,
            "batch_size": self.batch_size,
            "concurrency": self.limits.concurrency,
            "rate": self.limits.rate,
            "on_refused_chunk": self.on_refused_chunk,
            "account": self.target.account,
            # A throw-away simulator has an address that is another one's tomorrow.
            "api_base": None if self.target.simulate else api_base,
            "reading": list(self.reading),
            "out": str(self.out),
        }

    @property
    def size(self) -> int:
        """About how many bytes the result files will have: the rows, and what became of each."""
        try:
            return 2 * Path(self.file).stat().st_size if self.file != STDIN else 0
        except OSError:  # that there is no such file is told where it is opened
            return 0


class PushJob(RunJob):
    """One push of one file."""

    def __init__(self, options: PushOptions) -> None:
        super().__init__(options)
        self._options = options

    async def run(self) -> Exit:
        """See `RunJob.run`."""
        try:
            return await super().run()
        except UnusableSource as error:
            raise told_faults(error, self._say) from None

    async def dry_run(self) -> Exit:
        """Read and check the file in a ledger of its own, which is thrown away."""
        with TemporaryDirectory(prefix="gotsurge-") as folder:
            async with (
                await Ledger.open(Path(folder) / "ledger.db", clock=self._clock.now) as ledger,
                connected(Target(simulate=True)) as gs,
            ):
                try:
                    run, admission = await self._load(Push(gs, ledger), gs.environment.api_base)
                except UnusableSource as error:
                    raise told_faults(error, self._say) from None
                async with run:
                    known = await known_to(self._options.ledger, run, self._options.target, self._options.out)
        code = ending_of(in_doubt=known.in_doubt, changed=known.changed_count)
        if known.changed_count:
            self._tell_changed(known.changed, known.already_pushed, known.changed_count)
        if self._options.as_json:
            print_document({"orders": admission.pending, "faults": [], **document_of(known), "exit": int(code)})
        else:
            told = {"already pushed": known.already_pushed - known.in_doubt, "in doubt": known.in_doubt}
            words = ", ".join(f"{number:,} {word}" for word, number in told.items() if number)
            of_them = f", of them {words}" if words else ""
            click.echo(f"{admission.pending:,} orders{of_them}, no faults; nothing was sent")
        return code

    async def _run(self, interrupts: Interrupts) -> Exit:
        options = self._options
        await self._try_out(options.size)
        async with (
            connected(options.target, options.limits) as gs,
            await Ledger.open(options.ledger, clock=self._clock.now) as ledger,
        ):
            await refuse_older(ledger, options.out)
            gs.session.resolve(TASKS_CREATE)  # before the file is read, not after
            push = Push(
                gs,
                ledger,
                chunk=options.batch_size,
                environment=options.target.books,
                on_refused_chunk=options.on_refused_chunk,
                brakes=options.brakes,
            )
            await self._tell_other_names(ledger, gs.environment.api_base)
            await self._choose_mode(push)
            if options.replace_changed and push.mode is Mode.DIRECT:
                raise UsageError("--replace-changed is for platform partners: a plain one cannot change a task")
            run, admission = await self._load(push, gs.environment.api_base)
            if admission.changed:
                await self._handle_changed(gs, run, admission)
            return await self._deliver(gs, ledger, push, run, waiting=admission.pending, interrupts=interrupts)

    async def _choose_mode(self, push: Push) -> None:
        if self._options.mode != "auto":
            push.mode = Mode(self._options.mode)
            return
        await push.choose_mode()

    async def _load(self, push: Push, api_base: str) -> tuple[Run, Admission]:
        with open_source(self._options.file, options=self._options.source) as source:
            if self._options.plan is not None:
                source = check_plan(self._options.plan, source)
            run, admission = await push.load_source(source, options=self._options.remembered(api_base))
            self._tell_warnings(source)
        try:
            self._tell_similar(await run.similar())
        except BaseException:
            await run.close()
            raise
        return run, admission

    async def _handle_changed(self, gs: GotSurge, run: Run, admission: Admission) -> None:
        """Tell which orders were pushed before and differ now, and change their tasks if that is wanted."""
        try:
            if self._options.replace_changed:
                done = await replace_changed(gs, run, concurrency=self._options.limits.concurrency)
                self.replaced = done
                self._say(f"{done.replaced:,} tasks were changed into what the orders say now")
                if done.unknown:
                    self._say(
                        f"of {done.unknown:,} tasks nobody knows whether they were changed: push this again to see"
                    )
                if not (done.left or done.unknown or done.stopped_by):
                    return
            changed: list[tuple[int, str, str]] = []
            async for row in run.rows((OrderState.CHANGED,), batch=SHOWN_WARNINGS):
                changed.append((row.line, row.key, row.error or ""))
                if len(changed) == SHOWN_WARNINGS:
                    break
            self._tell_changed(changed, admission.already_pushed, (await run.counts()).changed)
            if run.info.mode is Mode.TWO_PHASE and not self._options.replace_changed:
                self._say("--replace-changed changes their tasks, where they are still open")
        except BaseException:
            await run.close()
            raise

    # --- telling ----------------------------------------------------------------------------------------------------

    def _tell_changed(self, changed: Sequence[tuple[int, str, str]], already: int, count: int) -> None:
        self._say(f"{already:,} already pushed, {count:,} of them differ from what was sent:")
        for line, key, said in changed[:SHOWN_WARNINGS]:
            self._say(f"  {self._options.file}:{line}: {key}: {said}")
        if count > SHOWN_WARNINGS:
            self._say(f"  … and {count - SHOWN_WARNINGS:,} more: the result file `changed` has all")

    async def _tell_other_names(self, ledger: Ledger, api_base: str) -> None:
        """Warn where the ledger knows this server under another environment's name: keys are unique within one."""
        target = self._options.target
        if target.simulate:
            return
        server = server_of(api_base)
        names = {
            info.environment
            for info in await ledger.runs(LOOKED_BACK)
            if info.environment != target.books and server_of(info.options.get("api_base") or "") == server
        }
        for name in sorted(names):
            self._say(
                f"warning: runs of the environment {name} in this ledger went to {api_base} too: an order that was "
                f"pushed there is not known here, and would be created a second time (say --env {name})"
            )

    def _tell_warnings(self, source: Source) -> None:
        for warning in source.report.warnings[:SHOWN_WARNINGS]:
            self._say(f"warning: {warning}")
        more = source.report.warning_count - SHOWN_WARNINGS
        if more > 0:
            self._say(f"… and {more:,} more warnings")

    def _tell_similar(self, pairs: Sequence[Similar]) -> None:
        """Warn of orders that look like another one: perhaps one delivery, ordered twice under two keys."""
        here = self._options.file
        for pair in pairs[:SHOWN_WARNINGS]:
            self._say(
                f"warning: {here}:{pair.line}: {pair.key} has the pickup, delivery, windows and invoice of "
                f"{pair.other_key} (line {pair.other_line} of run {pair.other_run}, {in_words(pair.other_state)})"
            )
        if len(pairs) > SHOWN_WARNINGS:
            self._say(f"… and {len(pairs) - SHOWN_WARNINGS:,} more orders that look like another one")


def told_faults(error: UnusableSource, say: Callable[[str], None], so: str = "nothing was sent") -> Failure:
    """Tell what is wrong with a file, fault by fault; the failure that is to be raised says how many there are.

    Args:
        so: what follows from it.
    """
    for fault in error.faults:
        say(str(fault))
    if error.count > len(error.faults):
        say(f"… and {error.count - len(error.faults):,} more")
    faults = [attrs.asdict(fault) for fault in error.faults]
    text = f"{error.count:,} {'fault' if error.count == 1 else 'faults'}: {so}"
    say(text)
    return Told(text, Exit.USAGE, more={"faults": faults, "count": error.count})
